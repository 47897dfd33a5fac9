#include "jit/x64/block_emitter.hpp"

#include "core/guest_ram.hpp"
#include "jit/x64/mnemonic_facts.hpp"
#include "mmu/tlb.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;
using core::CpuState;

BlockEmitter::BlockEmitter(HostAssembler& assembler, const EmitterContext& context)
    : a(assembler), context_(context) {}

void BlockEmitter::emit(Block& block, u16 first, bool careful) {
  block_ = &block;
  page_offset_ = static_cast<i64>(block.physical % core::kPageSize);
  word_ = block.code_bits / 8;
  flags_ = Flags::kMemory;
  vectors_checked_ = avx_checked_ = x87_checked_ = ended_ = false;
  sharing_ = context_.optimisations.shared_checks && !careful;
  live_after_.assign(block.count, 0);
  shares_.clear();
  next_share_ = 0;
  slow_accesses_.clear();
  slow_residences_.clear();
  slow_insns_.clear();
  slow_exits_.clear();
  slow_branches_.clear();
  slow_lookups_.clear();
  sites_ = nullptr;
  starts_.clear();

  a.begin();
  entry_ = a.here();
  if (context_.shared) a.nop5();
  find_live_flags();
  for (u16 i = first; i < block.count && !ended_; ++i) {
    starts_.push_back(static_cast<u32>(a.here() - entry_));
    emit_insn(block.insns[i]);
  }
  if (!ended_) emit_jump(page_offset_ + block.bytes, false);
  starts_.push_back(static_cast<u32>(a.here() - entry_));
  emit_cold_paths();
  dead_entry_ = a.here();
  store_rip(page_offset_ + block.insns[first].offset);
  a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
  a.jump(context_.trampolines.exit);
  a.end();
}

// ---------------------------------------------------------------------------------------------------------------
// Flags.

// Whether the instruction may leave the flags it "writes" as they were: a shift whose count is, or may be,
// zero, or a repeated comparison, likewise.
static bool may_keep_flags(const Insn& insn) {
  if (insn.flags & (kRep | kRepne)) return true;
  if (!is_shift(insn.mnemonic)) return false;
  const Operand& count = insn.op[insn.op[2].kind == OperandKind::kNone ? 1 : 2];
  return count.kind == OperandKind::kGpr || (insn.imm & (insn.op_size == 8 ? 63 : 31)) == 0;
}

void BlockEmitter::find_live_flags() {
  const Insn& last = block_->insns[block_->count - 1];
  u8 live = kAllFlags;
  if (last.flow == Flow::kNext) live = live_at_target(page_offset_ + block_->bytes);
  if (last.flow == Flow::kBranch && is_direct_jump(last))
    live = live_at_target(page_offset_after(last) + static_cast<i64>(last.imm));
  for (u16 i = block_->count; i-- > 0;) {
    const Insn& insn = block_->insns[i];
    if (insn.flags & kConditional)
      live |= live_at_target(page_offset_after(insn) + static_cast<i64>(insn.imm));
    live_after_[i] = live;
    if (!may_keep_flags(insn)) live &= static_cast<u8>(~insn.flags_written);
    live |= insn.flags_read;
    // Instructions that may take an event or fault by design show their flags to a handler.
    if ((insn.flow != Flow::kNext && !is_direct_jump(insn)) || divides(insn.mnemonic)) live = kAllFlags;
    if (!context_.optimisations.flag_liveness) live = kAllFlags;
  }
}

u8 BlockEmitter::live_at_target(i64 page_offset) const {
  if (!context_.optimisations.flag_liveness || page_offset < 0 ||
      page_offset >= static_cast<i64>(core::kPageSize))
    return kAllFlags;
  return context_.flags_live_at(*block_, static_cast<u16>(page_offset));
}

// Flags that must be right before the instruction, for itself or for what it leaves alone.
u8 BlockEmitter::needed_by(const Insn& insn) const {
  if (divides(insn.mnemonic) || !context_.optimisations.flag_liveness) return kAllFlags;
  const u8 after = live_after(insn);
  const u8 kept = may_keep_flags(insn) ? after : static_cast<u8>(after & ~insn.flags_written);
  return insn.flags_read | kept;
}

