#include "jit/block_cache.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

#include "core/log.hpp"
#include "jit/interp/semantics.hpp"

namespace doppel::jit {

using core::kPageMask;
using core::kPageSize;

const Insn* end_of_block(Vcpu& cpu, const Insn* insn) {
  cpu.state.rip = interp::rip_after(cpu, *insn);
  cpu.last = insn - 1;
  return nullptr;
}

namespace {

// Takes the place of every handler of a block whose bytes changed: leaves before the instruction.
const Insn* stale(Vcpu& cpu, const Insn* insn) {
  cpu.state.rip = cpu.state.gpr[core::kGprRip] + insn->offset;
  cpu.last = insn - 1;
  return nullptr;
}

// The granules of a page that [begin, end) touches: a bit each.
u64 granules_between(u64 begin, u64 end) {
  constexpr u64 kGranule = kPageSize / 64;
  if (begin >= end) return 0;
  const u64 first = begin / kGranule, last = (end - 1) / kGranule;
  return (~u64{0} >> (63 - last)) & (~u64{0} << first);
}

// Those of `page` that [pa, pa + size) touches.
u64 granules_within(u64 page, u64 pa, u64 size) {
  return granules_between(std::max(pa, page) - page, std::min(pa + size - page, kPageSize));
}

u32 bucket_of(u64 physical, u32 code_bits) {
  return static_cast<u32>((physical ^ (physical >> 14) ^ (code_bits << 3)) * 0x9e3779b97f4a7c15ull >> 47);
}

}  // namespace

BlockCache::BlockCache(Vcpu& cpu)
    : cpu_(cpu),
      decoder16_(cpu.model, 16, cpu.counters),
      decoder32_(cpu.model, 32, cpu.counters),
      decoder64_(cpu.model, 64, cpu.counters),
      buckets_(kBuckets),
      decoded_(cpu.counters["interp.instructions decoded"]),
      invalidated_(cpu.counters["interp.blocks invalidated"]) {}

void BlockCache::share(Coherence& coherence, Coherence::Member& self) {
  const u64 pages = cpu_.mmu.memory().ram().size() / kPageSize;
  // Zeroes that the host makes where they are touched.
  published_.reset(static_cast<u64*>(std::calloc(pages, sizeof(u64))));
  if (!published_) throw std::bad_alloc();
  coherence_ = &coherence;
  self_ = &self;
}

const Decoder& BlockCache::decoder() const {
  switch (cpu_.state.code_bits) {
    case 64:
      return decoder64_;
    case 32:
      return decoder32_;
    default:
      return decoder16_;
  }
}

Block* BlockCache::find(u64 linear, u32 max_insns) {
  mmu::Mmu::Code code;
  if (!cpu_.mmu.fetch(linear, code)) return nullptr;
  if (max_insns == 1 || code.host == nullptr) {
    single_ = Block{};
    return build(linear, code, 1, single_);
  }
  const u8 code_bits = cpu_.state.code_bits;
  for (Block* block = buckets_[bucket_of(code.physical, code_bits)]; block; block = block->next_in_bucket)
    if (block->physical == code.physical && block->code_bits == code_bits && block->valid) {
      if (block->second_page == kNoPage || second_page_matches(*block, linear)) return block;
      if (cpu_.state.fault.pending) return nullptr;
      forget(*block);
      break;
    }

  if (chunks_.size() >= max_chunks() && chunk_used_ + kMaxBlockInsns + 1 > kChunkInsns) clear();
  Block* block = build(linear, code, max_insns, blocks_.emplace_back());
  if (block == nullptr) {
    blocks_.pop_back();
    publish(code.physical & kPageMask);
    return nullptr;
  }
  enter(*block);
  return block;
}

bool BlockCache::second_page_matches(const Block& block, u64 linear) {
  mmu::Mmu::Code code;
  return cpu_.mmu.fetch((linear | ~kPageMask) + 1, code) && (code.physical & kPageMask) == block.second_page;
}

Block* BlockCache::build(u64 linear, const mmu::Mmu::Code& code, u32 max_insns, Block& block) {
  block.physical = code.physical;
  block.code_bits = cpu_.state.code_bits;
  const u32 left_in_page = static_cast<u32>(kPageSize - (code.physical & ~kPageMask));
  // Code outside plain memory (MMIO) is read byte by byte, as the bus would, and never run from a cache.
  std::array<u8, 16> mmio_bytes;
  std::span<const u8> bytes(code.host, code.host ? left_in_page : 0);
  if (code.host == nullptr) {
    const u32 length = std::min(left_in_page, kLongestInsn);
    for (u32 i = 0; i < length; ++i)
      mmio_bytes[i] = static_cast<u8>(cpu_.mmu.memory().read(code.physical + i, 1));
    bytes = std::span(mmio_bytes).first(length);
    max_insns = 1;
  } else if (max_insns > 1) {
    // Before the bytes are read: from now on a store to this page is seen.
    note_code_page(code.physical);
    publish(code.physical & kPageMask, granules_between(code.physical % kPageSize, kPageSize));
  }

  // In place; `used` instructions of it are kept.
  block.insns = max_insns == 1 ? single_insns_ : room_for_insns();
  bool last = false;
  u32 used = 0;
  while (!last && used < std::min(max_insns, longest_)) {
    Insn& insn = block.insns[used];
    const auto rest = bytes.subspan(block.bytes);
    const auto result = rest.empty() ? Decoder::Result::kTruncated
                                     : decoder().decode(rest, static_cast<u16>(block.bytes), insn);
    if (result == Decoder::Result::kTruncated) {
      // An instruction that continues on the next page stands in a block of its own.
      if (used != 0) break;
      if (!decode_across_pages(linear, rest, block, insn, last)) return nullptr;
      last = true;
    } else {
      const bool alone = alone_ && alone_(insn);
      if (alone && used != 0) break;
      last = alone || result == Decoder::Result::kLast ||
             ((insn.flags & kConditional) && used + 1 >= kUsualBlockInsns);
    }
    block.bytes += insn.length;
    ++used;
  }

  const Insn& final = block.insns[used - 1];
  // Bytes that are no instruction were looked at beyond the first.
  const u32 looked_at = final.mnemonic == ZYDIS_MNEMONIC_INVALID ? final.offset + kLongestInsn : block.bytes;
  block.depends_begin = static_cast<u16>(code.physical % kPageSize);
  const u64 end = block.depends_begin + u64{looked_at};
  block.depends_end = static_cast<u16>(std::min(end, kPageSize));
  if (block.second_page != kNoPage) block.second_depends_end = static_cast<u16>(end - kPageSize);
  decoded_ += used;
  block.count = static_cast<u16>(used);
  Insn& sentinel = block.insns[used];
  sentinel = Insn{};
  sentinel.run = end_of_block;
  sentinel.offset = static_cast<u16>(block.bytes);
  sentinel.flags = block.code_bits == 64 ? kCode64 : 0;
  if (max_insns != 1) chunk_used_ += used + 1;
  return &block;
}

bool BlockCache::decode_across_pages(u64 linear, std::span<const u8> head, Block& block, Insn& insn,
                                     bool& last) {
  std::array<u8, 16> bytes{};
  const u32 head_size = std::min(static_cast<u32>(head.size()), kLongestInsn);
  std::copy_n(head.begin(), head_size, bytes.begin());
  mmu::Mmu::Code next;
  u64 next_linear = linear + head_size;
  if (block.code_bits != 64) next_linear &= 0xffff'ffff;
  if (!cpu_.mmu.fetch(next_linear, next)) return false;
  if (next.host) {
    note_code_page(next.physical);
    publish(next.physical & kPageMask, granules_between(0, kLongestInsn));
  }
  for (u32 i = head_size; i < kLongestInsn; ++i)
    bytes[i] = next.host ? next.host[i - head_size]
                         : static_cast<u8>(cpu_.mmu.memory().read(next.physical + i - head_size, 1));
  const auto result = decoder().decode(std::span(bytes).first(kLongestInsn), 0, insn);
  DOPPEL_CHECK(result != Decoder::Result::kTruncated, "15 bytes hold any instruction");
  last = true;
  block.second_page = next.physical & kPageMask;
  return true;
}

BlockCache::CodePage& BlockCache::note_code_page(u64 physical) {
  const u64 page = physical & kPageMask;
  const auto [it, is_new] = code_pages_.try_emplace(page);
  if (!is_new) return it->second;  // and has been so since
  cpu_.mmu.memory().ram().claim_code_page(page);
  cpu_.mmu.protect_code_page(page);
  if (coherence_) coherence_->protect(*self_, page);
  return it->second;
}

void BlockCache::publish(u64 page, u64 more) {
  if (!coherence_) return;
  const auto it = code_pages_.find(page);
  const u64 offset = cpu_.mmu.memory().ram().offset_of(page);
  if (offset == ~u64{0}) return;
  // Bytes that are read from now on change only seen: the counterpart of the fence in GuestRam::report_store.
  std::atomic_ref(published_[offset / kPageSize])
      .store(it == code_pages_.end() ? 0 : it->second.granules | more);
}

void BlockCache::watch(u64 page) {
  CodePage& code = note_code_page(page);
  code.watched = true;
  code.granules = ~u64{0};
  publish(page);
}

Insn* BlockCache::room_for_insns() {
  if (chunk_used_ + kMaxBlockInsns + 1 > kChunkInsns) {
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(kChunkInsns * sizeof(Insn)));
    chunk_used_ = 0;
  }
  // Insn is an aggregate that is only ever assigned to there, so the bytes need no constructor.
  return reinterpret_cast<Insn*>(chunks_.back().get()) + chunk_used_;
}

