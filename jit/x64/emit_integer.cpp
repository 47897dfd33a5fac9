// General-register instructions: stack operations, LEA, and everything that is emitted again as itself.
#include <bitset>

#include "jit/x64/block_emitter.hpp"
#include "jit/x64/host_instruction.hpp"
#include "jit/x64/mnemonic_facts.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;
using asmjit::Operand_;

namespace {

// Instructions that are the same on the host, whose operands are all visible or keep their registers.
const std::bitset<ZYDIS_MNEMONIC_MAX_VALUE + 1>& plain_instructions() {
  static const auto set = [] {
    std::bitset<ZYDIS_MNEMONIC_MAX_VALUE + 1> s;
    for (const int m :
         {ZYDIS_MNEMONIC_ADD,    ZYDIS_MNEMONIC_ADC,     ZYDIS_MNEMONIC_SUB,    ZYDIS_MNEMONIC_SBB,
          ZYDIS_MNEMONIC_AND,    ZYDIS_MNEMONIC_OR,      ZYDIS_MNEMONIC_XOR,    ZYDIS_MNEMONIC_CMP,
          ZYDIS_MNEMONIC_TEST,   ZYDIS_MNEMONIC_MOV,     ZYDIS_MNEMONIC_MOVZX,  ZYDIS_MNEMONIC_MOVSX,
          ZYDIS_MNEMONIC_MOVSXD, ZYDIS_MNEMONIC_INC,     ZYDIS_MNEMONIC_DEC,    ZYDIS_MNEMONIC_NEG,
          ZYDIS_MNEMONIC_NOT,    ZYDIS_MNEMONIC_SHL,     ZYDIS_MNEMONIC_SHR,    ZYDIS_MNEMONIC_SAR,
          ZYDIS_MNEMONIC_ROL,    ZYDIS_MNEMONIC_ROR,     ZYDIS_MNEMONIC_RCL,    ZYDIS_MNEMONIC_RCR,
          ZYDIS_MNEMONIC_SHLD,   ZYDIS_MNEMONIC_SHRD,    ZYDIS_MNEMONIC_IMUL,   ZYDIS_MNEMONIC_MUL,
          ZYDIS_MNEMONIC_BT,     ZYDIS_MNEMONIC_BTS,     ZYDIS_MNEMONIC_BTR,    ZYDIS_MNEMONIC_BTC,
          ZYDIS_MNEMONIC_BSF,    ZYDIS_MNEMONIC_BSR,     ZYDIS_MNEMONIC_BSWAP,  ZYDIS_MNEMONIC_XCHG,
          ZYDIS_MNEMONIC_XADD,   ZYDIS_MNEMONIC_CMPXCHG, ZYDIS_MNEMONIC_CMOVO,  ZYDIS_MNEMONIC_CMOVNO,
          ZYDIS_MNEMONIC_CMOVB,  ZYDIS_MNEMONIC_CMOVNB,  ZYDIS_MNEMONIC_CMOVZ,  ZYDIS_MNEMONIC_CMOVNZ,
          ZYDIS_MNEMONIC_CMOVBE, ZYDIS_MNEMONIC_CMOVNBE, ZYDIS_MNEMONIC_CMOVS,  ZYDIS_MNEMONIC_CMOVNS,
          ZYDIS_MNEMONIC_CMOVP,  ZYDIS_MNEMONIC_CMOVNP,  ZYDIS_MNEMONIC_CMOVL,  ZYDIS_MNEMONIC_CMOVNL,
          ZYDIS_MNEMONIC_CMOVLE, ZYDIS_MNEMONIC_CMOVNLE, ZYDIS_MNEMONIC_SETO,   ZYDIS_MNEMONIC_SETNO,
          ZYDIS_MNEMONIC_SETB,   ZYDIS_MNEMONIC_SETNB,   ZYDIS_MNEMONIC_SETZ,   ZYDIS_MNEMONIC_SETNZ,
          ZYDIS_MNEMONIC_SETBE,  ZYDIS_MNEMONIC_SETNBE,  ZYDIS_MNEMONIC_SETS,   ZYDIS_MNEMONIC_SETNS,
          ZYDIS_MNEMONIC_SETP,   ZYDIS_MNEMONIC_SETNP,   ZYDIS_MNEMONIC_SETL,   ZYDIS_MNEMONIC_SETNL,
          ZYDIS_MNEMONIC_SETLE,  ZYDIS_MNEMONIC_SETNLE,  ZYDIS_MNEMONIC_CBW,    ZYDIS_MNEMONIC_CWDE,
          ZYDIS_MNEMONIC_CDQE,   ZYDIS_MNEMONIC_CWD,     ZYDIS_MNEMONIC_CDQ,    ZYDIS_MNEMONIC_CQO,
          ZYDIS_MNEMONIC_CLC,    ZYDIS_MNEMONIC_STC,     ZYDIS_MNEMONIC_CMC,    ZYDIS_MNEMONIC_POPCNT,
          ZYDIS_MNEMONIC_LZCNT,  ZYDIS_MNEMONIC_TZCNT,   ZYDIS_MNEMONIC_ANDN,   ZYDIS_MNEMONIC_BEXTR,
          ZYDIS_MNEMONIC_BLSI,   ZYDIS_MNEMONIC_BLSMSK,  ZYDIS_MNEMONIC_BLSR,   ZYDIS_MNEMONIC_BZHI,
          ZYDIS_MNEMONIC_PDEP,   ZYDIS_MNEMONIC_PEXT,    ZYDIS_MNEMONIC_RORX,   ZYDIS_MNEMONIC_SARX,
          ZYDIS_MNEMONIC_SHLX,   ZYDIS_MNEMONIC_SHRX,    ZYDIS_MNEMONIC_ADCX,   ZYDIS_MNEMONIC_ADOX,
          ZYDIS_MNEMONIC_CRC32,  ZYDIS_MNEMONIC_MOVBE,   ZYDIS_MNEMONIC_MOVNTI, ZYDIS_MNEMONIC_MULX})
      s.set(static_cast<std::size_t>(m));
    return s;
  }();
  return set;
}

bool is_single_multiply(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_IMUL && insn.op[1].kind == OperandKind::kNone;
}

}  // namespace

