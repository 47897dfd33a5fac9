// The sixteen conditions of Jcc, SETcc and CMOVcc (SDM Vol. 1, appendix B).
#pragma once

#include "core/cpu_state.hpp"

namespace doppel::interp {

enum class Condition : u8 { kO, kNo, kB, kNb, kZ, kNz, kBe, kNbe, kS, kNs, kP, kNp, kL, kNl, kLe, kNle };

template <Condition C>
[[gnu::always_inline]] inline bool holds(const core::LazyFlags& f) {
  using enum Condition;
  if constexpr (static_cast<u8>(C) & 1)
    return !holds<static_cast<Condition>(static_cast<u8>(C) - 1)>(f);
  else if constexpr (C == kO)
    return core::of(f);
  else if constexpr (C == kB)
    return core::cf(f);
  else if constexpr (C == kZ)
    return core::zf(f);
  else if constexpr (C == kBe)
    return core::cf(f) || core::zf(f);
  else if constexpr (C == kS)
    return core::sf(f);
  else if constexpr (C == kP)
    return core::pf(f);
  else if constexpr (C == kL)
    return core::sf(f) != core::of(f);
  else
    return core::zf(f) || core::sf(f) != core::of(f);
}

}  // namespace doppel::interp
