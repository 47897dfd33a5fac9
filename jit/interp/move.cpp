// MOV in all its forms, MOVZX MOVSX MOVSXD MOVBE LEA BSWAP XLAT CMOVcc SETcc CBW..CQO NOP.
#include <bit>

#include "jit/interp/bind.hpp"
#include "jit/interp/condition.hpp"
#include "jit/interp/control_register.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/segment.hpp"

namespace doppel::interp {
namespace {

template <class T>
bool mov_register_register(Vcpu& cpu, const Insn& insn) {
  write_gpr<T>(cpu, insn.op[0].reg, read_gpr<T>(cpu, insn.op[1].reg));
  return true;
}
template <class T>
bool mov_register_immediate(Vcpu& cpu, const Insn& insn) {
  write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(insn.imm));
  return true;
}
template <class T>
bool mov_register_memory(Vcpu& cpu, const Insn& insn) {
  T value{};
  if (!load<T>(cpu, insn, value)) return false;
  write_gpr<T>(cpu, insn.op[0].reg, value);
  return true;
}
template <class T>
bool mov_memory_register(Vcpu& cpu, const Insn& insn) {
  return store<T>(cpu, insn, read_gpr<T>(cpu, insn.op[1].reg));
}
template <class T>
bool mov_memory_immediate(Vcpu& cpu, const Insn& insn) {
  return store<T>(cpu, insn, static_cast<T>(insn.imm));
}

bool mov_to_segment(Vcpu& cpu, const Insn& insn) {
  const auto segment = static_cast<core::Segment>(insn.op[0].reg);
  if (segment == core::kCs) return cpu.raise(Vector::kUD);
  u16 selector{};
  if (!read_rm<u16>(cpu, insn, insn.op[1], selector)) return false;
  if (!load_segment(cpu, segment, selector)) return false;
  if (segment == core::kSs) {
    cpu.state.interrupt_shadow = true;
    cpu.state.attention = 1;
  }
  return true;
}
// Memory gets 16 bits; a register gets its full size, zero-extended.
bool mov_from_segment(Vcpu& cpu, const Insn& insn) {
  const u16 selector = cpu.state.segment[insn.op[1].reg].selector;
  const Operand& to = insn.op[0];
  if (to.kind == OperandKind::kMemory) return store<u16>(cpu, insn, selector);
  by_size(to.size, [&]<class T>() { write_gpr<T>(cpu, to.reg, static_cast<T>(selector)); });
  return true;
}

bool write_system_register(Vcpu& cpu, const Insn& insn) {
  const u64 value =
      insn.flags & jit::kCode64 ? read_gpr<u64>(cpu, insn.op[1].reg) : read_gpr<u32>(cpu, insn.op[1].reg);
  return insn.op[0].kind == OperandKind::kControl ? write_control_register(cpu, insn.op[0].reg, value)
                                                  : write_debug_register(cpu, insn.op[0].reg, value);
}
bool read_system_register(Vcpu& cpu, const Insn& insn) {
  u64 value = 0;
  if (!(insn.op[1].kind == OperandKind::kControl ? read_control_register(cpu, insn.op[1].reg, value)
                                                 : read_debug_register(cpu, insn.op[1].reg, value)))
    return false;
  if (insn.flags & jit::kCode64)
    write_gpr<u64>(cpu, insn.op[0].reg, value);
  else
    write_gpr<u32>(cpu, insn.op[0].reg, static_cast<u32>(value));
  return true;
}

Handler bind_mov(const Insn& insn) {
  const OperandKind to = insn.op[0].kind, from = insn.op[1].kind;
  if (to == OperandKind::kSegment) return run_ends<mov_to_segment>;
  if (from == OperandKind::kSegment) return run_next<mov_from_segment>;
  if (to == OperandKind::kControl || to == OperandKind::kDebug) return run_ends<write_system_register>;
  if (from == OperandKind::kControl || from == OperandKind::kDebug) return run_next<read_system_register>;
  return by_size(insn.op_size, [&]<class T>() -> Handler {
    if (to == OperandKind::kMemory)
      return from == OperandKind::kImmediate ? run_next<mov_memory_immediate<T>>
                                             : run_next<mov_memory_register<T>>;
    if (from == OperandKind::kMemory) return run_next<mov_register_memory<T>>;
    return from == OperandKind::kImmediate ? run_next<mov_register_immediate<T>>
                                           : run_next<mov_register_register<T>>;
  });
}

// MOVZX, MOVSX, MOVSXD: source type From (signed to sign-extend), destination of the operand size.
template <class T, class From, bool kMemory>
bool extend(Vcpu& cpu, const Insn& insn) {
  using Raw = std::make_unsigned_t<From>;
  Raw value{};
  if constexpr (kMemory) {
    if (!load<Raw>(cpu, insn, value)) return false;
  } else {
    value = read_gpr<Raw>(cpu, insn.op[1].reg);
  }
  write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(static_cast<From>(value)));
  return true;
}
template <bool kSigned>
Handler bind_extend(const Insn& insn) {
  return by_size(insn.op_size, [&]<class T>() -> Handler {
    return by_size(insn.op[1].size, [&]<class Raw>() -> Handler {
      using From = std::conditional_t<kSigned, std::make_signed_t<Raw>, Raw>;
      if constexpr (sizeof(Raw) > 4)
        return nullptr;
      else
        return insn.op[1].kind == OperandKind::kMemory ? run_next<extend<T, From, true>>
                                                       : run_next<extend<T, From, false>>;
    });
  });
}

