#include "bios/multiboot.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bios/entry_state.hpp"

namespace doppel::bios {

namespace {

constexpr u32 kHeaderMagic = 0x1bad'b002, kLoaderMagic = 0x2bad'b002;
constexpr u64 kSearched = 8192, kHeaderSize = 12, kHeaderSizeWithAddresses = 32;

// Header flags. Bits 0-15 are demands: one we do not know must not be ignored.
constexpr u32 kAlignModules = 1u << 0, kMemoryInfo = 1u << 1, kVideoMode = 1u << 2, kAddressFields = 1u << 16;
constexpr u32 kDemands = 0xffff, kMetDemands = kAlignModules | kMemoryInfo;

// Fields of the information structure and the flags that say they are valid.
constexpr u32 kInfoSize = 116, kInfoMemLower = 4, kInfoMemUpper = 8, kInfoCmdline = 16, kInfoModsCount = 20,
              kInfoModsAddr = 24, kInfoMmapLength = 44, kInfoMmapAddr = 48, kInfoLoaderName = 64;
constexpr u32 kHasMemory = 1u << 0, kHasCmdline = 1u << 2, kHasMods = 1u << 3, kHasMmap = 1u << 6,
              kHasLoaderName = 1u << 9;

// The addresses in the header replace those of the file format ("a.out kludge"): one segment.
Error parse_address_fields(const ByteView& file, u64 header, ElfImage& image) {
  const u32 header_address = file.at<u32>(header + 12), load = file.at<u32>(header + 16),
            load_end = file.at<u32>(header + 20), bss_end = file.at<u32>(header + 24);
  image.entry = file.at<u32>(header + 28);

  const u64 before_header = u64{header_address} - load;
  if (load > header_address || before_header > header)
    return "The kernel file is damaged: its Multiboot addresses start before the file.";
  const u64 offset = header - before_header;
  const u64 size = load_end == 0 ? file.size() - offset : u64{load_end} - load;
  if ((load_end != 0 && load_end < load) || (bss_end != 0 && bss_end < load + size))
    return "The kernel file is damaged: its Multiboot addresses are out of order.";
  if (!file.contains(offset, size))
    return "The kernel file is truncated: its Multiboot addresses end past the file.";
  image.loads.push_back({.bytes = file.slice(offset, size),
                         .physical = load,
                         .virtual_address = load,
                         .memory_size = bss_end == 0 ? size : u64{bss_end} - load});
  return std::nullopt;
}

// The module structures {start, end, string, reserved}. Modules follow the kernel, page by page.
Error place_modules(const std::vector<BootModule>& modules, u64 after, RamPlanner& planner, Bytes& list) {
  for (const BootModule& module : modules) {
    const u64 size = module.bytes.size();
    const auto place = planner.claim_lowest(size, core::kPageSize, after);
    const auto text = planner.place_table(c_string(module.text), 1);
    if (!place || *place + size > core::kFourGiB || !text)
      return fmt::format("A module of {} bytes does not fit beside the kernel: give the machine more memory.",
                         size);
    planner.write(*place, module.bytes);
    for (const u64 field : {*place, *place + size, *text, u64{0}}) append(list, static_cast<u32>(field));
  }
  return std::nullopt;
}

Bytes memory_map_table(const std::vector<E820Entry>& map) {
  constexpr u32 kEntrySize = 20;  // does not count itself
  Bytes out;
  for (const E820Entry& entry : map) {
    append(out, kEntrySize);
    append(out, entry.base);
    append(out, entry.size);
    append(out, static_cast<u32>(entry.type));
  }
  return out;
}

// KiB of RAM from 1 MiB to the first hole.
u32 upper_memory(const std::vector<E820Entry>& map) {
  const auto it =
      std::find_if(map.begin(), map.end(), [](const E820Entry& entry) { return entry.base == kOneMiB; });
  return it == map.end() ? 0 : static_cast<u32>(it->size / 1024);
}

}  // namespace

std::optional<u64> multiboot_header(const ByteView& file) {
  for (u64 at = 0; at + kHeaderSize <= std::min(file.size(), kSearched); at += 4)
    if (file.at<u32>(at) == kHeaderMagic &&
        file.at<u32>(at) + file.at<u32>(at + 4) + file.at<u32>(at + 8) == 0)
      return at;
  return std::nullopt;
}

Error parse_multiboot(const ByteView& file, u64 header, ElfImage& image) {
  const u32 flags = file.at<u32>(header + 4);
  if (flags & kVideoMode)
    return "The kernel demands a Multiboot video mode, which this machine's loader cannot set.";
  if (flags & kDemands & ~kMetDemands)
    return fmt::format("The kernel demands Multiboot features that are unknown (flags {:#x}).",
                       flags & kDemands & ~kMetDemands);
  if (flags & kAddressFields) {
    if (!file.contains(header, kHeaderSizeWithAddresses))
      return "The kernel file is truncated in its Multiboot header.";
    if (auto error = parse_address_fields(file, header, image)) return error;
  } else {
    if (!is_elf(file)) return "The kernel's Multiboot header gives no addresses and the file is not ELF.";
    if (auto error = parse_elf(file, image)) return error;
    image.entry = physical_address(image, image.entry);
  }
  if (image.entry >= core::kFourGiB || !has_physical(image, image.entry))
    return "The kernel file is damaged: its entry lies outside what it loads.";
  return std::nullopt;
}

Error start_multiboot(const ElfImage& image, const BootRequest& request, RamPlanner& planner,
                      core::CpuState& state) {
  if (auto error = load_elf(image, planner)) return error;
  u64 kernel_end = kOneMiB;
  for (const ElfSegment& s : image.loads) kernel_end = std::max(kernel_end, s.physical + s.memory_size);

  Bytes modules;
  if (auto error = place_modules(request.modules, kernel_end, planner, modules)) return error;
  const Bytes map = memory_map_table(planner.map());
  const auto command_line = planner.place_table(c_string(request.command_line), 4);
  const auto loader = planner.place_table(c_string("doppel"), 4);
  const auto module_list = planner.place_table(modules, 4), map_address = planner.place_table(map, 4);
  if (!command_line || !loader || !module_list || !map_address)
    return "There is no room for the boot information.";

  Bytes info(kInfoSize);
  const auto set = [&](u32 offset, u64 value) { poke(info, offset, static_cast<u32>(value)); };
  set(0, kHasMemory | kHasCmdline | kHasMods | kHasMmap | kHasLoaderName);
  set(kInfoMemLower, kEbda / 1024);
  set(kInfoMemUpper, upper_memory(planner.map()));
  set(kInfoCmdline, *command_line);
  set(kInfoModsCount, request.modules.size());
  set(kInfoModsAddr, *module_list);
  set(kInfoMmapLength, map.size());
  set(kInfoMmapAddr, *map_address);
  set(kInfoLoaderName, *loader);
  const auto info_address = planner.place_table(info, 4);
  if (!info_address || !enter_protected_mode(state, planner, static_cast<u32>(image.entry)))
    return "There is no room for the boot information.";
  state.gpr[core::kRax] = kLoaderMagic;
  state.gpr[core::kRbx] = *info_address;
  return std::nullopt;
}

}  // namespace doppel::bios
