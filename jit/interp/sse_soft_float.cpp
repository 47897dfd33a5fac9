#include "jit/interp/sse_soft_float.hpp"

#include <algorithm>

namespace doppel::interp {
namespace {

// A finite value: (-1)^negative * significand * 2^exponent.
struct Finite {
  bool negative;
  i32 exponent;
  u64 significand;
};

template <class U>
Finite unpack(U x) {
  using F = FloatFormat<U>;
  const u32 field = static_cast<u32>(magnitude(x) >> F::kFraction);
  const u64 fraction = x & (F::kImplicit - 1);
  const i32 exponent = static_cast<i32>(std::max(field, 1u)) - F::kBias - static_cast<i32>(F::kFraction);
  return {is_negative(x), exponent, field == 0 ? fraction : fraction | F::kImplicit};
}

template <class U>
U signed_zero(bool negative) {
  return negative ? FloatFormat<U>::kSign : U{0};
}
template <class U>
U signed_infinity(bool negative) {
  return static_cast<U>(signed_zero<U>(negative) | FloatFormat<U>::kInfinity);
}

i32 leading_zeros(u128 x) {
  const u64 high = static_cast<u64>(x >> 64);
  return high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(x));
}

// Right shift that keeps in bit 0 whether anything was lost.
u128 shift_sticky(u128 x, i32 count) {
  if (count == 0) return x;
  if (count >= 128) return x != 0;
  const u128 lost = x & ((u128{1} << count) - 1);
  return (x >> count) | (lost != 0);
}

struct RoundedInteger {
  u64 value;
  bool inexact;
};

// x / 2^drop as an integer; drop >= 1, and the result must fit.
RoundedInteger round_integer(u128 x, i32 drop, bool negative, Rounding mode) {
  if (drop > 127) {
    x = shift_sticky(x, drop - 127);
    drop = 127;
  }
  const u64 kept = static_cast<u64>(x >> drop);
  const u128 rest = x & ((u128{1} << drop) - 1), half = u128{1} << (drop - 1);
  bool up = false;
  switch (mode) {
    case Rounding::kNearest:
      up = rest > half || (rest == half && (kept & 1));
      break;
    case Rounding::kDown:
      up = negative && rest != 0;
      break;
    case Rounding::kUp:
      up = !negative && rest != 0;
      break;
    case Rounding::kTruncate:
      break;
  }
  return {kept + up, rest != 0};
}

template <class U>
Rounded<U> overflow(bool negative, bool inexact, u32 mxcsr) {
  const Rounding mode = rounding(mxcsr);
  const bool to_infinity = mode == Rounding::kNearest || mode == (negative ? Rounding::kDown : Rounding::kUp);
  const U infinity = signed_infinity<U>(negative);
  const bool masked = mxcsr & (kMxcsrOverflow << kMxcsrMaskShift);
  return {static_cast<U>(to_infinity ? infinity : infinity - 1),
          kMxcsrOverflow | (masked || inexact ? kMxcsrInexact : 0)};
}

// The number in U nearest to the finite value. With underflow unmasked every tiny result raises it (SDM
// Vol. 1, "Numeric Underflow Exception"); the result is then not used.
template <class U>
Rounded<U> round_pack(bool negative, i32 exponent, u128 significand, u32 mxcsr, bool may_flush = true) {
  using F = FloatFormat<U>;
  constexpr i32 kDrop = 127 - static_cast<i32>(F::kFraction);
  const U sign = signed_zero<U>(negative);
  if (significand == 0) return {sign};

  const i32 zeros = leading_zeros(significand);
  significand <<= zeros;
  const i32 field = exponent - zeros + 127 + F::kBias;  // the exponent field, if normal
  const RoundedInteger normal = round_integer(significand, kDrop, negative, rounding(mxcsr));
  const bool carried = normal.value == u64{2} * F::kImplicit;

  if (field + carried > 0) {
    if (field + carried >= static_cast<i32>(F::kMaxExponent))
      return overflow<U>(negative, normal.inexact, mxcsr);
    // The implicit bit adds one to the exponent field; with field 0, rounding carried up to the least normal.
    const U packed = field == 0 ? F::kImplicit
                                : static_cast<U>((static_cast<U>(field - 1) << F::kFraction) + normal.value);
    return {static_cast<U>(sign | packed), normal.inexact ? kMxcsrInexact : 0};
  }

  const bool masked = mxcsr & (kMxcsrUnderflow << kMxcsrMaskShift);
  if (masked && may_flush && (mxcsr & kMxcsrFtz)) return {sign, kMxcsrUnderflow | kMxcsrInexact};
  const RoundedInteger tiny = round_integer(significand, kDrop + 1 - field, negative, rounding(mxcsr));
  const bool inexact = masked ? tiny.inexact : normal.inexact;
  return {static_cast<U>(sign | static_cast<U>(tiny.value)),
          (inexact ? kMxcsrInexact : 0) | (!masked || tiny.inexact ? kMxcsrUnderflow : 0)};
}

// For operands of which at least one is a NaN: the first of them, quieted.
template <class U, class... More>
Rounded<U> first_nan(U a, More... more) {
  const bool signaling = (is_signaling(a) || ... || is_signaling(more));
  U nan = a;
  ((nan = is_nan(nan) ? nan : more), ...);
  return {quiet(nan), signaling ? kMxcsrInvalid : 0};
}
template <class U>
Rounded<U> invalid() {
  return {FloatFormat<U>::kDefaultNan, kMxcsrInvalid};
}

// The denormal flag for the operands, before DAZ.
template <class... U>
u32 denormal_flag(u32 mxcsr, U... operands) {
  return !(mxcsr & kMxcsrDaz) && (is_denormal(operands) || ...) ? kMxcsrDenormal : 0;
}
template <class U>
Rounded<U> with_flags(Rounded<U> result, u32 flags) {
  return {result.bits, result.flags | flags};
}

// The exact sum of two values, rounded. Significands below 2^126; the one with the larger exponent is
// normalized or the exponents are equal, so that the lost bits of the other matter only as sticky.
template <class U>
Rounded<U> add_exact(bool a_negative, i32 a_exponent, u128 a, bool b_negative, i32 b_exponent, u128 b,
                     u32 mxcsr) {
  if (a_exponent < b_exponent) {
    std::swap(a_negative, b_negative);
    std::swap(a_exponent, b_exponent);
    std::swap(a, b);
  }
  b = shift_sticky(b, a_exponent - b_exponent);
  if (a_negative == b_negative) return round_pack<U>(a_negative, a_exponent, a + b, mxcsr);
  if (a == b) return {signed_zero<U>(rounding(mxcsr) == Rounding::kDown)};
  return a > b ? round_pack<U>(a_negative, a_exponent, a - b, mxcsr)
               : round_pack<U>(b_negative, a_exponent, b - a, mxcsr);
}

template <class U>
Rounded<U> zero_sum(bool a_negative, bool b_negative, u32 mxcsr) {
  return {signed_zero<U>(a_negative == b_negative ? a_negative : rounding(mxcsr) == Rounding::kDown)};
}

}  // namespace

