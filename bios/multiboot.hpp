// Multiboot 1: an ELF or a.out-style kernel with a header in its first 8 KiB. Called by kernel_image.cpp; the
// file may be hostile. Source: "The Multiboot Specification version 0.6.96".
#pragma once

#include "bios/elf_image.hpp"
#include "core/cpu_state.hpp"

namespace doppel::bios {

// Offset of the header in the file, if there is one.
[[nodiscard]] std::optional<u64> multiboot_header(const ByteView& file);
// `header` is the offset that multiboot_header() found. The entry is image.entry, a physical address.
[[nodiscard]] Error parse_multiboot(const ByteView& file, u64 header, ElfImage& image);
[[nodiscard]] Error start_multiboot(const ElfImage& image, const BootRequest& request, RamPlanner& planner,
                                    core::CpuState& state);

}  // namespace doppel::bios
