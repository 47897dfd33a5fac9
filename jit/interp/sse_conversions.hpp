// Conversions of one number, in the shape the SIMD families want: f(source, mxcsr). Used by sse_convert.cpp
// and mmx.cpp.
#pragma once

#include "jit/interp/sse_soft_float.hpp"

namespace doppel::interp {

// Integers are signed types, floating-point numbers unsigned ones. kTruncating: the CVTT forms.
template <class To, class From, bool kTruncating = false>
inline constexpr auto kConvert = [](From value, u32 mxcsr) -> Rounded<To> {
  if constexpr (std::is_signed_v<From>)
    return float_from_integer<To>(value, mxcsr);
  else if constexpr (std::is_signed_v<To>)
    return float_to_integer<To>(value, kTruncating ? Rounding::kTruncate : rounding(mxcsr), mxcsr);
  else
    return float_convert<To>(value, mxcsr);
};

}  // namespace doppel::interp
