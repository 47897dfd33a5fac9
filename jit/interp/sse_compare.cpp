// Floating-point comparisons: CMPPS and its kin with the 8 predicates of SSE or the 32 of AVX, COMISS,
// UCOMISS. Source: Intel SDM Vol. 2A, CMPPD, table "Comparison Predicate for CMPPD and CMPPS Instructions".
#include "jit/interp/families.hpp"
#include "jit/interp/sse_float_forms.hpp"
#include "jit/interp/string.hpp"

namespace doppel::interp {
namespace {

constexpr u8 kLess = 1u << static_cast<u8>(Ordering::kLess), kEqual = 1u << static_cast<u8>(Ordering::kEqual),
             kGreater = 1u << static_cast<u8>(Ordering::kGreater),
             kUnordered = 1u << static_cast<u8>(Ordering::kUnordered);

// When a predicate is true, and whether a quiet NaN is invalid. Bit 4 of the number turns the latter round.
struct Predicate {
  u8 orderings;
  bool signaling;
};
constexpr Predicate kPredicates[16] = {
    {kEqual, false},                                  // EQ
    {kLess, true},                                    // LT
    {kLess | kEqual, true},                           // LE
    {kUnordered, false},                              // UNORD
    {kLess | kGreater | kUnordered, false},           // NEQ
    {kEqual | kGreater | kUnordered, true},           // NLT
    {kGreater | kUnordered, true},                    // NLE
    {kLess | kEqual | kGreater, false},               // ORD
    {kEqual | kUnordered, false},                     // EQ_UQ
    {kLess | kUnordered, true},                       // NGE
    {kLess | kEqual | kUnordered, true},              // NGT
    {0, false},                                       // FALSE
    {kLess | kGreater, false},                        // NEQ_OQ
    {kEqual | kGreater, true},                        // GE
    {kGreater, true},                                 // GT
    {kLess | kEqual | kGreater | kUnordered, false},  // TRUE
};

// All ones or zeros. kPredicateMask: the immediate bits that the encoding knows.
template <class U, u8 kPredicateMask>
struct Compare {
  static Rounded<U> apply(u32 mxcsr, U a, U b, u8 imm) {
    const Predicate predicate = kPredicates[imm & kPredicateMask & 15];
    const bool signaling = predicate.signaling != ((imm & kPredicateMask & 16) != 0);
    const Compared c = float_compare(a, b, signaling, mxcsr);
    const bool holds = predicate.orderings >> static_cast<u8>(c.ordering) & 1;
    return {holds ? static_cast<U>(~U{0}) : U{0}, c.flags};
  }
};
template <class U, u8 kPredicateMask>
struct CompareEach {
  template <u32 B>
  static Checked<B> apply(u32 mxcsr, Bits<B> a, Bits<B> b, u8 imm) {
    LaneResults<U, B> result;
    for (u32 i = 0; i < result.value.size(); ++i)
      result.set(i, Compare<U, kPredicateMask>::apply(mxcsr, lanes<U>(a)[i], lanes<U>(b)[i], imm));
    return result.checked();
  }
};

template <class U>
constexpr Semantics kCompareScalar = FloatScalar<U, Compare<U, 7>, true>::template run_form<Form::kSse>;

Handler bind_cmpsd(const Insn& insn) {
  for (const Operand& op : insn.op)
    if (op.kind == OperandKind::kVector) return run_next<kCompareScalar<u64>>;
  return bind_string_doubleword(insn);
}

// COMISS, UCOMISS: the result in ZF, PF, CF.
template <class U, bool kSignaling>
struct CompareToFlags {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    U second{};
    if (!read_scalar(cpu, insn, insn.op[1], second)) return false;
    const Compared c = float_compare(read_low<U>(cpu, insn.op[0].reg), second, kSignaling, cpu.state.mxcsr);
    if (!float_complete(cpu, c.flags)) return false;
    constexpr u64 kFlags[] = {core::kCf, core::kZf, 0, core::kZf | core::kPf | core::kCf};
    core::set_arithmetic_flags(cpu.state, kFlags[static_cast<u8>(c.ordering)]);
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

template <class U>
constexpr RowArray<2> compare_each(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return {{{legacy, Flow::kNext, bind_sse<FloatPacked<CompareEach<U, 7>, true>::template In>},
           {vex, Flow::kNext, bind_vex<FloatPacked<CompareEach<U, 31>, true>::template In>}}};
}
template <class U>
constexpr Row compare_vex_scalar(ZydisMnemonic vex) {
  return {vex, Flow::kNext, bind_vex128<FloatScalar<U, Compare<U, 31>, true>::template In>};
}

constexpr auto kTable =
    join_rows(compare_each<u32>(ZYDIS_MNEMONIC_CMPPS, ZYDIS_MNEMONIC_VCMPPS),
              compare_each<u64>(ZYDIS_MNEMONIC_CMPPD, ZYDIS_MNEMONIC_VCMPPD),
              single<kCompareScalar<u32>>(ZYDIS_MNEMONIC_CMPSS),
              RowArray<3>{{{ZYDIS_MNEMONIC_CMPSD, Flow::kNext, bind_cmpsd},
                           compare_vex_scalar<u32>(ZYDIS_MNEMONIC_VCMPSS),
                           compare_vex_scalar<u64>(ZYDIS_MNEMONIC_VCMPSD)}},
              sse_vex128<CompareToFlags<u32, true>::In>(ZYDIS_MNEMONIC_COMISS, ZYDIS_MNEMONIC_VCOMISS),
              sse_vex128<CompareToFlags<u64, true>::In>(ZYDIS_MNEMONIC_COMISD, ZYDIS_MNEMONIC_VCOMISD),
              sse_vex128<CompareToFlags<u32, false>::In>(ZYDIS_MNEMONIC_UCOMISS, ZYDIS_MNEMONIC_VUCOMISS),
              sse_vex128<CompareToFlags<u64, false>::In>(ZYDIS_MNEMONIC_UCOMISD, ZYDIS_MNEMONIC_VUCOMISD));

}  // namespace

constinit const Rows kSseCompareRows{kTable};

}  // namespace doppel::interp
