// From the meaning of an instruction on vector values to its table rows: one operation makes the MMX, SSE,
// VEX.128 and VEX.256 handlers. An operation is a struct with `template <u32 B> static Bits<B> apply(Bits<B>
// first, Bits<B> second)`, or with one source, and with a trailing `u8 imm` where the instruction has an
// immediate. Included by the SIMD families.
#pragma once

#include "jit/interp/sse_operands.hpp"

namespace doppel::interp {

// ---------------------------------------------------------------------------------------------------------------
// Operations from smaller ones.

// F on each lane of type T: F(T), F(T, T).
template <class T, auto F>
struct EachLane {
  template <u32 B, class... More>
  [[gnu::always_inline]] static Bits<B> apply(Bits<B> first,
                                              More... more) requires(std::is_same_v<More, Bits<B>>&&...) {
    auto result = lanes<T>(first);
    for (u32 i = 0; i < result.size(); ++i) result[i] = static_cast<T>(F(result[i], lanes<T>(more)[i]...));
    return bits(result);
  }
};

// An operation whose 256-bit form does the same to both 16-byte parts.
template <class Op>
struct EachPart {
  template <u32 B, class... Immediate>
  [[gnu::always_inline]] static Bits<B> apply(Bits<B> a, Bits<B> b, Immediate... imm) requires
      requires(Bits<16> v) {
    Op::apply(v, v, imm...);
  }
  {
    if constexpr (B <= 16)
      return Op::apply(a, b, imm...);
    else
      return join_parts(Op::apply(part(a, 0), part(b, 0), imm...), Op::apply(part(a, 1), part(b, 1), imm...));
  }
  template <u32 B, class... Immediate>
  [[gnu::always_inline]] static Bits<B> apply(Bits<B> a, Immediate... imm) requires requires(Bits<16> v) {
    Op::apply(v, imm...);
  }
  {
    if constexpr (B <= 16)
      return Op::apply(a, imm...);
    else
      return join_parts(Op::apply(part(a, 0), imm...), Op::apply(part(a, 1), imm...));
  }
};

// Calls Op with the immediate if it wants one.
template <class Op, class... Sources>
[[gnu::always_inline]] inline auto evaluate(const Insn& insn, Sources... sources) {
  if constexpr (requires { Op::apply(sources..., u8{0}); })
    return Op::apply(sources..., static_cast<u8>(insn.imm));
  else
    return Op::apply(sources...);
}

// ---------------------------------------------------------------------------------------------------------------
// Semantics of the common operand patterns.

template <class Op, Form F>
bool two_sources(Vcpu& cpu, const Insn& insn) {
  if (!available<F>(cpu)) return false;
  Bits<kWidth<F>> second{};
  if (!read_source<F>(cpu, insn, insn.op[kFirst<F> + 1], second)) return false;
  const auto first = read_register<F>(cpu, insn.op[kFirst<F>].reg);
  write_register<F>(cpu, insn.op[0].reg, evaluate<Op>(insn, first, second));
  return true;
}

template <class Op, Form F>
bool one_source(Vcpu& cpu, const Insn& insn) {
  if (!available<F>(cpu)) return false;
  Bits<kWidth<F>> source{};
  if (!read_source<F>(cpu, insn, insn.op[1], source)) return false;
  write_register<F>(cpu, insn.op[0].reg, evaluate<Op>(insn, source));
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Binders and rows. S is a class template of semantics by form: S<F>::run.

template <template <Form> class S>
Handler bind_legacy(const Insn& insn) {
  for (const Operand& op : insn.op)
    if (op.kind == OperandKind::kMmx) return run_next<S<Form::kMmx>::run>;
  return run_next<S<Form::kSse>::run>;
}
template <template <Form> class S>
Handler bind_sse(const Insn&) {
  return run_next<S<Form::kSse>::run>;
}
// By the widest operand, which is not the first in VCVTPD2PS xmm, ymm or m256.
inline bool has_ymm(const Insn& insn) {
  for (const Operand& op : insn.op)
    if ((op.kind == OperandKind::kVector || op.kind == OperandKind::kMemory) && op.size == 32) return true;
  return false;
}
template <template <Form> class S>
Handler bind_vex(const Insn& insn) {
  return has_ymm(insn) ? run_next<S<Form::kVex256>::run> : run_next<S<Form::kVex128>::run>;
}
template <template <Form> class S>
Handler bind_vex128(const Insn& insn) {
  return has_ymm(insn) ? nullptr : run_next<S<Form::kVex128>::run>;
}

template <std::size_t N>
using RowArray = std::array<Row, N>;

// One array of the rows of several.
template <std::size_t... N>
constexpr auto join_rows(const RowArray<N>&... arrays) {
  RowArray<(N + ...)> all{};
  std::size_t i = 0;
  const auto append = [&](const auto& array) {
    for (const Row& one : array) all[i++] = one;
  };
  (append(arrays), ...);
  return all;
}

// Rows of instructions with MMX, XMM and VEX forms; XMM and VEX; XMM and VEX.128 only; single ones.
template <template <Form> class S>
constexpr RowArray<2> mmx_sse_vex(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return {{{legacy, Flow::kNext, bind_legacy<S>}, {vex, Flow::kNext, bind_vex<S>}}};
}
template <template <Form> class S>
constexpr RowArray<2> sse_vex(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return {{{legacy, Flow::kNext, bind_sse<S>}, {vex, Flow::kNext, bind_vex<S>}}};
}
template <template <Form> class S>
constexpr RowArray<2> sse_vex128(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return {{{legacy, Flow::kNext, bind_sse<S>}, {vex, Flow::kNext, bind_vex128<S>}}};
}
template <template <Form> class S>
constexpr RowArray<1> vex_only(ZydisMnemonic vex) {
  return {{{vex, Flow::kNext, bind_vex<S>}}};
}
template <Semantics S>
constexpr RowArray<1> single(ZydisMnemonic mnemonic) {
  return {row<S>(mnemonic)};
}

template <class Op>
struct TwoSources {
  template <Form F>
  struct In {
    static constexpr Semantics run = two_sources<Op, F>;
  };
};
template <class Op>
struct OneSource {
  template <Form F>
  struct In {
    static constexpr Semantics run = one_source<Op, F>;
  };
};

// destination = Op(first, second): `two_mmx` where an MMX form exists, `two` for XMM and VEX, `two_128` if
// VEX.256 does not exist.
template <class Op>
constexpr RowArray<2> two_mmx(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return mmx_sse_vex<TwoSources<Op>::template In>(legacy, vex);
}
template <class Op>
constexpr RowArray<2> two(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex<TwoSources<Op>::template In>(legacy, vex);
}
template <class Op>
constexpr RowArray<2> two_128(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex128<TwoSources<Op>::template In>(legacy, vex);
}
template <class Op>
constexpr RowArray<1> two_vex(ZydisMnemonic vex) {
  return vex_only<TwoSources<Op>::template In>(vex);
}
// destination = Op(source).
template <class Op>
constexpr RowArray<2> one_mmx(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return mmx_sse_vex<OneSource<Op>::template In>(legacy, vex);
}
template <class Op>
constexpr RowArray<2> one(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex<OneSource<Op>::template In>(legacy, vex);
}
template <class Op>
constexpr RowArray<2> one_128(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex128<OneSource<Op>::template In>(legacy, vex);
}
template <class Op>
constexpr RowArray<1> one_vex(ZydisMnemonic vex) {
  return vex_only<OneSource<Op>::template In>(vex);
}

}  // namespace doppel::interp
