// x87 data transfer: loads, stores, conversions to and from integers and packed BCD, constants, exchanges,
// conditional moves. Source: SDM Vol. 1, "x87 FPU Data Transfer Instructions" and the pages of Vol. 2A.
#include "jit/interp/families.hpp"
#include "jit/interp/x87.hpp"

namespace doppel::interp {
namespace {

using namespace x87;
using x87_host::Frame;
using x87_host::Operation;

// ---------------------------------------------------------------------------------------------------------------
// Loads.

// Pushes what F makes of the memory operand, of T's size.
template <Operation F, class T>
bool load_convert(Vcpu& cpu, const Insn& insn) {
  T source{};
  if (!ready(cpu) || !load<T>(cpu, insn, source)) return false;
  X87State& x = cpu.state.x87;
  if (full(x)) {
    if (masked(x, kInvalid)) push(x, kIndefinite);
    return complete_overflow(cpu, insn);
  }
  Frame f{.control = x.control};
  std::memcpy(f.memory, &source, sizeof source);
  F(f);
  if (masked(x, f.status & kInvalid)) push(x, f.st[0]);  // a denormal is pushed even when unmasked
  return complete(cpu, insn, f.status);
}

template <Operation F>
bool load_constant(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  if (full(x)) {
    if (masked(x, kInvalid)) push(x, kIndefinite);
    return complete_overflow(cpu, insn);
  }
  Frame f{.control = x.control};
  F(f);
  push(x, f.st[0]);
  return complete(cpu, insn, 0);
}

bool fld_m80(Vcpu& cpu, const Insn& insn) {
  Real80 source{};
  if (!ready(cpu) || !load<Real80>(cpu, insn, source)) return false;
  X87State& x = cpu.state.x87;
  if (full(x)) {
    if (masked(x, kInvalid)) push(x, kIndefinite);
    return complete_overflow(cpu, insn);
  }
  push(x, {source.significand, source.sign_exponent});
  return complete(cpu, insn, 0);
}

bool fld_st(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, insn.op[0].reg);
  if (underflow || full(x)) {
    if (masked(x, kInvalid)) push(x, kIndefinite);
    return underflow ? complete_underflow(cpu, insn) : complete_overflow(cpu, insn);
  }
  push(x, X87Register(get(x, insn.op[0].reg)));
  return complete(cpu, insn, 0);
}

// ---------------------------------------------------------------------------------------------------------------
// Stores.

// The fault that a store of sizeof(T) bytes would raise: it comes even if an unmasked exception cancels the
// store.
template <class T>
bool check_store(Vcpu& cpu, const Insn& insn) {
  u64 la;
  if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(T), mmu::Access::kWrite, la))
    return false;
  return cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite) || memory_fault(cpu, insn.segment);
}

// Stores ST0 as F converts it, in sizeof(T) bytes. An empty ST0 stores what the indefinite NaN converts to.
template <Operation F, class T, bool kPop>
bool store_convert(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, 0);
  Frame f{.st = {underflow ? kIndefinite : get(x, 0)}, .control = x.control};
  F(f);
  const u16 status = underflow ? kInvalid | kStackFault : f.status;
  if (masked(x, status & kStoreFaultLike)) {
    T result;
    std::memcpy(&result, f.memory, sizeof result);
    if (!store<T>(cpu, insn, result)) return false;
    if constexpr (kPop) pop(x);
  } else if (!check_store<T>(cpu, insn)) {
    return false;
  }
  return complete(cpu, insn, status);
}

bool fstp_m80(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, 0);
  if (!underflow || masked(x, kInvalid)) {
    const X87Register& source = underflow ? kIndefinite : get(x, 0);
    if (!store<Real80>(cpu, insn, {source.significand, source.sign_exponent})) return false;
    pop(x);
  } else if (!check_store<Real80>(cpu, insn)) {
    return false;
  }
  return underflow ? complete_underflow(cpu, insn) : complete(cpu, insn, 0);
}

template <bool kPop>
bool fst_st(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const bool underflow = empty(x, 0);
  if (!underflow || masked(x, kInvalid)) {
    set(x, insn.op[0].reg, underflow ? kIndefinite : X87Register(get(x, 0)));
    if constexpr (kPop) pop(x);
  }
  return underflow ? complete_underflow(cpu, insn) : complete(cpu, insn, 0);
}

// The undocumented D9 D8+i: FSTP that finds nothing wrong with an empty ST0.
bool fstpnce(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  if (!empty(x, 0)) set(x, insn.op[0].reg, X87Register(get(x, 0)));
  pop(x);
  return complete(cpu, insn, 0);
}

// ---------------------------------------------------------------------------------------------------------------
// Between registers.

bool fxch(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const u8 i = insn.op[0].reg;
  const bool underflow = empty(x, 0) || empty(x, i);
  if (!underflow || masked(x, kInvalid)) {
    const X87Register a = empty(x, 0) ? kIndefinite : get(x, 0);
    const X87Register b = empty(x, i) ? kIndefinite : get(x, i);
    set(x, 0, b);
    set(x, i, a);
  }
  return underflow ? complete_underflow(cpu, insn) : complete(cpu, insn, 0);
}

