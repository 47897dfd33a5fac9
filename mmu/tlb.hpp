// The soft TLB's layout, as the interpreter's inlined accesses and emitted code see it. Direct-mapped by
// linear page. Filled and flushed by mmu::Mmu only.
#pragma once

#include "core/types.hpp"

namespace doppel::mmu {

inline constexpr u32 kTlbEntries = 4096;
inline constexpr u64 kTlbInvalid = ~u64{0};  // never equals a page address

// A tag holds the linear page address when that kind of access may go straight to host memory, else
// kTlbInvalid: MMIO, pages with code (write), ROM (write), missing permission, clear dirty bit (write),
// watched pages.
//   hit(access of n bytes at la) = ((la + n - 1) & ~0xfff) == tag of entry [(la >> 12) % kTlbEntries]
// An access that crosses a page misses, because its last byte lies on a page of another entry.
struct TlbEntry {
  u64 read = kTlbInvalid;
  u64 write = kTlbInvalid;
  u64 exec = kTlbInvalid;
  u64 addend = 0;  // host address = linear address + addend (modulo 2^64)
};
static_assert(sizeof(TlbEntry) == 32, "emitted code indexes entries with a shift by 5");

}  // namespace doppel::mmu
