// Reading ELF executables (32- and 64-bit, x86) and loading their segments at physical addresses. Used by the
// protocols that boot ELF files; the file may be hostile. Source: System V ABI, "Object Files".
#pragma once

#include "bios/boot_request.hpp"
#include "bios/bytes.hpp"
#include "bios/ram_planner.hpp"

namespace doppel::bios {

struct ElfSegment {
  std::span<const u8> bytes;  // the part that the file holds
  u64 physical = 0, virtual_address = 0;
  u64 memory_size = 0;  // at least bytes.size(); the rest is zero
};

struct ElfImage {
  u64 entry = 0;
  std::vector<ElfSegment> loads, notes;
};

[[nodiscard]] bool is_elf(const ByteView& file);
[[nodiscard]] Error parse_elf(const ByteView& file, ElfImage& image);

// The physical address of a virtual one by the segments; addresses outside all of them stay as they are.
[[nodiscard]] u64 physical_address(const ElfImage& image, u64 virtual_address);
// Whether some segment's memory contains this physical address.
[[nodiscard]] bool has_physical(const ElfImage& image, u64 physical);
[[nodiscard]] Error load_elf(const ElfImage& image, RamPlanner& planner);

}  // namespace doppel::bios
