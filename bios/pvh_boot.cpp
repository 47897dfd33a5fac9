#include "bios/pvh_boot.hpp"

#include <fmt/format.h>

#include "bios/entry_state.hpp"

namespace doppel::bios {

namespace {

constexpr u32 kPhys32Entry = 18;
constexpr u32 kStartMagic = 0x336e'c578, kStartVersion = 1;

u64 align4(u64 size) {
  return (size + 3) & ~u64{3};
}

std::optional<u32> find_note(const ByteView& notes) {
  constexpr u64 kHeader = 12;
  for (u64 at = 0; notes.contains(at, kHeader);) {
    const u32 name_size = notes.at<u32>(at), size = notes.at<u32>(at + 4), type = notes.at<u32>(at + 8);
    const u64 name = at + kHeader, value = name + align4(name_size);
    if (name_size == 4 && notes.has_text(name, {"Xen", 4}) && type == kPhys32Entry &&
        notes.contains(value, size) && (size == 4 || size == 8))
      return notes.at<u32>(value);
    at = value + align4(size);
  }
  return std::nullopt;
}

// hvm_modlist_entry for each module. Nothing placed is address 0.
Error place_modules(const std::vector<BootModule>& modules, RamPlanner& planner, u64& list) {
  Bytes entries;
  for (const BootModule& module : modules) {
    const auto place = planner.claim_highest(module.bytes.size(), core::kPageSize, core::kFourGiB);
    const auto text = planner.place_table(c_string(module.text), 1);
    if (!place || !text)
      return fmt::format("A module of {} bytes does not fit beside the kernel: give the machine more memory.",
                         module.bytes.size());
    planner.write(*place, module.bytes);
    for (const u64 field : {*place, u64{module.bytes.size()}, *text, u64{0}}) append(entries, field);
  }
  if (modules.empty()) return std::nullopt;
  const auto place = planner.place_table(entries, 8);
  if (!place) return "There is no room for the list of modules.";
  list = *place;
  return std::nullopt;
}

Bytes memory_map_table(const std::vector<E820Entry>& map) {
  Bytes out;
  for (const E820Entry& entry : map) {
    append(out, entry.base);
    append(out, entry.size);
    append(out, static_cast<u32>(entry.type));
    append(out, u32{0});
  }
  return out;
}

}  // namespace

std::optional<u32> pvh_entry(const ElfImage& image) {
  for (const ElfSegment& segment : image.notes)
    if (const auto entry = find_note(ByteView(segment.bytes))) return entry;
  return std::nullopt;
}

Error start_pvh(const ElfImage& image, u32 entry, const BootRequest& request, u64 rsdp, RamPlanner& planner,
                core::CpuState& state) {
  if (!has_physical(image, entry))
    return "The kernel file is damaged: its PVH entry lies outside its segments.";
  if (auto error = load_elf(image, planner)) return error;
  u64 module_list = 0;
  if (auto error = place_modules(request.modules, planner, module_list)) return error;
  const auto command_line = planner.place_table(c_string(request.command_line), 16);
  const auto map = planner.place_table(memory_map_table(planner.map()), 8);
  if (!command_line || !map) return "There is no room for the command line.";

  Bytes info;
  for (const u32 field :
       {kStartMagic, kStartVersion, u32{0} /* flags */, static_cast<u32>(request.modules.size())})
    append(info, field);
  for (const u64 field : {module_list, *command_line, rsdp, *map}) append(info, field);
  append(info, static_cast<u32>(planner.map().size()));
  append(info, u32{0});
  const auto start_info = planner.place_table(info, 8);
  if (!start_info || !enter_protected_mode(state, planner, entry))
    return "There is no room for the boot tables.";
  state.gpr[core::kRbx] = *start_info;
  return std::nullopt;
}

}  // namespace doppel::bios
