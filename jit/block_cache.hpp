// Decoded blocks by guest physical address and code size. An address-space switch keeps them; a write to
// their bytes drops them: pages that hold code are flagged in GuestRam, and the MMU's slow path and DMA
// report writes there. One per vCPU; with several, Coherence connects them. Bounded: when full, everything is
// dropped at the next block boundary.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/large_deque.hpp"
#include "jit/backend.hpp"
#include "jit/block.hpp"
#include "jit/coherence.hpp"
#include "jit/decode.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit {

class BlockCache {
 public:
  explicit BlockCache(Vcpu& cpu);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // The block at linear address `linear`, decoded if it is not known. nullptr: fetching the first instruction
  // faulted (CpuState::fault). `max_insns` 1 gives an uncached block of one instruction, valid until the next
  // call.
  [[nodiscard]] Block* find(u64 linear, u32 max_insns = kMaxBlockInsns);

  // Drops the blocks that overlap [pa, pa + size). A running block stops before its next instruction.
  void invalidate(u64 pa, u64 size);
  // Other processors run in the same memory. Before the first block.
  void share(Coherence& coherence, Coherence::Member& self);
  [[nodiscard]] bool shared() const { return coherence_ != nullptr; }
  // Does what they asked for; outside of blocks.
  void serve_others() {
    if (self_) self_->serve();
  }
  // No other processor runs guest code between the two; outside of blocks.
  void begin_exclusive() {
    if (self_) coherence_->begin_exclusive(*self_);
  }
  void end_exclusive() {
    if (self_) coherence_->end_exclusive(*self_);
  }
  // Whether a store there may change a block; the answer is by granules of 64 bytes. Within a page.
  [[nodiscard]] bool holds_code(u64 pa, u32 size) const;
  // The same for any range of RAM, in a shared cache, from any thread: after the store.
  [[nodiscard]] bool may_hold_code(u64 pa, u64 size) const;
  // The first write to any byte of the physical 4 KiB page is reported to the backend, though no block was
  // made from it.
  void watch(u64 page);
  // The backend is about to read bytes of the block's page, also outside of the block; then
  void expect_dependence(const Block& block) { publish(block.physical & core::kPageMask, ~u64{0}); }
  // it made the block's translation from [depends_begin, depends_end) of it.
  void note_dependence(const Block& block);
  void clear();
  // Blocks decoded from now on have at most so many instructions.
  void limit_blocks(u32 insns) { longest_ = insns; }
  // Translations of blocks are the backend's: it is told when they go. May be null.
  void set_backend(Backend* backend) { backend_ = backend; }
  // Instructions that get blocks of their own. nullptr: none.
  void set_alone(bool (*alone)(const Insn&)) { alone_ = alone; }
  // Passes a glance at up to `count` instructions from a page offset of the block's page on to `visit`, until
  // that returns false; stops at the page's end.
  template <class Visit>
  void peek(const Block& block, u16 page_offset, u32 count, Visit visit) const {
    const u8* page = cpu_.mmu.memory().backing(block.physical & core::kPageMask).host;
    for (u32 i = 0; page && i < count && page_offset < core::kPageSize; ++i) {
      const auto glance = decoder().glance({page + page_offset, core::kPageSize - page_offset});
      if (!glance || !visit(*glance)) return;
      page_offset = static_cast<u16>(page_offset + glance->length);
    }
  }

  // Changes when Block pointers handed out earlier may be dangling.
  [[nodiscard]] u64 generation() const { return generation_; }

 private:
  [[nodiscard]] Block* build(u64 linear, const mmu::Mmu::Code& code, u32 max_insns, Block& block);
  // Decodes one instruction whose bytes may continue on the next page. False: fetching those faulted.
  [[nodiscard]] bool decode_across_pages(u64 linear, std::span<const u8> head, Block& block, Insn& insn,
                                         bool& last);
  [[nodiscard]] const Decoder& decoder() const;
  // Where the longest block fits.
  [[nodiscard]] Insn* room_for_insns();
  [[nodiscard]] bool second_page_matches(const Block& block, u64 linear);
  // Blocks with bytes on a page, and which of its 64 granules they were made from; all if it is watched.
  struct CodePage {
    boost::container::small_vector<Block*, 4> blocks;
    u64 granules = 0;
    bool watched = false;
  };
  // What is known of the page that holds `physical`; from now on stores to it are seen.
  CodePage& note_code_page(u64 physical);
  // Tells other processors which granules of the page are code: those known, and `more`.
  void publish(u64 page, u64 more = 0);
  void release_if_unused(u64 page);
  [[nodiscard]] static u64 granules_of(const Block& block, u64 page);
  void enter(Block& block);
  void forget(Block& block);

  static constexpr u32 kBuckets = 1u << 17;
  static constexpr u32 kChunkInsns = 4096;
  // 64 MiB of instructions that translations refer to, too; 16 MiB where decoding again costs little beside
  // interpreting.
  [[nodiscard]] u32 max_chunks() const { return backend_ ? 256 : 64; }

  Vcpu& cpu_;
  Backend* backend_ = nullptr;
  u32 longest_ = kMaxBlockInsns;
  bool (*alone_)(const Insn&) = nullptr;
  Decoder decoder16_, decoder32_, decoder64_;
  std::vector<Block*> buckets_;
  std::unordered_map<u64, CodePage> code_pages_;  // those that this cache has claimed in GuestRam
  Coherence* coherence_ = nullptr;                // in a shared cache
  Coherence::Member* self_ = nullptr;
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<u64[], Free> published_;  // granules of each page of RAM, atomic; in a shared cache
  std::vector<std::unique_ptr<std::byte[]>> chunks_;  // kChunkInsns in each
  core::LargeDeque<Block> blocks_;
  u32 chunk_used_ = kChunkInsns;
  Block single_;
  Insn single_insns_[2];
  u64 generation_ = 1;
  core::Counters::Counter& decoded_;
  core::Counters::Counter& invalidated_;
};

}  // namespace doppel::jit
