// Packed integer arithmetic, logic, comparison and shifts: MMX, SSE2 to SSE4.1, AVX, AVX2.
// Source: Intel SDM Vol. 2, the instructions' pages.
#include <algorithm>
#include <limits>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/sse_forms.hpp"

namespace doppel::interp {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// Lane by lane.

template <class T>
constexpr T saturate(i32 value) {
  return static_cast<T>(std::clamp<i32>(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSubtract = [](auto a, auto b) { return a - b; };
constexpr auto kAddSaturate = []<class T>(T a, T b) { return saturate<T>(a + b); };
constexpr auto kSubtractSaturate = []<class T>(T a, T b) { return saturate<T>(a - b); };
constexpr auto kMultiplyLow = [](auto a, auto b) { return a * b; };
constexpr auto kMultiplyHigh = []<class T>(T a, T b) {
  return (static_cast<i64>(a) * static_cast<i64>(b)) >> (8 * sizeof(T));
};
constexpr auto kMultiplyHighRounded = [](i16 a, i16 b) { return ((i32{a} * i32{b} >> 14) + 1) >> 1; };
constexpr auto kMultiplyWide = []<class T>(T a, T b) {  // of the low half of each lane
  using Half = std::conditional_t<std::is_signed_v<T>, i32, u32>;
  return static_cast<T>(static_cast<Half>(a)) * static_cast<T>(static_cast<Half>(b));
};
constexpr auto kAverage = [](auto a, auto b) { return (a + b + 1) >> 1; };
constexpr auto kMinimum = []<class T>(T a, T b) { return a < b ? a : b; };
constexpr auto kMaximum = []<class T>(T a, T b) { return a > b ? a : b; };
constexpr auto kAbsolute = []<class T>(T a) { return a < 0 ? T(0 - std::make_unsigned_t<T>(a)) : a; };
constexpr auto kSign = []<class T>(T a, T b) {
  return b < 0 ? T(0 - std::make_unsigned_t<T>(a)) : b == 0 ? T{0} : a;
};
constexpr auto kAnd = [](u64 a, u64 b) { return a & b; };
constexpr auto kAndNot = [](u64 a, u64 b) { return ~a & b; };
constexpr auto kOr = [](u64 a, u64 b) { return a | b; };
constexpr auto kXor = [](u64 a, u64 b) { return a ^ b; };
constexpr auto kEqual = [](auto a, auto b) { return a == b ? -1 : 0; };
constexpr auto kGreater = [](auto a, auto b) { return a > b ? -1 : 0; };

// Shifts: counts past the lane width give zero, or copies of the sign.
constexpr auto kShiftLeft = []<class T>(T a, u64 count) {
  return count < 8 * sizeof(T) ? T(a << count) : T{0};
};
constexpr auto kShiftRight = []<class T>(T a, u64 count) {
  return count < 8 * sizeof(T) ? T(a >> count) : T{0};
};
constexpr auto kShiftArithmetic = []<class T>(T a, u64 count) {
  return a >> std::min<u64>(count, 8 * sizeof(T) - 1);
};

// By the count in each lane of the second source (AVX2).
constexpr auto kShiftLeftEach = [](auto a, auto count) { return kShiftLeft(a, count); };
constexpr auto kShiftRightEach = [](auto a, auto count) { return kShiftRight(a, count); };
constexpr auto kShiftArithmeticEach = [](i32 a, i32 count) {
  return kShiftArithmetic(a, static_cast<u32>(count));
};

// ---------------------------------------------------------------------------------------------------------------
// Neighbouring lanes together.

// Lane i = F(lane 2i, lane 2i+1) of the first source, then of the second.
template <class T, auto F>
struct Horizontal {
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b) {
    const auto x = lanes<T>(a), y = lanes<T>(b);
    Lanes<T, B> result;
    constexpr u32 kHalf = static_cast<u32>(result.size() / 2);
    for (u32 i = 0; i < kHalf; ++i) {
      result[i] = static_cast<T>(F(x[2 * i], x[2 * i + 1]));
      result[kHalf + i] = static_cast<T>(F(y[2 * i], y[2 * i + 1]));
    }
    return bits(result);
  }
};

// PMADDWD: the one overflow, 4 * (-0x8000)^2 / 2, wraps to 0x80000000.
struct MultiplyAddWords {
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b) {
    const auto x = lanes<i16>(a), y = lanes<i16>(b);
    Lanes<u32, B> result;
    for (u32 i = 0; i < result.size(); ++i)
      result[i] = static_cast<u32>(x[2 * i] * y[2 * i]) + static_cast<u32>(x[2 * i + 1] * y[2 * i + 1]);
    return bits(result);
  }
};
struct MultiplyAddBytes {  // PMADDUBSW: unsigned times signed
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b) {
    const auto x = lanes<u8>(a);
    const auto y = lanes<i8>(b);
    Lanes<i16, B> result;
    for (u32 i = 0; i < result.size(); ++i)
      result[i] = saturate<i16>(x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]);
    return bits(result);
  }
};
struct SumOfDifferences {  // PSADBW
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b) {
    const auto x = lanes<u8>(a), y = lanes<u8>(b);
    Lanes<u64, B> result{};
    for (u32 i = 0; i < B; ++i) result[i / 8] += static_cast<u64>(std::abs(x[i] - y[i]));
    return bits(result);
  }
};

