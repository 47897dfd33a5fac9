#include "jit/x64/block_emitter.hpp"

#include <utility>

#include "core/guest_ram.hpp"
#include "jit/x64/mnemonic_facts.hpp"
#include "mmu/tlb.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;
using asmjit::Label;
using core::CpuState;

BlockEmitter::BlockEmitter(Assembler& assembler, const EmitterContext& context, const Block& block)
    : a(assembler),
      context_(context),
      block_(block),
      page_offset_(static_cast<i64>(block.physical % core::kPageSize)),
      live_after_(block.count) {}

void BlockEmitter::emit(u16 first, bool careful) {
  sharing_ = context_.optimisations.shared_checks && !careful;
  find_live_flags();
  for (u16 i = first; i < block_.count && !ended_; ++i) emit_insn(block_.insns[i]);
  if (!ended_) emit_jump(page_offset_ + block_.bytes, false);
  emit_cold_paths();
  dead_entry_ = a.offset();
  store_rip(page_offset_ + block_.insns[first].offset);
  a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
  a.jmp(context_.trampolines.exit);
}

// ---------------------------------------------------------------------------------------------------------------
// Flags.

// Whether the instruction may leave the flags it "writes" as they were: a shift whose count is, or may be,
// zero.
static bool may_keep_flags(const Insn& insn) {
  if (!is_shift(insn.mnemonic)) return false;
  const Operand& count = insn.op[insn.op[2].kind == OperandKind::kNone ? 1 : 2];
  return count.kind == OperandKind::kGpr || (insn.imm & (insn.op_size == 8 ? 63 : 31)) == 0;
}

void BlockEmitter::find_live_flags() {
  const Insn& last = block_.insns[block_.count - 1];
  u8 live = kAllFlags;
  if (last.flow == Flow::kNext) live = live_at_target(page_offset_ + block_.bytes);
  if (last.flow == Flow::kBranch && is_direct_jump(last))
    live = live_at_target(page_offset_after(last) + static_cast<i64>(last.imm));
  for (u16 i = block_.count; i-- > 0;) {
    const Insn& insn = block_.insns[i];
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
  return context_.flags_live_at(static_cast<u16>(page_offset));
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
  slow_residences_.push_back({a.newLabel(), a.newLabel(),
                              avx ? context_.trampolines.move_avx_in : context_.trampolines.move_vectors_in,
                              &insn});
  a.test(DOPPEL_STATE(translator.vectors_resident, 4), avx ? kAvxUsable : kSseUsable);
  a.jz(slow_residences_.back().entry);
  a.bind(slow_residences_.back().resume);
  vectors_checked_ = true;
  avx_checked_ |= avx;
}

void BlockEmitter::need_x87(const Insn& insn) {
  if (x87_checked_) return;
  before_clobber(needed_by(insn));
  slow_residences_.push_back({a.newLabel(), a.newLabel(), context_.trampolines.move_x87_in, &insn});
  a.cmp(DOPPEL_STATE(translator.x87_resident, 4), 0);
  a.je(slow_residences_.back().entry);
  a.bind(slow_residences_.back().resume);
  x87_checked_ = true;
}

// ---------------------------------------------------------------------------------------------------------------
// Instructions.

void BlockEmitter::emit_insn(const Insn& insn) {
  const Optimisations& o = context_.optimisations;
  if (emit_control_flow(insn) ||
      (o.native_integer && (emit_stack(insn) || emit_kernel(insn) || emit_integer(insn))) ||
      (o.native_vector && emit_vector(insn)) || (o.native_x87 && emit_x87(insn)))
    update_shares(insn);
  else
    emit_interpreted(insn);
}

// kScratch0 and kScratch1 as the run trampolines want them.
static void load_run_arguments(Assembler& a, const Insn* insn, i64 page_offset) {
  a.mov(kScratch1, DOPPEL_STATE(translator.code_page, 8));
  a.lea(kScratch1, ptr(kScratch1, static_cast<i32>(page_offset)));
  a.mov(kScratch0, reinterpret_cast<u64>(insn));
}

void BlockEmitter::emit_interpreted(const Insn& insn) {
  before_clobber(needed_by(insn) | (insn.flow == Flow::kNext ? 0 : kAllFlags));
  forget_residence();
  shares_.clear();
  if (insn.flow == Flow::kNext) {
    load_run_arguments(a, &insn, page_offset_);
    const Trampolines& t = context_.trampolines;
    a.call(uses_mxcsr(insn) ? t.run_in_block : t.run_plain_in_block);
  } else {
    run_and_leave(insn);
    ended_ = true;
  }
}

void BlockEmitter::run_and_leave(const Insn& insn) {
  load_run_arguments(a, &insn, page_offset_);
  const Trampolines& t = context_.trampolines;
  a.jmp(uses_mxcsr(insn) ? t.run_and_leave : t.run_plain_and_leave);
}

// ---------------------------------------------------------------------------------------------------------------
// Leaving.

void BlockEmitter::store_rip(i64 page_offset) {
  a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
  a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(page_offset)));
  a.mov(DOPPEL_STATE(rip, 8), kScratch0);
}