template <class U>
Rounded<U> soft_add(U a, U b, u32 mxcsr) {
  if (is_nan(a) || is_nan(b)) return first_nan(a, b);
  if (is_infinite(a) && is_infinite(b) && a != b) return invalid<U>();
  const u32 flags = denormal_flag(mxcsr, a, b);
  if (is_infinite(a)) return {a, flags};
  if (is_infinite(b)) return {b, flags};
  a = flush_denormal(a, mxcsr);
  b = flush_denormal(b, mxcsr);
  if (is_zero(a) && is_zero(b)) return zero_sum<U>(is_negative(a), is_negative(b), mxcsr);
  const Finite x = unpack(a), y = unpack(b);
  const u128 p = static_cast<u128>(x.significand) << 64, q = static_cast<u128>(y.significand) << 64;
  return with_flags(add_exact<U>(x.negative, x.exponent - 64, p, y.negative, y.exponent - 64, q, mxcsr),
                    flags);
}

template <class U>
Rounded<U> soft_multiply(U a, U b, u32 mxcsr) {
  if (is_nan(a) || is_nan(b)) return first_nan(a, b);
  const U raw_a = a, raw_b = b;
  a = flush_denormal(a, mxcsr);
  b = flush_denormal(b, mxcsr);
  const bool negative = is_negative<U>(a ^ b);
  const u32 flags = denormal_flag(mxcsr, raw_a, raw_b);
  if (is_infinite(a) || is_infinite(b)) {
    if (is_zero(a) || is_zero(b)) return invalid<U>();
    return {signed_infinity<U>(negative), flags};
  }
  const Finite x = unpack(a), y = unpack(b);
  const u128 product = static_cast<u128>(x.significand) * y.significand;
  return with_flags(round_pack<U>(negative, x.exponent + y.exponent, product, mxcsr), flags);
}