// MPSADBW: eight sums of a block of four bytes of b against a window sliding over a; of VEX.256, immediate
// bits 3-5 rule the upper part.
struct MultipleSums {
  static Bits<16> in_part(Bits<16> a, Bits<16> b, u32 control) {
    const auto x = lanes<u8>(a), y = lanes<u8>(b);
    const u32 window = control & 4, block = (control & 3) * 4;
    Lanes<u16, 16> result{};
    for (u32 i = 0; i < 8; ++i)
      for (u32 k = 0; k < 4; ++k)
        result[i] = static_cast<u16>(result[i] + std::abs(x[window + i + k] - y[block + k]));
    return bits(result);
  }
  static Bits<16> apply(Bits<16> a, Bits<16> b, u8 imm) { return in_part(a, b, imm); }
  static Bits<32> apply(Bits<32> a, Bits<32> b, u8 imm) {
    return join_parts(in_part(part(a, 0), part(b, 0), imm), in_part(part(a, 1), part(b, 1), imm >> 3u));
  }
};

struct MinimumPosition {  // PHMINPOSUW
  static Bits<16> apply(Bits<16> a) {
    const auto x = lanes<u16>(a);
    const auto least = std::min_element(x.begin(), x.end());
    return bits(Lanes<u16, 16>{*least, static_cast<u16>(least - x.begin())});
  }
};

// ---------------------------------------------------------------------------------------------------------------
// Shifts by one count: an immediate, or the low quadword of a register or memory operand that is 16 bytes
// wide even for YMM destinations.

template <class T, auto F>
struct ShiftAll {
  template <Form Fm>
  static bool shift(Vcpu& cpu, const Insn& insn) {
    if (!available<Fm>(cpu)) return false;
    const Operand& count_operand = insn.op[kFirst<Fm> + 1];
    u64 count = static_cast<u8>(insn.imm);
    if (count_operand.kind != OperandKind::kImmediate) {
      constexpr Form kCountForm = Fm == Form::kVex256 ? Form::kVex128 : Fm;
      Bits<kWidth<kCountForm>> source{};
      if (!read_source<kCountForm>(cpu, insn, count_operand, source)) return false;
      count = lanes<u64>(source)[0];
    }
    auto value = lanes<T>(read_register<Fm>(cpu, insn.op[kFirst<Fm>].reg));
    for (T& lane : value) lane = static_cast<T>(F(lane, count));
    write_register<Fm>(cpu, insn.op[0].reg, bits(value));
    return true;
  }
  template <Form Fm>
  struct In {
    static constexpr Semantics run = shift<Fm>;
  };
};
template <class T, auto F>
constexpr auto shift_all(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return mmx_sse_vex<ShiftAll<T, F>::template In>(legacy, vex);
}

