// Instructions that kernels run often: interrupt flag, RFLAGS on the stack, GS, time-stamp counter, MXCSR.
// The common case is emitted; for the rest the instruction goes to the interpreter.
#include "core/guest_ram.hpp"
#include "jit/x64/block_emitter.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

bool BlockEmitter::emit_kernel(const Insn& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
      before_clobber(needed_by(insn));
      only_at_cpl0(insn);
      a.and_(DOPPEL_STATE(rflags, 4), ~static_cast<i32>(core::kIf));
      return true;
    case ZYDIS_MNEMONIC_STI:
      return emit_interrupts_on(insn);
    case ZYDIS_MNEMONIC_SWAPGS:
      before_clobber(needed_by(insn));
      only_at_cpl0(insn);
      a.mov(kScratch0, segment_base(core::kGs));
      a.mov(kScratch1, DOPPEL_STATE(kernel_gs_base, 8));
      a.mov(segment_base(core::kGs), kScratch1);
      a.mov(DOPPEL_STATE(kernel_gs_base, 8), kScratch0);
      std::erase_if(shares_, [](const Share& share) { return share.address.kind == AddressKind::kSegment; });
      return true;
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
      emit_flags_push(insn);
      return true;
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
      emit_flags_pop(insn);
      return true;
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
      return emit_mxcsr(insn);
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
      emit_time_stamp(insn);
      return true;
    default:
      return false;
  }
}

HostAssembler::Forward& BlockEmitter::only_at_cpl0(const Insn& insn) {
  HostAssembler::Forward& slow = slow_insn(insn);
  a.cmp(DOPPEL_STATE(cpl, 1), 0);
  a.jump_if(CondCode::kNE, slow);
  return slow;
}

// With nothing pending. The next block follows without a look at CpuState::attention, so the instruction
// after STI runs before any interrupt; if that block is not linked yet, the dispatcher sees to it.
bool BlockEmitter::emit_interrupts_on(const Insn& insn) {
  const i64 next = page_offset_after(insn);
  if (next >= static_cast<i64>(core::kPageSize) || !context_.optimisations.chaining ||
      context_.crosses_page(*block_, static_cast<u16>(next)))
    return false;
  before_clobber(kAllFlags);
  HostAssembler::Forward& slow = only_at_cpl0(insn);
  a.cmp(DOPPEL_STATE(pending, 4), 0);
  a.jump_if(CondCode::kNE, slow);
  a.or_(DOPPEL_STATE(rflags, 4), static_cast<i32>(core::kIf));
  emit_near_jump(static_cast<u16>(next), false, true);
  ended_ = true;
  return true;
}

void BlockEmitter::emit_time_stamp(const Insn& insn) {
  before_clobber(needed_by(insn));
  a.test(DOPPEL_STATE(cr4, 4), static_cast<i32>(core::kCr4Tsd));
  a.jump_if(CondCode::kNZ, slow_insn(insn));
  a.call_to(context_.trampolines.read_tsc);
  a.mov(eax, kScratch0.r32());
  a.shr(kScratch0, 32);
  a.mov(edx, kScratch0.r32());
  if (insn.mnemonic == ZYDIS_MNEMONIC_RDTSCP) a.mov(ecx, DOPPEL_STATE(tsc_aux, 4));
}

void BlockEmitter::emit_flags_push(const Insn& insn) {
  const Mem image = DOPPEL_STATE(translator.effective_address, 8);
  flags_to_host();
  a.pushfq();
  a.pop(kScratch0);
  before_clobber(kAllFlags);  // the interpreter may have to run it
  a.and_(kScratch0.r32(), static_cast<i32>(core::kArithmeticFlags));
  a.or_(kScratch0, DOPPEL_STATE(rflags, 8));
  a.mov(image, kScratch0);
  const Mem pushed = stack_memory(insn, -i64{word_}, true);
  a.mov(kScratch1, image);
  a.mov(pushed, word(kScratch1));
  move_rsp(-i64{word_});
}

// At CPL 0, where nothing but IF and the arithmetic flags changes, and no interrupt waits for IF.
void BlockEmitter::emit_flags_pop(const Insn& insn) {
  constexpr u64 kSame = core::kTf | core::kDf | core::kIopl | core::kNt | core::kAc | core::kId;
  HostAssembler::Forward disabled;
  before_clobber(needed_by(insn));
  a.mov(word(kScratch1), stack_memory(insn, 0, false));
  HostAssembler::Forward& slow = only_at_cpl0(insn);
  a.mov(kScratch0, DOPPEL_STATE(rflags, 8));
  a.xor_(kScratch0, kScratch1);
  a.test(kScratch0.r32(), static_cast<i32>(kSame));
  a.jump_if(CondCode::kNZ, slow);
  a.test(kScratch1.r32(), static_cast<i32>(core::kIf));
  a.jump_if(CondCode::kZ, disabled);
  a.cmp(DOPPEL_STATE(pending, 4), 0);
  a.jump_if(CondCode::kNE, slow);
  a.land(disabled);
  a.and_(kScratch0.r32(), static_cast<i32>(core::kIf));
  a.xor_(DOPPEL_STATE(rflags, 4), kScratch0.r32());
  // To the form of translator.flags: OF to bit 0, the others to bits 8-15.
  a.mov(kScratch0.r32(), kScratch1.r32());
  a.and_(kScratch0.r32(), static_cast<i32>(core::kArithmeticFlags & 0xff));
  a.shl(kScratch0.r32(), 8);
  a.shr(kScratch1.r32(), 11);
  a.and_(kScratch1.r32(), 1);
  a.or_(kScratch0.r32(), kScratch1.r32());
  a.mov(DOPPEL_STATE(translator.flags, 4), kScratch0.r32());
  move_rsp(word_);
}

// The host's MXCSR is the guest's, as long as all exceptions are masked.
bool BlockEmitter::emit_mxcsr(const Insn& insn) {
  const bool vex = insn.mnemonic == ZYDIS_MNEMONIC_VSTMXCSR || insn.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR;
  const bool store = insn.mnemonic == ZYDIS_MNEMONIC_STMXCSR || insn.mnemonic == ZYDIS_MNEMONIC_VSTMXCSR;
  if (vex && !context_.avx) return false;
  need_vectors(insn, vex);
  if (!store) before_clobber(needed_by(insn));
  const Mem operand = guest_memory(insn, 4, store);
  if (store) {
    a.stmxcsr(operand);
    return true;
  }
  constexpr i32 kReserved = static_cast<i32>(0xffff'0000);
  const Mem value = DOPPEL_STATE(translator.effective_address, 4);
  a.mov(kScratch1.r32(), operand);
  a.mov(kScratch0.r32(), kScratch1.r32());
  a.and_(kScratch0.r32(), kReserved | static_cast<i32>(kMxcsrMasks));
  a.cmp(kScratch0.r32(), static_cast<i32>(kMxcsrMasks));
  a.jump_if(CondCode::kNE, slow_insn(insn));
  a.mov(value, kScratch1.r32());
  a.ldmxcsr(value);
  return true;
}

}  // namespace doppel::jit::x64
