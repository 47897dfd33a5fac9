// Decides where a boot protocol's pieces go in guest RAM and copies them there: nothing overlaps, nothing
// leaves usable RAM. One lives for the length of one boot. It knows the memory map, no protocol.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "bios/e820.hpp"
#include "core/guest_ram.hpp"

namespace doppel::bios {

// Where small tables (boot parameters, descriptor and page tables) go at the earliest: above what real-mode
// code and the BIOS data area use.
inline constexpr u64 kLowTables = 0x1'0000;

class RamPlanner {
 public:
  explicit RamPlanner(core::GuestRam& ram);

  [[nodiscard]] const std::vector<E820Entry>& map() const { return map_; }

  // Takes exactly this range. False (nothing taken) unless all of it is usable RAM that nobody took.
  [[nodiscard]] bool claim(u64 base, u64 size);
  // Takes the lowest free place at or above `from`, or the highest that ends at or below `end`; both for a
  // power-of-two `align`. Nothing if there is no such place.
  [[nodiscard]] std::optional<u64> claim_lowest(u64 size, u64 align, u64 from);
  [[nodiscard]] std::optional<u64> claim_highest(u64 size, u64 align, u64 end);

  // The same as claim_lowest from kLowTables, and copies `bytes` there.
  [[nodiscard]] std::optional<u64> place_table(std::span<const u8> bytes, u64 align);

  // Fill a range that was claimed.
  void write(u64 pa, std::span<const u8> bytes);
  void zero(u64 pa, u64 size);

 private:
  struct Range {
    u64 begin, end;
  };
  void take(std::size_t index, u64 begin, u64 end);

  core::GuestRam& ram_;
  std::vector<E820Entry> map_;
  std::vector<Range> free_;  // sorted
};

}  // namespace doppel::bios