// PSLLDQ, PSRLDQ: whole 16-byte parts, by bytes. The source is a register, the destination of the legacy
// form.
template <bool kLeft>
struct ShiftBytes {
  static Bits<16> apply(Bits<16> a, u8 imm) {
    const u32 count = std::min<u32>(imm, 16);
    Bits<16> result{};
    for (u32 i = 0; i < 16 - count; ++i) result.byte[kLeft ? i + count : i] = a.byte[kLeft ? i : i + count];
    return result;
  }
  template <Form Fm>
  static bool shift(Vcpu& cpu, const Insn& insn) {
    if (!available<Fm>(cpu)) return false;
    const auto source = read_register<Fm>(cpu, insn.op[kFirst<Fm>].reg);
    write_register<Fm>(cpu, insn.op[0].reg, evaluate<EachPart<ShiftBytes>>(insn, source));
    return true;
  }
  template <Form Fm>
  struct In {
    static constexpr Semantics run = shift<Fm>;
  };
};

// ---------------------------------------------------------------------------------------------------------------
// PTEST, VTESTPS, VTESTPD: ZF if no bit of `mask` is set in both, CF if none is set in the second alone.

template <u64 kMask>
struct Test {
  template <Form Fm>
  static bool test(Vcpu& cpu, const Insn& insn) {
    if (!available<Fm>(cpu)) return false;
    Bits<kWidth<Fm>> second{};
    if (!read_source<Fm>(cpu, insn, insn.op[1], second)) return false;
    const auto a = lanes<u64>(read_register<Fm>(cpu, insn.op[0].reg)), b = lanes<u64>(second);
    u64 both = 0, second_only = 0;
    for (u32 i = 0; i < a.size(); ++i) {
      both |= a[i] & b[i] & kMask;
      second_only |= ~a[i] & b[i] & kMask;
    }
    core::set_arithmetic_flags(cpu.state, (both == 0 ? core::kZf : 0) | (second_only == 0 ? core::kCf : 0));
    return true;
  }
  template <Form Fm>
  struct In {
    static constexpr Semantics run = test<Fm>;
  };
};