template <class T>
T byte_swap(T value) {
  if constexpr (sizeof(T) == 2)
    return static_cast<T>((value << 8) | (value >> 8));
  else if constexpr (sizeof(T) == 4)
    return __builtin_bswap32(value);
  else
    return __builtin_bswap64(value);
}
template <class T>
bool movbe(Vcpu& cpu, const Insn& insn) {
  if (insn.op[0].kind == OperandKind::kMemory)
    return store<T>(cpu, insn, byte_swap(read_gpr<T>(cpu, insn.op[1].reg)));
  T value{};
  if (!load<T>(cpu, insn, value)) return false;
  write_gpr<T>(cpu, insn.op[0].reg, byte_swap(value));
  return true;
}
Handler bind_movbe(const Insn& insn) {
  switch (insn.op_size) {
    case 2:
      return run_next<movbe<u16>>;
    case 4:
      return run_next<movbe<u32>>;
    default:
      return run_next<movbe<u64>>;
  }
}
// A 16-bit BSWAP is undefined; processors clear the register's low half.
template <class T>
bool bswap(Vcpu& cpu, const Insn& insn) {
  if constexpr (sizeof(T) <= 2)
    write_gpr<u16>(cpu, insn.op[0].reg, 0);
  else
    write_gpr<T>(cpu, insn.op[0].reg, byte_swap(read_gpr<T>(cpu, insn.op[0].reg)));
  return true;
}

template <class T>
bool lea(Vcpu& cpu, const Insn& insn) {
  write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(effective_address(cpu, insn)));
  return true;
}

// AL = [segment : (rBX + AL)].
bool xlat(Vcpu& cpu, const Insn& insn) {
  const u64 ea = (cpu.state.gpr[core::kRbx] + (cpu.state.gpr[core::kRax] & 0xff)) & insn.address_mask();
  u64 la{};
  u8 value{};
  if (!linear_address(cpu, insn, ea, 1, mmu::Access::kRead, la)) return false;
  if (!cpu.mmu.read<u8>(la, value)) return memory_fault(cpu, insn.segment);
  write_gpr<u8>(cpu, 0, value);
  return true;
}

// The load happens, and may fault, whatever the condition; a 32-bit destination is zero-extended either way.
template <Condition C, class T>
bool cmov(Vcpu& cpu, const Insn& insn) {
  T value{};
  if (!read_rm<T>(cpu, insn, insn.op[1], value)) return false;
  write_gpr<T>(cpu, insn.op[0].reg, holds<C>(cpu.state.lazy) ? value : read_gpr<T>(cpu, insn.op[0].reg));
  return true;
}
template <Condition C>
constexpr Row cmov_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, [](const Insn& insn) -> Handler {
            switch (insn.op_size) {
              case 2:
                return run_next<cmov<C, u16>>;
              case 4:
                return run_next<cmov<C, u32>>;
              default:
                return run_next<cmov<C, u64>>;
            }
          }};
}
template <Condition C>
bool setcc(Vcpu& cpu, const Insn& insn) {
  return write_rm<u8>(cpu, insn, insn.op[0], holds<C>(cpu.state.lazy));
}

// Sign-extends within rAX, or from rAX into rDX.
template <class From, class To>
bool extend_accumulator(Vcpu& cpu, const Insn&) {
  write_gpr<To>(cpu, 0, static_cast<To>(static_cast<std::make_signed_t<From>>(read_gpr<From>(cpu, 0))));
  return true;
}
template <class T>
bool sign_into_rdx(Vcpu& cpu, const Insn&) {
  const bool negative = read_gpr<T>(cpu, 0) >> (sizeof(T) * 8 - 1);
  write_gpr<T>(cpu, core::kRdx * 8, static_cast<T>(negative ? ~T{0} : T{0}));
  return true;
}