// AX = LAHF : SETO, in memory.
void BlockEmitter::save_flags() {
  a.mov(kScratch1, rax);
  a.seto(al);
  a.lahf();
  a.mov(DOPPEL_STATE(translator.flags, 2), ax);
  a.mov(rax, kScratch1);
}

// ADD AL, 7Fh overflows exactly when AL is 1.
void BlockEmitter::flags_to_host() {
  if (flags_ == Flags::kHost) return;
  a.mov(kScratch1, rax);
  a.movzx(eax, DOPPEL_STATE(translator.flags, 2));
  a.add(al, 0x7f);
  a.sahf();
  a.mov(rax, kScratch1);
  flags_ = Flags::kHost;
}

void BlockEmitter::before_clobber(u8 live) {
  if (flags_ == Flags::kHost && live != 0) save_flags();
  flags_ = Flags::kMemory;
}

// ---------------------------------------------------------------------------------------------------------------
// Registers.

void BlockEmitter::load_guest(const Gp& host, u32 guest) {
  if (kHostOf[guest] == kInMemory)
    a.mov(host, gpr_home(guest));
  else
    a.mov(host, gpq(kHostOf[guest]));
}

void BlockEmitter::need_vectors(const Insn& insn, bool avx) {
  if (avx ? avx_checked_ : vectors_checked_) return;
  before_clobber(needed_by(insn));
  const Trampolines& t = context_.trampolines;
  SlowResidence& slow = slow_residences_.emplace_back();
  slow.trampoline = avx ? t.move_avx_in : t.move_vectors_in;
  slow.insn = &insn;
  a.test(DOPPEL_STATE(translator.vectors_resident, 4), avx ? kAvxUsable : kSseUsable);
  a.jump_if(CondCode::kZ, slow.entry);
  slow.resume = a.here();
  vectors_checked_ = true;
  avx_checked_ |= avx;
}

void BlockEmitter::need_x87(const Insn& insn) {
  if (x87_checked_) return;
  before_clobber(needed_by(insn));
  SlowResidence& slow = slow_residences_.emplace_back();
  slow.trampoline = context_.trampolines.move_x87_in;
  slow.insn = &insn;
  a.cmp(DOPPEL_STATE(translator.x87_resident, 4), 0);
  a.jump_if(CondCode::kE, slow.entry);
  slow.resume = a.here();
  x87_checked_ = true;
}

// ---------------------------------------------------------------------------------------------------------------
// Instructions.

void BlockEmitter::emit_insn(const Insn& insn) {
  const Optimisations& o = context_.optimisations;
  // Reads through CS are rare, and writes fault.
  const bool through_cs = (insn.flags & kSegmented) && insn.segment == core::kCs;
  if (through_cs || (insn.flags & kUndefined)) {
    emit_interpreted(insn);
    return;
  }
  if (emit_control_flow(insn) ||
      (o.native_integer &&
       (emit_stack(insn) || emit_string(insn) || emit_kernel(insn) || emit_integer(insn))) ||
      (o.native_vector && emit_vector(insn)) || (o.native_x87 && emit_x87(insn)))
    update_shares(insn);
  else
    emit_interpreted(insn);
}

// kScratch0 and kScratch1 as the run trampolines want them.
void BlockEmitter::load_run_arguments(const Insn& insn) {
  load_code_address(kScratch1, page_offset_);
  a.mov(kScratch0, reinterpret_cast<u64>(&insn));
}

void BlockEmitter::emit_interpreted(const Insn& insn) {
  before_clobber(needed_by(insn) | (insn.flow == Flow::kNext ? 0 : kAllFlags));
  forget_residence();
  shares_.clear();
  if (insn.flow == Flow::kNext) {
    load_run_arguments(insn);
    const Trampolines& t = context_.trampolines;
    a.call_to(uses_mxcsr(insn) ? t.run_in_block : t.run_plain_in_block);
  } else {
    run_and_leave(insn);
    ended_ = true;
  }
}

