// x87 functions of the stack's top: roots, remainders, rounding and scaling, trigonometry, logarithms. They
// replace ST0, or also push a second result, or pop. Source: SDM Vol. 1, "Basic Arithmetic Instructions",
// "Trigonometric Instructions", "Logarithmic, Exponential, and Scale".
#include "jit/interp/families.hpp"
#include "jit/interp/x87.hpp"

namespace doppel::interp {
namespace {

using namespace x87;
using x87_host::Frame;
using x87_host::Operation;

bool is_nan(const X87Register& value) {
  return (value.sign_exponent & 0x7fff) == 0x7fff && value.significand << 1;
}

// ST0 = F(ST0), or F(ST0, ST1) if kOperands is 2. Of the condition flags in kConditionsOut, only C1 and C2
// change where there is no quotient (as on AMD processors).
template <Operation F, u32 kOperands, u16 kConditionsOut = kC1>
bool function(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, 0) || (kOperands == 2 && empty(x, 1));
  const Frame f = evaluate<F>(x, 0, 1, underflow);
  const bool done = masked(x, f.status & kFaultLike);
  if (done) set(x, 0, f.st[0]);
  const bool no_quotient = !done || f.status & kInvalid || is_nan(f.st[0]);
  return complete(cpu, insn, f.status, kConditionsOut & (no_quotient ? kC1 | kC2 : kConditions));
}

// ST0 = F(ST0), then a second result is pushed.
template <Operation F, u16 kConditionsOut>
bool and_push(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, 0);
  if (underflow || full(x)) {
    if (masked(x, kInvalid)) {
      set(x, 0, kIndefinite);
      push(x, kIndefinite);
    }
    return underflow ? complete_underflow(cpu, insn, kConditionsOut)
                     : complete_overflow(cpu, insn, kConditionsOut);
  }
  Frame f{.st = {get(x, 0)}, .control = x.control};
  F(f);
  if (masked(x, f.status & kFaultLike) && !(f.status & kConditionsOut & kC2)) {
    set(x, 0, f.st[1]);
    push(x, f.st[0]);
  }
  return complete(cpu, insn, f.status, kConditionsOut);
}

// ST1 = F(ST0, ST1), then a pop.
template <Operation F>
bool and_pop(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, 0) || empty(x, 1);
  const Frame f = evaluate<F>(x, 0, 1, underflow);
  if (masked(x, f.status & kFaultLike)) {
    pop(x);
    set(x, 0, f.st[0]);
  }
  return underflow ? complete_underflow(cpu, insn) : complete(cpu, insn, f.status);
}

using namespace x87_host;

constexpr Row kRows[] = {
    row<function<fsqrt, 1>>(ZYDIS_MNEMONIC_FSQRT),
    row<function<frndint, 1>>(ZYDIS_MNEMONIC_FRNDINT),
    row<function<fscale, 2>>(ZYDIS_MNEMONIC_FSCALE),
    row<function<fprem, 2, kConditions>>(ZYDIS_MNEMONIC_FPREM),
    row<function<fprem1, 2, kConditions>>(ZYDIS_MNEMONIC_FPREM1),
    row<function<f2xm1, 1>>(ZYDIS_MNEMONIC_F2XM1),
    row<function<fsin, 1, kC1 | kC2>>(ZYDIS_MNEMONIC_FSIN),
    row<function<fcos, 1, kC1 | kC2>>(ZYDIS_MNEMONIC_FCOS),
    row<and_push<fsincos, kC1 | kC2>>(ZYDIS_MNEMONIC_FSINCOS),
    row<and_push<fptan, kC1 | kC2>>(ZYDIS_MNEMONIC_FPTAN),
    row<and_push<fxtract, kC1>>(ZYDIS_MNEMONIC_FXTRACT),
    row<and_pop<fpatan>>(ZYDIS_MNEMONIC_FPATAN),
    row<and_pop<fyl2x>>(ZYDIS_MNEMONIC_FYL2X),
    row<and_pop<fyl2xp1>>(ZYDIS_MNEMONIC_FYL2XP1),
};

}  // namespace

const Rows kX87TranscendentalRows = kRows;

}  // namespace doppel::interp
