#include "bios/ram_planner.hpp"

#include <algorithm>
#include <array>

#include "core/log.hpp"

namespace doppel::bios {

RamPlanner::RamPlanner(core::GuestRam& ram) : ram_(ram), map_(memory_map(ram)) {
  for (const E820Entry& entry : map_)
    if (entry.type == E820Type::kRam) free_.push_back({entry.base, entry.base + entry.size});
  free_.front().begin = core::kPageSize;  // real-mode vectors and the BIOS data area stay
}

bool RamPlanner::claim(u64 base, u64 size) {
  for (std::size_t i = 0; i < free_.size(); ++i) {
    if (base < free_[i].begin || base > free_[i].end || size > free_[i].end - base) continue;
    take(i, base, base + size);
    return true;
  }
  return false;
}

std::optional<u64> RamPlanner::claim_lowest(u64 size, u64 align, u64 from) {
  for (std::size_t i = 0; i < free_.size(); ++i) {
    const Range range = free_[i];
    const u64 base = (std::max(range.begin, from) + align - 1) & ~(align - 1);
    if (base > range.end || size > range.end - base) continue;
    take(i, base, base + size);
    return base;
  }
  return std::nullopt;
}

std::optional<u64> RamPlanner::claim_highest(u64 size, u64 align, u64 end) {
  for (std::size_t i = free_.size(); i-- > 0;) {
    const Range range = free_[i];
    const u64 top = std::min(range.end, end);
    if (top < range.begin || size > top - range.begin) continue;
    const u64 base = (top - size) & ~(align - 1);
    if (base < range.begin) continue;
    take(i, base, base + size);
    return base;
  }
  return std::nullopt;
}

std::optional<u64> RamPlanner::place_table(std::span<const u8> bytes, u64 align) {
  const auto base = claim_lowest(bytes.size(), align, kLowTables);
  if (base) write(*base, bytes);
  return base;
}

void RamPlanner::write(u64 pa, std::span<const u8> bytes) {
  const bool written = ram_.write(pa, bytes);
  DOPPEL_CHECK(written, "{} bytes at {:#x} are not RAM", bytes.size(), pa);
}

void RamPlanner::zero(u64 pa, u64 size) {
  static constexpr std::array<u8, 64 * 1024> kZeros{};
  for (u64 done = 0; done < size;) {
    const u64 part = std::min<u64>(size - done, kZeros.size());
    write(pa + done, {kZeros.data(), part});
    done += part;
  }
}

void RamPlanner::take(std::size_t index, u64 begin, u64 end) {
  if (begin == end) return;
  const Range before{free_[index].begin, begin}, after{end, free_[index].end};
  free_[index] = before;
  free_.insert(free_.begin() + static_cast<std::ptrdiff_t>(index) + 1, after);
  std::erase_if(free_, [](const Range& range) { return range.begin == range.end; });
}

}  // namespace doppel::bios
