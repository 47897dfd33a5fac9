// Conversions between integers and floating-point numbers and among floating-point formats: SSE, SSE2, AVX,
// F16C. Those with MMX registers are in mmx.cpp. Source: Intel SDM Vol. 2, the instructions' pages.
#include <algorithm>

#include "jit/interp/families.hpp"
#include "jit/interp/sse_conversions.hpp"
#include "jit/interp/sse_float_forms.hpp"

namespace doppel::interp {
namespace {

// As many elements as fit with the wider of the two types filling the register. Results narrower than XMM
// leave zeros above them. Only a whole-register source must be aligned.
template <class To, class From, bool kTruncating = false>
struct ConvertEach {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    constexpr std::size_t kCount = kWidth<F> / std::max(sizeof(To), sizeof(From));
    constexpr Form kTo = F == Form::kVex256 && kCount * sizeof(To) < 32 ? Form::kVex128 : F;
    if (!available<F>(cpu)) return false;

    std::array<From, kCount> source{};
    if constexpr (sizeof source == kWidth<F>) {
      Bits<kWidth<F>> all{};
      if (!read_source<F>(cpu, insn, insn.op[1], all)) return false;
      source = lanes<From>(all);
    } else {
      if (!read_scalar(cpu, insn, insn.op[1], source)) return false;
    }

