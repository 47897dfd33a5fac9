// JMP, CALL, RET (near) and Jcc, LOOP, JrCXZ.
#include "core/guest_ram.hpp"
#include "jit/x64/block_emitter.hpp"
#include "jit/x64/mnemonic_facts.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

bool BlockEmitter::emit_control_flow(const Insn& insn) {
  const i64 next = page_offset_after(insn);
  const i64 target = next + static_cast<i64>(insn.imm);

  if (const auto condition = jcc_condition(insn.mnemonic)) {
    if (insn.op_size != 8) return false;
    flags_to_host();
    if (live_at_target(target) != 0) save_flags();
    slow_exits_.push_back({a.newLabel(), target, target <= next, dirty_});
    a.j(*condition, slow_exits_.back().entry);
    return true;
  }

  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_JECXZ: {
      if (insn.op_size != 8) return false;
      const asmjit::Label taken = a.newLabel(), not_taken = a.newLabel();
      if (flags_ == Flags::kHost && live_at_target(target) != 0) save_flags();
      slow_exits_.push_back({a.newLabel(), target, target <= next, dirty_});
      // The jump reaches 127 bytes only.
      a.jecxz(insn.mnemonic == ZYDIS_MNEMONIC_JRCXZ ? Gp(rcx) : Gp(ecx), taken);
      a.short_().jmp(not_taken);
      a.bind(taken);
      a.jmp(slow_exits_.back().entry);
      a.bind(not_taken);
      return true;
    }

    case ZYDIS_MNEMONIC_JMP: {
      if ((insn.flags & kFar) || insn.op_size != 8) return false;
      if (insn.op[0].kind == OperandKind::kImmediate) {
        emit_jump(target, target <= next);
        ended_ = true;
        return true;
      }
      before_clobber(kAllFlags);
      if (insn.op[0].kind == OperandKind::kMemory) {
        check_access(insn, 8, false);
        a.mov(kScratch0, ptr(kScratch0));
      } else {
        load_guest(kScratch0, insn.op[0].reg / 8);
      }
      check_canonical(insn);
      emit_jump_to_rip(kScratch0);
      return true;
    }

    case ZYDIS_MNEMONIC_CALL: {
      if ((insn.flags & kFar) || insn.op_size != 8) return false;
      const bool direct = insn.op[0].kind == OperandKind::kImmediate;
      const Gp rsp_of_guest = gpq(kHostOf[core::kRsp]);
      const Mem home = DOPPEL_STATE(rip, 8);  // holds an indirect target while the return address is pushed
      before_clobber(kAllFlags);
      if (insn.op[0].kind == OperandKind::kMemory) {
        check_access(insn, 8, false);
        a.mov(kScratch0, ptr(kScratch0));
      } else if (!direct) {
        load_guest(kScratch0, insn.op[0].reg / 8);
      }
      if (!direct) {
        check_canonical(insn);
        a.mov(home, kScratch0);
      }
      check_address(insn, ptr(rsp_of_guest, -8), false, 8, true, false);
      a.mov(kScratch1, DOPPEL_STATE(translator.code_page, 8));
      a.lea(kScratch1, ptr(kScratch1, static_cast<i32>(next)));
      a.mov(ptr(kScratch0), kScratch1);
      a.lea(rsp_of_guest, ptr(rsp_of_guest, -8));
      if (direct) {
        emit_jump(target, target <= next);
        ended_ = true;
      } else {
        a.mov(kScratch0, home);
        emit_jump_to_rip(kScratch0);
      }
      return true;
    }

    case ZYDIS_MNEMONIC_RET: {
      if ((insn.flags & kFar) || insn.op_size != 8) return false;
      const Gp rsp_of_guest = gpq(kHostOf[core::kRsp]);
      before_clobber(kAllFlags);
      check_address(insn, ptr(rsp_of_guest), false, 8, false, false);
      a.mov(kScratch0, ptr(kScratch0));
      check_canonical(insn);
      a.lea(rsp_of_guest, ptr(rsp_of_guest, 8 + static_cast<i32>(static_cast<u16>(insn.imm))));
      emit_jump_to_rip(kScratch0);
      return true;
    }

    default:
      return false;
  }
}

}  // namespace doppel::jit::x64
