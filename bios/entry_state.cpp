#include "bios/entry_state.hpp"

#include <algorithm>

#include "bios/bytes.hpp"

namespace doppel::bios {

using namespace core;

namespace {

constexpr u64 kOneGiB = u64{1} << 30;
constexpr u64 kLargePage = u64{2} << 20;

// Page-table entry bits (SDM Vol. 3A, "4-Level Paging").
constexpr u64 kPresent = 1, kWritable = 2, kLeaf = 0x80;

constexpr u16 kFlatData = kSegPresent | kSegS | kSegWritable | kSegAccessed | kSegDb | kSegG;
constexpr u16 kCode = kSegPresent | kSegS | kSegCode | kSegReadable | kSegAccessed | kSegG;
constexpr u16 kFlatCode32 = kCode | kSegDb;
constexpr u16 kCode64 = kCode | kSegL;

// A descriptor with base 0 and a 4 GiB limit; `attributes` as SegmentRegister holds them.
constexpr u64 flat_descriptor(u16 attributes) {
  return u64{0x000f'0000'0000'ffff} | static_cast<u64>(attributes) << 40;
}

std::optional<u64> place_gdt(RamPlanner& planner, u16 code_attributes) {
  Bytes gdt;
  for (const u64 descriptor : {u64{0}, u64{0}, flat_descriptor(code_attributes), flat_descriptor(kFlatData)})
    append(gdt, descriptor);
  return planner.place_table(gdt, 16);
}

void start_flat(CpuState& state, u64 gdt, u16 code_attributes, u64 entry) {
  const SegmentRegister code{.base = 0, .limit = ~u32{0}, .selector = kBootCs, .attributes = code_attributes};
  const SegmentRegister data{.base = 0, .limit = ~u32{0}, .selector = kBootDs, .attributes = kFlatData};
  state.segment.fill(data);
  state.segment[kCs] = code;
  state.gdtr = {.base = gdt, .limit = 4 * sizeof(u64) - 1};
  state.idtr = {};
  state.gpr.fill(0);
  set_rflags(state, 0);
  state.rip = entry;
  state.cpl = 0;
  state.activity = Activity::kRunning;
}

}  // namespace

void set_memory_types(CpuState& state, u32 physical_address_bits) {
  constexpr u64 kUncached = 0, kWriteBack = 6, kEnabled = u64{1} << 11;
  const u64 every_address_bit = (u64{1} << physical_address_bits) - 1;
  state.mtrr_def_type = kEnabled | kWriteBack;
  state.mtrr_fixed.fill(0);
  state.mtrr_variable.fill(0);
  state.mtrr_variable[0] = kPciHoleStart | kUncached;
  state.mtrr_variable[1] = (every_address_bit & ~(kFourGiB - kPciHoleStart - 1)) | kEnabled;
}

bool enter_protected_mode(CpuState& state, RamPlanner& planner, u32 entry) {
  const auto gdt = place_gdt(planner, kFlatCode32);
  if (!gdt) return false;
  start_flat(state, *gdt, kFlatCode32, entry);
  state.code_bits = 32;
  state.cr0 = kCr0Pe | kCr0Et;
  state.cr3 = state.cr4 = state.efer = 0;
  return true;
}

bool enter_long_mode(CpuState& state, RamPlanner& planner, u64 page_tables, u64 entry) {
  const auto gdt = place_gdt(planner, kCode64);
  if (!gdt) return false;
  start_flat(state, *gdt, kCode64, entry);
  state.code_bits = 64;
  state.cr0 = kCr0Pe | kCr0Et | kCr0Pg;
  state.cr3 = page_tables;
  state.cr4 = kCr4Pae;
  state.efer = kEferLme | kEferLma;
  return true;
}

void enter_real_mode(CpuState& state, u16 cs, u16 ip) {
  constexpr u16 kData = kSegPresent | kSegS | kSegWritable | kSegAccessed;
  state.segment.fill({.base = 0, .limit = 0xffff, .selector = 0, .attributes = kData});
  state.segment[kCs] = {
      .base = u64{cs} << 4, .limit = 0xffff, .selector = cs, .attributes = kData | kSegCode};
  state.gdtr = {.base = 0, .limit = 0xffff};
  state.idtr = {.base = 0, .limit = 0x3ff};
  state.gpr.fill(0);
  set_rflags(state, 0);
  state.rip = ip;
  state.cpl = 0;
  state.code_bits = 16;
  state.cr0 = kCr0Et;
  state.cr3 = state.cr4 = state.efer = 0;
  state.activity = Activity::kRunning;
}

std::optional<u64> identity_page_tables(RamPlanner& planner, u64 end) {
  const u64 gibs = std::max<u64>(4, (end + kOneGiB - 1) / kOneGiB);
  const auto root = planner.claim_lowest((2 + gibs) * kPageSize, kPageSize, kLowTables);
  if (!root) return std::nullopt;
  const u64 pdpt = *root + kPageSize, directories = pdpt + kPageSize;

  Bytes tables;
  append(tables, pdpt | kPresent | kWritable);
  tables.resize(kPageSize);
  for (u64 i = 0; i < gibs; ++i) append(tables, (directories + i * kPageSize) | kPresent | kWritable);
  tables.resize(2 * kPageSize);
  for (u64 pa = 0; pa < gibs * kOneGiB; pa += kLargePage) append(tables, pa | kPresent | kWritable | kLeaf);
  planner.write(*root, tables);
  return root;
}

}  // namespace doppel::bios