bool nop(Vcpu&, const Insn&) {
  return true;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_MOV, Flow::kNext, bind_mov},
    {ZYDIS_MNEMONIC_MOVZX, Flow::kNext, bind_extend<false>},
    {ZYDIS_MNEMONIC_MOVSX, Flow::kNext, bind_extend<true>},
    {ZYDIS_MNEMONIC_MOVSXD, Flow::kNext, bind_extend<true>},
    {ZYDIS_MNEMONIC_MOVBE, Flow::kNext, bind_movbe},
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_BSWAP, bswap),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_LEA, lea),
    row<xlat>(ZYDIS_MNEMONIC_XLAT),
    cmov_row<Condition::kO>(ZYDIS_MNEMONIC_CMOVO),
    cmov_row<Condition::kNo>(ZYDIS_MNEMONIC_CMOVNO),
    cmov_row<Condition::kB>(ZYDIS_MNEMONIC_CMOVB),
    cmov_row<Condition::kNb>(ZYDIS_MNEMONIC_CMOVNB),
    cmov_row<Condition::kZ>(ZYDIS_MNEMONIC_CMOVZ),
    cmov_row<Condition::kNz>(ZYDIS_MNEMONIC_CMOVNZ),
    cmov_row<Condition::kBe>(ZYDIS_MNEMONIC_CMOVBE),
    cmov_row<Condition::kNbe>(ZYDIS_MNEMONIC_CMOVNBE),
    cmov_row<Condition::kS>(ZYDIS_MNEMONIC_CMOVS),
    cmov_row<Condition::kNs>(ZYDIS_MNEMONIC_CMOVNS),
    cmov_row<Condition::kP>(ZYDIS_MNEMONIC_CMOVP),
    cmov_row<Condition::kNp>(ZYDIS_MNEMONIC_CMOVNP),
    cmov_row<Condition::kL>(ZYDIS_MNEMONIC_CMOVL),
    cmov_row<Condition::kNl>(ZYDIS_MNEMONIC_CMOVNL),
    cmov_row<Condition::kLe>(ZYDIS_MNEMONIC_CMOVLE),
    cmov_row<Condition::kNle>(ZYDIS_MNEMONIC_CMOVNLE),
    row<setcc<Condition::kO>>(ZYDIS_MNEMONIC_SETO),
    row<setcc<Condition::kNo>>(ZYDIS_MNEMONIC_SETNO),
    row<setcc<Condition::kB>>(ZYDIS_MNEMONIC_SETB),
    row<setcc<Condition::kNb>>(ZYDIS_MNEMONIC_SETNB),
    row<setcc<Condition::kZ>>(ZYDIS_MNEMONIC_SETZ),
    row<setcc<Condition::kNz>>(ZYDIS_MNEMONIC_SETNZ),
    row<setcc<Condition::kBe>>(ZYDIS_MNEMONIC_SETBE),
    row<setcc<Condition::kNbe>>(ZYDIS_MNEMONIC_SETNBE),
    row<setcc<Condition::kS>>(ZYDIS_MNEMONIC_SETS),
    row<setcc<Condition::kNs>>(ZYDIS_MNEMONIC_SETNS),
    row<setcc<Condition::kP>>(ZYDIS_MNEMONIC_SETP),
    row<setcc<Condition::kNp>>(ZYDIS_MNEMONIC_SETNP),
    row<setcc<Condition::kL>>(ZYDIS_MNEMONIC_SETL),
    row<setcc<Condition::kNl>>(ZYDIS_MNEMONIC_SETNL),
    row<setcc<Condition::kLe>>(ZYDIS_MNEMONIC_SETLE),
    row<setcc<Condition::kNle>>(ZYDIS_MNEMONIC_SETNLE),
    row<extend_accumulator<u8, u16>>(ZYDIS_MNEMONIC_CBW),
    row<extend_accumulator<u16, u32>>(ZYDIS_MNEMONIC_CWDE),
    row<extend_accumulator<u32, u64>>(ZYDIS_MNEMONIC_CDQE),
    row<sign_into_rdx<u16>>(ZYDIS_MNEMONIC_CWD),
    row<sign_into_rdx<u32>>(ZYDIS_MNEMONIC_CDQ),
    row<sign_into_rdx<u64>>(ZYDIS_MNEMONIC_CQO),
    row<nop>(ZYDIS_MNEMONIC_NOP),
};

}  // namespace

const Rows kMoveRows = kRows;

}  // namespace doppel::interp
