#include "jit/block_store.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "core/log.hpp"
#include "jit/block_cache.hpp"

namespace doppel::jit {

using core::kPageMask;
using core::kPageSize;

namespace {

// The granules of a page that [begin, end) touches: a bit each.
u64 granules_between(u64 begin, u64 end) {
  constexpr u64 kGranule = kPageSize / 64;
  if (begin >= end) return 0;
  const u64 first = begin / kGranule, last = (end - 1) / kGranule;
  return (~u64{0} >> (63 - last)) & (~u64{0} << first);
}

u32 bucket_of(u64 physical, u32 code_bits) {
  return static_cast<u32>((physical ^ (physical >> 14) ^ (code_bits << 3)) * 0x9e3779b97f4a7c15ull >> 47);
}

}  // namespace

BlockStore::BlockStore(core::GuestRam& ram, core::Counters& counters)
    : ram_(ram),
      buckets_(kBuckets),
      // Zeroes that the host makes where they are touched.
      published_(static_cast<u64*>(std::calloc(ram.size() / kPageSize, sizeof(u64)))),
      invalidated_(counters["interp.blocks invalidated"]) {
  if (!published_) throw std::bad_alloc();
}

void BlockStore::join(BlockCache& cache) {
  const std::lock_guard guard(mutex);
  DOPPEL_CHECK(caches_.size() < 64, "{} processors share their code", caches_.size() + 1);
  caches_.push_back(&cache);
}

void BlockStore::leave(BlockCache& cache) {
  const std::lock_guard guard(mutex);
  std::ranges::replace(caches_, &cache, static_cast<BlockCache*>(nullptr));
}

// ---------------------------------------------------------------------------------------------------------------
// Granules.

u64 BlockStore::granules_within(u64 pa, u64 size) {
  const u64 begin = pa % kPageSize;
  return granules_between(begin, std::min(begin + size, kPageSize));
}

u64 BlockStore::granules_of(const Block& block, u64 page) {
  u64 granules = 0;
  if (page == (block.physical & kPageMask))
    granules = granules_between(block.depends_begin, block.depends_end);
  if (page == block.second_page) granules |= granules_between(0, block.second_depends_end);
  return granules;
}

u64 BlockStore::granules_at(u64 pa) const {
  const u64 offset = ram_.offset_of(pa);
  return offset == ~u64{0} ? 0 : std::atomic_ref(published_[offset / kPageSize]).load();
}

// Bytes that are read from now on change only seen: the counterpart of the fence in GuestRam::report_store.
void BlockStore::publish(u64 page, u64 granules) {
  const u64 offset = ram_.offset_of(page);
  if (offset != ~u64{0}) std::atomic_ref(published_[offset / kPageSize]).store(granules);
}

void BlockStore::publish(u64 page) {
  const auto it = code_pages_.find(page);
  publish(page, it == code_pages_.end() ? 0 : it->second.granules);
}

void BlockStore::expect_code(u64 page, u64 begin) {
  publish(page, code_pages_.at(page).granules | granules_between(begin, kPageSize));
}

void BlockStore::note_dependence(const Block& block) {
  const u64 page = block.physical & kPageMask;
  code_pages_.at(page).granules |= granules_of(block, page);
  publish(page);
}

// ---------------------------------------------------------------------------------------------------------------
// Blocks.

Block* BlockStore::find(u64 physical, u32 code_bits) const {
  for (Block* block = buckets_[bucket_of(physical, code_bits)]; block; block = block->next_in_bucket)
    if (block->physical == physical && block->code_bits == code_bits && block->valid) return block;
  return nullptr;
}

bool BlockStore::full() const {
  return used_insns_ + kMaxBlockInsns + 1 > most_insns_;
}

Block& BlockStore::add() {
  if (used_insns_ + kMaxBlockInsns + 1 > insns_.size()) insns_.grow();
  Block& block = blocks_.emplace_back();
  block.insns = insns_.data() + used_insns_;
  return block;
}

void BlockStore::enter(Block& block) {
  used_insns_ += block.count + 1;
  block.kept = true;
  core::Published<Block*>& bucket = buckets_[bucket_of(block.physical, block.code_bits)];
  block.next_in_bucket = bucket.get();
  bucket = &block;
  for (const u64 page : {block.physical & kPageMask, block.second_page}) {
    if (page == kNoPage) continue;
    CodePage& code = code_pages_.at(page);
    code.blocks.push_back(&block);
    code.granules |= granules_of(block, page);
    publish(page);
  }
}

void BlockStore::forget(Block& block) {
  ++invalidated_;
  block.valid = false;
  for (BlockCache* cache : caches_)
    if (cache && cache->backend()) cache->backend()->forget(block);
  for (u32 i = 0; i < block.count; ++i) block.insns[i].run = stale_block;
  // Whoever is looking at it meanwhile still finds the way on.
  core::Published<Block*>* link = &buckets_[bucket_of(block.physical, block.code_bits)];
  while (*link != &block) link = &link->get()->next_in_bucket;
  *link = block.next_in_bucket.get();
  for (const u64 page : {block.physical & kPageMask, block.second_page}) {
    const auto it = code_pages_.find(page);
    if (it == code_pages_.end()) continue;
    CodePage& code = it->second;
    code.blocks.erase(std::remove(code.blocks.begin(), code.blocks.end(), &block), code.blocks.end());
    release_if_unused(page);
  }
}

void BlockStore::release_if_unused(u64 page) {
  const auto it = code_pages_.find(page);
  if (it == code_pages_.end() || it->second.watchers != 0) return;
  CodePage& code = it->second;
  code.granules = 0;
  for (const Block* block : code.blocks) code.granules |= granules_of(*block, page);
  const bool unused = code.blocks.empty();
  if (unused) code_pages_.erase(it);
  publish(page);
  if (unused) ram_.release_code_page(page);
}

void BlockStore::clear() {
  for (BlockCache* cache : caches_)
    if (cache && cache->backend()) cache->backend()->clear();
  for (const auto& pages = std::exchange(code_pages_, {}); const auto& [page, code] : pages) {
    publish(page, 0);
    ram_.release_code_page(page);
  }
  std::fill(buckets_.begin(), buckets_.end(), nullptr);
  blocks_.clear();
  used_insns_ = 0;
  generation_ = generation_ + 1;
}

// ---------------------------------------------------------------------------------------------------------------
// Stores.

void BlockStore::watch(u64 page, const BlockCache& cache) {
  const auto number = std::ranges::find(caches_, &cache) - caches_.begin();
  CodePage& code = code_pages_.at(page);
  code.watchers |= u64{1} << number;
  code.granules = ~u64{0};
  publish(page);
}

void BlockStore::tell_watchers(u64 page, u64 watchers, const BlockCache* self) {
  for (std::size_t i = 0; i < caches_.size(); ++i)
    if ((watchers >> i & 1) && caches_[i]) caches_[i]->watched_page_written(page, caches_[i] == self);
}

void BlockStore::invalidate(u64 pa, u64 size, const BlockCache* self) {
  for (u64 page = pa & kPageMask; page < pa + size; page += kPageSize) {
    const u64 from = std::max(page, pa);
    const u64 bytes = pa + size - from;
    // Data beside code, of which there is much, takes no lock. (No granule at all: perhaps no block came of
    // it.)
    const u64 granules = granules_at(page);
    if (granules != 0 && !(granules & granules_within(from, bytes))) continue;
    const std::lock_guard guard(mutex);
    invalidate_page(page, from, bytes, self);
  }
}

void BlockStore::invalidate_page(u64 page, u64 pa, u64 size, const BlockCache* self) {
  const auto it = code_pages_.find(page);
  if (it == code_pages_.end()) return;
  CodePage& code = it->second;
  if (code.blocks.empty() && code.watchers == 0) return release_if_unused(page);
  if (!(code.granules & granules_within(pa, size))) return;
  const u64 watchers = std::exchange(code.watchers, 0);
  const auto blocks = code.blocks;  // a copy: forget() edits the list
  for (Block* block : blocks) {
    const u64 first_page = block->physical & kPageMask;
    const bool first = first_page + block->depends_begin < pa + size && pa < first_page + block->depends_end;
    const bool second = block->second_page != kNoPage && block->second_page < pa + size &&
                        pa < block->second_page + block->second_depends_end;
    if (first || second) forget(*block);
  }
  if (watchers == 0) return;
  tell_watchers(page, watchers, self);
  release_if_unused(page);
}

}  // namespace doppel::jit
