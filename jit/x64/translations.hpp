// The host code of one machine's blocks, and the jumps between it. The translators of all processors share
// it: what one of them has translated or linked, all run. It changes only while the lock of the blocks
// (BlockCache::lock) is held; code is run without. Made by core/machine, or by a translator that is alone.
#pragma once

#include <boost/container/small_vector.hpp>

#include "core/counters.hpp"
#include "jit/block_cache.hpp"
#include "jit/x64/block_emitter.hpp"
#include "jit/x64/code_cache.hpp"
#include "jit/x64/trampolines.hpp"
#include "jit/x64/translation_report.hpp"

namespace doppel::jit::x64 {

inline constexpr u64 kDefaultCodeCacheSize = u64{256} << 20;

// Host code of a block, or of its rest from some instruction on.
struct Translation {
  Block* block;
  u64 entry, dead_entry;
  u32 size;           // of the host code
  bool dead = false;  // the block's bytes changed
  LinkSite* sites;    // jumps of this translation
  // Jumps that lead to it: patched ones, and those of single processors.
  boost::container::small_vector<LinkSite*, 2> incoming;
  boost::container::small_vector<FarLink*, 2> incoming_far;
  Translation* tails = nullptr;  // translations of rests of the block, without shared checks
  Translation* next_tail = nullptr;
};

class Translations {
 public:
  struct Setup {
    Optimisations optimisations{};
    u64 cache_size = kDefaultCodeCacheSize;
    bool shared = false;  // several processors run them
    TranslationReport report{};
  };
  // `model` is that of all processors. `counters` outlives it. Throws std::system_error.
  Translations(const core::CpuModel& model, core::Counters& counters, const Callbacks& callbacks,
               Setup setup);
  Translations(const Translations&) = delete;
  Translations& operator=(const Translations&) = delete;

  [[nodiscard]] const Optimisations& optimisations() const { return optimisations_; }
  [[nodiscard]] const Trampolines& trampolines() const { return trampolines_; }
  // Changes when the translation of a block is dropped. For anybody.
  [[nodiscard]] u64 forgotten() const { return forgotten_; }

  // --- With the lock of the blocks held.
  // Whether there may be no room for another one.
  [[nodiscard]] bool full() const;
  // The block from its instruction number `first` on, as `cpu` finds it; without shared checks if `careful`.
  Translation& translate(Vcpu& cpu, BlockCache& blocks, Block& block, u16 first, bool careful);
  // The rest of the site's block that a shared check of it did not hold for; `site` goes there from now on.
  // nullptr: the block is gone.
  [[nodiscard]] Translation* careful_tail(Vcpu& cpu, BlockCache& blocks, LinkSite& site);
  // Makes a near jump go straight to its target. False: it is something else, or must not.
  bool link(LinkSite& site, Translation& target);
  // `link` is about to lead to `target`. False: it must not.
  [[nodiscard]] static bool note_far_link(FarLink& link, Translation& target);
  // The block's translation is never entered again, nor left through its links.
  void forget(Block& block);
  // Drops everything. Nobody runs it.
  void clear();

 private:
  [[nodiscard]] u8 flags_live_at(Block& block, u16 page_offset);
  [[nodiscard]] bool crosses_page(Block& block, u16 page_offset);
  void forget(Translation& translation);

  const Optimisations optimisations_;
  CodeCache cache_;
  TranslationReport report_;
  HostAssembler assembler_;
  const Trampolines trampolines_;
  const u64 trampolines_end_;
  LinkSites sites_;
  u32 far_links_ = 0;
  const BlockCache* peeking_ = nullptr;  // of the translation that is being made
  EmitterContext context_;
  BlockEmitter emitter_;
  core::LargeDeque<Translation> translations_;
  core::Counters::Counter &forgotten_, &clears_, &bytes_;
};

}  // namespace doppel::jit::x64
