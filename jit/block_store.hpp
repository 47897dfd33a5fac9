// The decoded blocks of one machine, by guest physical address and code size. Its processors share them; each
// reaches them through a BlockCache. An address-space switch keeps them; a write to their bytes drops them:
// pages that hold code are flagged in GuestRam, and the MMU's slow path and DMA report writes there. Bounded:
// when full, everything is dropped (BlockCache::make_room).
//
// Looking for a block takes no lock, as blocks that are dropped stay in memory until all are. Whatever
// changes takes `mutex`, and the backends' translations are changed under it, too. With it held nobody waits
// for another processor, reads a guest's page tables or touches a device.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/counters.hpp"
#include "core/growing_array.hpp"
#include "core/guest_ram.hpp"
#include "core/large_deque.hpp"
#include "core/populated_allocator.hpp"
#include "jit/block.hpp"

namespace doppel::jit {

class BlockCache;

class BlockStore {
 public:
  // Both outlive it. Throws std::bad_alloc.
  BlockStore(core::GuestRam& ram, core::Counters& counters);
  BlockStore(const BlockStore&) = delete;
  BlockStore& operator=(const BlockStore&) = delete;

  // A processor's. At most 64, all of them before any runs.
  void join(BlockCache& cache);
  void leave(BlockCache& cache);

  // The valid block there, or nullptr.
  [[nodiscard]] Block* find(u64 physical, u32 code_bits) const;
  // Drops the blocks that overlap [pa, pa + size) after a store there, and tells who watches. A running block
  // stops before its next instruction. `self`: of the calling thread's processor; nullptr: it has none.
  void invalidate(u64 pa, u64 size, const BlockCache* self);
  // Whether a store there may change a block; the answer is by granules of 64 bytes. RAM; within a page.
  [[nodiscard]] bool holds_code(u64 pa, u64 size) const {
    return granules_at(pa) & granules_within(pa, size);
  }
  // Changes when Block pointers handed out earlier are dangling.
  [[nodiscard]] u64 generation() const { return generation_; }

  // --- With `mutex` held.
  mutable std::mutex mutex;
  // Whether stores to the page have been seen since it was added by add_code_page().
  [[nodiscard]] bool is_code_page(u64 page) const { return code_pages_.contains(page); }
  // The caller has claimed it in GuestRam, and no processor can store there unseen. False: it was one
  // already, and the claim is one too many.
  bool add_code_page(u64 page) { return code_pages_.try_emplace(page).second; }
  // What is about to be read of a code page, to its end or all of it, counts as code,
  void expect_code(u64 page, u64 begin = 0);
  // until it is known what blocks were made from.
  void publish(u64 page);
  // Whether there may be no room for another block.
  [[nodiscard]] bool full() const;
  // Room for another block and its instructions (kMaxBlockInsns and a sentinel).
  [[nodiscard]] Block& add();
  void drop_last() { blocks_.pop_back(); }
  // The block that was added last is complete.
  void enter(Block& block);
  void forget(Block& block);
  // The translation of a block was made from [depends_begin, depends_end) of its page.
  void note_dependence(const Block& block);
  // A backend of `cache` wants to know of the first store to the code page.
  void watch(u64 page, const BlockCache& cache);
  // Drops all blocks. No other processor runs guest code.
  void clear();
  // 64 MiB of instructions that translations refer to, too; else 16 MiB, as decoding again costs little
  // beside interpreting.
  void expect_translations() { most_insns_ = kMostInsns; }

 private:
  // Blocks with bytes on a page, and which of its 64 granules they were made from; all if it is watched.
  struct CodePage {
    boost::container::small_vector<Block*, 4> blocks;
    u64 granules = 0;
    u64 watchers = 0;  // bit n: caches_[n]
  };
  [[nodiscard]] static u64 granules_of(const Block& block, u64 page);
  [[nodiscard]] static u64 granules_within(u64 pa, u64 size);  // of the page of `pa`
  [[nodiscard]] u64 granules_at(u64 pa) const;                 // that were published
  void publish(u64 page, u64 granules);
  void invalidate_page(u64 page, u64 pa, u64 size, const BlockCache* self);
  void tell_watchers(u64 page, u64 watchers, const BlockCache* self);
  void release_if_unused(u64 page);

  static constexpr u32 kBuckets = 1u << 17;
  static constexpr u32 kMostInsns = 1u << 20, kStep = 4096;  // instructions that are made at a time

  core::GuestRam& ram_;
  std::vector<BlockCache*> caches_;  // by number; nullptr: has left
  std::vector<core::Published<Block*>, core::PopulatedAllocator<core::Published<Block*>>> buckets_;
  std::unordered_map<u64, CodePage> code_pages_;  // those that are claimed in GuestRam
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<u64[], Free> published_;  // granules of each page of RAM, atomic
  core::GrowingArray<Insn> insns_{kMostInsns, kStep};
  u32 most_insns_ = kMostInsns / 4;  // that may be used,
  u32 used_insns_ = 0;               // and are
  core::LargeDeque<Block> blocks_;
  core::Published<u64> generation_ = 1;
  core::Counters::Counter& invalidated_;
};

}  // namespace doppel::jit
