#include "bios/elf_image.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace doppel::bios {

namespace {

constexpr u8 kClass32 = 1, kClass64 = 2, kLittleEndian = 1;
constexpr u16 kExecutable = 2, kSharedObject = 3, kMachine386 = 3, kMachineX8664 = 62;
constexpr u32 kPtLoad = 1, kPtNote = 4;
constexpr u32 kMaxSegments = 128;

struct ProgramHeader {
  u32 type;
  u64 offset, virtual_address, physical, file_size, memory_size;
};

ProgramHeader program_header(const ByteView& file, u64 at, bool is64) {
  if (is64)
    return {file.at<u32>(at),      file.at<u64>(at + 8),  file.at<u64>(at + 16),
            file.at<u64>(at + 24), file.at<u64>(at + 32), file.at<u64>(at + 40)};
  return {file.at<u32>(at),      file.at<u32>(at + 4),  file.at<u32>(at + 8),
          file.at<u32>(at + 12), file.at<u32>(at + 16), file.at<u32>(at + 20)};
}

}  // namespace

bool is_elf(const ByteView& file) {
  return file.has_text(0,
                       "\x7f"
                       "ELF");
}

Error parse_elf(const ByteView& file, ElfImage& image) {
  const u8 elf_class = file.at<u8>(4);
  const u16 type = file.at<u16>(16), machine = file.at<u16>(18);
  if ((elf_class != kClass32 && elf_class != kClass64) || file.at<u8>(5) != kLittleEndian ||
      (machine != kMachine386 && machine != kMachineX8664))
    return "The kernel is an ELF file for another processor, not for x86.";
  if (type != kExecutable && type != kSharedObject)
    return "The kernel is an ELF object or core file, not an executable.";

  const bool is64 = elf_class == kClass64;
  image.entry = is64 ? file.at<u64>(24) : file.at<u32>(24);
  const u64 table = is64 ? file.at<u64>(32) : file.at<u32>(28);
  const u32 entry_size = file.at<u16>(is64 ? 54 : 42), count = file.at<u16>(is64 ? 56 : 44);
  if (count > kMaxSegments)
    return fmt::format("The kernel's ELF file has more than {} segments.", kMaxSegments);
  if (entry_size < (is64 ? 56u : 32u))
    return "The kernel's ELF file is damaged: its program headers are too small.";
  if (!file.contains(table, u64{entry_size} * count))
    return "The kernel's ELF file is truncated: its program headers are missing.";

  for (u32 i = 0; i < count; ++i) {
    const ProgramHeader header = program_header(file, table + u64{i} * entry_size, is64);
    if (header.type != kPtLoad && header.type != kPtNote) continue;
    if (!file.contains(header.offset, header.file_size))
      return fmt::format("The kernel's ELF file is truncated: segment {} lies past its end.", i);
    if (header.type == kPtLoad && header.memory_size < header.file_size)
      return fmt::format("The kernel's ELF file is damaged: segment {} is larger than its memory.", i);
    if (header.type == kPtLoad && header.memory_size == 0) continue;
    auto& list = header.type == kPtLoad ? image.loads : image.notes;
    list.push_back({.bytes = file.slice(header.offset, header.file_size),
                    .physical = header.physical,
                    .virtual_address = header.virtual_address,
                    .memory_size = header.memory_size});
  }
  if (image.loads.empty()) return "The kernel's ELF file has nothing to load.";
  return std::nullopt;
}

u64 physical_address(const ElfImage& image, u64 virtual_address) {
  for (const ElfSegment& s : image.loads)
    if (virtual_address - s.virtual_address < s.memory_size)
      return virtual_address - s.virtual_address + s.physical;
  return virtual_address;
}

bool has_physical(const ElfImage& image, u64 physical) {
  return std::any_of(image.loads.begin(), image.loads.end(),
                     [&](const ElfSegment& s) { return physical - s.physical < s.memory_size; });
}

Error load_elf(const ElfImage& image, RamPlanner& planner) {
  for (const ElfSegment& s : image.loads) {
    if (!planner.claim(s.physical, s.memory_size))
      return fmt::format(
          "The kernel needs {} bytes of RAM at {:#x}, where the machine has none or the kernel itself "
          "already is.",
          s.memory_size, s.physical);
    planner.write(s.physical, s.bytes);
    planner.zero(s.physical + s.bytes.size(), s.memory_size - s.bytes.size());
  }
  return std::nullopt;
}

}  // namespace doppel::bios