// The site's address becomes known when the translator keeps it.
void BlockEmitter::load_site(std::size_t site) {
  constexpr u64 kPlaceholder = 0x1122'3344'5566'7788;  // has to be encoded in 8 bytes
  a.mov(kScratch1, kPlaceholder);
  site_addresses_.push_back({a.offset() - sizeof kPlaceholder, site});
}

void BlockEmitter::emit_exit_through(std::size_t site, i64 page_offset) {
  store_rip(page_offset);
  load_site(site);
  a.mov(DOPPEL_STATE(translator.link_site, 8), kScratch1);
  a.jmp(context_.trampolines.exit);
}

// Flags that the target needs are in memory afterwards.
void BlockEmitter::emit_jump(i64 page_offset, bool backward) {
  before_clobber(live_at_target(page_offset));
  const bool same_page = page_offset >= 0 && page_offset < static_cast<i64>(core::kPageSize);
  if (!context_.optimisations.chaining) {
    a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
    a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(page_offset)));
    a.jmp(context_.trampolines.lookup);
  } else if (same_page && !context_.crosses_page(static_cast<u16>(page_offset))) {
    emit_near_jump(static_cast<u16>(page_offset), backward);
  } else {
    emit_far_jump(page_offset, backward);
  }
}

void BlockEmitter::emit_near_jump(u16 page_offset, bool backward, bool interrupt_shadow) {
  const Label stub = a.newLabel();
  if (backward) {
    a.cmp(DOPPEL_STATE(attention, 4), 0);
    a.jne(stub);
  }
  LinkSite& site = sites_.emplace_back();
  site.target = page_offset;
  site.page = block_.physical & core::kPageMask;
  a.long_().jmp(stub);
  site.field = a.offset() - 4;
  a.bind(stub);
  site.stub = a.offset();
  if (interrupt_shadow) a.mov(DOPPEL_STATE(interrupt_shadow, 1), 1);
  emit_exit_through(sites_.size() - 1, page_offset);
}

//   if site.context == context and site.linear_page == code_page + distance:
//     code_page = site.linear_page; jump site.code
//   if --site.patience < 0: leave, to be linked;  else look the target up
void BlockEmitter::emit_far_jump(i64 page_offset, bool backward) {
  const i64 distance = page_offset & ~static_cast<i64>(core::kPageSize - 1);
  const Label miss = a.newLabel(), leave = a.newLabel();
  sites_.emplace_back().kind = LinkSite::Kind::kFar;
  sites_.back().global = context_.kernel;
  const std::size_t site = sites_.size() - 1;

  load_site(site);
  if (backward) {
    a.cmp(DOPPEL_STATE(attention, 4), 0);
    a.jne(miss);
  }
  a.mov(kScratch0,
        context_.kernel ? DOPPEL_STATE(translator.global_context, 8) : DOPPEL_STATE(translator.context, 8));
  a.cmp(kScratch0, ptr(kScratch1, offsetof(LinkSite, context)));
  a.jne(miss);
  a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
  if (distance != 0) a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(distance)));
  a.cmp(kScratch0, ptr(kScratch1, offsetof(LinkSite, linear_page)));
  a.jne(miss);
  a.mov(DOPPEL_STATE(translator.code_page, 8), kScratch0);
  a.jmp(ptr(kScratch1, offsetof(LinkSite, code), 8));

  a.bind(miss);
  a.sub(dword_ptr(kScratch1, offsetof(LinkSite, patience)), 1);
  a.js(leave);
  a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
  a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(page_offset)));
  a.jmp(context_.trampolines.lookup);
  a.bind(leave);
  emit_exit_through(site, page_offset);
}

