#include "jit/x64/translations.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/log.hpp"
#include "jit/x64/mnemonic_facts.hpp"

namespace doppel::jit::x64 {

namespace {

constexpr u64 kLargestBlock = 64 << 10;  // host bytes; far above what kMaxBlockInsns instructions emit
constexpr u64 kUsualBlock = 4 << 10;
constexpr u32 kMostSites = 4 * kMaxBlockInsns;  // of one block; far above
constexpr u32 kPeekInsns = 10;                  // how far ahead flag liveness looks

}  // namespace

Translations::Translations(const core::CpuModel& model, core::Counters& counters, const Callbacks& callbacks,
                           Setup setup)
    : optimisations_(setup.optimisations),
      cache_(setup.cache_size),
      report_(std::move(setup.report)),
      assembler_(cache_),
      trampolines_(make_trampolines(assembler_, callbacks, model.has(core::Feature::kAvx))),
      trampolines_end_(cache_.used()),
      context_{.trampolines = trampolines_,
               .optimisations = optimisations_,
               .avx = model.has(core::Feature::kAvx),
               .shared = setup.shared,
               .flags_live_at = [this](Block& block, u16 offset) { return flags_live_at(block, offset); },
               .crosses_page = [this](Block& block, u16 offset) { return crosses_page(block, offset); },
               .sites = sites_,
               .far_links = far_links_},
      emitter_(assembler_, context_),
      forgotten_(counters["jit.translations forgotten"]),
      clears_(counters["jit.code cache clears"]),
      bytes_(counters["jit.code cache bytes"]) {
  bytes_ = cache_.used();
  report_.trampolines(cache_.cursor() - cache_.used(), cache_.used());
}

bool Translations::full() const {
  return cache_.left() < kLargestBlock || far_links_ + kMostSites > kMostFarLinks;
}

u8 Translations::flags_live_at(Block& block, u16 page_offset) {
  u8 live = 0, open = kAllFlags;
  u16 end = page_offset;
  peeking_->peek(block, page_offset, kPeekInsns, [&](const Decoder::Glance& insn) {
    live |= static_cast<u8>(insn.flags_read & open);
    end = static_cast<u16>(end + insn.length);
    // What the rest of the way needs is not known past a branch, or where flags may be kept.
    if (!insn.falls_through || is_shift(insn.mnemonic)) return false;
    open &= static_cast<u8>(~insn.flags_written);
    return open != 0;
  });
  block.depends_begin = std::min(block.depends_begin, page_offset);
  block.depends_end = std::max(block.depends_end, end);
  return live | open;
}

bool Translations::crosses_page(Block& block, u16 page_offset) {
  if (page_offset + kLongestInsn <= core::kPageSize) return false;
  bool whole = false;
  peeking_->peek(block, page_offset, 1, [&](const Decoder::Glance&) { return whole = true; });
  block.depends_begin = std::min(block.depends_begin, page_offset);
  block.depends_end = core::kPageSize;
  return !whole;
}

Translation& Translations::translate(Vcpu& cpu, BlockCache& blocks, Block& block, u16 first, bool careful) {
  context_.kernel = cpu.state.cpl == 0;
  peeking_ = &blocks;
  blocks.expect_dependence(block);
  cache_.prepare(kUsualBlock);
  emitter_.emit(block, first, careful);
  const u64 size = assembler_.here() - emitter_.entry();
  DOPPEL_CHECK(size <= kLargestBlock, "block of {} host bytes", size);
  Translation& translation = translations_.emplace_back();
  translation.block = &block;
  translation.entry = emitter_.entry();
  translation.size = static_cast<u32>(size);
  translation.dead_entry = emitter_.dead_entry();
  translation.sites = emitter_.sites();
  const u64 from = block.physical + block.insns[first].offset;
  report_.translated(
      {block,
       cpu.state.rip,
       {cpu.mmu.memory().backing(from & core::kPageMask).host + from % core::kPageSize,
        std::min<u64>(block.bytes - block.insns[first].offset, core::kPageSize - from % core::kPageSize)},
       translation.entry,
       {reinterpret_cast<const u8*>(translation.entry), size},  // readable: the executable mapping
       emitter_.starts()});
  blocks.note_dependence(block);
  bytes_ = cache_.used();
  return translation;
}

Translation* Translations::careful_tail(Vcpu& cpu, BlockCache& blocks, LinkSite& site) {
  if (site.block == nullptr) return nullptr;
  if (site.tail) return site.tail;  // another processor was faster
  Block& block = *site.block;
  Translation& tail = translate(cpu, blocks, block, site.target, true);
  auto* whole = static_cast<Translation*>(block.translation.get());
  tail.next_tail = std::exchange(whole->tails, &tail);
  site.tail = &tail;
  cache_.patch_displacement(site.field, tail.entry);
  return &tail;
}

bool Translations::link(LinkSite& site, Translation& target) {
  // Jumps within a page: same linear page as the source, hence the same physical one as long as both are
  // valid. A block that continues on the next page depends on more than that.
  if (site.kind != LinkSite::Kind::kNear || site.linked || target.dead ||
      (site.page | site.target) != target.block->physical || target.block->second_page != kNoPage)
    return false;
  cache_.patch_displacement(site.field, target.entry);
  site.linked = true;
  target.incoming.push_back(&site);
  return true;
}

bool Translations::note_far_link(FarLink& link, Translation& target) {
  if (target.dead) return false;
  if (std::ranges::find(target.incoming_far, &link) == target.incoming_far.end())
    target.incoming_far.push_back(&link);
  return true;
}

void Translations::forget(Block& block) {
  auto* translation = static_cast<Translation*>(block.translation.get());
  if (translation == nullptr) return;
  ++forgotten_;
  block.translation = nullptr;
  for (Translation* tail = translation->tails; tail; tail = tail->next_tail) forget(*tail);
  forget(*translation);
}

void Translations::forget(Translation& translation) {
  translation.dead = true;
  for (LinkSite* site : std::exchange(translation.incoming, {})) {
    if (!site->linked) continue;
    cache_.patch_displacement(site->field, site->stub);
    site->linked = false;
  }
  for (FarLink* link : std::exchange(translation.incoming_far, {}))
    if (std::atomic_ref(link->code).load(std::memory_order_relaxed) == translation.entry)
      std::atomic_ref(link->context).store(0, std::memory_order_relaxed);
  // Its own jumps may lie where the entry is patched: nobody touches them again.
  for (LinkSite* site = translation.sites; site; site = site->sibling) {
    site->linked = false;
    site->page = kNoPage;
    site->block = nullptr;
  }
  // Jump-cache entries, and a caller that is about to return here, find the way out.
  cache_.patch_entry(translation.entry, translation.dead_entry);
}

void Translations::clear() {
  if (translations_.empty()) return;
  for (Translation& translation : translations_)
    if (translation.block->translation.get() == &translation) translation.block->translation = nullptr;
  ++clears_;
  translations_.clear();
  sites_.clear();
  far_links_ = 0;
  cache_.truncate(trampolines_end_);
  bytes_ = cache_.used();
}

}  // namespace doppel::jit::x64