template <class U>
Rounded<U> soft_divide(U a, U b, u32 mxcsr) {
  if (is_nan(a) || is_nan(b)) return first_nan(a, b);
  const u32 flags = denormal_flag(mxcsr, a, b);
  a = flush_denormal(a, mxcsr);
  b = flush_denormal(b, mxcsr);
  const bool negative = is_negative<U>(a ^ b);
  if ((is_infinite(a) && is_infinite(b)) || (is_zero(a) && is_zero(b))) return invalid<U>();
  if (is_infinite(a)) return {signed_infinity<U>(negative), flags};
  if (is_zero(b)) return {signed_infinity<U>(negative), kMxcsrDivideByZero};
  if (is_zero(a) || is_infinite(b)) return {signed_zero<U>(negative), flags};
  const Finite x = unpack(a), y = unpack(b);
  const i32 x_zeros = std::countl_zero(x.significand), y_zeros = std::countl_zero(y.significand);
  const u128 dividend = static_cast<u128>(x.significand << x_zeros) << 63;
  const u64 divisor = y.significand << y_zeros;
  const u128 quotient = (dividend / divisor) << 1 | (dividend % divisor != 0);
  return with_flags(
      round_pack<U>(negative, (x.exponent - x_zeros) - (y.exponent - y_zeros) - 64, quotient, mxcsr), flags);
}

