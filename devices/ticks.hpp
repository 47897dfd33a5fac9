// Conversion between nanoseconds of guest time and ticks of a fixed-frequency oscillator, exact over the
// whole 64-bit range (a 64-bit product would overflow within seconds). Called by the timer devices.
#pragma once

#include "core/clock.hpp"
#include "core/types.hpp"

namespace doppel::devices {

// Whole ticks that have passed `ns` after tick 0.
[[nodiscard]] constexpr u64 ticks_after(u64 ns, u64 hz) {
  return static_cast<u64>(u128{ns} * hz / core::kNanosecondsPerSecond);
}

// The first nanosecond at which `ticks` have passed; kNever when that is beyond the clock's range.
[[nodiscard]] constexpr u64 time_of_tick(u128 ticks, u64 hz) {
  // Ticks beyond 96 bits would overflow the product, and no oscillator here reaches them.
  if (ticks >> 96) return core::kNever;
  const u128 ns = (ticks * core::kNanosecondsPerSecond + hz - 1) / hz;
  return ns >= core::kNever ? core::kNever : static_cast<u64>(ns);
}

// `start` plus `ns` without wrapping.
[[nodiscard]] constexpr u64 later(u64 start, u64 ns) {
  return ns > core::kNever - start ? core::kNever : start + ns;
}

}  // namespace doppel::devices
