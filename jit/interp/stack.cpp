// PUSH POP PUSHA POPA ENTER LEAVE.
#include "jit/interp/stack.hpp"

#include "jit/interp/families.hpp"
#include "jit/interp/segment.hpp"

namespace doppel::interp {
namespace {

template <class T>
bool push_register(Vcpu& cpu, const Insn& insn) {
  return push<T>(cpu, read_gpr<T>(cpu, insn.op[0].reg));
}
template <class T>
bool push_immediate(Vcpu& cpu, const Insn& insn) {
  return push<T>(cpu, static_cast<T>(insn.imm));
}
template <class T>
bool push_memory(Vcpu& cpu, const Insn& insn) {
  T value{};
  return load<T>(cpu, insn, value) && push<T>(cpu, value);
}
// The selector is zero-extended to the operand size.
template <class T>
bool push_segment(Vcpu& cpu, const Insn& insn) {
  return push<T>(cpu, static_cast<T>(cpu.state.segment[insn.op[0].reg].selector));
}

template <class T>
bool pop_register(Vcpu& cpu, const Insn& insn) {
  T value{};
  if (!pop<T>(cpu, value)) return false;
  write_gpr<T>(cpu, insn.op[0].reg, value);
  return true;
}
// An address that uses RSP sees it already incremented; a fault restores it.
template <class T>
bool pop_memory(Vcpu& cpu, const Insn& insn) {
  const u64 old_rsp = cpu.state.gpr[core::kRsp];
  T value{};
  if (!pop<T>(cpu, value)) return false;
  if (store<T>(cpu, insn, value)) return true;
  cpu.state.gpr[core::kRsp] = old_rsp;
  return false;
}
template <class T>
bool pop_segment(Vcpu& cpu, const Insn& insn) {
  const u64 old_rsp = cpu.state.gpr[core::kRsp];
  T value{};
  if (!pop<T>(cpu, value)) return false;
  const auto segment = static_cast<core::Segment>(insn.op[0].reg);
  // SS changes the width of the stack pointer: RSP moves by the old rules, which pop() applied.
  if (!load_segment(cpu, segment, static_cast<u16>(value))) {
    cpu.state.gpr[core::kRsp] = old_rsp;
    return false;
  }
  if (segment == core::kSs) {
    cpu.state.interrupt_shadow = true;
    cpu.state.attention = 1;
  }
  return true;
}

template <class F>
Handler by_stack_size(const Insn& insn, F&& f) {
  switch (insn.op_size) {
    case 2:
      return f.template operator()<u16>();
    case 4:
      return f.template operator()<u32>();
    case 8:
      return f.template operator()<u64>();
    default:
      return nullptr;
  }
}

Handler bind_push(const Insn& insn) {
  return by_stack_size(insn, [&]<class T>() -> Handler {
    switch (insn.op[0].kind) {
      case OperandKind::kGpr:
        return run_next<push_register<T>>;
      case OperandKind::kMemory:
        return run_next<push_memory<T>>;
      case OperandKind::kImmediate:
        return run_next<push_immediate<T>>;
      case OperandKind::kSegment:
        return run_next<push_segment<T>>;
      default:
        return nullptr;
    }
  });
}
Handler bind_pop(const Insn& insn) {
  return by_stack_size(insn, [&]<class T>() -> Handler {
    switch (insn.op[0].kind) {
      case OperandKind::kGpr:
        return run_next<pop_register<T>>;
      case OperandKind::kMemory:
        return run_next<pop_memory<T>>;
      case OperandKind::kSegment:
        return run_ends<pop_segment<T>>;
      default:
        return nullptr;
    }
  });
}

// A fault restores RSP; what was pushed below it stays, as on hardware.
template <class T>
bool pusha(Vcpu& cpu, const Insn&) {
  auto& s = cpu.state;
  const u64 old_rsp = s.gpr[core::kRsp];
  for (u8 reg = 0; reg < 8; ++reg) {
    const u64 value = reg == core::kRsp ? old_rsp : s.gpr[reg];
    if (!push<T>(cpu, static_cast<T>(value))) {
      s.gpr[core::kRsp] = old_rsp;
      return false;
    }
  }
  return true;
}
template <class T>
bool popa(Vcpu& cpu, const Insn&) {
  auto& s = cpu.state;
  const u64 old_rsp = s.gpr[core::kRsp];
  T values[8];
  for (int reg = 7; reg >= 0; --reg) {
    T value{};
    if (!pop<T>(cpu, value)) {
      s.gpr[core::kRsp] = old_rsp;
      return false;
    }
    values[reg] = value;
  }
  for (u8 reg = 0; reg < 8; ++reg)
    if (reg != core::kRsp) write_gpr<T>(cpu, static_cast<u8>(reg * 8), values[reg]);
  return true;
}

template <class T>
bool leave_frame(Vcpu& cpu, const Insn&) {
  auto& s = cpu.state;
  const u64 old_rsp = s.gpr[core::kRsp];
  set_stack_pointer(s, s.gpr[core::kRbp]);
  T value{};
  if (!pop<T>(cpu, value)) {
    s.gpr[core::kRsp] = old_rsp;
    return false;
  }
  write_gpr<T>(cpu, core::kRbp * 8, value);
  return true;
}

template <class T>
bool enter(Vcpu& cpu, const Insn& insn) {
  auto& s = cpu.state;
  const u64 old_rsp = s.gpr[core::kRsp];
  const u64 mask = stack_mask(s);
  const u32 level = insn.imm2 & 31;
  const auto fail = [&] {
    s.gpr[core::kRsp] = old_rsp;
    return false;
  };
  if (!push<T>(cpu, read_gpr<T>(cpu, core::kRbp * 8))) return fail();
  const u64 frame = s.gpr[core::kRsp];
  u64 link = s.gpr[core::kRbp];
  for (u32 i = 1; i < level; ++i) {
    link = (link - sizeof(T)) & mask;
    u64 la{};
    T value{};
    if (!stack_address(cpu, link, sizeof(T), mmu::Access::kRead, la)) return fail();
    if (!cpu.mmu.read<T>(la, value)) {
      memory_fault(cpu, core::kSs);
      return fail();
    }
    if (!push<T>(cpu, value)) return fail();
  }
  if (level > 0 && !push<T>(cpu, static_cast<T>(frame))) return fail();
  set_stack_pointer(s, (s.gpr[core::kRsp] - static_cast<u16>(insn.imm)) & mask);
  // A later push to the new stack must not be the one that faults (SDM Vol. 2A, ENTER).
  u64 la{};
  if (!stack_address(cpu, s.gpr[core::kRsp] & mask, sizeof(T), mmu::Access::kWrite, la)) return fail();
  if (!cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite)) {
    memory_fault(cpu, core::kSs);
    return fail();
  }
  write_gpr<T>(cpu, core::kRbp * 8, static_cast<T>(frame));
  return true;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_PUSH, Flow::kNext, bind_push},
    {ZYDIS_MNEMONIC_POP, Flow::kNext, bind_pop},
    row<pusha<u16>>(ZYDIS_MNEMONIC_PUSHA),
    row<pusha<u32>>(ZYDIS_MNEMONIC_PUSHAD),
    row<popa<u16>>(ZYDIS_MNEMONIC_POPA),
    row<popa<u32>>(ZYDIS_MNEMONIC_POPAD),
    {ZYDIS_MNEMONIC_LEAVE, Flow::kNext,
     [](const Insn& insn) {
       return by_stack_size(insn, []<class T>() -> Handler { return run_next<leave_frame<T>>; });
     }},
    {ZYDIS_MNEMONIC_ENTER, Flow::kNext,
     [](const Insn& insn) {
       return by_stack_size(insn, []<class T>() -> Handler { return run_next<enter<T>>; });
     }},
};

}  // namespace

const Rows kStackRows = kRows;

}  // namespace doppel::interp