bool BlockEmitter::emit_stack(const Insn& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: {
      const bool immediate = insn.op[0].kind == OperandKind::kImmediate;
      if (insn.op_size != word_ || insn.op[0].kind == OperandKind::kSegment) return false;
      const Mem spilled = DOPPEL_STATE(translator.pushed, 8);
      const bool from_memory = insn.op[0].kind == OperandKind::kMemory;
      if (from_memory) {
        a.mov(word(kScratch1), guest_memory(insn, word_, false));
        a.mov(spilled, kScratch1);
      }
      const Mem pushed = stack_memory(insn, -i64{word_}, true);
      if (immediate) {
        a.mov(pushed, static_cast<i64>(static_cast<i32>(insn.imm)));
      } else if (from_memory) {
        a.mov(kScratch1, spilled);
        a.mov(pushed, word(kScratch1));
      } else if (const u8 host = host_of(insn.op[0]); host == kInMemory) {
        a.mov(kScratch1, gpr_home(insn.op[0].reg / 8));
        a.mov(pushed, kScratch1);
      } else {
        a.mov(pushed, sized(host, word_));
      }
      move_rsp(-i64{word_});
      return true;
    }
    case ZYDIS_MNEMONIC_POP: {
      if (insn.op_size != word_ || insn.op[0].kind != OperandKind::kGpr) return false;
      const Mem popped = stack_memory(insn, 0, false);
      const u8 host = host_of(insn.op[0]);
      if (host == kInMemory) {
        a.mov(kScratch1, popped);
        a.mov(gpr_home(insn.op[0].reg / 8), kScratch1);
      } else {
        a.mov(sized(host, word_), popped);
      }
      if (insn.op[0].reg != core::kRsp * 8) move_rsp(word_);
      return true;
    }
    case ZYDIS_MNEMONIC_LEAVE: {
      if (insn.op_size != word_) return false;
      const Mem saved = guest_memory(insn, register_address(core::kRbp, 0), word_, false);
      a.lea(word(gpq(kHostOf[core::kRsp])), ptr(rbp, static_cast<i32>(word_)));
      a.mov(word(rbp), saved);
      return true;
    }
    case ZYDIS_MNEMONIC_LEA: {
      const u8 host = host_of(insn.op[0]);
      const u32 size = insn.op[0].size;
      Insn plain = insn;  // LEA takes no segment
      plain.flags &= static_cast<u16>(~(kSegmentBase | kSegmented));
      const Address address = operand_address(plain);
      if (size >= 4 && host != kInMemory && address.kind == AddressKind::kRegisters) {
        // A register that lives in memory passes through the target, which may be the other one.
        const bool direct = !in_memory(address.base) && !in_memory(address.index);
        load_address(direct ? sized(host, size) : kScratch0, address, address.disp);
        if (!direct) a.mov(sized(host, size), sized(static_cast<u8>(kScratch0.id()), size));
        return true;
      }
      if (size == 8 && host != kInMemory && address.kind == AddressKind::kCodePage) {
        load_address(gpq(host), address, address.disp);
        return true;
      }
      compute_address(plain, false);
      if (host == kInMemory) {
        if (size == 4) a.mov(kScratch0.r32(), kScratch0.r32());
        if (size == 2)
          a.mov(gpr_home(insn.op[0].reg / 8, 2), kScratch0.r16());
        else
          a.mov(gpr_home(insn.op[0].reg / 8), kScratch0);
      } else {
        a.mov(sized(host, size), sized(static_cast<u8>(kScratch0.id()), size));
      }
      return true;
    }
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHW:
      return true;
    case ZYDIS_MNEMONIC_PAUSE:
      if (context_.shared) return false;
      a.pause();
      return true;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      return emit_divide(insn);
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return insn.op[0].kind == OperandKind::kMemory && insn.op[1].kind == OperandKind::kGpr &&
             emit_bit_string(insn);
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      emit_compare_exchange_pair(insn);
      return true;
    case ZYDIS_MNEMONIC_LFENCE:
      a.lfence();
      return true;
    case ZYDIS_MNEMONIC_SFENCE:
      a.sfence();
      return true;
    case ZYDIS_MNEMONIC_MFENCE:
      a.mfence();
      return true;
    default:
      return false;
  }
}

