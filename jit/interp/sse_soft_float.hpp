// IEEE 754 arithmetic as SSE, AVX and FMA define it, on bit patterns: rounding by MXCSR.RC, DAZ and FTZ, the
// six exception flags, the choice among NaNs. Pure functions: they take MXCSR and return the result with the
// flags that it raises. Portable; where the host's own arithmetic provably gives the same (round to nearest,
// inexact already flagged, no special values involved) it is used, whatever the host. Included by the
// floating-point families; knows no CPU. Sources: SDM Vol. 1, ch. 4.8-4.9 and 11.5; IEEE 754-2008.
#pragma once

#include <bit>
#include <cmath>
#include <type_traits>

#include "core/types.hpp"

namespace doppel::interp {

// MXCSR. Exception masks are the flags shifted by kMxcsrMaskShift.
inline constexpr u32 kMxcsrInvalid = 1u << 0, kMxcsrDenormal = 1u << 1, kMxcsrDivideByZero = 1u << 2,
                     kMxcsrOverflow = 1u << 3, kMxcsrUnderflow = 1u << 4, kMxcsrInexact = 1u << 5,
                     kMxcsrFlags = 0x3f, kMxcsrDaz = 1u << 6, kMxcsrMaskShift = 7, kMxcsrRoundingShift = 13,
                     kMxcsrRounding = 3u << kMxcsrRoundingShift, kMxcsrFtz = 1u << 15;

enum class Rounding : u8 { kNearest, kDown, kUp, kTruncate };

constexpr Rounding rounding(u32 mxcsr) {
  return static_cast<Rounding>(mxcsr >> kMxcsrRoundingShift & 3);
}
constexpr u32 with_rounding(u32 mxcsr, Rounding mode) {
  return (mxcsr & ~kMxcsrRounding) | static_cast<u32>(mode) << kMxcsrRoundingShift;
}

template <class U>
struct Rounded {
  U bits;
  u32 flags = 0;
};

// A format is named by the unsigned integer of its size: u16 (F16C only), u32, u64.
template <class U>
struct FloatFormat {
  static constexpr u32 kFraction = sizeof(U) == 2 ? 10 : sizeof(U) == 4 ? 23 : 52;
  static constexpr U kSign = static_cast<U>(U{1} << (8 * sizeof(U) - 1));
  static constexpr U kImplicit = static_cast<U>(U{1} << kFraction);  // lowest exponent bit
  static constexpr U kQuiet = static_cast<U>(kImplicit >> 1);
  static constexpr U kInfinity = static_cast<U>(kSign - kImplicit);
  static constexpr U kDefaultNan = static_cast<U>(kSign | kInfinity | kQuiet);
  static constexpr u32 kMaxExponent = static_cast<u32>(kInfinity >> kFraction);
  static constexpr i32 kBias = static_cast<i32>(kMaxExponent / 2);
  using Host = std::conditional_t<sizeof(U) == 8, double, float>;
};

template <class U>
constexpr U magnitude(U x) {
  return x & static_cast<U>(~FloatFormat<U>::kSign);
}
template <class U>
constexpr bool is_negative(U x) {
  return (x & FloatFormat<U>::kSign) != 0;
}
template <class U>
constexpr bool is_nan(U x) {
  return magnitude(x) > FloatFormat<U>::kInfinity;
}
template <class U>
constexpr bool is_signaling(U x) {
  return is_nan(x) && !(x & FloatFormat<U>::kQuiet);
}
template <class U>
constexpr bool is_infinite(U x) {
  return magnitude(x) == FloatFormat<U>::kInfinity;
}
template <class U>
constexpr bool is_zero(U x) {
  return magnitude(x) == 0;
}
template <class U>
constexpr bool is_denormal(U x) {
  return magnitude(x) - 1 < static_cast<U>(FloatFormat<U>::kImplicit - 1) && magnitude(x) != 0;
}
// Neither zero, denormal, infinite nor NaN; nor so small that rounding may have made it normal.
template <class U>
constexpr bool is_plain(U x) {
  using F = FloatFormat<U>;
  return static_cast<U>(magnitude(x) - 2 * F::kImplicit) < static_cast<U>(F::kInfinity - 2 * F::kImplicit);
}
template <class U>
constexpr U quiet(U x) {
  return x | FloatFormat<U>::kQuiet;
}
// What an operand counts as under DAZ.
template <class U>
constexpr U flush_denormal(U x, u32 mxcsr) {
  return (mxcsr & kMxcsrDaz) && is_denormal(x) ? static_cast<U>(x & FloatFormat<U>::kSign) : x;
}

// ---------------------------------------------------------------------------------------------------------------
// Everything but the fast paths; for u32 and u64.

template <class U>
[[nodiscard]] Rounded<U> soft_add(U a, U b, u32 mxcsr);
template <class U>
[[nodiscard]] Rounded<U> soft_multiply(U a, U b, u32 mxcsr);
template <class U>
[[nodiscard]] Rounded<U> soft_divide(U a, U b, u32 mxcsr);
template <class U>
[[nodiscard]] Rounded<U> soft_square_root(U a, u32 mxcsr);
// a * b + c with one rounding; for NaN operands the first of a, b, c wins.
template <class U>
[[nodiscard]] Rounded<U> float_multiply_add(U a, U b, U c, u32 mxcsr);

// MINPS, MAXPS: the second operand if either is a NaN or both are zeros.
template <class U>
[[nodiscard]] Rounded<U> float_minimum(U a, U b, u32 mxcsr);
template <class U>
[[nodiscard]] Rounded<U> float_maximum(U a, U b, u32 mxcsr);

// To an integer in the format; never raises the denormal exception. ROUNDPS.
template <class U>
[[nodiscard]] Rounded<U> float_round(U a, Rounding mode, u32 mxcsr);

// Between formats, among u16, u32 and u64.
template <class To, class From>
[[nodiscard]] Rounded<To> float_convert(From a, u32 mxcsr);
// From and to integers: Integer is i32 or i64. What does not fit gives the integer indefinite, 0x80...0.
template <class U, class Integer>
[[nodiscard]] Rounded<U> float_from_integer(Integer value, u32 mxcsr);
template <class Integer, class U>
[[nodiscard]] Rounded<Integer> float_to_integer(U a, Rounding mode, u32 mxcsr);

enum class Ordering : u8 { kLess, kEqual, kGreater, kUnordered };
struct Compared {
  Ordering ordering;
  u32 flags;
};
// `signaling`: a quiet NaN is invalid too (COMISS, CMPLTPS).
template <class U>
[[nodiscard]] Compared float_compare(U a, U b, bool signaling, u32 mxcsr);

// The approximations of RCPPS and RSQRTPS: the correctly rounded value with the low 11 bits of the fraction
// cut off, on every host; relative error below 2^-12, the manuals allow 1.5 * 2^-12. No exceptions; denormals
// count as zero.
[[nodiscard]] u32 float_reciprocal(u32 a);
[[nodiscard]] u32 float_reciprocal_root(u32 a);

// ---------------------------------------------------------------------------------------------------------------
// Fast paths.

constexpr bool host_rounds_alike(u32 mxcsr) {
  constexpr u32 kInexactMask = kMxcsrInexact << kMxcsrMaskShift;
  return (mxcsr & (kMxcsrRounding | kMxcsrInexact | kInexactMask)) == (kMxcsrInexact | kInexactMask);
}

// Op: host arithmetic.
template <auto Op, auto Soft, class U, class... More>
[[nodiscard, gnu::always_inline]] inline Rounded<U> host_or_soft(u32 mxcsr, U a, More... b) {
  if (host_rounds_alike(mxcsr) && is_plain(a) && (is_plain(b) && ...)) [[likely]] {
    using Host = typename FloatFormat<U>::Host;
    const U result = std::bit_cast<U>(Op(std::bit_cast<Host>(a), std::bit_cast<Host>(b)...));
    if (is_plain(result)) return {result};
  }
  return Soft(a, b..., mxcsr);
}
template <class U>
[[nodiscard, gnu::always_inline]] inline Rounded<U> float_add(U a, U b, u32 mxcsr) {
  return host_or_soft<[](auto x, auto y) { return x + y; }, soft_add<U>>(mxcsr, a, b);
}
template <class U>
[[nodiscard, gnu::always_inline]] inline Rounded<U> float_subtract(U a, U b, u32 mxcsr) {
  constexpr auto kSoft = [](U x, U y, u32 control) {
    return soft_add<U>(x, is_nan(y) ? y : static_cast<U>(y ^ FloatFormat<U>::kSign), control);
  };
  return host_or_soft<[](auto x, auto y) { return x - y; }, kSoft>(mxcsr, a, b);
}
template <class U>
[[nodiscard, gnu::always_inline]] inline Rounded<U> float_multiply(U a, U b, u32 mxcsr) {
  return host_or_soft<[](auto x, auto y) { return x * y; }, soft_multiply<U>>(mxcsr, a, b);
}
template <class U>
[[nodiscard, gnu::always_inline]] inline Rounded<U> float_divide(U a, U b, u32 mxcsr) {
  return host_or_soft<[](auto x, auto y) { return x / y; }, soft_divide<U>>(mxcsr, a, b);
}
template <class U>
[[nodiscard, gnu::always_inline]] inline Rounded<U> float_square_root(U a, u32 mxcsr) {
  return host_or_soft<[](auto x) { return std::sqrt(x); }, soft_square_root<U>>(mxcsr, a);
}

}  // namespace doppel::interp
