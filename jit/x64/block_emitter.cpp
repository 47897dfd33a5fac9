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

void BlockEmitter::emit() {
  find_live_flags();
  for (u16 i = 0; i < block_.count && !ended_; ++i) emit_insn(block_.insns[i]);
  if (!ended_) emit_jump(page_offset_ + block_.bytes, false);
  emit_cold_paths();
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
    if (is_conditional_jump(insn))
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

void BlockEmitter::vector_load(u8 number) {
  if (loaded_ >> number & 1) return;
  if (context_.avx_usable)
    a.vmovups(ymm(number), vector_home(number, 32));
  else
    a.movups(xmm(number), vector_home(number, 16));
  loaded_ |= static_cast<u16>(1u << number);
}

void BlockEmitter::reload(u16 loaded) {
  const u16 before = std::exchange(loaded_, u16{0});
  for (u8 number = 0; number < 16; ++number)
    if (loaded >> number & 1) vector_load(number);
  loaded_ = before;
}

void BlockEmitter::write_back(u16 dirty) {
  for (u32 number = 0; number < 16; ++number) {
    if (!(dirty >> number & 1)) continue;
    if (context_.avx_usable)
      a.vmovups(vector_home(number, 32), ymm(number));
    else
      a.movups(vector_home(number, 16), xmm(number));
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Memory.

bool BlockEmitter::simple_address(const Insn& insn, Mem& out) const {
  if (insn.flags & kSegmentBase) return false;
  if (insn.address_mask != ~u64{0} && insn.address_mask != 0xffff'ffff) return false;
  // The displacement of the access's last byte has to fit too.
  constexpr i64 kLongestAccess = 64;
  if (insn.disp != static_cast<i32>(insn.disp) || insn.disp > 0x7fff'ffff - kLongestAccess) return false;
  if (insn.base == core::kGprRip) return false;
  const bool narrow = insn.address_mask != ~u64{0};
  const auto reg = [&](u8 slot) { return narrow ? Gp(gpd(kHostOf[slot])) : Gp(gpq(kHostOf[slot])); };
  const bool has_base = insn.base != core::kGprZero, has_index = insn.index != core::kGprZero;
  if ((has_base && kHostOf[insn.base] == kInMemory) || (has_index && kHostOf[insn.index] == kInMemory))
    return false;
  const i32 disp = static_cast<i32>(insn.disp);
  if (has_base && has_index)
    out = ptr(reg(insn.base), reg(insn.index), insn.scale, disp);
  else if (has_base)
    out = ptr(reg(insn.base), disp);
  else if (has_index)
    out = ptr(static_cast<u64>(static_cast<i64>(disp)), reg(insn.index), insn.scale);
  else
    return false;
  return true;
}

void BlockEmitter::compute_address(const Insn& insn, bool with_segment) {
  const bool narrow = insn.address_mask != ~u64{0};
  i64 disp = insn.disp;
  if (insn.base == core::kGprRip) {
    a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
    disp += page_offset_;
  } else if (insn.base != core::kGprZero) {
    load_guest(kScratch0, insn.base);
  }
  bool have_base = insn.base != core::kGprZero;
  if (insn.index != core::kGprZero) {
    load_guest(kScratch1, insn.index);
    if (have_base)
      a.lea(kScratch0, ptr(kScratch0, kScratch1, insn.scale));
    else
      a.lea(kScratch0, ptr(u64{0}, kScratch1, insn.scale));
    have_base = true;
  }
  if (!have_base) {
    a.mov(kScratch0, disp);
  } else if (disp == static_cast<i32>(disp)) {
    if (disp != 0) a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(disp)));
  } else {
    a.mov(kScratch1, disp);
    a.lea(kScratch0, ptr(kScratch0, kScratch1));
  }
  if (narrow) a.mov(kScratch0.r32(), kScratch0.r32());
  if (with_segment && (insn.flags & kSegmentBase)) {
    a.mov(kScratch1, segment_base(insn.segment));
    a.lea(kScratch0, ptr(kScratch0, kScratch1));
  }
}

void BlockEmitter::check_access(const Insn& insn, u32 size, bool write, bool aligned) {
  Mem address;
  const bool simple = simple_address(insn, address);
  if (!simple) {
    compute_address(insn, true);
    a.mov(DOPPEL_STATE(translator.effective_address, 8), kScratch0);
  }
  check_address(insn, address, !simple, size, write, aligned);
}

// entry = tlb[(la >> 12) % entries];  if ((la + size - 1) & ~0xfff) != entry.tag: slow;  host = la +
// entry.addend
void BlockEmitter::check_address(const Insn& insn, const Mem& address, bool spilled, u32 size, bool write,
                                 bool aligned) {
  constexpr u32 kIndexMask = (mmu::kTlbEntries - 1) * sizeof(mmu::TlbEntry);
  const Mem home = DOPPEL_STATE(translator.effective_address, 8);
  SlowAccess slow{a.newLabel(), a.newLabel(), &insn, address, spilled, size | (write ? 0x100u : 0u),
                  loaded_,      dirty_};

  if (spilled)
    a.mov(kScratch1, kScratch0);
  else
    a.lea(kScratch1, address);
  if (aligned) {
    slow_insns_.push_back({a.newLabel(), &insn, dirty_});
    a.test(kScratch1.r8(), size - 1);
    a.jnz(slow_insns_.back().entry);
  }
  a.shr(kScratch1, 12 - 5);
  a.and_(kScratch1.r32(), kIndexMask);
  a.add(kScratch1, DOPPEL_STATE(tlb, 8));
  if (spilled) {
    if (size > 1) a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(size - 1)));
  } else if (address.baseType() == asmjit::RegType::kX86_Gpd ||
             address.indexType() == asmjit::RegType::kX86_Gpd) {
    a.lea(kScratch0, address);  // 32-bit wrap comes before the size is added
    if (size > 1) a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(size - 1)));
  } else {
    a.lea(kScratch0, address.cloneAdjusted(size - 1));
  }
  a.and_(kScratch0, -4096);
  a.cmp(kScratch0, ptr(kScratch1, write ? offsetof(mmu::TlbEntry, write) : offsetof(mmu::TlbEntry, read)));
  a.jne(slow.entry);
  if (spilled)
    a.mov(kScratch0, home);
  else
    a.lea(kScratch0, address);
  a.add(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, addend)));
  a.bind(slow.resume);
  slow_accesses_.push_back(slow);
}