// BT and its relatives with a bit offset that reaches beyond the operand:
//   the operand is at address + (offset >> 3 rounded down to the operand's size)
bool BlockEmitter::emit_bit_string(const Insn& insn) {
  const u32 size = insn.op_size;
  const Gp offset = sized(static_cast<u8>(kScratch1.id()), size);
  const Mem spilled = DOPPEL_STATE(translator.effective_address, 8);
  const u32 guest = insn.op[1].reg / 8u;
  const auto id = host_instruction(insn.mnemonic);
  if (size < 4 || !id || insn.address_size != word_) return false;
  const u8 needed = needed_by(insn);
  before_clobber(needed);
  compute_address(insn, true);
  load_guest(kScratch1, guest);
  if (size == 4) a.movsxd(kScratch1, kScratch1.r32());
  a.sar(kScratch1, 3);
  a.and_(kScratch1, -static_cast<i32>(size));
  a.add(kScratch0, kScratch1);
  wrap(kScratch0);
  const Mem operand = computed_memory(insn, size, insn.mnemonic != ZYDIS_MNEMONIC_BT);
  load_guest(kScratch1, guest);
  a.and_(kScratch1.r32(), size * 8 - 1);
  if (needed != 0) {
    a.mov(spilled, kScratch1);
    flags_to_host();
    a.mov(kScratch1, spilled);
  }
  if (insn.flags & kLock) a.lock();
  a.emit(*id, operand, offset);
  flags_ = Flags::kHost;
  return true;
}

// CMPXCHG8B, CMPXCHG16B: RDX:RAX and RCX:RBX are the host's.
void BlockEmitter::emit_compare_exchange_pair(const Insn& insn) {
  const bool wide = insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
  const Mem operand = guest_memory(insn, wide ? 16 : 8, true, wide ? 16 : 1);
  if (needed_by(insn) != 0) flags_to_host();
  if (insn.flags & kLock) a.lock();
  wide ? a.cmpxchg16b(operand) : a.cmpxchg8b(operand);
  flags_ = Flags::kHost;
}

// DIV and IDIV of 4 and 8 bytes, where the quotient is sure to fit: the high half is below the divisor (DIV),
// or is only the sign of the low half and the divisor neither 0 nor -1 (IDIV). Else the interpreter does it,
// and raises #DE.
bool BlockEmitter::emit_divide(const Insn& insn) {
  if (insn.op_size < 4) return false;
  const u32 size = insn.op_size;
  before_clobber(needed_by(insn));
  const Gp divisor = sized(static_cast<u8>(kScratch1.id()), size);
  const Gp other = sized(static_cast<u8>(kScratch0.id()), size);
  if (insn.op[0].kind == OperandKind::kMemory) {
    a.mov(divisor, guest_memory(insn, size, false));
  } else {
    load_guest(kScratch1, insn.op[0].reg / 8u);
  }
  HostAssembler::Forward& slow = slow_insn(insn);
  if (insn.mnemonic == ZYDIS_MNEMONIC_DIV) {
    a.cmp(sized(core::kRdx, size), divisor);
    a.jump_if(CondCode::kAE, slow);
    a.div(divisor);
  } else {
    a.mov(other, sized(core::kRax, size));
    a.sar(other, size * 8 - 1);
    a.cmp(other, sized(core::kRdx, size));
    a.jump_if(CondCode::kNE, slow);
    a.lea(other, ptr(kScratch1, 1));
    a.cmp(other, 1);
    a.jump_if(CondCode::kBE, slow);
    a.idiv(divisor);
  }
  flags_ = Flags::kHost;
  return true;
}

