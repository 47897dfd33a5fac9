// Floating-point arithmetic of SSE to SSE4.1 and AVX: packed and scalar, single and double precision.
// Source: Intel SDM Vol. 2, the instructions' pages.
#include "jit/interp/families.hpp"
#include "jit/interp/sse_float_forms.hpp"

namespace doppel::interp {
namespace {

constexpr auto kAdd = []<class U>(U a, U b, u32 mxcsr) { return float_add(a, b, mxcsr); };
constexpr auto kSubtract = []<class U>(U a, U b, u32 mxcsr) { return float_subtract(a, b, mxcsr); };
constexpr auto kMultiply = []<class U>(U a, U b, u32 mxcsr) { return float_multiply(a, b, mxcsr); };
constexpr auto kDivide = []<class U>(U a, U b, u32 mxcsr) { return float_divide(a, b, mxcsr); };
constexpr auto kMinimum = []<class U>(U a, U b, u32 mxcsr) { return float_minimum(a, b, mxcsr); };
constexpr auto kMaximum = []<class U>(U a, U b, u32 mxcsr) { return float_maximum(a, b, mxcsr); };
constexpr auto kSquareRoot = []<class U>(U a, u32 mxcsr) { return float_square_root(a, mxcsr); };
constexpr auto kReciprocal = [](u32 a, u32) { return Rounded<u32>{float_reciprocal(a)}; };
constexpr auto kReciprocalRoot = [](u32 a, u32) { return Rounded<u32>{float_reciprocal_root(a)}; };

// ADDSUBPS: even lanes subtract, odd ones add.
template <class U>
struct AddSubtract {
  template <u32 B>
  static Checked<B> apply(u32 mxcsr, Bits<B> a, Bits<B> b) {
    const auto x = lanes<U>(a), y = lanes<U>(b);
    LaneResults<U, B> result;
    for (u32 i = 0; i < x.size(); ++i)
      result.set(i, i % 2 ? float_add(x[i], y[i], mxcsr) : float_subtract(x[i], y[i], mxcsr));
    return result.checked();
  }
};

// HADDPS, HSUBPS: pairs of the first source, then of the second, in each 16-byte part.
template <class U, auto F>
struct HorizontalFloat {
  template <u32 B>
  static Checked<B> apply(u32 mxcsr, Bits<B> a, Bits<B> b) {
    constexpr u32 kLanes = 16 / sizeof(U);
    const auto x = lanes<U>(a), y = lanes<U>(b);
    LaneResults<U, B> result;
    for (u32 at = 0; at < x.size(); at += kLanes)
      for (u32 i = 0; i < kLanes / 2; ++i) {
        result.set(at + i, F(x[at + 2 * i], x[at + 2 * i + 1], mxcsr));
        result.set(at + kLanes / 2 + i, F(y[at + 2 * i], y[at + 2 * i + 1], mxcsr));
      }
    return result.checked();
  }
};

// DPPS, DPPD: immediate bits 4-7 choose the products (others are +0), bits 0-3 the lanes that get the sum.
// The exceptions of the products come before those of the sums of pairs, and these before those of the last
// sum.
template <class U>
struct DotProduct {
  static constexpr u32 kPartLanes = 16 / sizeof(U);
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    Bits<kWidth<F>> second{};
    if (!read_source<F>(cpu, insn, insn.op[kFirst<F> + 1], second)) return false;
    const auto x = lanes<U>(read_register<F>(cpu, insn.op[kFirst<F>].reg)), y = lanes<U>(second);

    LaneResults<U, kWidth<F>> sum;
    for (u32 i = 0; i < x.size(); ++i)
      if (insn.imm >> (4 + i % kPartLanes) & 1) sum.set(i, float_multiply(x[i], y[i], cpu.state.mxcsr));
    if (!float_complete(cpu, sum.flags)) return false;
    for (u32 step = 1; step < kPartLanes; step *= 2) {
      for (u32 i = 0; i < x.size(); i += 2 * step)
        sum.set(i, float_add(sum.value[i], sum.value[i + step], cpu.state.mxcsr));
      if (!float_complete(cpu, sum.flags)) return false;
    }