template <class U>
Rounded<U> soft_square_root(U a, u32 mxcsr) {
  if (is_nan(a)) return first_nan(a);
  const u32 flags = denormal_flag(mxcsr, a);
  a = flush_denormal(a, mxcsr);
  if (is_zero(a)) return {a};
  if (is_negative(a)) return invalid<U>();
  if (is_infinite(a)) return {a};
  // The root of a radicand with an even exponent and 127 or 126 bits: 64 bits, one at a time.
  const Finite x = unpack(a);
  const i32 zeros = std::countl_zero(x.significand);
  i32 exponent = x.exponent - zeros - 63;
  u128 rest = static_cast<u128>(x.significand << zeros) << 63;
  if (exponent & 1) {
    rest >>= 1;
    ++exponent;
  }
  u128 root = 0;
  for (u128 bit = u128{1} << 126; bit != 0; bit >>= 2) {
    if (rest >= root + bit) {
      rest -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return with_flags(round_pack<U>(false, exponent / 2 - 1, root << 1 | (rest != 0), mxcsr), flags);
}

template <class U>
Rounded<U> float_multiply_add(U a, U b, U c, u32 mxcsr) {
  if (is_nan(a) || is_nan(b) || is_nan(c)) return first_nan(a, b, c);
  const u32 flags = denormal_flag(mxcsr, a, b, c);
  a = flush_denormal(a, mxcsr);
  b = flush_denormal(b, mxcsr);
  c = flush_denormal(c, mxcsr);
  const bool negative = is_negative<U>(a ^ b);
  if (is_infinite(a) || is_infinite(b)) {
    const bool opposite = is_infinite(c) && is_negative(c) != negative;
    if (is_zero(a) || is_zero(b) || opposite) return invalid<U>();
    return {signed_infinity<U>(negative), flags};
  }
  if (is_infinite(c)) return {c, flags};
  const bool product_zero = is_zero(a) || is_zero(b);
  if (product_zero && is_zero(c)) return with_flags(zero_sum<U>(negative, is_negative(c), mxcsr), flags);
  const Finite x = unpack(a), y = unpack(b), z = unpack(c);
  if (product_zero) return with_flags(round_pack<U>(z.negative, z.exponent, z.significand, mxcsr), flags);
  // Both terms with their leading one at bit 125.
  u128 product = static_cast<u128>(x.significand) * y.significand;
  const i32 up = leading_zeros(product) - 2;
  product <<= up;
  const i32 exponent = x.exponent + y.exponent - up;
  if (is_zero(c)) return with_flags(round_pack<U>(negative, exponent, product, mxcsr), flags);
  const i32 addend_up = leading_zeros(z.significand) - 2;
  return with_flags(add_exact<U>(negative, exponent, product, z.negative, z.exponent - addend_up,
                                 static_cast<u128>(z.significand) << addend_up, mxcsr),
                    flags);
}

template <class U>
Compared float_compare(U a, U b, bool signaling, u32 mxcsr) {
  if (is_nan(a) || is_nan(b)) {
    const bool invalid_operation = signaling || is_signaling(a) || is_signaling(b);
    return {Ordering::kUnordered, invalid_operation ? kMxcsrInvalid : 0};
  }
  const u32 flags = denormal_flag(mxcsr, a, b);
  const auto ordered = [&](U x) {  // sign and magnitude to two's complement
    x = flush_denormal(x, mxcsr);
    const i64 value = static_cast<i64>(magnitude(x));
    return is_negative(x) ? -value : value;
  };
  const i64 x = ordered(a), y = ordered(b);
  return {x < y ? Ordering::kLess : x > y ? Ordering::kGreater : Ordering::kEqual, flags};
}

template <class U>
Rounded<U> float_minimum(U a, U b, u32 mxcsr) {
  const Compared c = float_compare(a, b, true, mxcsr);
  return {flush_denormal(c.ordering == Ordering::kLess ? a : b, mxcsr), c.flags};
}
template <class U>
Rounded<U> float_maximum(U a, U b, u32 mxcsr) {
  const Compared c = float_compare(a, b, true, mxcsr);
  return {flush_denormal(c.ordering == Ordering::kGreater ? a : b, mxcsr), c.flags};
}

template <class U>
Rounded<U> float_round(U a, Rounding mode, u32 mxcsr) {
  if (is_nan(a)) return first_nan(a);
  a = flush_denormal(a, mxcsr);
  if (is_infinite(a) || is_zero(a)) return {a};
  const Finite x = unpack(a);
  if (x.exponent >= 0) return {a};
  const RoundedInteger whole = round_integer(x.significand, -x.exponent, x.negative, mode);
  return {round_pack<U>(x.negative, 0, whole.value, mxcsr).bits, whole.inexact ? kMxcsrInexact : 0};
}

template <class To, class From>
Rounded<To> float_convert(From a, u32 mxcsr) {
  using T = FloatFormat<To>;
  using F = FloatFormat<From>;
  const bool negative = is_negative(a);
  if (is_nan(a)) {
    const u64 payload = static_cast<u64>(a & (F::kImplicit - 1)) << (52 - F::kFraction);
    const To fraction = static_cast<To>(payload >> (52 - T::kFraction));
    return {static_cast<To>(signed_infinity<To>(negative) | T::kQuiet | fraction),
            is_signaling(a) ? kMxcsrInvalid : 0};
  }
  if (is_infinite(a)) return {signed_infinity<To>(negative)};
  // Half-precision operands ignore DAZ and raise no denormal exception; results ignore FTZ (VCVTPH2PS,
  // VCVTPS2PH).
  const u32 flags = sizeof(From) == 2 ? 0 : denormal_flag(mxcsr, a);
  if (sizeof(From) != 2) a = flush_denormal(a, mxcsr);
  const Finite x = unpack(a);
  return with_flags(round_pack<To>(negative, x.exponent, x.significand, mxcsr, sizeof(To) != 2), flags);
}

template <class U, class Integer>
Rounded<U> float_from_integer(Integer value, u32 mxcsr) {
  using Unsigned = std::make_unsigned_t<Integer>;
  const Unsigned bits = static_cast<Unsigned>(value);
  return round_pack<U>(value < 0, 0, value < 0 ? static_cast<Unsigned>(0 - bits) : bits, mxcsr);
}

template <class Integer, class U>
Rounded<Integer> float_to_integer(U a, Rounding mode, u32 mxcsr) {
  using Unsigned = std::make_unsigned_t<Integer>;
  constexpr u64 kIndefinite = u64{1} << (8 * sizeof(Integer) - 1);
  const Rounded<Integer> out_of_range{static_cast<Integer>(kIndefinite), kMxcsrInvalid};
  if (is_nan(a) || is_infinite(a)) return out_of_range;
  const Finite x = unpack(flush_denormal(a, mxcsr));
  RoundedInteger whole{x.significand, false};
  if (x.exponent < 0)
    whole = round_integer(x.significand, -x.exponent, x.negative, mode);
  else if (x.significand != 0 && x.exponent > std::countl_zero(x.significand))
    return out_of_range;
  else
    whole.value <<= x.exponent;
  if (whole.value > kIndefinite - !x.negative) return out_of_range;
  const Unsigned result = static_cast<Unsigned>(x.negative ? 0 - whole.value : whole.value);
  return {static_cast<Integer>(result), whole.inexact ? kMxcsrInexact : 0};
}

namespace {

constexpr u32 kApproximated = ~u32{0x7ff};

// To single precision, flushed to zero where it is denormal.
u32 approximate(double exact) {
  const u32 bits = std::bit_cast<u32>(static_cast<float>(exact)) & kApproximated;
  return is_denormal(bits) ? bits & FloatFormat<u32>::kSign : bits;
}

}  // namespace

u32 float_reciprocal(u32 a) {
  if (is_nan(a)) return quiet(a);
  a = flush_denormal(a, kMxcsrDaz);
  if (is_zero(a)) return signed_infinity<u32>(is_negative(a));
  return approximate(1.0 / static_cast<double>(std::bit_cast<float>(a)));
}

u32 float_reciprocal_root(u32 a) {
  if (is_nan(a)) return quiet(a);
  a = flush_denormal(a, kMxcsrDaz);
  if (is_zero(a)) return signed_infinity<u32>(is_negative(a));
  if (is_negative(a)) return FloatFormat<u32>::kDefaultNan;
  return approximate(1.0 / std::sqrt(static_cast<double>(std::bit_cast<float>(a))));
}

template Rounded<u32> soft_add(u32, u32, u32);
template Rounded<u64> soft_add(u64, u64, u32);
template Rounded<u32> soft_multiply(u32, u32, u32);
template Rounded<u64> soft_multiply(u64, u64, u32);
template Rounded<u32> soft_divide(u32, u32, u32);
template Rounded<u64> soft_divide(u64, u64, u32);
template Rounded<u32> soft_square_root(u32, u32);
template Rounded<u64> soft_square_root(u64, u32);
template Rounded<u32> float_multiply_add(u32, u32, u32, u32);
template Rounded<u64> float_multiply_add(u64, u64, u64, u32);
template Compared float_compare(u32, u32, bool, u32);
template Compared float_compare(u64, u64, bool, u32);
template Rounded<u32> float_minimum(u32, u32, u32);
template Rounded<u64> float_minimum(u64, u64, u32);
template Rounded<u32> float_maximum(u32, u32, u32);
template Rounded<u64> float_maximum(u64, u64, u32);
template Rounded<u32> float_round(u32, Rounding, u32);
template Rounded<u64> float_round(u64, Rounding, u32);
template Rounded<u64> float_convert(u32, u32);
template Rounded<u32> float_convert(u64, u32);
template Rounded<u16> float_convert(u32, u32);
template Rounded<u32> float_convert(u16, u32);
template Rounded<u32> float_from_integer(i32, u32);
template Rounded<u64> float_from_integer(i32, u32);
template Rounded<u32> float_from_integer(i64, u32);
template Rounded<u64> float_from_integer(i64, u32);
template Rounded<i32> float_to_integer(u32, Rounding, u32);
template Rounded<i32> float_to_integer(u64, Rounding, u32);
template Rounded<i64> float_to_integer(u32, Rounding, u32);
template Rounded<i64> float_to_integer(u64, Rounding, u32);

}  // namespace doppel::interp
