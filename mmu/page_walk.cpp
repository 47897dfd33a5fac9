#include "mmu/page_walk.hpp"

#include <array>

namespace doppel::mmu {

using namespace core;

namespace {

// Bits of paging-structure entries, alike in all formats (SDM Vol. 3A, "Paging-Structure Entries"):
//
//   63   62          40  39          12  8  7   6  5    2    1    0
//   XD   rsvd/ignored    frame           G  PS  D  A    U/S  R/W  P
constexpr u64 kPresent = 1u << 0, kRw = 1u << 1, kUs = 1u << 2, kAccessed = 1u << 5, kDirty = 1u << 6,
              kPs = 1u << 7, kGlobal = 1u << 8, kXd = u64{1} << 63;

constexpr u64 bits(u32 low, u32 high) {
  return (~u64{0} >> (63 - high)) & (~u64{0} << low);
}
constexpr u64 kFrame = bits(12, kPhysicalBits - 1);

struct Format {
  u32 levels;  // of tables in memory
  u32 index_bits;
  u32 entry_size;
  u32 largest;               // the highest level where PS makes a leaf; above it PS is reserved
  u64 reserved;              // in every entry, beside XD without EFER.NXE
  bool pdptes = false;       // the walk starts at a PDPTE register, not at CR3
  bool pse36 = false;        // a 4 MiB page's PDE holds the frame's bits 39:32 in its bits 20:13
  bool optional_ps = false;  // without CR4.PSE the PS bit is ignored
};
constexpr Format kLegacy{.levels = 2,
                         .index_bits = 10,
                         .entry_size = 4,
                         .largest = 2,
                         .reserved = 0,
                         .pse36 = true,
                         .optional_ps = true};
constexpr Format kPae{.levels = 2,
                      .index_bits = 9,
                      .entry_size = 8,
                      .largest = 2,
                      .reserved = bits(kPhysicalBits, 62),
                      .pdptes = true};
constexpr Format kFourLevel{
    .levels = 4, .index_bits = 9, .entry_size = 8, .largest = 3, .reserved = bits(kPhysicalBits, 51)};
constexpr Format kFiveLevel{
    .levels = 5, .index_bits = 9, .entry_size = 8, .largest = 3, .reserved = bits(kPhysicalBits, 51)};

const Format& format_of(const CpuState& state) {
  if (!(state.cr4 & kCr4Pae)) return kLegacy;
  if (!(state.efer & kEferLma)) return kPae;
  return state.cr4 & kCr4La57 ? kFiveLevel : kFourLevel;
}

// PDPTE bits 2:1, 8:5 and those above MAXPHYADDR must be zero.
constexpr u64 kPdpteReserved = bits(1, 2) | bits(5, 8) | bits(kPhysicalBits, 63);

// The entries that a walk went through, to set their accessed bits.
struct Path {
  struct Step {
    u64 pa, entry;
  };
  std::array<Step, 5> steps;
  u32 count = 0;
};

// Bits that are reserved in a leaf of `size` bytes above level 1 only; bit 12 is PAT there.
u64 reserved_in_large(const Format& format, u64 size) {
  return (size - 1) & ~bits(0, 12) & ~(format.pse36 ? bits(13, 20) : 0);
}

u64 large_frame(const Format& format, u64 entry, u64 size) {
  return (entry & kFrame & ~(size - 1)) | (format.pse36 ? (entry >> 13 & 0xff) << 32 : 0);
}

// What the access rights of the entries' conjunction mean for this privilege (SDM Vol. 3A, "Access Rights").
void grant(const CpuState& state, Privilege privilege, u64 rights, Translation& out) {
  const bool user_page = rights & kUs, rw = rights & kRw, xd = rights & kXd;
  if (privilege == Privilege::kUser) {
    out.readable = user_page;
    out.writable = user_page && rw;
    out.executable = user_page && !xd;
    return;
  }
  const bool smap = privilege == Privilege::kSupervisor && (state.cr4 & kCr4Smap);
  out.readable = !(user_page && smap);
  out.writable = out.readable && (rw || !(state.cr0 & kCr0Wp));
  out.executable = !xd && !(user_page && (state.cr4 & kCr4Smep));
}

bool permitted(const Translation& t, Access access) {
  switch (access) {
    case Access::kRead:
      return t.readable;
    case Access::kWrite:
      return t.writable;
    case Access::kExecute:
      return t.executable;
  }
  return false;
}

// SDM Vol. 3A, "Page-Fault Exceptions".
WalkResult fault(const CpuState& state, Access access, Privilege privilege, u32 cause) {
  u32 error = cause;
  if (access == Access::kWrite) error |= kPfWrite;
  if (privilege == Privilege::kUser) error |= kPfUser;
  const bool nxe = (state.cr4 & kCr4Pae) && (state.efer & kEferNxe);
  if (access == Access::kExecute && (nxe || (state.cr4 & kCr4Smep))) error |= kPfFetch;
  return {{}, false, error};
}

WalkResult walk_tables(const CpuState& state, PhysicalMemory& memory, u64 la, Access access,
                       Privilege privilege, Path& path) {
  const Format& format = format_of(state);
  const u64 reserved = format.reserved | (format.entry_size == 8 && !(state.efer & kEferNxe) ? kXd : 0);
  const u64 ps = format.optional_ps && !(state.cr4 & kCr4Pse) ? 0 : kPs;

  u64 table = state.cr3;
  if (format.pdptes) {
    table = state.pdpte[la >> 30 & 3];
    if (!(table & kPresent)) return fault(state, access, privilege, 0);
  }

  u64 rights = kRw | kUs;
  for (u32 level = format.levels;; --level) {
    const u32 shift = 12 + format.index_bits * (level - 1);
    const u64 index = la >> shift & ((u64{1} << format.index_bits) - 1);
    const u64 pa = (table & kFrame) + index * format.entry_size;
    const u64 entry = memory.read_entry(pa, format.entry_size);
    if (!(entry & kPresent)) return fault(state, access, privilege, 0);
    path.steps[path.count++] = {pa, entry};
    rights = (rights & entry & (kRw | kUs)) | ((rights | entry) & kXd);

    const u64 size = u64{1} << shift;
    const bool large = level > 1 && (entry & ps);
    u64 bad = entry & reserved;
    if (large) bad |= level > format.largest ? kPs : entry & reserved_in_large(format, size);
    if (bad) return fault(state, access, privilege, kPfPresent | kPfReserved);
    if (level > 1 && !large) {
      table = entry;
      continue;
    }

    WalkResult result;
    Translation& t = result.translation;
    t.physical = (large ? large_frame(format, entry, size) : entry & kFrame) | (la & (size - 1) & kPageMask);
    t.page_size = size;
    t.global = (entry & kGlobal) && (state.cr4 & kCr4Pge);
    t.dirty = entry & kDirty;
    grant(state, privilege, rights, t);
    if (!permitted(t, access)) return fault(state, access, privilege, kPfPresent);
    result.ok = true;
    return result;
  }
}

// False: another processor changed an entry meanwhile, so the walk no longer holds.
bool set_accessed(PhysicalMemory& memory, const Path& path, u32 entry_size, bool write) {
  for (u32 i = 0; i < path.count; ++i) {
    const auto& [pa, entry] = path.steps[i];
    const u64 wanted = entry | kAccessed | (write && i + 1 == path.count ? kDirty : 0);
    if (wanted != entry && !memory.compare_exchange(pa, entry_size, entry, wanted)) return false;
  }
  return true;
}

}  // namespace

WalkResult walk(const CpuState& state, PhysicalMemory& memory, u64 la, Access access, Privilege privilege) {
  if (!(state.cr0 & kCr0Pg)) {
    WalkResult result;
    result.ok = true;
    result.translation = {
        .physical = la & kPageMask, .dirty = true, .readable = true, .writable = true, .executable = true};
    return result;
  }
  const bool write = access == Access::kWrite;
  for (;;) {
    Path path;
    WalkResult result = walk_tables(state, memory, la, access, privilege, path);
    if (!result.ok) return result;
    if (!set_accessed(memory, path, format_of(state).entry_size, write)) continue;
    result.translation.dirty |= write;
    return result;
  }
}

UserRegion walk_user_region(const CpuState& state, PhysicalMemory& memory, u64 la) {
  UserRegion region;
  const Format& format = format_of(state);
  if (!(state.cr0 & kCr0Pg) || !(state.efer & kEferLma)) return region;
  const u64 reserved = format.reserved | (state.efer & kEferNxe ? 0 : kXd);
  const auto fill = [&](UserPage& page, u64 physical, u64 leaf, u64 rights) {
    if (!(leaf & kAccessed) || !(rights & kUs)) return;
    page = {physical, true, (rights & kRw) != 0, !(rights & kXd), (leaf & kDirty) != 0};
  };
  const auto combine = [](u64 rights, u64 entry) {
    return (rights & entry & (kRw | kUs)) | ((rights | entry) & kXd);
  };

  u64 table = state.cr3, rights = kRw | kUs;
  for (u32 level = format.levels; level > 1; --level) {
    const u32 shift = 12 + 9 * (level - 1);
    const u64 entry = memory.read_entry((table & kFrame) + (la >> shift & 511) * 8, 8);
    if (!(entry & kPresent) || (entry & reserved)) return region;
    rights = combine(rights, entry);
    table = entry;
    if (!(entry & kPs)) continue;
    const u64 size = u64{1} << shift;
    if (level > format.largest || (entry & reserved_in_large(format, size))) return region;
    const u64 first = large_frame(format, entry, size) | (la & (size - 1) & ~(kUserRegionSize - 1));
    for (u64 i = 0; i < region.size(); ++i) fill(region[i], first + i * kPageSize, entry, rights);
    return region;
  }
  for (u64 i = 0; i < region.size(); ++i) {
    const u64 entry = memory.read_entry((table & kFrame) + i * 8, 8);
    if ((entry & kPresent) && !(entry & reserved))
      fill(region[i], entry & kFrame, entry, combine(rights, entry));
  }
  return region;
}

bool load_pdptes(CpuState& state, PhysicalMemory& memory, u64 cr3) {
  std::array<u64, 4> pdpte;
  for (u32 i = 0; i < 4; ++i) {
    pdpte[i] = memory.read((cr3 & bits(5, 31)) + i * 8, 8);
    if ((pdpte[i] & kPresent) && (pdpte[i] & kPdpteReserved)) return false;
  }
  state.pdpte = pdpte;
  return true;
}

}  // namespace doppel::mmu
