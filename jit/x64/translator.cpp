#include "jit/x64/translator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "jit/interp/semantics.hpp"
#include "jit/listing.hpp"
#include "jit/x64/mnemonic_facts.hpp"
#include "jit/x64/x87_residence.hpp"

namespace doppel::jit::x64 {

using core::CpuState;

namespace {

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

std::shared_ptr<Translations> Translator::make_translations(const core::CpuModel& model,
                                                            core::Counters& counters,
                                                            Translations::Setup setup) {
  const Callbacks callbacks{
      .fill = fill,
      .move_x87_in = move_x87_in,
      .read_tsc = [](CpuState* s) { return vcpu_of(s).tsc(); },
      .revalidate = revalidate,
      .run_in_block = [](CpuState* s, const Insn* i) { return run_insn(s, *i, false); },
      .run_and_leave = [](CpuState* s, const Insn* i) { return run_insn(s, *i, true); }};
  return std::make_shared<Translations>(model, counters, callbacks, std::move(setup));
}

static FarLink* map_far_links() {
  void* mapping = ::mmap(nullptr, kMostFarLinks * sizeof(FarLink), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "memory for jumps");
  return static_cast<FarLink*>(mapping);
}

Translator::Translator(Vcpu& cpu, BlockCache& blocks, std::shared_ptr<Translations> translations)
    : cpu_(cpu),
      blocks_(blocks),
      translations_(std::move(translations)),
      optimisations_(translations_->optimisations()),
      jump_cache_(kJumpCacheEntries),
      far_links_(map_far_links()),
      translated_(cpu.counters["jit.blocks translated"]),
      translated_insns_(cpu.counters["jit.instructions translated"]),
      entered_(cpu.counters["jit.entered from the dispatcher"]),
      linked_(cpu.counters["jit.jumps linked"]) {
  cpu_.state.translator.jump_cache = jump_cache_.data();
  cpu_.state.translator.far_links = far_links_;
  cpu_.state.translator.owner = this;
  if (!optimisations_.long_blocks) blocks_.limit_blocks(1);
  pages_entered_.fill(kNoPage);
  interpreted_.resize(ZYDIS_MNEMONIC_MAX_VALUE + 1);
}

Translator::~Translator() {
  ::munmap(far_links_, kMostFarLinks * sizeof(FarLink));
}

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
  return (global ? cpu_.mmu.global_generation() : cpu_.mmu.generation()) << 8 |
         static_cast<u64>(cpu_.state.code_bits == 32) << 3 | cpu_.state.cpl << 1 | (global ? 1 : 0);
}

void Translator::refresh_contexts() {
  cpu_.state.translator.context = context(false);
  cpu_.state.translator.global_context = context(true);
  cpu_.state.translator.usable = usable();
  // What faults now must not be found resident.
  if (!(cpu_.state.translator.usable & kX87Usable)) x87_move_out(cpu_.state);
}

Translator::Place Translator::place_of(const Block& block) {
  const u64 rip = cpu_.state.rip;
  mmu::Mmu::Code code, second{.global = true};
  const bool crosses = block.second_page != kNoPage;
  if (!cpu_.mmu.fetch(rip, code) || (crosses && !cpu_.mmu.fetch((rip | ~core::kPageMask) + 1, second))) {
    cpu_.state.fault.pending = false;  // the dispatcher will meet it again
    return {};
  }
  return {true, code.global && second.global};
}

void Translator::enter_jump_cache(const Translation& translation, const Place& place) {
  const u64 rip = cpu_.state.rip;
  if (!place.known || !optimisations_.jump_cache) return;
  const Block& block = *translation.block;
  const u64 made_from =
      block.second_page == kNoPage ? (block.physical & core::kPageMask) | block.code_bits : 0;
  jump_cache_[jump_cache_index(rip)] = {rip, context(place.global), translation.entry, made_from};
  note_entry_into(rip & core::kPageMask);
}

void Translator::note_entry_into(u64 page) {
  u64& entered = pages_entered_[page / core::kPageSize % pages_entered_.size()];
  if (entered == page) return;
  entered = page;
  entries_into_[page];
}

// After a flush of the TLB most of what ran before is still where it was.
u64 Translator::revalidate(CpuState* state, u64 rip) {
  Vcpu& cpu = vcpu_of(state);
  auto& self = *static_cast<Translator*>(state->translator.owner);
  JumpCacheEntry& entry = self.jump_cache_[jump_cache_index(rip)];
  mmu::Mmu::Code code;
  if (!cpu.mmu.fetch(rip, code)) {
    state->fault.pending = false;  // the dispatcher will meet it again
    return 0;
  }
  if (((code.physical & core::kPageMask) | state->code_bits) != entry.made_from) return 0;
  ++self.revalidated_;
  self.note_entry_into(rip & core::kPageMask);
  entry.context = self.context(code.global);
  return entry.code;
}

// Whether 32-bit code sees linear addresses only: CS, SS, DS and ES begin at 0 and end at 4 GiB, and all but
// CS may be written.
static bool flat(const CpuState& s) {
  constexpr u32 kData = core::kSegPresent | core::kSegS | core::kSegWritable;
  for (const core::Segment i : {core::kSs, core::kDs, core::kEs}) {
    const core::SegmentRegister& segment = s.segment[i];
    if (segment.base != 0 || segment.limit != ~u32{0} ||
        (segment.attributes & (kData | core::kSegCode | core::kSegExpandDown)) != kData)
      return false;
  }
  const core::SegmentRegister& code = s.segment[core::kCs];
  return code.base == 0 && code.limit == ~u32{0} && (s.segment[core::kSs].attributes & core::kSegDb);
}

bool Translator::runnable() const {
  const CpuState& s = cpu_.state;
  return (s.code_bits == 64 || (s.code_bits == 32 && flat(s))) && (s.mxcsr & kMxcsrMasks) == kMxcsrMasks;
}

bool Translator::ready(Block& block) {
  if (!block.kept || !runnable()) return false;
  // What lies across the end of the 32-bit address space faults.
  if (block.code_bits == 32 && cpu_.state.rip + block.bytes > u64{1} << 32) return false;
  if (block.translation) return true;
  block.runs = block.runs + 1;
  if (block.runs <= optimisations_.hot_runs) return false;
  const auto guard = blocks_.lock();
  if (block.translation) return true;  // another processor was faster
  if (!block.valid) return false;
  if (translations_->full()) {
    blocks_.ask_for_room();
    return false;
  }
  block.translation = &translations_->translate(cpu_, blocks_, block, 0, false);
  ++translated_;
  translated_insns_ += block.count;
  return true;
}

void Translator::run(Block& block) {
  CpuState& s = cpu_.state;
  auto* translation = static_cast<Translation*>(block.translation.get());
  if (translation == nullptr) return;  // another processor dropped it
  s.translator.flags = to_ax(core::arithmetic_flags(s.lazy));
  refresh_contexts();
  enter_jump_cache(*translation, place_of(block));
  while (true) {
    s.translator.code_page = s.rip & core::kPageMask;
    s.translator.stack_page = core::TranslatorState::kNoStackPage;
    ++entered_;
    translations_->trampolines().enter(&s, translation->entry);
    auto* site = reinterpret_cast<LinkSite*>(s.translator.link_site);  // put there by translated code
    if (s.fault.pending || !runnable()) break;
    if (s.attention.load(std::memory_order_relaxed) && !s.interrupt_shadow) break;
    if (s.cpl == 3 && s.translator.user_entries_left <= 0) break;
    refresh_contexts();
    if (site && is_careful(*site)) {
      translation = careful_tail(*site);
      if (translation) continue;
      site = nullptr;
    }
    ++(site ? chain_misses_ : lookup_misses_);
    if (!site && !optimisations_.jump_cache) break;
    // The same place again: the dispatcher's work without the way back to it.
    Block* next = blocks_.find(s.rip);
    if (next == nullptr || !ready(*next)) break;
    translation = static_cast<Translation*>(next->translation.get());
    if (translation == nullptr) break;
    const Place place = place_of(*next);
    enter_jump_cache(*translation, place);
    if (site) link(*site, *translation, place);
    if (s.interrupt_shadow) break;
  }
  if (s.interrupt_shadow) s.attention = 1;
  core::set_arithmetic_flags(s, from_ax(s.translator.flags));
  x87_move_out(s);
}

// Another processor may have made the site: the lock, for once, is for reading.
bool Translator::is_careful(const LinkSite& site) const {
  const auto guard = blocks_.lock();
  return site.kind == LinkSite::Kind::kCareful;
}

// nullptr: the block is gone, or will be.
Translation* Translator::careful_tail(LinkSite& site) {
  const auto guard = blocks_.lock();
  if (translations_->full()) {
    blocks_.ask_for_room();
    return nullptr;
  }
  return translations_->careful_tail(cpu_, blocks_, site);
}

// The bytes of a load from two pages of plain memory, put together; nullptr: it is something else.
u8* Translator::load_across_pages(Vcpu& cpu, u64 la, u32 size) {
  auto& self = *static_cast<Translator*>(cpu.state.translator.owner);
  const u32 first = static_cast<u32>(core::kPageSize - la % core::kPageSize);
  const u8* low = cpu.mmu.direct(la, mmu::Access::kRead);
  // A page is marked accessed only when the one before it does not fault.
  const u8* high = low ? cpu.mmu.direct(la + first, mmu::Access::kRead) : nullptr;
  if (high == nullptr || size > self.across_pages_.size()) return nullptr;
  std::memcpy(self.across_pages_.data(), low, first);
  std::memcpy(self.across_pages_.data() + first, high, size - first);
  return self.across_pages_.data();
}

u8* Translator::fill(CpuState* state, u64 la) {
  Vcpu& cpu = vcpu_of(state);
  auto& self = *static_cast<Translator*>(state->translator.owner);
  ++self.fills_;
  const u32 size = state->translator.access & 0xff;
  if ((state->cr0 & core::kCr0Am) && (state->rflags & core::kAc) && state->cpl == 3) return nullptr;
  const bool crosses = la % core::kPageSize + size > core::kPageSize;
  if (crosses && state->code_bits == 32 && la + size > u64{1} << 32) return nullptr;  // beyond any limit
  if (!(state->translator.access & 0x100))
    return crosses ? load_across_pages(cpu, la, size) : cpu.mmu.direct(la, mmu::Access::kRead);
  if (crosses) return nullptr;
  if (u8* host = cpu.mmu.direct(la, mmu::Access::kWrite)) return host;
  // Data beside code: this store goes there, the next one asks again.
  if (self.blocks_.shared()) return nullptr;  // others may make code of the bytes before it is done
  const auto store = cpu.mmu.direct_to_code_page(la);
  return store.host && !self.blocks_.holds_code(store.physical, size) ? store.host : nullptr;
}

u64 Translator::move_x87_in(CpuState* state) {
  if (!x87_usable(*state)) return 0;
  ++static_cast<Translator*>(state->translator.owner)->x87_moves_;
  x87_move_in(*state);
  return 1;
}

After Translator::run_insn(CpuState* state, const Insn& original, bool leave) {
  Vcpu& cpu = vcpu_of(state);
  CpuState& s = *state;
  auto& self = *static_cast<Translator*>(s.translator.owner);
  ++self.interpreted_[original.mnemonic];
  core::set_arithmetic_flags(s, from_ax(s.translator.flags));
  if (uses_x87_state(original)) x87_move_out(s);
  cpu.last = nullptr;
  const u8 cpl = s.cpl;
  const u64 forgotten = self.translations_->forgotten();
  // A copy, followed by something that stops the handler chain.
  Insn pair[2] = {original, {}};
  pair[1].run = stop;
  const Insn* insn = pair;
  do insn = insn->run(cpu, insn);
  while (insn != nullptr);
  s.translator.flags = to_ax(core::arithmetic_flags(s.lazy));
  s.translator.stack_page = core::TranslatorState::kNoStackPage;
  if (s.fault.pending) return After::kLeave;
  const bool fell_through = cpu.last == &pair[1];
  const bool usable_as_before = !uses_x87_state(original) || x87_usable(s);
  // Code that the instruction changed may be this block's.
  if (fell_through && !leave && usable_as_before && forgotten == self.translations_->forgotten() &&
      self.runnable())
    return After::kContinue;
  if (fell_through) s.rip = interp::rip_after(cpu, original);
  if (s.attention.load(std::memory_order_relaxed) || s.activity != core::Activity::kRunning ||
      !self.runnable() || s.fault.pending)
    return After::kLeave;
  if (cpl != 3 && s.cpl == 3 && --s.translator.user_entries_left <= 0) return After::kLeave;
  self.refresh_contexts();
  return After::kLookup;
}

void Translator::publish_counters() {
  for (std::size_t m = 0; m < interpreted_.size(); ++m)
    if (interpreted_[m] != 0)
      cpu_.counters[std::string("jit.interpreted ") + ZydisMnemonicGetString(static_cast<ZydisMnemonic>(m))] =
          interpreted_[m];
  const std::pair<const char*, u64> counts[] = {{"jit.soft-TLB misses", fills_},
                                                {"jit.x87 state moved to the host", x87_moves_},
                                                {"jit.jump-cache entries revalidated", revalidated_},
                                                {"jit.chain misses", chain_misses_},
                                                {"jit.lookup misses", lookup_misses_}};
  for (const auto& [name, count] : counts) cpu_.counters[name] = count;
}

std::string Translator::listing(const Block& block) const {
  const auto* translation = static_cast<const Translation*>(block.translation.get());
  if (translation == nullptr) return "";
  const auto* code = reinterpret_cast<const u8*>(translation->entry);  // readable: the executable mapping
  return jit::listing({code, translation->size}, translation->entry);
}

void Translator::link(LinkSite& site, Translation& target, const Place& place) {
  const auto guard = blocks_.lock();
  if (site.kind == LinkSite::Kind::kFar)
    link_far(site, target, place);
  else if (translations_->link(site, target))
    ++linked_;
}

void Translator::link_far(const LinkSite& site, Translation& target, const Place& place) {
  constexpr i32 kMissesToLinkAgain = 64, kNever = 1 << 30;
  FarLink& link = far_links_[site.number];
  link.patience = kMissesToLinkAgain;
  if (!place.known || (site.global && !place.global)) {
    link.patience = kNever;
    return;
  }
  if (!Translations::note_far_link(link, target)) return;
  const u64 page = cpu_.state.rip & core::kPageMask;
  const bool again = link.code == target.entry && link.linear_page == page;
  link.linear_page = page;
  link.code = target.entry;
  link.context = context(site.global);
  if (again) return;
  entries_into_[page].push_back(&link);
  ++linked_;
}

void Translator::forget(Block& block) {
  translations_->forget(block);
}

void Translator::forget_page(u64 linear_page) {
  // Also what begins on the page before and continues on this one.
  for (const u64 page : {linear_page, linear_page - core::kPageSize}) {
    const auto it = entries_into_.find(page);
    if (it == entries_into_.end()) continue;
    for (FarLink* link : it->second) {
      std::atomic_ref(link->context).store(0, std::memory_order_relaxed);
      std::atomic_ref(link->code).store(0, std::memory_order_relaxed);  // to be entered here again
    }
    entries_into_.erase(it);
    pages_entered_[page / core::kPageSize % pages_entered_.size()] = kNoPage;
    // The jump-cache entries of a page lie in as many places as it has bytes, next to each other.
    const u32 first = jump_cache_index(page) & ~static_cast<u32>(core::kPageSize - 1);
    for (u32 i = first; i < first + core::kPageSize; ++i)
      if ((jump_cache_[i].rip & core::kPageMask) == page) jump_cache_[i] = {};
  }
}

void Translator::clear() {
  entries_into_.clear();
  pages_entered_.fill(kNoPage);
  std::fill(jump_cache_.begin(), jump_cache_.end(), JumpCacheEntry{});
  // Zeroes from now on.
  ::madvise(far_links_, kMostFarLinks * sizeof(FarLink), MADV_DONTNEED);
  translations_->clear();
}

}  // namespace doppel::jit::x64