    Lanes<U, kWidth<F>> result{};
    for (u32 i = 0; i < x.size(); ++i)
      if (insn.imm >> (i % kPartLanes) & 1) result[i] = sum.value[i - i % kPartLanes];
    write_register<F>(cpu, insn.op[0].reg, bits(result));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// ROUNDPS and the like: immediate bit 2 takes the mode from MXCSR, bit 3 suppresses the inexact exception.
template <class U>
struct Round {
  static Rounded<U> apply(u32 mxcsr, U a, u8 imm) {
    const Rounding mode = imm & 4 ? rounding(mxcsr) : static_cast<Rounding>(imm & 3);
    const Rounded<U> result = float_round(a, mode, mxcsr);
    return {result.bits, imm & 8 ? result.flags & ~kMxcsrInexact : result.flags};
  }
};
template <class U>
struct RoundEach {
  template <u32 B>
  static Checked<B> apply(u32 mxcsr, Bits<B> a, u8 imm) {
    LaneResults<U, B> result;
    for (u32 i = 0; i < result.value.size(); ++i) result.set(i, Round<U>::apply(mxcsr, lanes<U>(a)[i], imm));
    return result.checked();
  }
};

template <class Op>
constexpr auto packed_two(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex<FloatPacked<Op, true>::template In>(legacy, vex);
}
template <class Op>
constexpr auto packed_one(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex<FloatPacked<Op, false>::template In>(legacy, vex);
}
template <class U, auto F>
constexpr auto packed(ZydisMnemonic legacy, ZydisMnemonic vex) {
  constexpr bool kTwo = std::is_invocable_v<decltype(F), U, U, u32>;
  return sse_vex<FloatPacked<EachFloat<U, F>, kTwo>::template In>(legacy, vex);
}
template <class U, auto F>
constexpr auto scalar(ZydisMnemonic legacy, ZydisMnemonic vex) {
  constexpr bool kTwo = std::is_invocable_v<decltype(F), U, U, u32>;
  return sse_vex128<FloatScalar<U, OneFloat<F>, kTwo>::template In>(legacy, vex);
}

constexpr auto kTable = join_rows(
    packed<u32, kAdd>(ZYDIS_MNEMONIC_ADDPS, ZYDIS_MNEMONIC_VADDPS),
    packed<u64, kAdd>(ZYDIS_MNEMONIC_ADDPD, ZYDIS_MNEMONIC_VADDPD),
    scalar<u32, kAdd>(ZYDIS_MNEMONIC_ADDSS, ZYDIS_MNEMONIC_VADDSS),
    scalar<u64, kAdd>(ZYDIS_MNEMONIC_ADDSD, ZYDIS_MNEMONIC_VADDSD),
    packed<u32, kSubtract>(ZYDIS_MNEMONIC_SUBPS, ZYDIS_MNEMONIC_VSUBPS),
    packed<u64, kSubtract>(ZYDIS_MNEMONIC_SUBPD, ZYDIS_MNEMONIC_VSUBPD),
    scalar<u32, kSubtract>(ZYDIS_MNEMONIC_SUBSS, ZYDIS_MNEMONIC_VSUBSS),
    scalar<u64, kSubtract>(ZYDIS_MNEMONIC_SUBSD, ZYDIS_MNEMONIC_VSUBSD),
    packed<u32, kMultiply>(ZYDIS_MNEMONIC_MULPS, ZYDIS_MNEMONIC_VMULPS),
    packed<u64, kMultiply>(ZYDIS_MNEMONIC_MULPD, ZYDIS_MNEMONIC_VMULPD),
    scalar<u32, kMultiply>(ZYDIS_MNEMONIC_MULSS, ZYDIS_MNEMONIC_VMULSS),
    scalar<u64, kMultiply>(ZYDIS_MNEMONIC_MULSD, ZYDIS_MNEMONIC_VMULSD),
    packed<u32, kDivide>(ZYDIS_MNEMONIC_DIVPS, ZYDIS_MNEMONIC_VDIVPS),
    packed<u64, kDivide>(ZYDIS_MNEMONIC_DIVPD, ZYDIS_MNEMONIC_VDIVPD),
    scalar<u32, kDivide>(ZYDIS_MNEMONIC_DIVSS, ZYDIS_MNEMONIC_VDIVSS),
    scalar<u64, kDivide>(ZYDIS_MNEMONIC_DIVSD, ZYDIS_MNEMONIC_VDIVSD),
    packed<u32, kMinimum>(ZYDIS_MNEMONIC_MINPS, ZYDIS_MNEMONIC_VMINPS),
    packed<u64, kMinimum>(ZYDIS_MNEMONIC_MINPD, ZYDIS_MNEMONIC_VMINPD),
    scalar<u32, kMinimum>(ZYDIS_MNEMONIC_MINSS, ZYDIS_MNEMONIC_VMINSS),
    scalar<u64, kMinimum>(ZYDIS_MNEMONIC_MINSD, ZYDIS_MNEMONIC_VMINSD),
    packed<u32, kMaximum>(ZYDIS_MNEMONIC_MAXPS, ZYDIS_MNEMONIC_VMAXPS),
    packed<u64, kMaximum>(ZYDIS_MNEMONIC_MAXPD, ZYDIS_MNEMONIC_VMAXPD),
    scalar<u32, kMaximum>(ZYDIS_MNEMONIC_MAXSS, ZYDIS_MNEMONIC_VMAXSS),
    scalar<u64, kMaximum>(ZYDIS_MNEMONIC_MAXSD, ZYDIS_MNEMONIC_VMAXSD),
    packed<u32, kSquareRoot>(ZYDIS_MNEMONIC_SQRTPS, ZYDIS_MNEMONIC_VSQRTPS),
    packed<u64, kSquareRoot>(ZYDIS_MNEMONIC_SQRTPD, ZYDIS_MNEMONIC_VSQRTPD),
    scalar<u32, kSquareRoot>(ZYDIS_MNEMONIC_SQRTSS, ZYDIS_MNEMONIC_VSQRTSS),
    scalar<u64, kSquareRoot>(ZYDIS_MNEMONIC_SQRTSD, ZYDIS_MNEMONIC_VSQRTSD),
    packed<u32, kReciprocal>(ZYDIS_MNEMONIC_RCPPS, ZYDIS_MNEMONIC_VRCPPS),
    scalar<u32, kReciprocal>(ZYDIS_MNEMONIC_RCPSS, ZYDIS_MNEMONIC_VRCPSS),
    packed<u32, kReciprocalRoot>(ZYDIS_MNEMONIC_RSQRTPS, ZYDIS_MNEMONIC_VRSQRTPS),
    scalar<u32, kReciprocalRoot>(ZYDIS_MNEMONIC_RSQRTSS, ZYDIS_MNEMONIC_VRSQRTSS),

    packed_two<AddSubtract<u32>>(ZYDIS_MNEMONIC_ADDSUBPS, ZYDIS_MNEMONIC_VADDSUBPS),
    packed_two<AddSubtract<u64>>(ZYDIS_MNEMONIC_ADDSUBPD, ZYDIS_MNEMONIC_VADDSUBPD),
    packed_two<HorizontalFloat<u32, kAdd>>(ZYDIS_MNEMONIC_HADDPS, ZYDIS_MNEMONIC_VHADDPS),
    packed_two<HorizontalFloat<u64, kAdd>>(ZYDIS_MNEMONIC_HADDPD, ZYDIS_MNEMONIC_VHADDPD),
    packed_two<HorizontalFloat<u32, kSubtract>>(ZYDIS_MNEMONIC_HSUBPS, ZYDIS_MNEMONIC_VHSUBPS),
    packed_two<HorizontalFloat<u64, kSubtract>>(ZYDIS_MNEMONIC_HSUBPD, ZYDIS_MNEMONIC_VHSUBPD),
    sse_vex<DotProduct<u32>::In>(ZYDIS_MNEMONIC_DPPS, ZYDIS_MNEMONIC_VDPPS),
    sse_vex128<DotProduct<u64>::In>(ZYDIS_MNEMONIC_DPPD, ZYDIS_MNEMONIC_VDPPD),
    packed_one<RoundEach<u32>>(ZYDIS_MNEMONIC_ROUNDPS, ZYDIS_MNEMONIC_VROUNDPS),
    packed_one<RoundEach<u64>>(ZYDIS_MNEMONIC_ROUNDPD, ZYDIS_MNEMONIC_VROUNDPD),
    sse_vex128<FloatScalar<u32, Round<u32>, false>::In>(ZYDIS_MNEMONIC_ROUNDSS, ZYDIS_MNEMONIC_VROUNDSS),
    sse_vex128<FloatScalar<u64, Round<u64>, false>::In>(ZYDIS_MNEMONIC_ROUNDSD, ZYDIS_MNEMONIC_VROUNDSD));

}  // namespace

constinit const Rows kSseFloatRows{kTable};

}  // namespace doppel::interp