void BlockCache::enter(Block& block) {
  Block*& bucket = buckets_[bucket_of(block.physical, block.code_bits)];
  block.next_in_bucket = bucket;
  bucket = &block;
  for (const u64 page : {block.physical & kPageMask, block.second_page}) {
    if (page == kNoPage) continue;
    CodePage& code = note_code_page(page);
    code.blocks.push_back(&block);
    code.granules |= granules_of(block, page);
    publish(page);
  }
}

u64 BlockCache::granules_of(const Block& block, u64 page) {
  u64 granules = 0;
  if (page == (block.physical & kPageMask))
    granules = granules_between(block.depends_begin, block.depends_end);
  if (page == block.second_page) granules |= granules_between(0, block.second_depends_end);
  return granules;
}

bool BlockCache::holds_code(u64 pa, u32 size) const {
  const auto it = code_pages_.find(pa & kPageMask);
  const u64 offset = pa & ~kPageMask;
  return it != code_pages_.end() && (it->second.granules & granules_between(offset, offset + size));
}

bool BlockCache::may_hold_code(u64 pa, u64 size) const {
  const auto& ram = cpu_.mmu.memory().ram();
  for (u64 page = pa & kPageMask; page < pa + size; page += kPageSize) {
    const u64 offset = ram.offset_of(page);
    if (offset == ~u64{0}) continue;
    if (std::atomic_ref(published_[offset / kPageSize]).load() & granules_within(page, pa, size)) return true;
  }
  return false;
}