constexpr auto kTable = join_rows(
    two_mmx<EachLane<u8, kAdd>>(ZYDIS_MNEMONIC_PADDB, ZYDIS_MNEMONIC_VPADDB),
    two_mmx<EachLane<u16, kAdd>>(ZYDIS_MNEMONIC_PADDW, ZYDIS_MNEMONIC_VPADDW),
    two_mmx<EachLane<u32, kAdd>>(ZYDIS_MNEMONIC_PADDD, ZYDIS_MNEMONIC_VPADDD),
    two_mmx<EachLane<u64, kAdd>>(ZYDIS_MNEMONIC_PADDQ, ZYDIS_MNEMONIC_VPADDQ),
    two_mmx<EachLane<u8, kSubtract>>(ZYDIS_MNEMONIC_PSUBB, ZYDIS_MNEMONIC_VPSUBB),
    two_mmx<EachLane<u16, kSubtract>>(ZYDIS_MNEMONIC_PSUBW, ZYDIS_MNEMONIC_VPSUBW),
    two_mmx<EachLane<u32, kSubtract>>(ZYDIS_MNEMONIC_PSUBD, ZYDIS_MNEMONIC_VPSUBD),
    two_mmx<EachLane<u64, kSubtract>>(ZYDIS_MNEMONIC_PSUBQ, ZYDIS_MNEMONIC_VPSUBQ),
    two_mmx<EachLane<i8, kAddSaturate>>(ZYDIS_MNEMONIC_PADDSB, ZYDIS_MNEMONIC_VPADDSB),
    two_mmx<EachLane<i16, kAddSaturate>>(ZYDIS_MNEMONIC_PADDSW, ZYDIS_MNEMONIC_VPADDSW),
    two_mmx<EachLane<u8, kAddSaturate>>(ZYDIS_MNEMONIC_PADDUSB, ZYDIS_MNEMONIC_VPADDUSB),
    two_mmx<EachLane<u16, kAddSaturate>>(ZYDIS_MNEMONIC_PADDUSW, ZYDIS_MNEMONIC_VPADDUSW),
    two_mmx<EachLane<i8, kSubtractSaturate>>(ZYDIS_MNEMONIC_PSUBSB, ZYDIS_MNEMONIC_VPSUBSB),
    two_mmx<EachLane<i16, kSubtractSaturate>>(ZYDIS_MNEMONIC_PSUBSW, ZYDIS_MNEMONIC_VPSUBSW),
    two_mmx<EachLane<u8, kSubtractSaturate>>(ZYDIS_MNEMONIC_PSUBUSB, ZYDIS_MNEMONIC_VPSUBUSB),
    two_mmx<EachLane<u16, kSubtractSaturate>>(ZYDIS_MNEMONIC_PSUBUSW, ZYDIS_MNEMONIC_VPSUBUSW),

    two_mmx<EachLane<u16, kMultiplyLow>>(ZYDIS_MNEMONIC_PMULLW, ZYDIS_MNEMONIC_VPMULLW),
    two<EachLane<u32, kMultiplyLow>>(ZYDIS_MNEMONIC_PMULLD, ZYDIS_MNEMONIC_VPMULLD),
    two_mmx<EachLane<i16, kMultiplyHigh>>(ZYDIS_MNEMONIC_PMULHW, ZYDIS_MNEMONIC_VPMULHW),
    two_mmx<EachLane<u16, kMultiplyHigh>>(ZYDIS_MNEMONIC_PMULHUW, ZYDIS_MNEMONIC_VPMULHUW),
    two_mmx<EachLane<i16, kMultiplyHighRounded>>(ZYDIS_MNEMONIC_PMULHRSW, ZYDIS_MNEMONIC_VPMULHRSW),
    two_mmx<EachLane<u64, kMultiplyWide>>(ZYDIS_MNEMONIC_PMULUDQ, ZYDIS_MNEMONIC_VPMULUDQ),
    two<EachLane<i64, kMultiplyWide>>(ZYDIS_MNEMONIC_PMULDQ, ZYDIS_MNEMONIC_VPMULDQ),
    two_mmx<MultiplyAddWords>(ZYDIS_MNEMONIC_PMADDWD, ZYDIS_MNEMONIC_VPMADDWD),
    two_mmx<MultiplyAddBytes>(ZYDIS_MNEMONIC_PMADDUBSW, ZYDIS_MNEMONIC_VPMADDUBSW),

    two_mmx<EachLane<u8, kAverage>>(ZYDIS_MNEMONIC_PAVGB, ZYDIS_MNEMONIC_VPAVGB),
    two_mmx<EachLane<u16, kAverage>>(ZYDIS_MNEMONIC_PAVGW, ZYDIS_MNEMONIC_VPAVGW),
    two<EachLane<i8, kMinimum>>(ZYDIS_MNEMONIC_PMINSB, ZYDIS_MNEMONIC_VPMINSB),
    two_mmx<EachLane<i16, kMinimum>>(ZYDIS_MNEMONIC_PMINSW, ZYDIS_MNEMONIC_VPMINSW),
    two<EachLane<i32, kMinimum>>(ZYDIS_MNEMONIC_PMINSD, ZYDIS_MNEMONIC_VPMINSD),
    two_mmx<EachLane<u8, kMinimum>>(ZYDIS_MNEMONIC_PMINUB, ZYDIS_MNEMONIC_VPMINUB),
    two<EachLane<u16, kMinimum>>(ZYDIS_MNEMONIC_PMINUW, ZYDIS_MNEMONIC_VPMINUW),
    two<EachLane<u32, kMinimum>>(ZYDIS_MNEMONIC_PMINUD, ZYDIS_MNEMONIC_VPMINUD),
    two<EachLane<i8, kMaximum>>(ZYDIS_MNEMONIC_PMAXSB, ZYDIS_MNEMONIC_VPMAXSB),
    two_mmx<EachLane<i16, kMaximum>>(ZYDIS_MNEMONIC_PMAXSW, ZYDIS_MNEMONIC_VPMAXSW),
    two<EachLane<i32, kMaximum>>(ZYDIS_MNEMONIC_PMAXSD, ZYDIS_MNEMONIC_VPMAXSD),
    two_mmx<EachLane<u8, kMaximum>>(ZYDIS_MNEMONIC_PMAXUB, ZYDIS_MNEMONIC_VPMAXUB),
    two<EachLane<u16, kMaximum>>(ZYDIS_MNEMONIC_PMAXUW, ZYDIS_MNEMONIC_VPMAXUW),
    two<EachLane<u32, kMaximum>>(ZYDIS_MNEMONIC_PMAXUD, ZYDIS_MNEMONIC_VPMAXUD),
    one_mmx<EachLane<i8, kAbsolute>>(ZYDIS_MNEMONIC_PABSB, ZYDIS_MNEMONIC_VPABSB),
    one_mmx<EachLane<i16, kAbsolute>>(ZYDIS_MNEMONIC_PABSW, ZYDIS_MNEMONIC_VPABSW),
    one_mmx<EachLane<i32, kAbsolute>>(ZYDIS_MNEMONIC_PABSD, ZYDIS_MNEMONIC_VPABSD),
    two_mmx<EachLane<i8, kSign>>(ZYDIS_MNEMONIC_PSIGNB, ZYDIS_MNEMONIC_VPSIGNB),
    two_mmx<EachLane<i16, kSign>>(ZYDIS_MNEMONIC_PSIGNW, ZYDIS_MNEMONIC_VPSIGNW),
    two_mmx<EachLane<i32, kSign>>(ZYDIS_MNEMONIC_PSIGND, ZYDIS_MNEMONIC_VPSIGND),

    two_mmx<EachLane<u64, kAnd>>(ZYDIS_MNEMONIC_PAND, ZYDIS_MNEMONIC_VPAND),
    two_mmx<EachLane<u64, kAndNot>>(ZYDIS_MNEMONIC_PANDN, ZYDIS_MNEMONIC_VPANDN),
    two_mmx<EachLane<u64, kOr>>(ZYDIS_MNEMONIC_POR, ZYDIS_MNEMONIC_VPOR),
    two_mmx<EachLane<u64, kXor>>(ZYDIS_MNEMONIC_PXOR, ZYDIS_MNEMONIC_VPXOR),
    two<EachLane<u64, kAnd>>(ZYDIS_MNEMONIC_ANDPS, ZYDIS_MNEMONIC_VANDPS),
    two<EachLane<u64, kAnd>>(ZYDIS_MNEMONIC_ANDPD, ZYDIS_MNEMONIC_VANDPD),
    two<EachLane<u64, kAndNot>>(ZYDIS_MNEMONIC_ANDNPS, ZYDIS_MNEMONIC_VANDNPS),
    two<EachLane<u64, kAndNot>>(ZYDIS_MNEMONIC_ANDNPD, ZYDIS_MNEMONIC_VANDNPD),
    two<EachLane<u64, kOr>>(ZYDIS_MNEMONIC_ORPS, ZYDIS_MNEMONIC_VORPS),
    two<EachLane<u64, kOr>>(ZYDIS_MNEMONIC_ORPD, ZYDIS_MNEMONIC_VORPD),
    two<EachLane<u64, kXor>>(ZYDIS_MNEMONIC_XORPS, ZYDIS_MNEMONIC_VXORPS),
    two<EachLane<u64, kXor>>(ZYDIS_MNEMONIC_XORPD, ZYDIS_MNEMONIC_VXORPD),

    two_mmx<EachLane<i8, kEqual>>(ZYDIS_MNEMONIC_PCMPEQB, ZYDIS_MNEMONIC_VPCMPEQB),
    two_mmx<EachLane<i16, kEqual>>(ZYDIS_MNEMONIC_PCMPEQW, ZYDIS_MNEMONIC_VPCMPEQW),
    two_mmx<EachLane<i32, kEqual>>(ZYDIS_MNEMONIC_PCMPEQD, ZYDIS_MNEMONIC_VPCMPEQD),
    two<EachLane<i64, kEqual>>(ZYDIS_MNEMONIC_PCMPEQQ, ZYDIS_MNEMONIC_VPCMPEQQ),
    two_mmx<EachLane<i8, kGreater>>(ZYDIS_MNEMONIC_PCMPGTB, ZYDIS_MNEMONIC_VPCMPGTB),
    two_mmx<EachLane<i16, kGreater>>(ZYDIS_MNEMONIC_PCMPGTW, ZYDIS_MNEMONIC_VPCMPGTW),
    two_mmx<EachLane<i32, kGreater>>(ZYDIS_MNEMONIC_PCMPGTD, ZYDIS_MNEMONIC_VPCMPGTD),
    two<EachLane<i64, kGreater>>(ZYDIS_MNEMONIC_PCMPGTQ, ZYDIS_MNEMONIC_VPCMPGTQ),

    two_mmx<EachPart<Horizontal<u16, kAdd>>>(ZYDIS_MNEMONIC_PHADDW, ZYDIS_MNEMONIC_VPHADDW),
    two_mmx<EachPart<Horizontal<u32, kAdd>>>(ZYDIS_MNEMONIC_PHADDD, ZYDIS_MNEMONIC_VPHADDD),
    two_mmx<EachPart<Horizontal<i16, kAddSaturate>>>(ZYDIS_MNEMONIC_PHADDSW, ZYDIS_MNEMONIC_VPHADDSW),
    two_mmx<EachPart<Horizontal<u16, kSubtract>>>(ZYDIS_MNEMONIC_PHSUBW, ZYDIS_MNEMONIC_VPHSUBW),
    two_mmx<EachPart<Horizontal<u32, kSubtract>>>(ZYDIS_MNEMONIC_PHSUBD, ZYDIS_MNEMONIC_VPHSUBD),
    two_mmx<EachPart<Horizontal<i16, kSubtractSaturate>>>(ZYDIS_MNEMONIC_PHSUBSW, ZYDIS_MNEMONIC_VPHSUBSW),
    two_mmx<SumOfDifferences>(ZYDIS_MNEMONIC_PSADBW, ZYDIS_MNEMONIC_VPSADBW),
    two<MultipleSums>(ZYDIS_MNEMONIC_MPSADBW, ZYDIS_MNEMONIC_VMPSADBW),
    one_128<MinimumPosition>(ZYDIS_MNEMONIC_PHMINPOSUW, ZYDIS_MNEMONIC_VPHMINPOSUW),

    shift_all<u16, kShiftLeft>(ZYDIS_MNEMONIC_PSLLW, ZYDIS_MNEMONIC_VPSLLW),
    shift_all<u32, kShiftLeft>(ZYDIS_MNEMONIC_PSLLD, ZYDIS_MNEMONIC_VPSLLD),
    shift_all<u64, kShiftLeft>(ZYDIS_MNEMONIC_PSLLQ, ZYDIS_MNEMONIC_VPSLLQ),
    shift_all<u16, kShiftRight>(ZYDIS_MNEMONIC_PSRLW, ZYDIS_MNEMONIC_VPSRLW),
    shift_all<u32, kShiftRight>(ZYDIS_MNEMONIC_PSRLD, ZYDIS_MNEMONIC_VPSRLD),
    shift_all<u64, kShiftRight>(ZYDIS_MNEMONIC_PSRLQ, ZYDIS_MNEMONIC_VPSRLQ),
    shift_all<i16, kShiftArithmetic>(ZYDIS_MNEMONIC_PSRAW, ZYDIS_MNEMONIC_VPSRAW),
    shift_all<i32, kShiftArithmetic>(ZYDIS_MNEMONIC_PSRAD, ZYDIS_MNEMONIC_VPSRAD),
    sse_vex<ShiftBytes<true>::In>(ZYDIS_MNEMONIC_PSLLDQ, ZYDIS_MNEMONIC_VPSLLDQ),
    sse_vex<ShiftBytes<false>::In>(ZYDIS_MNEMONIC_PSRLDQ, ZYDIS_MNEMONIC_VPSRLDQ),
    two_vex<EachLane<u32, kShiftLeftEach>>(ZYDIS_MNEMONIC_VPSLLVD),
    two_vex<EachLane<u64, kShiftLeftEach>>(ZYDIS_MNEMONIC_VPSLLVQ),
    two_vex<EachLane<u32, kShiftRightEach>>(ZYDIS_MNEMONIC_VPSRLVD),
    two_vex<EachLane<u64, kShiftRightEach>>(ZYDIS_MNEMONIC_VPSRLVQ),
    two_vex<EachLane<i32, kShiftArithmeticEach>>(ZYDIS_MNEMONIC_VPSRAVD),

    sse_vex<Test<~u64{0}>::In>(ZYDIS_MNEMONIC_PTEST, ZYDIS_MNEMONIC_VPTEST),
    vex_only<Test<0x8000'0000'8000'0000>::In>(ZYDIS_MNEMONIC_VTESTPS),
    vex_only<Test<u64{1} << 63>::In>(ZYDIS_MNEMONIC_VTESTPD));

}  // namespace

constinit const Rows kSseIntegerRows{kTable};

}  // namespace doppel::interp
