// From floating-point functions on lanes (sse_soft_float.hpp) to semantics of packed and scalar instructions,
// and what happens to their exception flags. Included by the floating-point families. Source: SDM Vol. 1,
// "SIMD Floating-Point Exceptions"; Vol. 3A, vector 19.
#pragma once

#include "jit/interp/sse_forms.hpp"
#include "jit/interp/sse_soft_float.hpp"

namespace doppel::interp {

// Exceptions of the operands come before any of the result: if one of them is unmasked, nothing is computed.
[[gnu::cold, gnu::noinline]] inline bool raise_simd_exception(Vcpu& cpu, u32 flags) {
  auto& s = cpu.state;
  constexpr u32 kOfOperands = kMxcsrInvalid | kMxcsrDenormal | kMxcsrDivideByZero;
  const u32 unmasked = flags & ~(s.mxcsr >> kMxcsrMaskShift);
  s.mxcsr |= unmasked & kOfOperands ? flags & kOfOperands : flags;
  return cpu.raise(s.cr4 & core::kCr4Osxmmexcpt ? Vector::kXM : Vector::kUD);
}

// Merges the flags of an instruction into MXCSR. False: one is unmasked, the exception is raised.
[[nodiscard, gnu::always_inline]] inline bool float_complete(Vcpu& cpu, u32 flags) {
  auto& s = cpu.state;
  if (flags & ~(s.mxcsr >> kMxcsrMaskShift)) [[unlikely]]
    return raise_simd_exception(cpu, flags);
  s.mxcsr |= flags;
  return true;
}

template <u32 B>
struct Checked {
  Bits<B> value;
  u32 flags;
};

// Collects lanes and their flags.
template <class U, u32 B>
struct LaneResults {
  Lanes<U, B> value{};
  u32 flags = 0;
  [[gnu::always_inline]] void set(std::size_t i, Rounded<U> lane) {
    value[i] = lane.bits;
    flags |= lane.flags;
  }
  [[gnu::always_inline]] Checked<B> checked() const { return {bits(value), flags}; }
};

// F(a, b, mxcsr) or F(a, mxcsr) on each lane.
template <class U, auto F>
struct EachFloat {
  template <u32 B, class... More>
  [[gnu::always_inline]] static Checked<B> apply(u32 mxcsr, Bits<B> first,
                                                 More... more) requires(std::is_same_v<More, Bits<B>>&&...) {
    LaneResults<U, B> result;
    for (u32 i = 0; i < result.value.size(); ++i)
      result.set(i, F(lanes<U>(first)[i], lanes<U>(more)[i]..., mxcsr));
    return result.checked();
  }
};

// destination = Op(first, second) or Op(second); Op::apply(mxcsr, ...[, imm]) gives a Checked value.
template <class Op, bool kTwo>
struct FloatPacked {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    Bits<kWidth<F>> second{};
    if (!read_source<F>(cpu, insn, insn.op[kTwo ? kFirst<F> + 1 : 1], second)) return false;
    Checked<kWidth<F>> result;
    if constexpr (kTwo)
      result = evaluate<Op>(insn, cpu.state.mxcsr, read_register<F>(cpu, insn.op[kFirst<F>].reg), second);
    else
      result = evaluate<Op>(insn, cpu.state.mxcsr, second);
    if (!float_complete(cpu, result.flags)) return false;
    write_register<F>(cpu, insn.op[0].reg, result.value);
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// Ends a scalar instruction: the result becomes the low lane, the others are those of the first source.
template <Form F, class U>
[[gnu::always_inline]] inline bool complete_scalar(Vcpu& cpu, const Insn& insn, const Rounded<U>& result) {
  if (!float_complete(cpu, result.flags)) return false;
  auto value = lanes<U>(read_vector<16>(cpu, insn.op[kFirst<F>].reg));
  value[0] = result.bits;
  write_register<F>(cpu, insn.op[0].reg, bits(value));
  return true;
}

// The low lane of the first source becomes Op(first, second), or Op(second); the others stay.
// Op::apply as above, on single lanes, gives Rounded<U>.
template <class U, class Op, bool kTwo>
struct FloatScalar {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    U second{};
    if (!read_scalar(cpu, insn, insn.op[kFirst<F> + 1], second)) return false;
    const u32 mxcsr = cpu.state.mxcsr;
    if constexpr (kTwo) {
      const U first = read_low<U>(cpu, insn.op[kFirst<F>].reg);
      return complete_scalar<F>(cpu, insn, evaluate<Op>(insn, mxcsr, first, second));
    } else {
      return complete_scalar<F>(cpu, insn, evaluate<Op>(insn, mxcsr, second));
    }
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};
template <auto F>
struct OneFloat {
  template <class U, class... More>
  [[gnu::always_inline]] static Rounded<U> apply(u32 mxcsr, U first,
                                                 More... more) requires(std::is_same_v<More, U>&&...) {
    return F(first, more..., mxcsr);
  }
};

}  // namespace doppel::interp
