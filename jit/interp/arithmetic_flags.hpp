// How ALU operations of width 8*sizeof(T) leave their flags in CpuState::lazy (see core::LazyFlags).
// Source of the carry formulas: full-adder algebra; carry out of bit i of a+b is maj(a, b, ~sum) at bit i.
#pragma once

#include <type_traits>

#include "core/cpu_state.hpp"

namespace doppel::interp {

template <class T>
inline constexpr u32 kBits = sizeof(T) * 8;

// `carries` holds the carry (or borrow) out of every bit; only bits 3, w-2 and w-1 are kept.
template <class T>
[[gnu::always_inline]] inline u64 aux_from_carries(T carries) {
  return ((static_cast<u64>(carries) << (64 - kBits<T>)) & (u64{3} << 62)) | (carries & 8);
}

template <class T>
[[gnu::always_inline]] inline void set_result(core::CpuState& s, T result, u64 aux) {
  s.lazy.result = static_cast<u64>(static_cast<i64>(static_cast<std::make_signed_t<T>>(result)));
  s.lazy.aux = aux;
}

template <class T>
[[gnu::always_inline]] inline void flags_add(core::CpuState& s, T a, T b, T sum) {  // also ADC
  set_result<T>(s, sum, aux_from_carries<T>(static_cast<T>((a & b) | ((a | b) & ~sum))));
}
template <class T>
[[gnu::always_inline]] inline void flags_sub(core::CpuState& s, T a, T b,
                                             T difference) {  // also SBB, CMP, NEG (0 - b)
  set_result<T>(s, difference, aux_from_carries<T>(static_cast<T>((~a & b) | (~(a ^ b) & difference))));
}
template <class T>
[[gnu::always_inline]] inline void flags_logic(core::CpuState& s, T result) {  // CF = OF = AF = 0
  set_result<T>(s, result, 0);
}

// ZF, SF, PF from `result`; CF, OF and AF as given.
template <class T>
[[gnu::always_inline]] inline void flags_explicit(core::CpuState& s, T result, bool carry, bool overflow,
                                                  bool adjust) {
  set_result<T>(s, result, (u64{carry} << 63) | (u64{carry != overflow} << 62) | (adjust ? 8 : 0));
}

// Changes single flags and keeps the others.
inline void set_cf(core::CpuState& s, bool carry) {
  const bool overflow = core::of(s.lazy);
  s.lazy.aux = (s.lazy.aux & ~(u64{3} << 62)) | (u64{carry} << 63) | (u64{carry != overflow} << 62);
}
inline void set_of(core::CpuState& s, bool overflow) {
  const bool carry = core::cf(s.lazy);
  s.lazy.aux = (s.lazy.aux & ~(u64{1} << 62)) | (u64{carry != overflow} << 62);
}
// Replaces the flags in `mask` (of the six arithmetic ones) by those of `value`.
inline void set_flags(core::CpuState& s, u64 mask, u64 value) {
  core::set_arithmetic_flags(s, (core::arithmetic_flags(s.lazy) & ~mask) | (value & mask));
}

}  // namespace doppel::interp
