// JMP, CALL, RET (near) and Jcc, LOOP, JrCXZ.
#include "core/guest_ram.hpp"
#include "jit/x64/block_emitter.hpp"
#include "jit/x64/mnemonic_facts.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

constexpr u8 kJumpBytes = 5;  // of HostAssembler::jump()

// JRCXZ, or JECXZ if `narrow`, over so many bytes.
static void skip_if_count_is_zero(HostAssembler& a, bool narrow, u8 bytes) {
  constexpr u8 kAddressSize = 0x67, kJrcxz = 0xe3;
  const u8 code[] = {kAddressSize, kJrcxz, bytes};
  a.embed(code + !narrow, sizeof code - !narrow);
}

bool BlockEmitter::emit_control_flow(const Insn& insn) {
  const i64 next = page_offset_after(insn);
  const i64 target = next + static_cast<i64>(insn.imm);

  if (const auto condition = jcc_condition(insn.mnemonic)) {
    if (insn.op_size != word_) return false;
    flags_to_host();
    const u8 live = live_at_target(target);
    const bool near = target >= 0 && target < static_cast<i64>(core::kPageSize);
    if (live == 0 && near && target > next && context_.optimisations.chaining &&
        !context_.crosses_page(*block_, static_cast<u16>(target))) {
      emit_near_branch(*condition, static_cast<u16>(target));
    } else {
      slow_exits_.push_back({{}, target, target <= next, flags_});
      a.jump_if(*condition, slow_exits_.back().entry);
    }
    return true;
  }

  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_JECXZ: {
      if (insn.op_size != word_) return false;
      slow_exits_.push_back({{}, target, target <= next, flags_});
      // The jump reaches 127 bytes only: over the one that is not taken, JMP with an 8-bit displacement.
      constexpr u8 kJmpShort[] = {0xeb, kJumpBytes};
      skip_if_count_is_zero(a, insn.mnemonic == ZYDIS_MNEMONIC_JECXZ, sizeof kJmpShort);
      a.embed(kJmpShort, sizeof kJmpShort);
      a.jump(slow_exits_.back().entry);
      return true;
    }

    case ZYDIS_MNEMONIC_LOOP: {
      if (insn.op_size != word_ || insn.address_size != word_) return false;
      slow_exits_.push_back({{}, target, target <= next, flags_});
      a.lea(word(rcx), ptr(rcx, -1));
      skip_if_count_is_zero(a, word_ == 4, kJumpBytes);
      a.jump(slow_exits_.back().entry);
      return true;
    }

    case ZYDIS_MNEMONIC_JMP: {
      if ((insn.flags & kFar) || insn.op_size != word_) return false;
      if (insn.op[0].kind == OperandKind::kImmediate) {
        emit_jump(target, target <= next);
        ended_ = true;
        return true;
      }
      before_clobber(kAllFlags);
      load_target(insn);
      emit_jump_to_rip(&insn);
      return true;
    }

    case ZYDIS_MNEMONIC_CALL: {
      if ((insn.flags & kFar) || insn.op_size != word_) return false;
      const bool direct = insn.op[0].kind == OperandKind::kImmediate;
      const Mem home = DOPPEL_STATE(rip, 8);  // holds an indirect target while the return address is pushed
      before_clobber(kAllFlags);
      if (!direct) {
        load_target(insn);
        check_canonical(insn);
        a.mov(home, kScratch0);
      }
      const Mem pushed = stack_memory(insn, -i64{word_}, true);
      load_code_address(kScratch1, next);
      a.mov(pushed, word(kScratch1));
      move_rsp(-i64{word_});
      if (direct) {
        emit_jump(target, target <= next);
        ended_ = true;
      } else {
        a.mov(kScratch0, home);
        emit_jump_to_rip();
      }
      return true;
    }

    case ZYDIS_MNEMONIC_RET: {
      if ((insn.flags & kFar) || insn.op_size != word_) return false;
      const i32 popped = static_cast<i32>(word_) + static_cast<i32>(static_cast<u16>(insn.imm));
      before_clobber(kAllFlags);
      a.mov(word(kScratch0), stack_memory(insn, 0, false));
      move_rsp(popped);
      emit_jump_to_rip(&insn, popped);
      return true;
    }

    default:
      return false;
  }
}

// Of an indirect jump: to kScratch0.
void BlockEmitter::load_target(const Insn& insn) {
  if (insn.op[0].kind == OperandKind::kMemory) {
    a.mov(word(kScratch0), guest_memory(insn, word_, false));
  } else {
    load_guest(kScratch0, insn.op[0].reg / 8);
    wrap(kScratch0);
  }
}

// Patched to go straight to the target's translation.
void BlockEmitter::emit_near_branch(CondCode condition, u16 target) {
  SlowBranch& branch = slow_branches_.emplace_back();
  branch.site = &new_site(LinkSite::Kind::kNear, target);
  if (context_.shared) a.align_patched(2);
  a.jump_if(condition, branch.stub);
  branch.site->field = branch.stub.last_field;
}

}  // namespace doppel::jit::x64
