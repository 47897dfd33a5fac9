// JMP CALL RET (near; far ones go to far_transfer), Jcc, LOOPcc, JrCXZ.
#include "jit/interp/condition.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/far_transfer.hpp"
#include "jit/interp/stack.hpp"
#include "mmu/page_walk.hpp"

namespace doppel::interp {
namespace {

// Sets RIP to `target`, wrapped to the operand size T. Raises #GP(0) when code cannot be there.
template <class T>
[[nodiscard, gnu::always_inline]] inline bool jump(Vcpu& cpu, const Insn& insn, u64 target) {
  auto& s = cpu.state;
  target = static_cast<T>(target);
  if (insn.flags & jit::kCode64) {
    if (sizeof(T) == 8 && !mmu::canonical(s, target)) [[unlikely]]
      return cpu.raise(Vector::kGP);
  } else if (target > s.segment[core::kCs].limit) [[unlikely]] {
    return cpu.raise(Vector::kGP);
  }
  s.rip = target;
  return true;
}

template <class T>
bool jmp_relative(Vcpu& cpu, const Insn& insn) {
  return jump<T>(cpu, insn, rip_after(cpu, insn) + insn.imm);
}
template <class T>
bool jmp_indirect(Vcpu& cpu, const Insn& insn) {
  T target{};
  return read_rm<T>(cpu, insn, insn.op[0], target) && jump<T>(cpu, insn, target);
}

// The return address is pushed last: a bad target leaves the stack alone.
template <class T>
[[gnu::always_inline]] inline bool call(Vcpu& cpu, const Insn& insn, u64 target) {
  return jump<T>(cpu, insn, target) && push<T>(cpu, static_cast<T>(rip_after(cpu, insn)));
}
template <class T>
bool call_relative(Vcpu& cpu, const Insn& insn) {
  return call<T>(cpu, insn, rip_after(cpu, insn) + insn.imm);
}
template <class T>
bool call_indirect(Vcpu& cpu, const Insn& insn) {
  T target{};
  return read_rm<T>(cpu, insn, insn.op[0], target) && call<T>(cpu, insn, target);
}

template <class T>
bool ret(Vcpu& cpu, const Insn& insn) {
  auto& s = cpu.state;
  const u64 old_rsp = s.gpr[core::kRsp];
  T target{};
  if (!pop<T>(cpu, target)) return false;
  if (!jump<T>(cpu, insn, target)) {
    s.gpr[core::kRsp] = old_rsp;
    return false;
  }
  if (insn.imm != 0) set_stack_pointer(s, (s.gpr[core::kRsp] + static_cast<u16>(insn.imm)) & stack_mask(s));
  return true;
}

// Far pointers: an immediate, or memory with the offset first.
template <bool (*Transfer)(Vcpu&, const Insn&, u16, u64)>
bool far(Vcpu& cpu, const Insn& insn) {
  if (insn.op[0].kind == OperandKind::kImmediate) return Transfer(cpu, insn, insn.imm2, insn.imm);
  const u8 offset_size = insn.op_size;
  const u64 ea = effective_address(cpu, insn);
  u64 la{};
  if (!linear_address(cpu, insn, ea, offset_size + 2u, mmu::Access::kRead, la)) return false;
  u64 offset = 0;
  u16 selector{};
  const bool ok = by_size(offset_size, [&]<class T>() {
    T value{};
    if (!cpu.mmu.read<T>(la, value)) return false;
    offset = value;
    return true;
  });
  if (!ok || !cpu.mmu.read<u16>(la + offset_size, selector)) return memory_fault(cpu, insn.segment);
  return Transfer(cpu, insn, selector, offset);
}
bool ret_far(Vcpu& cpu, const Insn& insn) {
  return far_return(cpu, insn, static_cast<u16>(insn.imm));
}

template <class F>
Handler by_branch_size(const Insn& insn, F&& f) {
  switch (insn.op_size) {
    case 2:
      return f.template operator()<u16>();
    case 4:
      return f.template operator()<u32>();
    default:
      return f.template operator()<u64>();
  }
}
Handler bind_jmp(const Insn& insn) {
  if (insn.flags & jit::kFar) return run_branch<far<far_jump>>;
  return by_branch_size(insn, [&]<class T>() -> Handler {
    return insn.op[0].kind == OperandKind::kImmediate ? run_branch<jmp_relative<T>>
                                                      : run_branch<jmp_indirect<T>>;
  });
}
Handler bind_call(const Insn& insn) {
  if (insn.flags & jit::kFar) return run_branch<far<far_call>>;
  return by_branch_size(insn, [&]<class T>() -> Handler {
    return insn.op[0].kind == OperandKind::kImmediate ? run_branch<call_relative<T>>
                                                      : run_branch<call_indirect<T>>;
  });
}
Handler bind_ret(const Insn& insn) {
  if (insn.flags & jit::kFar) return run_branch<ret_far>;
  return by_branch_size(insn, []<class T>() -> Handler { return run_branch<ret<T>>; });
}

// Conditional branches stay in the block when they are not taken.
template <bool (*Taken)(Vcpu&, const Insn&), class T>
const Insn* conditional(Vcpu& cpu, const Insn* insn) {
  if (!Taken(cpu, *insn)) return next(cpu, insn);
  return run_branch<jmp_relative<T>>(cpu, insn);
}
template <bool (*Taken)(Vcpu&, const Insn&)>
constexpr Row conditional_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, [](const Insn& insn) {
            return by_branch_size(insn, []<class T>() -> Handler { return conditional<Taken, T>; });
          }};
}