void BlockEmitter::emit_careful_site(const Insn& insn) {
  const Label stub = a.newLabel();
  LinkSite& site = sites_.emplace_back();
  site.kind = LinkSite::Kind::kCareful;
  site.target = static_cast<u16>(index_of(insn));
  site.page = block_.physical & core::kPageMask;
  a.long_().jmp(stub);
  site.field = a.offset() - 4;
  a.bind(stub);
  site.stub = a.offset();
  emit_exit_through(sites_.size() - 1, page_offset_ + insn.offset);
}

// A computed target in kScratch0 that is not canonical (with 48 bits; the interpreter knows of 57) faults
// before anything of the instruction is done.
static void compare_canonical(Assembler& a) {
  a.mov(kScratch1, kScratch0);
  a.sar(kScratch1, 47);
  a.add(kScratch1, 1);
  a.cmp(kScratch1, 1);
}

void BlockEmitter::check_canonical(const Insn& insn) {
  slow_insns_.push_back({a.newLabel(), &insn});
  compare_canonical(a);
  a.ja(slow_insns_.back().entry);
}

void BlockEmitter::emit_jump_to_rip(const Insn* unchecked, i32 undo_rsp) {
  slow_lookups_.push_back({a.newLabel(), a.newLabel(), unchecked, undo_rsp});
  const SlowLookup& slow = slow_lookups_.back();
  if (context_.optimisations.inline_lookup)
    emit_jump_cache_probe(a, context_.kernel, slow.entry, slow.reload);
  else
    a.jmp(slow.entry);
  ended_ = true;
}

void BlockEmitter::emit_slow_lookup(const SlowLookup& slow) {
  a.bind(slow.entry);
  const Label bad = a.newLabel();
  if (slow.unchecked) {
    compare_canonical(a);
    a.ja(bad);
  }
  a.jmp(context_.trampolines.lookup);
  if (context_.optimisations.inline_lookup) {
    a.bind(slow.reload);
    a.mov(kScratch0, ptr(kScratch1, offsetof(JumpCacheEntry, rip)));
    a.jmp(context_.trampolines.lookup);
  }
  if (slow.unchecked) {
    a.bind(bad);
    const Gp rsp_of_guest = gpq(kHostOf[core::kRsp]);
    if (slow.undo_rsp != 0) a.lea(rsp_of_guest, ptr(rsp_of_guest, -slow.undo_rsp));
    run_and_leave(*slow.unchecked);
  }
}

void BlockEmitter::emit_cold_paths() {
  for (const SlowExit& exit : slow_exits_) {
    a.bind(exit.entry);
    flags_ = exit.flags;
    emit_jump(exit.target, exit.backward);
  }
  for (const SlowBranch& branch : slow_branches_) {
    a.bind(branch.stub);
    sites_[branch.site].stub = a.offset();
    emit_exit_through(branch.site, sites_[branch.site].target);
  }
  for (const SlowLookup& slow : slow_lookups_) emit_slow_lookup(slow);
  for (const SlowAccess& slow : slow_accesses_) emit_slow_access(slow);
  for (const SlowResidence& slow : slow_residences_) {
    a.bind(slow.entry);
    a.call(slow.trampoline);
    a.jnz(slow.resume);
    run_and_leave(*slow.insn);
  }
  for (const SlowInsn& slow : slow_insns_) {
    a.bind(slow.entry);
    run_and_leave(*slow.insn);
  }
}

}  // namespace doppel::jit::x64