bool below(const core::LazyFlags& f) {
  return core::cf(f);
}
bool equal(const core::LazyFlags& f) {
  return core::zf(f);
}
bool below_or_equal(const core::LazyFlags& f) {
  return core::cf(f) || core::zf(f);
}
bool unordered(const core::LazyFlags& f) {
  return core::pf(f);
}

template <bool (*Condition)(const core::LazyFlags&), bool kWanted>
bool fcmov(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  const u8 i = insn.op[1].reg;
  if (empty(x, 0) || empty(x, i)) {
    if (masked(x, kInvalid)) set(x, 0, kIndefinite);
    return complete_underflow(cpu, insn);
  }
  if (Condition(cpu.state.lazy) == kWanted) set(x, 0, X87Register(get(x, i)));
  return complete(cpu, insn, 0, 0);
}

// ---------------------------------------------------------------------------------------------------------------
// Handlers by operand.

template <Semantics S16, Semantics S32, Semantics S64, Semantics S80, Semantics Register>
Handler by_operand(const Insn& insn) {
  if (insn.op[0].kind == OperandKind::kX87) return run_next<Register>;
  switch (insn.op[0].size) {
    case 2:
      return run_next<S16>;
    case 4:
      return run_next<S32>;
    case 8:
      return run_next<S64>;
    case 10:
      return run_next<S80>;
    default:
      return nullptr;
  }
}

// For the slots of operands that the encoding does not have.
bool undefined(Vcpu& cpu, const Insn&) {
  return cpu.raise(Vector::kUD);
}

constexpr Row transfer(ZydisMnemonic mnemonic, Handler (*bind)(const Insn&)) {
  return {mnemonic, Flow::kNext, bind};
}

using namespace x87_host;

constexpr Row kRows[] = {
    transfer(ZYDIS_MNEMONIC_FLD,
             by_operand<undefined, load_convert<fld_m32, u32>, load_convert<fld_m64, u64>, fld_m80, fld_st>),
    transfer(ZYDIS_MNEMONIC_FILD, by_operand<load_convert<fild_m16, u16>, load_convert<fild_m32, u32>,
                                             load_convert<fild_m64, u64>, undefined, undefined>),
    row<load_convert<fbld, Real80>>(ZYDIS_MNEMONIC_FBLD),
    row<load_constant<fld1>>(ZYDIS_MNEMONIC_FLD1),
    row<load_constant<fldl2t>>(ZYDIS_MNEMONIC_FLDL2T),
    row<load_constant<fldl2e>>(ZYDIS_MNEMONIC_FLDL2E),
    row<load_constant<fldpi>>(ZYDIS_MNEMONIC_FLDPI),
    row<load_constant<fldlg2>>(ZYDIS_MNEMONIC_FLDLG2),
    row<load_constant<fldln2>>(ZYDIS_MNEMONIC_FLDLN2),
    row<load_constant<fldz>>(ZYDIS_MNEMONIC_FLDZ),
    transfer(ZYDIS_MNEMONIC_FST, by_operand<undefined, store_convert<fst_m32, u32, false>,
                                            store_convert<fst_m64, u64, false>, undefined, fst_st<false>>),
    transfer(ZYDIS_MNEMONIC_FSTP, by_operand<undefined, store_convert<fst_m32, u32, true>,
                                             store_convert<fst_m64, u64, true>, fstp_m80, fst_st<true>>),
    row<fstpnce>(ZYDIS_MNEMONIC_FSTPNCE),
    transfer(ZYDIS_MNEMONIC_FIST,
             by_operand<store_convert<fist_m16, u16, false>, store_convert<fist_m32, u32, false>, undefined,
                        undefined, undefined>),
    transfer(ZYDIS_MNEMONIC_FISTP,
             by_operand<store_convert<fist_m16, u16, true>, store_convert<fist_m32, u32, true>,
                        store_convert<fistp_m64, u64, true>, undefined, undefined>),
    transfer(ZYDIS_MNEMONIC_FISTTP,
             by_operand<store_convert<fisttp_m16, u16, true>, store_convert<fisttp_m32, u32, true>,
                        store_convert<fisttp_m64, u64, true>, undefined, undefined>),
    row<store_convert<fbstp, Real80, true>>(ZYDIS_MNEMONIC_FBSTP),
    row<fxch>(ZYDIS_MNEMONIC_FXCH),
    row<fcmov<below, true>>(ZYDIS_MNEMONIC_FCMOVB),
    row<fcmov<below, false>>(ZYDIS_MNEMONIC_FCMOVNB),
    row<fcmov<equal, true>>(ZYDIS_MNEMONIC_FCMOVE),
    row<fcmov<equal, false>>(ZYDIS_MNEMONIC_FCMOVNE),
    row<fcmov<below_or_equal, true>>(ZYDIS_MNEMONIC_FCMOVBE),
    row<fcmov<below_or_equal, false>>(ZYDIS_MNEMONIC_FCMOVNBE),
    row<fcmov<unordered, true>>(ZYDIS_MNEMONIC_FCMOVU),
    row<fcmov<unordered, false>>(ZYDIS_MNEMONIC_FCMOVNU),
};

}  // namespace

const Rows kX87MoveRows = kRows;

}  // namespace doppel::interp