HostAssembler::Forward& BlockEmitter::slow_insn(const Insn& insn) {
  SlowInsn& slow = slow_insns_.emplace_back();
  slow.insn = &insn;
  return slow.entry;
}

void BlockEmitter::run_and_leave(const Insn& insn) {
  load_run_arguments(insn);
  const Trampolines& t = context_.trampolines;
  a.jump(uses_mxcsr(insn) ? t.run_and_leave : t.run_plain_and_leave);
}

// ---------------------------------------------------------------------------------------------------------------
// Leaving.

void BlockEmitter::store_rip(i64 page_offset) {
  load_code_address(kScratch0, page_offset);
  a.mov(DOPPEL_STATE(rip, 8), kScratch0);
}

LinkSite& BlockEmitter::new_site(LinkSite::Kind kind, u16 target) {
  LinkSite& site = context_.sites.emplace_back();
  site.kind = kind;
  site.target = target;
  site.page = block_->physical & core::kPageMask;
  site.block = block_;
  site.sibling = sites_;
  if (kind == LinkSite::Kind::kFar) site.number = context_.far_links++;
  sites_ = &site;
  return site;
}

void BlockEmitter::emit_exit_through(const LinkSite& site, i64 page_offset) {
  store_rip(page_offset);
  a.mov(kScratch1, reinterpret_cast<u64>(&site));
  a.mov(DOPPEL_STATE(translator.link_site, 8), kScratch1);
  a.jump(context_.trampolines.exit);
}

// Flags that the target needs are in memory afterwards.
void BlockEmitter::emit_jump(i64 page_offset, bool backward) {
  before_clobber(live_at_target(page_offset));
  const bool same_page = page_offset >= 0 && page_offset < static_cast<i64>(core::kPageSize);
  if (!context_.optimisations.chaining) {
    load_code_address(kScratch0, page_offset);
    a.jump(context_.trampolines.lookup);
  } else if (same_page && !context_.crosses_page(*block_, static_cast<u16>(page_offset))) {
    emit_near_jump(static_cast<u16>(page_offset), backward);
  } else {
    emit_far_jump(page_offset, backward);
  }
}

void BlockEmitter::emit_near_jump(u16 page_offset, bool backward, bool interrupt_shadow) {
  HostAssembler::Forward stub;
  if (backward) {
    a.cmp(DOPPEL_STATE(attention, 4), 0);
    a.jump_if(CondCode::kNE, stub);
  }
  LinkSite& site = new_site(LinkSite::Kind::kNear, page_offset);
  if (context_.shared) a.align_patched(1);
  a.jump(stub);
  site.field = stub.last_field;
  a.land(stub);
  site.stub = a.here();
  if (interrupt_shadow) a.mov(DOPPEL_STATE(interrupt_shadow, 1), 1);
  emit_exit_through(site, page_offset);
}

//   link = far_links[site.number]
//   if link.context == context and link.linear_page == code_page + distance:
//     code_page = link.linear_page; jump link.code
//   if --link.patience < 0: leave, to be linked;  else look the target up
void BlockEmitter::emit_far_jump(i64 page_offset, bool backward) {
  const i64 distance = page_offset & ~static_cast<i64>(core::kPageSize - 1);
  HostAssembler::Forward miss, leave;
  LinkSite& site = new_site(LinkSite::Kind::kFar);
  site.global = context_.kernel;
  const auto link = [&](std::size_t field, u32 size) {
    return ptr(kScratch1, static_cast<i32>(site.number * sizeof(FarLink) + field), size);
  };

  a.mov(kScratch1, DOPPEL_STATE(translator.far_links, 8));
  if (backward) {
    a.cmp(DOPPEL_STATE(attention, 4), 0);
    a.jump_if(CondCode::kNE, miss);
  }
  a.mov(kScratch0,
        context_.kernel ? DOPPEL_STATE(translator.global_context, 8) : DOPPEL_STATE(translator.context, 8));
  a.cmp(kScratch0, link(offsetof(FarLink, context), 8));
  a.jump_if(CondCode::kNE, miss);
  load_code_address(kScratch0, distance);
  a.cmp(kScratch0, link(offsetof(FarLink, linear_page), 8));
  a.jump_if(CondCode::kNE, miss);
  a.mov(DOPPEL_STATE(translator.code_page, 8), kScratch0);
  a.jmp(link(offsetof(FarLink, code), 8));

  a.land(miss);
  a.sub(link(offsetof(FarLink, patience), 4), 1);
  a.jump_if(CondCode::kS, leave);
  load_code_address(kScratch0, page_offset);
  a.jump(context_.trampolines.lookup);
  a.land(leave);
  emit_exit_through(site, page_offset);
}

