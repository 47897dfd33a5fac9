// The translator for x86-64 hosts: translates hot blocks of 64-bit code, and of 32-bit code in flat segments,
// links them, and runs them. One per vCPU; the translations are all processors' (translations.hpp). Made by
// core/machine; the dispatcher sees it as a jit::Backend.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/populated_allocator.hpp"
#include "jit/backend.hpp"
#include "jit/block_cache.hpp"
#include "jit/vcpu.hpp"
#include "jit/x64/translations.hpp"

namespace doppel::jit::x64 {

class Translator final : public Backend {
 public:
  // What processors with the same store of blocks share; arguments as those of Translations.
  [[nodiscard]] static std::shared_ptr<Translations> make_translations(const core::CpuModel& model,
                                                                       core::Counters& counters,
                                                                       Translations::Setup setup);
  // `cpu` lies 16-byte aligned at the top of a stack (core/machine/vcpu_memory). Throws std::system_error.
  Translator(Vcpu& cpu, BlockCache& blocks, std::shared_ptr<Translations> translations);
  // The same for a processor that is alone.
  Translator(Vcpu& cpu, BlockCache& blocks, const Optimisations& optimisations,
             u64 cache_size = kDefaultCodeCacheSize)
      : Translator(cpu, blocks,
                   make_translations(cpu.model, cpu.counters,
                                     {.optimisations = optimisations, .cache_size = cache_size})) {}
  ~Translator() override;

  [[nodiscard]] bool ready(Block& block) override;
  void run(Block& block) override;
  void forget(Block& block) override;
  void forget_page(u64 linear_page) override;
  void clear() override;
  void publish_counters() override;
  [[nodiscard]] std::string listing(const Block& block) const override;

 private:
  [[nodiscard]] u32 usable() const;  // Usable bits
  [[nodiscard]] u64 context(bool global) const;
  void refresh_contexts();
  // Whether RIP, where `block` is found now, may be entered from other pages, and with which context.
  struct Place {
    bool known = false, global = false;
  };
  [[nodiscard]] Place place_of(const Block& block);
  void enter_jump_cache(const Translation& translation, const Place& place);
  void note_entry_into(u64 page);  // a jump-cache entry leads there
  [[nodiscard]] bool runnable() const;
  [[nodiscard]] bool is_careful(const LinkSite& site) const;
  [[nodiscard]] Translation* careful_tail(LinkSite& site);
  void link(LinkSite& site, Translation& target, const Place& place);
  void link_far(const LinkSite& site, Translation& target, const Place& place);
  [[nodiscard]] static Vcpu& vcpu_of(core::CpuState* state);

  static u8* fill(core::CpuState* state, u64 la);
  static u8* load_across_pages(Vcpu& cpu, u64 la, u32 size);
  static u64 move_x87_in(core::CpuState* state);
  static u64 revalidate(core::CpuState* state, u64 rip);
  static After run_insn(core::CpuState* state, const Insn& original, bool leave);

  Vcpu& cpu_;
  BlockCache& blocks_;
  const std::shared_ptr<Translations> translations_;
  const Optimisations& optimisations_;
  std::vector<JumpCacheEntry, core::PopulatedAllocator<JumpCacheEntry>> jump_cache_;
  FarLink* far_links_;  // kMostFarLinks, which the host gives where they are touched
  // Linear pages that jump-cache entries lead to, and the far jumps that do.
  std::unordered_map<u64, std::vector<FarLink*>> entries_into_;
  std::array<u64, 256> pages_entered_;             // some of them, by page number: known to be there
  alignas(64) std::array<u8, 64> across_pages_{};  // a load from two pages
  std::vector<u64> interpreted_;  // instructions run by the interpreter out of translated code, by mnemonic
  u64 revalidated_ = 0;           // jump-cache entries
  u64 fills_ = 0;                 // soft-TLB misses of translated code
  u64 x87_moves_ = 0;             // of the x87 state into the host's FPU
  u64 chain_misses_ = 0, lookup_misses_ = 0;  // jumps that left translated code for want of a translation
  core::Counters::Counter& translated_;
  core::Counters::Counter& translated_insns_;
  core::Counters::Counter& entered_;
  core::Counters::Counter& linked_;
};

}  // namespace doppel::jit::x64