// ---------------------------------------------------------------------------------------------------------------
// Instructions.

void BlockEmitter::emit_insn(const Insn& insn) {
  const Optimisations& o = context_.optimisations;
  if (emit_control_flow(insn)) return;
  if (o.native_integer && (emit_stack(insn) || emit_integer(insn))) return;
  if (o.native_vector && emit_vector(insn)) return;
  if (o.native_x87 && emit_x87(insn)) return;
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
  write_back(dirty_);
  forget_vectors();
  x87_resident_ = false;
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

// Flags that the target needs are in memory by now, and vectors are written back.
void BlockEmitter::emit_jump(i64 page_offset, bool backward) {
  before_clobber(live_at_target(page_offset));
  write_back(dirty_);
  forget_vectors();
  const bool same_page = page_offset >= 0 && page_offset < static_cast<i64>(core::kPageSize);
  if (!same_page || !context_.optimisations.chaining ||
      context_.crosses_page(static_cast<u16>(page_offset))) {
    a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
    a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(page_offset)));
    a.jmp(context_.trampolines.lookup);
    return;
  }
  const Label stub = a.newLabel();
  if (backward) {
    a.cmp(DOPPEL_STATE(attention, 4), 0);
    a.jne(stub);
  }
  LinkSite site;
  site.jump = a.offset();
  site.target = static_cast<u16>(page_offset);
  site.page = block_.physical & core::kPageMask;
  a.long_().jmp(stub);
  a.bind(stub);
  site.stub = a.offset();
  store_rip(page_offset);
  // link_site is patched in by the translator, which knows the site's address: a placeholder of the right
  // size.
  a.mov(kScratch1, u64{0x1122334455667788});
  a.mov(DOPPEL_STATE(translator.link_site, 8), kScratch1);
  a.jmp(context_.trampolines.exit);
  sites_.push_back(site);
}

// A computed target in kScratch0 that is not canonical (with 48 bits; the interpreter knows of 57) faults
// before anything of the instruction is done.
void BlockEmitter::check_canonical(const Insn& insn) {
  slow_insns_.push_back({a.newLabel(), &insn, dirty_});
  a.mov(kScratch1, kScratch0);
  a.sar(kScratch1, 47);
  a.add(kScratch1, 1);
  a.cmp(kScratch1, 1);
  a.ja(slow_insns_.back().entry);
}

void BlockEmitter::emit_jump_to_rip(const Gp& rip) {
  write_back(dirty_);
  forget_vectors();
  if (rip != kScratch0) a.mov(kScratch0, rip);
  a.jmp(context_.trampolines.lookup);
  ended_ = true;
}

void BlockEmitter::emit_cold_paths() {
  for (const SlowExit& exit : slow_exits_) {
    a.bind(exit.entry);
    flags_ = Flags::kMemory;
    dirty_ = exit.dirty;
    emit_jump(exit.target, exit.backward);
  }
  for (const SlowAccess& slow : slow_accesses_) {
    a.bind(slow.entry);
    write_back(slow.dirty);
    if (slow.spilled)
      a.mov(kScratch0, DOPPEL_STATE(translator.effective_address, 8));
    else
      a.lea(kScratch0, slow.address);
    a.mov(DOPPEL_STATE(translator.access, 4), slow.access);
    a.call(context_.trampolines.fill);
    const Label failed = a.newLabel();
    a.jz(failed);
    reload(slow.loaded);
    a.jmp(slow.resume);
    a.bind(failed);
    run_and_leave(*slow.insn);
  }
  for (const SlowX87& slow : slow_x87_) {
    a.bind(slow.entry);
    write_back(slow.dirty);
    a.call(context_.trampolines.move_x87_in);
    reload(slow.loaded);
    a.jmp(slow.resume);
  }
  for (const SlowInsn& slow : slow_insns_) {
    a.bind(slow.entry);
    write_back(slow.dirty);
    run_and_leave(*slow.insn);
  }
  dead_entry_ = a.offset();
  store_rip(page_offset_);
  a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
  a.jmp(context_.trampolines.exit);
}

}  // namespace doppel::jit::x64