void BlockEmitter::emit_careful_site(const Insn& insn) {
  HostAssembler::Forward stub;
  LinkSite& site = new_site(LinkSite::Kind::kCareful, static_cast<u16>(index_of(insn)));
  if (context_.shared) a.align_patched(1);
  a.jump(stub);
  site.field = stub.last_field;
  a.land(stub);
  site.stub = a.here();
  emit_exit_through(site, page_offset_ + insn.offset);
}

// A computed target in kScratch0 that is not canonical (with 48 bits; the interpreter knows of 57) faults
// before anything of the instruction is done.
static void compare_canonical(HostAssembler& a) {
  a.mov(kScratch1, kScratch0);
  a.sar(kScratch1, 47);
  a.add(kScratch1, 1);
  a.cmp(kScratch1, 1);
}

void BlockEmitter::check_canonical(const Insn& insn) {
  compare_canonical(a);
  a.jump_if(CondCode::kA, slow_insn(insn));
}

void BlockEmitter::emit_jump_to_rip(const Insn* unchecked, i32 undo_rsp) {
  SlowLookup& slow = slow_lookups_.emplace_back();
  slow.unchecked = unchecked;
  slow.undo_rsp = undo_rsp;
  if (context_.optimisations.inline_lookup)
    emit_jump_cache_probe(a, context_.kernel, slow.entry, slow.reload);
  else
    a.jump(slow.entry);
  ended_ = true;
}

void BlockEmitter::emit_slow_lookup(const SlowLookup& slow) {
  HostAssembler::Forward bad;
  a.land(slow.entry);
  if (slow.unchecked) {
    compare_canonical(a);
    a.jump_if(CondCode::kA, bad);
  }
  a.jump(context_.trampolines.lookup);
  if (context_.optimisations.inline_lookup) {
    a.land(slow.reload);
    a.mov(kScratch0, ptr(kScratch1, offsetof(JumpCacheEntry, rip)));
    a.jump(context_.trampolines.lookup);
  }
  if (slow.unchecked) {
    a.land(bad);
    move_rsp(-slow.undo_rsp);
    run_and_leave(*slow.unchecked);
  }
}

void BlockEmitter::emit_cold_paths() {
  for (const SlowExit& exit : slow_exits_) {
    a.land(exit.entry);
    flags_ = exit.flags;
    emit_jump(exit.target, exit.backward);
  }
  for (const SlowBranch& branch : slow_branches_) {
    a.land(branch.stub);
    branch.site->stub = a.here();
    emit_exit_through(*branch.site, branch.site->target);
  }
  for (const SlowLookup& slow : slow_lookups_) emit_slow_lookup(slow);
  for (const SlowAccess& slow : slow_accesses_) emit_slow_access(slow);
  for (const SlowResidence& slow : slow_residences_) {
    a.land(slow.entry);
    a.call_to(slow.trampoline);
    a.jump_if(CondCode::kNZ, slow.resume);
    run_and_leave(*slow.insn);
  }
  for (const SlowInsn& slow : slow_insns_) {
    a.land(slow.entry);
    run_and_leave(*slow.insn);
  }
}

}  // namespace doppel::jit::x64