bool BlockEmitter::emit_integer(const Insn& insn) {
  if (!plain_instructions().test(insn.mnemonic)) return false;
  const auto id = host_instruction(insn.mnemonic);
  if (!id) return false;
  const u16 mnemonic = insn.mnemonic;

  // Which operands there are, and whether they can be combined.
  const Operand* memory = nullptr;
  u32 resident = 0, highs = 0, extended = 0;
  for (const Operand& op : insn.op) {
    switch (op.kind) {
      case OperandKind::kNone:
      case OperandKind::kImmediate:
        break;
      case OperandKind::kMemory:
        memory = &op;
        break;
      case OperandKind::kGpr:
        if (host_of(op) == kInMemory) {
          ++resident;
          ++extended;
        } else if (high_byte(op)) {
          ++highs;
        } else if (host_of(op) >= 8 || op.size == 8 || (op.size == 1 && host_of(op) >= 4)) {
          ++extended;
        }
        break;
      default:
        return false;
    }
  }
  if (highs != 0 && (extended != 0 || memory != nullptr)) return false;
  if (resident > (memory ? 1u : 2u)) return false;
  if (memory) {
    // A register bit offset reaches beyond the operand.
    const bool bit_string = mnemonic >= ZYDIS_MNEMONIC_BT && mnemonic <= ZYDIS_MNEMONIC_BTS;
    if (bit_string && insn.op[1].kind != OperandKind::kImmediate) return false;
    if (memory->size == 0 || memory->size > 8) return false;
  }

  const bool has_memory = memory != nullptr;
  const u8 needed = needed_by(insn);
  Mem host_memory;
  if (has_memory) {
    const bool write =
        (memory == &insn.op[0] && writes_first_operand(mnemonic) && !is_single_multiply(insn)) ||
        (memory == &insn.op[1] && writes_second_operand(mnemonic));
    host_memory = guest_memory(insn, memory->size, write);
  }
  if (needed != 0 && insn.flags_read + insn.flags_written != 0) flags_to_host();

  // Host operands; guest registers that live in memory pass through a scratch register.
  Operand_ operands[4];
  u32 count = 0;
  bool scratch1_free = true;
  struct Resident {
    u32 guest;
    Gp scratch;
    bool written;
  } residents[2];
  u32 resident_count = 0;
  for (u32 i = 0; i < 4; ++i) {
    const Operand& op = insn.op[i];
    switch (op.kind) {
      case OperandKind::kMemory:
        operands[count++] = host_memory;
        break;
      case OperandKind::kImmediate:
        operands[count++] = asmjit::Imm(static_cast<i64>(insn.imm));
        break;
      case OperandKind::kGpr: {
        const u8 host = host_of(op);
        if (host != kInMemory) {
          operands[count++] = high_byte(op) ? Gp(gpb_hi(host)) : sized(host, op.size);
          break;
        }
        const u32 guest = op.reg / 8u;
        Gp scratch = kScratch0;
        bool known = false;
        for (u32 r = 0; r < resident_count; ++r)
          if (residents[r].guest == guest) {
            scratch = residents[r].scratch;
            residents[r].written |=
                (i == 0 && writes_first_operand(mnemonic)) || (i == 1 && writes_second_operand(mnemonic));
            known = true;
          }
        if (!known) {
          scratch = scratch1_free ? kScratch1 : kScratch0;
          scratch1_free = false;
          a.mov(scratch, gpr_home(guest));
          residents[resident_count++] = {
              guest, scratch,
              ((i == 0 && writes_first_operand(mnemonic)) || (i == 1 && writes_second_operand(mnemonic))) &&
                  !is_single_multiply(insn)};
        }
        operands[count++] = sized(static_cast<u8>(scratch.id()), op.size);
        break;
      }
      default:
        break;
    }
  }

  if ((insn.flags & kLock) && has_memory) a.lock();
  if (a.emitOpArray(*id, operands, count) != asmjit::kErrorOk) return false;
  for (u32 r = 0; r < resident_count; ++r)
    if (residents[r].written) a.mov(gpr_home(residents[r].guest), residents[r].scratch);
  if (insn.flags_written != 0) flags_ = Flags::kHost;
  return true;
}

}  // namespace doppel::jit::x64
