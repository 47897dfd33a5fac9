#include "core/cpu_state.hpp"

#include <doctest.h>

using namespace doppel;
using namespace doppel::core;

TEST_CASE("every combination of the arithmetic flags survives the lazy form") {
  for (u64 bits = 0; bits < 64; ++bits) {
    const u64 flags = (bits & 1 ? kCf : 0) | (bits & 2 ? kPf : 0) | (bits & 4 ? kAf : 0) |
                      (bits & 8 ? kZf : 0) | (bits & 16 ? kSf : 0) | (bits & 32 ? kOf : 0);
    CHECK(arithmetic_flags(lazy_flags(flags)) == flags);
  }
}

TEST_CASE("set_rflags keeps system flags and the fixed bit") {
  CpuState state;
  set_rflags(state, kIf | kZf | kCf);
  CHECK(rflags(state) == (kIf | kZf | kCf | kFlagsFixed));
}
