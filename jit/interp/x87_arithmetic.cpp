// x87 arithmetic, sign operations, comparisons and classification.
// Source: SDM Vol. 1, "Basic Arithmetic Instructions" and "Comparison and Classification Instructions".
#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/x87.hpp"

namespace doppel::interp {
namespace {

using namespace x87;
using x87_host::Frame;
using x87_host::Operation;

// ---------------------------------------------------------------------------------------------------------------
// Arithmetic.

// ST(d) = ST(d) op ST(s).
template <Operation F, bool kPop>
bool arithmetic(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const u8 d = insn.op[0].reg, s = insn.op[1].reg;
  const bool underflow = empty(x, d) || empty(x, s);
  const Frame f = evaluate<F>(x, d, s, underflow);
  if (masked(x, f.status & kFaultLike)) {
    set(x, d, f.st[0]);
    if constexpr (kPop) pop(x);
  }
  return underflow ? complete_underflow(cpu, insn) : complete(cpu, insn, f.status);
}

// ST0 = ST0 op memory.
template <Operation F, class T>
bool arithmetic_memory(Vcpu& cpu, const Insn& insn) {
  T source{};
  if (!ready(cpu) || !load<T>(cpu, insn, source)) return false;
  X87State& x = cpu.state.x87;
  if (empty(x, 0)) {
    if (masked(x, kInvalid)) set(x, 0, kIndefinite);
    return complete_underflow(cpu, insn);
  }
  Frame f{.st = {get(x, 0)}, .control = x.control};
  std::memcpy(f.memory, &source, sizeof source);
  F(f);
  if (masked(x, f.status & kFaultLike)) set(x, 0, f.st[0]);
  return complete(cpu, insn, f.status);
}

// FCHS, FABS.
template <u16 kKeep, u16 kToggle>
bool change_sign(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  if (empty(x, 0)) {
    if (masked(x, kInvalid)) set(x, 0, kIndefinite);
    return complete_underflow(cpu, insn);
  }
  X87Register& st0 = x.physical[physical(x, 0)];
  st0.sign_exponent = (st0.sign_exponent & kKeep) ^ kToggle;
  return complete(cpu, insn, 0);
}

// ---------------------------------------------------------------------------------------------------------------
// Comparisons. An empty operand compares as unordered. As AMD processors do, the result is delivered even
// with an unmasked exception, which only keeps the stack from being popped.

constexpr u16 kUnordered = kC0 | kC2 | kC3;

template <u32 kPops>
bool complete_compare(Vcpu& cpu, const Insn& insn, u16 status) {
  X87State& x = cpu.state.x87;
  if (masked(x, status & kFaultLike))
    for (u32 i = 0; i < kPops; ++i) pop(x);
  return complete(cpu, insn, status, kConditions);
}

// ST0 with ST(i), which is the last operand that the syntax shows.
template <Operation F, u32 kPops>
bool compare(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const u8 i = kPops == 2 ? 1 : insn.op[1].kind == OperandKind::kX87 ? insn.op[1].reg : insn.op[0].reg;
  if (empty(x, 0) || empty(x, i))
    return complete_compare<kPops>(cpu, insn, kInvalid | kStackFault | kUnordered);
  Frame f{.st = {get(x, 0), get(x, i)}, .control = x.control};
  F(f);
  return complete_compare<kPops>(cpu, insn, f.status);
}

template <Operation F, class T, u32 kPops>
bool compare_memory(Vcpu& cpu, const Insn& insn) {
  T source{};
  if (!ready(cpu) || !load<T>(cpu, insn, source)) return false;
  X87State& x = cpu.state.x87;
  if (empty(x, 0)) return complete_compare<kPops>(cpu, insn, kInvalid | kStackFault | kUnordered);
  Frame f{.st = {get(x, 0)}, .control = x.control};
  std::memcpy(f.memory, &source, sizeof source);
  F(f);
  return complete_compare<kPops>(cpu, insn, f.status);
}

bool ftst(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  if (empty(x, 0)) return complete_compare<0>(cpu, insn, kInvalid | kStackFault | kUnordered);
  Frame f{.st = {get(x, 0)}, .control = x.control};
  x87_host::ftst(f);
  return complete_compare<0>(cpu, insn, f.status);
}

// The same comparisons with the result in ZF, PF and CF (where C3, C2 and C0 are), OF, SF and AF cleared.
template <Operation F, bool kPop>
bool compare_to_flags(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const u8 i = insn.op[1].reg;
  const bool underflow = empty(x, 0) || empty(x, i);
  Frame f{.st = {get(x, 0), get(x, i)}, .control = x.control};
  if (underflow)
    f.status = kInvalid | kStackFault | kUnordered;
  else
    F(f);
  core::set_arithmetic_flags(cpu.state, (f.status & kC3 ? core::kZf : 0) | (f.status & kC2 ? core::kPf : 0) |
                                            (f.status & kC0 ? core::kCf : 0));
  if (kPop && masked(x, f.status & kFaultLike)) pop(x);
  return complete(cpu, insn, f.status, underflow ? kC1 : 0);
}

bool fxam(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  Frame f{.st = {get(x, 0)}, .control = x.control};
  x87_host::fxam(f);
  constexpr u16 kClass = kC0 | kC2 | kC3, kEmpty = kC3 | kC0;
  if (empty(x, 0)) f.status = static_cast<u16>((f.status & ~kClass) | kEmpty);
  return complete(cpu, insn, f.status & kConditions, kConditions);
}

// ---------------------------------------------------------------------------------------------------------------
// Handlers by operand.

template <Semantics Register, Semantics M32, Semantics M64>
Handler by_operand(const Insn& insn) {
  if (insn.op[0].kind == OperandKind::kX87) return run_next<Register>;
  return insn.op[0].size == 4 ? Handler{run_next<M32>} : Handler{run_next<M64>};
}
template <Semantics M16, Semantics M32>
Handler by_integer_size(const Insn& insn) {
  return insn.op[0].size == 2 ? Handler{run_next<M16>} : Handler{run_next<M32>};
}

using namespace x87_host;

template <Operation Register, Operation M32, Operation M64>
constexpr Row real_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext,
          by_operand<arithmetic<Register, false>, arithmetic_memory<M32, u32>, arithmetic_memory<M64, u64>>};
}
template <Operation M16, Operation M32>
constexpr Row integer_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, by_integer_size<arithmetic_memory<M16, u16>, arithmetic_memory<M32, u32>>};
}
template <u32 kPops>
constexpr Row compare_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext,
          by_operand<compare<fcom, kPops>, compare_memory<fcom_m32, u32, kPops>,
                     compare_memory<fcom_m64, u64, kPops>>};
}
template <u32 kPops>
constexpr Row compare_integer_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext,
          by_integer_size<compare_memory<ficom_m16, u16, kPops>, compare_memory<ficom_m32, u32, kPops>>};
}

