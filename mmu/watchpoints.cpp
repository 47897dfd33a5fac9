// The part of mmu::Mmu that serves data breakpoints: pages that hold one lose the tags that would let an
// access pass unseen, and the slow path compares. Instruction and I/O breakpoints are not handled here.
// Source: Intel SDM Vol. 3B, "Debug Registers".
#include <algorithm>

#include "mmu/mmu.hpp"

namespace doppel::mmu {

using namespace core;

namespace {

constexpr u64 kEnables = 0xff;  // L0, G0, ... L3, G3
enum Condition : u32 { kOnWrite = 1, kOnReadWrite = 3 };

constexpr u64 length_of(u32 field) {
  constexpr u64 kLengths[] = {1, 2, 8, 4};
  return kLengths[field];
}

}  // namespace

bool Mmu::debug_registers_changed() const {
  const u64 control = state_.dr[7];
  if (control != watch_control_) return true;
  return (control & kEnables) &&
         !std::equal(watch_addresses_.begin(), watch_addresses_.end(), state_.dr.begin());
}

void Mmu::load_watches() {
  drop_watched_pages();
  watch_control_ = state_.dr[7];
  std::copy_n(state_.dr.begin(), 4, watch_addresses_.begin());
  watching_ = false;
  for (u32 i = 0; i < 4; ++i) {
    const u32 field = watch_control_ >> (16 + 4 * i) & 0xf, condition = field & 3;
    const u64 length = length_of(field >> 2), first = watch_addresses_[i] & ~(length - 1);
    const bool enabled =
        (watch_control_ >> (2 * i) & 3) && (condition == kOnWrite || condition == kOnReadWrite);
    watches_[i] = {first, first + (length - 1), enabled, condition == kOnReadWrite};
    watching_ |= enabled;
  }
  drop_watched_pages();
}

void Mmu::drop_watched_pages() {
  for (const Watch& watch : watches_)
    if (watch.enabled) for_each_array([&watch](TlbArray& tlb) { tlb.drop(watch.first); });
}

bool Mmu::watched(u64 page, bool write) const {
  return watching_ && std::ranges::any_of(watches_, [page, write](const Watch& watch) {
           return watch.hit_by(page, page + (kPageSize - 1), write);
         });
}

void Mmu::note_hits(const Piece& piece, bool write) {
  for (u32 i = 0; i < 4; ++i)
    if (watches_[i].hit_by(piece.la, piece.la + (piece.size - 1), write)) state_.debug_hits |= u64{1} << i;
}

}  // namespace doppel::mmu