void BlockCache::note_dependence(const Block& block) {
  const u64 page = block.physical & kPageMask;
  code_pages_[page].granules |= granules_of(block, page);
  publish(page);
}

void BlockCache::forget(Block& block) {
  ++invalidated_;
  block.valid = false;
  if (backend_) backend_->forget(block);
  for (u32 i = 0; i < block.count; ++i) block.insns[i].run = stale;
  Block** link = &buckets_[bucket_of(block.physical, block.code_bits)];
  while (*link != &block) link = &(*link)->next_in_bucket;
  *link = block.next_in_bucket;
  for (const u64 page : {block.physical & kPageMask, block.second_page}) {
    const auto it = code_pages_.find(page);
    if (it == code_pages_.end()) continue;
    CodePage& code = it->second;
    code.blocks.erase(std::remove(code.blocks.begin(), code.blocks.end(), &block), code.blocks.end());
    release_if_unused(page);
  }
}

void BlockCache::release_if_unused(u64 page) {
  const auto it = code_pages_.find(page);
  if (it == code_pages_.end() || it->second.watched) return;
  CodePage& code = it->second;
  code.granules = 0;
  for (const Block* block : code.blocks) code.granules |= granules_of(*block, page);
  const bool unused = code.blocks.empty();
  if (unused) code_pages_.erase(it);
  publish(page);
  if (unused) cpu_.mmu.memory().ram().release_code_page(page);
}

void BlockCache::invalidate(u64 pa, u64 size) {
  for (u64 page = pa & kPageMask; page < pa + size; page += kPageSize) {
    const auto it = code_pages_.find(page);
    if (it == code_pages_.end()) continue;
    if (it->second.blocks.empty() && !it->second.watched) {
      release_if_unused(page);  // no block came of it
      continue;
    }
    if (!(it->second.granules & granules_within(page, pa, size))) continue;
    if (it->second.watched) {
      it->second.watched = false;
      if (backend_) backend_->watched_page_written(page);
      release_if_unused(page);
      if (!code_pages_.contains(page)) continue;
    }
    const auto blocks = code_pages_.at(page).blocks;  // a copy: forget() edits the list
    for (Block* block : blocks) {
      const u64 first_page = block->physical & kPageMask;
      const bool first =
          first_page + block->depends_begin < pa + size && pa < first_page + block->depends_end;
      const bool second = block->second_page != kNoPage && block->second_page < pa + size &&
                          pa < block->second_page + block->second_depends_end;
      if (first || second) forget(*block);
    }
  }
}

void BlockCache::clear() {
  if (backend_) backend_->clear();
  for (const auto& pages = std::exchange(code_pages_, {}); const auto& [page, code] : pages) {
    publish(page);
    cpu_.mmu.memory().ram().release_code_page(page);
  }
  std::fill(buckets_.begin(), buckets_.end(), nullptr);
  blocks_.clear();
  chunks_.clear();
  chunk_used_ = kChunkInsns;
  ++generation_;
}

}  // namespace doppel::jit