constexpr Row kRows[] = {
    real_row<fadd, fadd_m32, fadd_m64>(ZYDIS_MNEMONIC_FADD),
    real_row<fsub, fsub_m32, fsub_m64>(ZYDIS_MNEMONIC_FSUB),
    real_row<fsubr, fsubr_m32, fsubr_m64>(ZYDIS_MNEMONIC_FSUBR),
    real_row<fmul, fmul_m32, fmul_m64>(ZYDIS_MNEMONIC_FMUL),
    real_row<fdiv, fdiv_m32, fdiv_m64>(ZYDIS_MNEMONIC_FDIV),
    real_row<fdivr, fdivr_m32, fdivr_m64>(ZYDIS_MNEMONIC_FDIVR),
    row<arithmetic<fadd, true>>(ZYDIS_MNEMONIC_FADDP),
    row<arithmetic<fsub, true>>(ZYDIS_MNEMONIC_FSUBP),
    row<arithmetic<fsubr, true>>(ZYDIS_MNEMONIC_FSUBRP),
    row<arithmetic<fmul, true>>(ZYDIS_MNEMONIC_FMULP),
    row<arithmetic<fdiv, true>>(ZYDIS_MNEMONIC_FDIVP),
    row<arithmetic<fdivr, true>>(ZYDIS_MNEMONIC_FDIVRP),
    integer_row<fiadd_m16, fiadd_m32>(ZYDIS_MNEMONIC_FIADD),
    integer_row<fisub_m16, fisub_m32>(ZYDIS_MNEMONIC_FISUB),
    integer_row<fisubr_m16, fisubr_m32>(ZYDIS_MNEMONIC_FISUBR),
    integer_row<fimul_m16, fimul_m32>(ZYDIS_MNEMONIC_FIMUL),
    integer_row<fidiv_m16, fidiv_m32>(ZYDIS_MNEMONIC_FIDIV),
    integer_row<fidivr_m16, fidivr_m32>(ZYDIS_MNEMONIC_FIDIVR),
    row<change_sign<0x7fff, 0>>(ZYDIS_MNEMONIC_FABS),
    row<change_sign<0xffff, 0x8000>>(ZYDIS_MNEMONIC_FCHS),
    compare_row<0>(ZYDIS_MNEMONIC_FCOM),
    compare_row<1>(ZYDIS_MNEMONIC_FCOMP),
    row<compare<fcom, 2>>(ZYDIS_MNEMONIC_FCOMPP),
    row<compare<fucom, 0>>(ZYDIS_MNEMONIC_FUCOM),
    row<compare<fucom, 1>>(ZYDIS_MNEMONIC_FUCOMP),
    row<compare<fucom, 2>>(ZYDIS_MNEMONIC_FUCOMPP),
    compare_integer_row<0>(ZYDIS_MNEMONIC_FICOM),
    compare_integer_row<1>(ZYDIS_MNEMONIC_FICOMP),
    row<compare_to_flags<fcom, false>>(ZYDIS_MNEMONIC_FCOMI),
    row<compare_to_flags<fcom, true>>(ZYDIS_MNEMONIC_FCOMIP),
    row<compare_to_flags<fucom, false>>(ZYDIS_MNEMONIC_FUCOMI),
    row<compare_to_flags<fucom, true>>(ZYDIS_MNEMONIC_FUCOMIP),
    row<interp::ftst>(ZYDIS_MNEMONIC_FTST),
    row<interp::fxam>(ZYDIS_MNEMONIC_FXAM),
};

}  // namespace

const Rows kX87ArithmeticRows = kRows;

}  // namespace doppel::interp
