#include "jit/x64/translator.hpp"

#include <asmjit/x86.h>

#include <algorithm>
#include <cstring>

#include "core/log.hpp"
#include "jit/x64/listing.hpp"
#include "jit/x64/mnemonic_facts.hpp"
#include "jit/x64/x87_residence.hpp"

namespace doppel::jit::x64 {

using core::CpuState;

namespace {

constexpr u64 kLargestBlock = 64 << 10;  // host bytes; far above what kMaxBlockInsns instructions emit
constexpr u32 kPeekInsns = 6;            // how far ahead flag liveness looks
constexpr u32 kExceptionMasks = 0x1f80;  // of MXCSR

// Between RFLAGS positions and what SETO AL; LAHF leave in AX.
u64 to_ax(u64 flags) {
  return (flags & 0xd5) << 8 | (flags & core::kOf ? 1 : 0);
}
u64 from_ax(u64 ax) {
  return (ax >> 8 & 0xd5) | (ax & 1 ? core::kOf : 0);
}

const Insn* stop(Vcpu& cpu, const Insn* insn) {
  cpu.last = insn;
  return nullptr;
}

}  // namespace

Vcpu& Translator::vcpu_of(CpuState* state) {
  return *reinterpret_cast<Vcpu*>(
      state);  // the state that translated code runs on is always a Vcpu's first member
}

Translator::Translator(Vcpu& cpu, BlockCache& blocks, const Optimisations& optimisations, u64 cache_size)
    : cpu_(cpu),
      blocks_(blocks),
      optimisations_(optimisations),
      cache_(cache_size),
      jump_cache_(kJumpCacheEntries),
      translated_(cpu.counters["jit.blocks translated"]),
      translated_insns_(cpu.counters["jit.instructions translated"]),
      entered_(cpu.counters["jit.entered from the dispatcher"]),
      linked_(cpu.counters["jit.jumps linked"]) {
  trampolines_ = make_trampolines(
      cache_, {.fill = fill,
               .move_x87_in = [](CpuState* s) { x87_move_in(*s); },
               .run_in_block = [](CpuState* s, const Insn* i) { return run_insn(s, *i, false); },
               .run_and_leave = [](CpuState* s, const Insn* i) { return run_insn(s, *i, true); }});
  trampolines_end_ = cache_.used();
  cpu_.state.translator.jump_cache = jump_cache_.data();
  cpu_.state.translator.owner = this;
  interpreted_.resize(ZYDIS_MNEMONIC_MAX_VALUE + 1);
}

Translator::~Translator() = default;

u32 Translator::usable() const {
  const CpuState& s = cpu_.state;
  u32 usable = x87_usable(s) ? u32{kX87Usable} : 0;
  if ((s.cr0 & (core::kCr0Em | core::kCr0Ts)) || !(s.cr4 & core::kCr4Osfxsr)) return usable;
  usable |= kSseUsable;
  if (cpu_.model.has(core::Feature::kAvx) && (s.cr4 & core::kCr4Osxsave) && (s.xcr0 & 6) == 6)
    usable |= kAvxUsable;
  return usable;
}

u64 Translator::context(bool global) const {
  return (global ? cpu_.mmu.global_generation() : cpu_.mmu.generation()) << 8 | usable() << 4 |
         cpu_.state.cpl << 1 | (global ? 1 : 0);
}

void Translator::refresh_contexts() {
  cpu_.state.translator.context = context(false);
  cpu_.state.translator.global_context = context(true);
}

// The translation is what runs at RIP now.
void Translator::enter_jump_cache(const Translation& translation) {
  const u64 rip = cpu_.state.rip;
  mmu::Mmu::Code code, second{.global = true};
  const bool crosses = translation.block->second_page != kNoPage;
  if (!cpu_.mmu.fetch(rip, code) || (crosses && !cpu_.mmu.fetch((rip | ~core::kPageMask) + 1, second))) {
    cpu_.state.fault.pending = false;  // the dispatcher will meet it again
    return;
  }
  jump_cache_[jump_cache_index(rip)] = {rip, context(code.global && second.global), translation.entry, 0};
}

bool Translator::runnable() const {
  return cpu_.state.code_bits == 64 && (cpu_.state.mxcsr & kExceptionMasks) == kExceptionMasks;
}

bool Translator::ready(Block& block) {
  if (!runnable()) return false;
  if (block.translation == nullptr) {
    if (++block.runs <= optimisations_.hot_runs) return false;
    translate(block);
  }
  const auto& translation = *static_cast<Translation*>(block.translation);
  return (translation.needs & ~usable()) == 0;
}

void Translator::run(Block& block) {
  CpuState& s = cpu_.state;
  auto* translation = static_cast<Translation*>(block.translation);
  s.translator.flags = to_ax(core::arithmetic_flags(s.lazy));
  while (true) {
    refresh_contexts();
    enter_jump_cache(*translation);
    s.translator.code_page = s.rip & core::kPageMask;
    ++entered_;
    trampolines_.enter(&s, translation->entry);
    auto* site = reinterpret_cast<LinkSite*>(s.translator.link_site);  // put there by translate()
    const u64 clears = clears_;
    if (s.attention.load(std::memory_order_relaxed) || s.fault.pending || !runnable()) break;
    // The same place again: the dispatcher's work without the way back to it.
    Block* next = blocks_.find(s.rip);
    if (next == nullptr || !ready(*next)) break;
    translation = static_cast<Translation*>(next->translation);
    if (site && clears == clears_ && !site->linked) link(*site, *translation);
  }
  core::set_arithmetic_flags(s, from_ax(s.translator.flags));
  x87_move_out(s);
}

u8* Translator::fill(CpuState* state, u64 la) {
  Vcpu& cpu = vcpu_of(state);
  ++static_cast<Translator*>(state->translator.owner)->fills_;
  const u32 size = state->translator.access & 0xff;
  if (la % core::kPageSize + size > core::kPageSize) return nullptr;
  if ((state->cr0 & core::kCr0Am) && (state->rflags & core::kAc) && state->cpl == 3) return nullptr;
  return cpu.mmu.direct(la, state->translator.access & 0x100 ? mmu::Access::kWrite : mmu::Access::kRead);
}

After Translator::run_insn(CpuState* state, const Insn& original, bool leave) {
  Vcpu& cpu = vcpu_of(state);
  CpuState& s = *state;
  auto& self = *static_cast<Translator*>(s.translator.owner);
  ++self.interpreted_[original.mnemonic];
  core::set_arithmetic_flags(s, from_ax(s.translator.flags));
  if (uses_x87_state(original)) x87_move_out(s);
  cpu.last = nullptr;
  const u64 forgotten = self.forgotten_;
  // A copy, followed by something that stops the handler chain.
  Insn pair[2] = {original, {}};
  pair[1].run = stop;
  const Insn* insn = pair;
  do insn = insn->run(cpu, insn);
  while (insn != nullptr);
  s.translator.flags = to_ax(core::arithmetic_flags(s.lazy));
  if (s.fault.pending) return After::kLeave;
  const bool fell_through = cpu.last == &pair[1];
  const bool usable_as_before = !uses_x87_state(original) || x87_usable(s);
  // Code that the instruction changed may be this block's.
  if (fell_through && !leave && usable_as_before && forgotten == self.forgotten_ &&
      (s.mxcsr & kExceptionMasks) == kExceptionMasks)
    return After::kContinue;
  if (fell_through) s.rip = s.gpr[core::kGprRip] + original.offset + original.length;
  if (s.attention.load(std::memory_order_relaxed) || s.code_bits != 64 ||
      s.activity != core::Activity::kRunning || (s.mxcsr & kExceptionMasks) != kExceptionMasks ||
      s.fault.pending)
    return After::kLeave;
  self.refresh_contexts();
  return After::kLookup;
}

void Translator::publish_counters() {
  for (std::size_t m = 0; m < interpreted_.size(); ++m)
    if (interpreted_[m] != 0)
      cpu_.counters[std::string("jit.interpreted ") + ZydisMnemonicGetString(static_cast<ZydisMnemonic>(m))] =
          interpreted_[m];
  cpu_.counters["jit.soft-TLB misses"] = fills_;
}

// ---------------------------------------------------------------------------------------------------------------

u8 Translator::flags_live_at(Block& block, u16 page_offset) {
  u8 live = 0, open = kAllFlags;
  u16 end = page_offset;
  blocks_.peek(block, page_offset, kPeekInsns, [&](const Insn& insn) {
    live |= static_cast<u8>(insn.flags_read & open);
    end = static_cast<u16>(end + insn.length);
    // What the rest of the way needs is not known past a branch, or where flags may be kept.
    if (insn.flow != Flow::kNext || is_conditional_jump(insn) || is_shift(insn.mnemonic)) return false;
    open &= static_cast<u8>(~insn.flags_written);
    return open != 0;
  });
  block.depends_begin = std::min(block.depends_begin, page_offset);
  block.depends_end = std::max(block.depends_end, end);
  return live | open;
}

bool Translator::crosses_page(Block& block, u16 page_offset) {
  constexpr u16 kLongest = 15;
  if (page_offset + kLongest <= static_cast<i32>(core::kPageSize)) return false;
  bool whole = false;
  blocks_.peek(block, page_offset, 1, [&](const Insn&) { return whole = true; });
  block.depends_begin = std::min(block.depends_begin, page_offset);
  block.depends_end = core::kPageSize;
  return !whole;
}

void Translator::translate(Block& block) {
  if (cache_.left() < kLargestBlock) {
    clear();
  }
  const u32 can = usable();
  EmitterContext context{.trampolines = trampolines_,
                         .optimisations = optimisations_,
                         .sse_usable = (can & kSseUsable) != 0,
                         .avx_usable = (can & kAvxUsable) != 0,
                         .x87_usable = (can & kX87Usable) != 0,
                         .flags_live_at = [&](u16 offset) { return flags_live_at(block, offset); },
                         .crosses_page = [&](u16 offset) { return crosses_page(block, offset); }};
  block.depends_begin = static_cast<u16>(block.physical % core::kPageSize);
  block.depends_end = static_cast<u16>(std::min<u64>(block.depends_begin + block.bytes, core::kPageSize));

  asmjit::CodeHolder code;
  code.init(asmjit::Environment::host(), cache_.cursor());
  asmjit::x86::Assembler assembler(&code);
  BlockEmitter emitter(assembler, context, block);
  emitter.emit();
  DOPPEL_CHECK(!code.hasUnresolvedLinks() || code.unresolvedLinkCount() == 0, "a label is not bound");

  const u64 base = cache_.cursor();
  auto& buffer = code.textSection()->buffer();
  DOPPEL_CHECK(buffer.size() <= cache_.left(), "block of {} host bytes", buffer.size());
  Translation& translation = translations_.emplace_back();
  translation.block = &block;
  translation.entry = base;
  translation.dead_entry = base + emitter.dead_entry();
  translation.needs = (emitter.uses_sse() ? kSseUsable : 0u) | (emitter.uses_avx() ? kAvxUsable : 0u);
  if (emitter.uses_x87()) translation.needs |= kX87Usable;
  // A translation with upper halves in host registers needs AVX whatever its instructions are.
  if ((can & kAvxUsable) && emitter.uses_sse()) translation.needs |= kAvxUsable;
  for (const LinkSite& emitted : emitter.sites()) {
    LinkSite& site = sites_.emplace_back(emitted);
    site.jump += base;
    site.stub += base;
    // The stub's MOV of its own address: find the placeholder.
    u8* stub = buffer.data() + emitted.stub;
    static constexpr u64 kPlaceholder = 0x1122334455667788;
    const auto* found =
        std::search(stub, buffer.data() + buffer.size(), reinterpret_cast<const u8*>(&kPlaceholder),
                    reinterpret_cast<const u8*>(&kPlaceholder) + 8);
    const u64 address = reinterpret_cast<u64>(&site);
    std::memcpy(const_cast<u8*>(found), &address, sizeof address);
    translation.sites.push_back(&site);
  }
  if (core::log_enabled(core::LogCategory::kJit)) {
    const u8* guest = cpu_.mmu.memory().backing(block.physical & core::kPageMask).host +
                      block.physical % core::kPageSize;
    core::log(core::LogCategory::kJit, "block at physical {:#x}, found at {:#x}:\n{}translated to:\n{}",
              block.physical, cpu_.state.rip,
              listing({guest, std::min<u64>(block.bytes, core::kPageSize - block.physical % core::kPageSize)},
                      cpu_.state.rip),
              listing({buffer.data(), buffer.size()}, base));
  }
  cache_.append({buffer.data(), buffer.size()});
  block.translation = &translation;
  ++translated_;
  translated_insns_ += block.count;
}

void Translator::link(LinkSite& site, Translation& target) {
  // Jumps within a page: same linear page as the source, hence the same physical one as long as both are
  // valid.
  // A block that continues on the next page depends on more than that.
  if ((site.page | site.target) != target.block->physical || target.block->second_page != kNoPage) return;
  cache_.patch_jump(site.jump, target.entry);
  site.linked = true;
  target.incoming.push_back(&site);
  ++linked_;
}

void Translator::unlink(LinkSite& site) {
  if (!site.linked) return;
  cache_.patch_jump(site.jump, site.stub);
  site.linked = false;
}

void Translator::forget(Block& block) {
  auto* translation = static_cast<Translation*>(block.translation);
  if (translation == nullptr) return;
  ++forgotten_;
  for (LinkSite* site : translation->incoming) unlink(*site);
  translation->incoming.clear();
  // Its own jumps may lie where the entry is patched: nobody touches them again.
  for (LinkSite* site : translation->sites) {
    site->linked = false;
    site->page = kNoPage;
  }
  // Jump-cache entries, and a caller that is about to return here, find the way out.
  cache_.patch_jump(translation->entry, translation->dead_entry);
  block.translation = nullptr;
}

void Translator::clear() {
  std::fill(jump_cache_.begin(), jump_cache_.end(), JumpCacheEntry{});
  for (Translation& translation : translations_)
    if (translation.block->translation == &translation) translation.block->translation = nullptr;
  ++clears_;
  translations_.clear();
  sites_.clear();
  cache_.truncate(trampolines_end_);
}

}  // namespace doppel::jit::x64
