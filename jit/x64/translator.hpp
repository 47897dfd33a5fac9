// The translator for x86-64 hosts: translates hot blocks of 64-bit code, links them, and runs them. One per
// vCPU. Made by core/machine; the dispatcher sees it as a jit::Backend.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "jit/backend.hpp"
#include "jit/block_cache.hpp"
#include "jit/vcpu.hpp"
#include "jit/x64/block_emitter.hpp"
#include "jit/x64/code_cache.hpp"
#include "jit/x64/trampolines.hpp"

namespace doppel::jit::x64 {

inline constexpr u64 kDefaultCodeCacheSize = u64{256} << 20;

class Translator final : public Backend {
 public:
  // `cpu` lies 16-byte aligned at the top of a stack (core/machine/vcpu_memory). Throws std::system_error.
  Translator(Vcpu& cpu, BlockCache& blocks, const Optimisations& optimisations,
             u64 cache_size = kDefaultCodeCacheSize);
  ~Translator() override;

  [[nodiscard]] bool ready(Block& block) override;
  void run(Block& block) override;
  void forget(Block& block) override;
  void clear() override;
  void publish_counters() override;

 private:
  struct Translation {
    Block* block;
    u64 entry, dead_entry;
    u64 guarded_entry;                // for jumps from code that does not need the same register files
    u32 needs;                        // Usable bits
    std::vector<LinkSite*> sites;     // jumps of this block
    std::vector<LinkSite*> incoming;  // jumps linked to this block
  };
  enum Usable : u32 { kSseUsable = 1, kAvxUsable = 2, kX87Usable = 4 };

  [[nodiscard]] u32 usable() const;  // vector instruction sets that would not fault now
  [[nodiscard]] u64 context(bool global) const;
  void refresh_contexts();
  void enter_jump_cache(const Translation& translation);
  [[nodiscard]] bool runnable() const;
  void translate(Block& block);
  void link(LinkSite& site, Translation& target);
  void unlink(LinkSite& site);
  [[nodiscard]] u8 flags_live_at(Block& block, u16 page_offset);
  [[nodiscard]] bool crosses_page(Block& block, u16 page_offset);
  [[nodiscard]] static Vcpu& vcpu_of(core::CpuState* state);

  static u8* fill(core::CpuState* state, u64 la);
  static After run_insn(core::CpuState* state, const Insn& original, bool leave);

  Vcpu& cpu_;
  BlockCache& blocks_;
  Optimisations optimisations_;
  CodeCache cache_;
  Trampolines trampolines_;
  u64 trampolines_end_;
  std::vector<JumpCacheEntry> jump_cache_;
  std::deque<Translation> translations_;
  std::deque<LinkSite> sites_;
  u64 clears_ = 0, forgotten_ = 0;
  std::vector<u64> interpreted_;  // instructions run by the interpreter out of translated code, by mnemonic
  u64 fills_ = 0;                 // soft-TLB misses of translated code
  core::Counters::Counter& translated_;
  core::Counters::Counter& translated_insns_;
  core::Counters::Counter& entered_;
  core::Counters::Counter& linked_;
};

}  // namespace doppel::jit::x64