    LaneResults<To, kWidth<kTo>> result;
    for (u32 i = 0; i < kCount; ++i)
      result.set(i, kConvert<To, From, kTruncating>(source[i], cpu.state.mxcsr));
    if (!float_complete(cpu, result.flags)) return false;
    write_register<kTo>(cpu, insn.op[0].reg, bits(result.value));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// CVTSS2SD, CVTSD2SS: the low lane; the others come from the first source.
template <class To, class From>
struct ConvertScalar {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    From source{};
    if (!read_scalar(cpu, insn, insn.op[kFirst<F> + 1], source)) return false;
    return complete_scalar<F>(cpu, insn, kConvert<To, From>(source, cpu.state.mxcsr));
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// CVTSI2SS, CVTSI2SD from a general register or memory of 4 or 8 bytes.
template <class To>
struct FromInteger {
  template <class Integer, Form F>
  static bool convert(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    Integer source{};
    if (!read_rm(cpu, insn, insn.op[kFirst<F> + 1], source)) return false;
    return complete_scalar<F>(cpu, insn, kConvert<To, Integer>(source, cpu.state.mxcsr));
  }
  template <Form F>
  static Handler bind(const Insn& insn) {
    return insn.op[kFirst<F> + 1].size == 8 ? run_next<convert<i64, F>> : run_next<convert<i32, F>>;
  }
};

// CVTSS2SI, CVTTSD2SI and the like, to a general register of 4 or 8 bytes.
template <class From, bool kTruncating>
struct ToInteger {
  template <class Integer, Form F>
  static bool convert(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    From source{};
    if (!read_scalar(cpu, insn, insn.op[1], source)) return false;
    const auto result = kConvert<Integer, From, kTruncating>(source, cpu.state.mxcsr);
    if (!float_complete(cpu, result.flags)) return false;
    write_gpr<Integer>(cpu, insn.op[0].reg, result.bits);
    return true;
  }
  template <Form F>
  static Handler bind(const Insn& insn) {
    return insn.op[0].size == 8 ? run_next<convert<i64, F>> : run_next<convert<i32, F>>;
  }
};
template <class S>
constexpr RowArray<2> with_integer(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return {{{legacy, Flow::kNext, S::template bind<Form::kSse>},
           {vex, Flow::kNext, S::template bind<Form::kVex128>}}};
}

// VCVTPS2PH: from a register to a register or memory of half its size; immediate bit 2 takes the rounding
// from MXCSR.
template <Form F>
struct ToHalf {
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    const u32 mxcsr =
        insn.imm & 4 ? cpu.state.mxcsr : with_rounding(cpu.state.mxcsr, static_cast<Rounding>(insn.imm & 3));
    const auto source = lanes<u32>(read_register<F>(cpu, insn.op[1].reg));
    LaneResults<u16, kWidth<F> / 2> result;
    for (u32 i = 0; i < source.size(); ++i) result.set(i, float_convert<u16>(source[i], mxcsr));
    // A fault of the store must leave MXCSR alone, and an exception must leave memory alone.
    const u32 flags = result.flags;
    if (flags & ~(cpu.state.mxcsr >> kMxcsrMaskShift)) return raise_simd_exception(cpu, flags);
    if (insn.op[0].kind == OperandKind::kMemory) {
      if (!store(cpu, insn, result.value)) return false;
    } else {
      Lanes<u16, 16> value{};
      std::copy(result.value.begin(), result.value.end(), value.begin());
      write_register<Form::kVex128>(cpu, insn.op[0].reg, bits(value));
    }
    return float_complete(cpu, flags);
  }
  static constexpr Semantics run = run_form;
};

template <class To, class From, bool kTruncating = false>
constexpr auto each(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex<ConvertEach<To, From, kTruncating>::template In>(legacy, vex);
}

constexpr auto kTable =
    join_rows(each<u32, i32>(ZYDIS_MNEMONIC_CVTDQ2PS, ZYDIS_MNEMONIC_VCVTDQ2PS),
              each<u64, i32>(ZYDIS_MNEMONIC_CVTDQ2PD, ZYDIS_MNEMONIC_VCVTDQ2PD),
              each<i32, u32>(ZYDIS_MNEMONIC_CVTPS2DQ, ZYDIS_MNEMONIC_VCVTPS2DQ),
              each<i32, u32, true>(ZYDIS_MNEMONIC_CVTTPS2DQ, ZYDIS_MNEMONIC_VCVTTPS2DQ),
              each<i32, u64>(ZYDIS_MNEMONIC_CVTPD2DQ, ZYDIS_MNEMONIC_VCVTPD2DQ),
              each<i32, u64, true>(ZYDIS_MNEMONIC_CVTTPD2DQ, ZYDIS_MNEMONIC_VCVTTPD2DQ),
              each<u64, u32>(ZYDIS_MNEMONIC_CVTPS2PD, ZYDIS_MNEMONIC_VCVTPS2PD),
              each<u32, u64>(ZYDIS_MNEMONIC_CVTPD2PS, ZYDIS_MNEMONIC_VCVTPD2PS),
              sse_vex128<ConvertScalar<u64, u32>::In>(ZYDIS_MNEMONIC_CVTSS2SD, ZYDIS_MNEMONIC_VCVTSS2SD),
              sse_vex128<ConvertScalar<u32, u64>::In>(ZYDIS_MNEMONIC_CVTSD2SS, ZYDIS_MNEMONIC_VCVTSD2SS),
              with_integer<FromInteger<u32>>(ZYDIS_MNEMONIC_CVTSI2SS, ZYDIS_MNEMONIC_VCVTSI2SS),
              with_integer<FromInteger<u64>>(ZYDIS_MNEMONIC_CVTSI2SD, ZYDIS_MNEMONIC_VCVTSI2SD),
              with_integer<ToInteger<u32, false>>(ZYDIS_MNEMONIC_CVTSS2SI, ZYDIS_MNEMONIC_VCVTSS2SI),
              with_integer<ToInteger<u64, false>>(ZYDIS_MNEMONIC_CVTSD2SI, ZYDIS_MNEMONIC_VCVTSD2SI),
              with_integer<ToInteger<u32, true>>(ZYDIS_MNEMONIC_CVTTSS2SI, ZYDIS_MNEMONIC_VCVTTSS2SI),
              with_integer<ToInteger<u64, true>>(ZYDIS_MNEMONIC_CVTTSD2SI, ZYDIS_MNEMONIC_VCVTTSD2SI),
              vex_only<ConvertEach<u32, u16>::In>(ZYDIS_MNEMONIC_VCVTPH2PS),
              vex_only<ToHalf>(ZYDIS_MNEMONIC_VCVTPS2PH));

}  // namespace

constinit const Rows kSseConvertRows{kTable};

}  // namespace doppel::interp