template <Condition C>
bool condition(Vcpu& cpu, const Insn&) {
  return holds<C>(cpu.state.lazy);
}
template <class Counter>
bool counter_zero(Vcpu& cpu, const Insn&) {
  return read_gpr<Counter>(cpu, core::kRcx * 8) == 0;
}

// LOOP, LOOPE, LOOPNE: rCX of the address size counts down; flags are only read.
// The count changes only when the jump itself does not fault.
enum class LoopWhile { kAlways, kZero, kNotZero };
template <LoopWhile W, class Counter, class T>
const Insn* loop(Vcpu& cpu, const Insn* insn) {
  const Counter count = static_cast<Counter>(read_gpr<Counter>(cpu, core::kRcx * 8) - 1);
  const bool zero = core::zf(cpu.state.lazy);
  const bool taken = count != 0 && (W == LoopWhile::kAlways || zero == (W == LoopWhile::kZero));
  if (!taken) {
    write_gpr<Counter>(cpu, core::kRcx * 8, count);
    return next(cpu, insn);
  }
  cpu.last = insn;
  if (!jmp_relative<T>(cpu, *insn)) return leave(cpu, insn);
  write_gpr<Counter>(cpu, core::kRcx * 8, count);
  return nullptr;
}
template <LoopWhile W>
constexpr Row loop_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, [](const Insn& insn) {
            return by_branch_size(insn, [&]<class T>() -> Handler {
              switch (insn.address_size) {
                case 2:
                  return loop<W, u16, T>;
                case 4:
                  return loop<W, u32, T>;
                default:
                  return loop<W, u64, T>;
              }
            });
          }};
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_JMP, Flow::kBranch, bind_jmp},
    {ZYDIS_MNEMONIC_CALL, Flow::kBranch, bind_call},
    {ZYDIS_MNEMONIC_RET, Flow::kBranch, bind_ret},
    conditional_row<condition<Condition::kO>>(ZYDIS_MNEMONIC_JO),
    conditional_row<condition<Condition::kNo>>(ZYDIS_MNEMONIC_JNO),
    conditional_row<condition<Condition::kB>>(ZYDIS_MNEMONIC_JB),
    conditional_row<condition<Condition::kNb>>(ZYDIS_MNEMONIC_JNB),
    conditional_row<condition<Condition::kZ>>(ZYDIS_MNEMONIC_JZ),
    conditional_row<condition<Condition::kNz>>(ZYDIS_MNEMONIC_JNZ),
    conditional_row<condition<Condition::kBe>>(ZYDIS_MNEMONIC_JBE),
    conditional_row<condition<Condition::kNbe>>(ZYDIS_MNEMONIC_JNBE),
    conditional_row<condition<Condition::kS>>(ZYDIS_MNEMONIC_JS),
    conditional_row<condition<Condition::kNs>>(ZYDIS_MNEMONIC_JNS),
    conditional_row<condition<Condition::kP>>(ZYDIS_MNEMONIC_JP),
    conditional_row<condition<Condition::kNp>>(ZYDIS_MNEMONIC_JNP),
    conditional_row<condition<Condition::kL>>(ZYDIS_MNEMONIC_JL),
    conditional_row<condition<Condition::kNl>>(ZYDIS_MNEMONIC_JNL),
    conditional_row<condition<Condition::kLe>>(ZYDIS_MNEMONIC_JLE),
    conditional_row<condition<Condition::kNle>>(ZYDIS_MNEMONIC_JNLE),
    conditional_row<counter_zero<u16>>(ZYDIS_MNEMONIC_JCXZ),
    conditional_row<counter_zero<u32>>(ZYDIS_MNEMONIC_JECXZ),
    conditional_row<counter_zero<u64>>(ZYDIS_MNEMONIC_JRCXZ),
    loop_row<LoopWhile::kAlways>(ZYDIS_MNEMONIC_LOOP),
    loop_row<LoopWhile::kZero>(ZYDIS_MNEMONIC_LOOPE),
    loop_row<LoopWhile::kNotZero>(ZYDIS_MNEMONIC_LOOPNE),
};

}  // namespace

const Rows kControlFlowRows = kRows;

}  // namespace doppel::interp
