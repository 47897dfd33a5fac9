// One processor's way to the machine's decoded blocks (jit/block_store.hpp): finds them by linear address and
// decodes what is not known. One per vCPU, used by its thread; processors that run in the same memory have
// one store, and Coherence connects them.
#pragma once

#include <memory>
#include <mutex>
#include <span>

#include "jit/backend.hpp"
#include "jit/block_store.hpp"
#include "jit/coherence.hpp"
#include "jit/decode.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit {

class BlockCache {
 public:
  // nullptr: with a store of its own.
  explicit BlockCache(Vcpu& cpu, std::shared_ptr<BlockStore> store = nullptr);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache() { store_->leave(*this); }

  // The block at linear address `linear`, decoded if it is not known. nullptr: fetching the first instruction
  // faulted (CpuState::fault). `max_insns` 1 gives an uncached block of one instruction, valid until the next
  // call; so does code outside plain memory, and a full store.
  [[nodiscard]] Block* find(u64 linear, u32 max_insns = kMaxBlockInsns);

  // Drops the blocks that overlap [pa, pa + size). A running block stops before its next instruction.
  void invalidate(u64 pa, u64 size) { store_->invalidate(pa, size, this); }
  // Other processors run in the same memory, with the same store. Before the first block.
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
  // As BlockStore::holds_code().
  [[nodiscard]] bool holds_code(u64 pa, u32 size) const { return store_->holds_code(pa, size); }
  // The first write to any byte of the physical 4 KiB page is reported to the backend, though no block was
  // made from it.
  void watch(u64 page);
  // That has happened: from any processor's thread, with the lock held, if not `here`.
  void watched_page_written(u64 page, bool here);

  // Nobody drops or changes blocks and translations while this is held; see BlockStore.
  [[nodiscard]] std::unique_lock<std::mutex> lock() const { return std::unique_lock(store_->mutex); }
  // With the lock held: the backend is about to read bytes of the block's page, also outside of the block;
  // then
  void expect_dependence(const Block& block) { store_->expect_code(block.physical & core::kPageMask); }
  // it made the block's translation from [depends_begin, depends_end) of it.
  void note_dependence(const Block& block) { store_->note_dependence(block); }

  // Memory for blocks or their translations is short. The dispatcher drops them all at the next block
  // boundary:
  void ask_for_room();
  void make_room();
  // The same at once, while no other processor runs.
  void clear();

  // Blocks decoded from now on have at most so many instructions.
  void limit_blocks(u32 insns) { longest_ = insns; }
  // Translations of blocks are the backend's: it is told when they go. May be null.
  void set_backend(Backend* backend);
  [[nodiscard]] Backend* backend() const { return backend_; }
  // Instructions that get blocks of their own. nullptr: none.
  void set_alone(bool (*alone)(const Insn&)) { alone_ = alone; }
  // Passes a glance at up to `count` instructions from a page offset of the block's page on to `visit`, until
  // that returns false; stops at the page's end.
  template <class Visit>
  void peek(const Block& block, u16 page_offset, u32 count, Visit visit) const {
    const u8* page = cpu_.mmu.memory().backing(block.physical & core::kPageMask).host;
    for (u32 i = 0; page && i < count && page_offset < core::kPageSize; ++i) {
      const auto glance =
          decoder(block.code_bits).glance({page + page_offset, core::kPageSize - page_offset});
      if (!glance || !visit(*glance)) return;
      page_offset = static_cast<u16>(page_offset + glance->length);
    }
  }

  // Changes when Block pointers handed out earlier may be dangling.
  [[nodiscard]] u64 generation() const { return store_->generation(); }

 private:
  // What a block is decoded from.
  struct Source {
    u64 physical;
    std::span<const u8> bytes;  // not beyond the page
    mmu::Mmu::Code second{};    // the next page, if that was looked for
    u64 second_page = kNoPage;
  };
  [[nodiscard]] Block* find_single(u64 linear, const mmu::Mmu::Code& code);
  [[nodiscard]] Block* make(u64 linear, const mmu::Mmu::Code& code, u32 max_insns);
  // Stores to the page of RAM are seen from now on, until nothing is made from it.
  void protect(u64 page);
  // False: its first instruction continues on the next page, which was not looked for.
  [[nodiscard]] bool build(const Source& source, u32 max_insns, Block& block);
  [[nodiscard]] bool decode_across_pages(const Source& source, Insn& insn) const;
  // False: fetching there faulted.
  [[nodiscard]] bool look_for_second_page(u64 linear, Source& source);
  [[nodiscard]] bool second_page_matches(const Block& block, u64 linear);
  [[nodiscard]] u64 next_page(u64 linear) const;
  [[nodiscard]] const Decoder& decoder(u32 code_bits) const;

  Vcpu& cpu_;
  const std::shared_ptr<BlockStore> store_;
  Backend* backend_ = nullptr;
  u32 longest_ = kMaxBlockInsns;
  bool (*alone_)(const Insn&) = nullptr;
  Decoder decoder16_, decoder32_, decoder64_;
  Coherence* coherence_ = nullptr;  // with other processors
  Coherence::Member* self_ = nullptr;
  u64 full_generation_ = 0;  // of the store, when room was asked for
  Block single_;
  Insn single_insns_[2];
  core::Counters::Counter& decoded_;
};

}  // namespace doppel::jit
