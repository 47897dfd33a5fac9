#include "jit/block_cache.hpp"

#include <algorithm>
#include <array>
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

const Insn* stale_block(Vcpu& cpu, const Insn* insn) {
  cpu.state.rip = cpu.state.gpr[core::kGprRip] + insn->offset;
  cpu.last = insn - 1;
  return nullptr;
}

BlockCache::BlockCache(Vcpu& cpu, std::shared_ptr<BlockStore> store)
    : cpu_(cpu),
      store_(store ? std::move(store) : std::make_shared<BlockStore>(cpu.mmu.memory().ram(), cpu.counters)),
      decoder16_(cpu.model, 16, cpu.counters),
      decoder32_(cpu.model, 32, cpu.counters),
      decoder64_(cpu.model, 64, cpu.counters),
      decoded_(cpu.counters["interp.instructions decoded"]) {
  store_->join(*this);
}

void BlockCache::share(Coherence& coherence, Coherence::Member& self) {
  coherence_ = &coherence;
  self_ = &self;
}

void BlockCache::set_backend(Backend* backend) {
  backend_ = backend;
  if (backend) store_->expect_translations();
}

const Decoder& BlockCache::decoder(u32 code_bits) const {
  switch (code_bits) {
    case 64:
      return decoder64_;
    case 32:
      return decoder32_;
    default:
      return decoder16_;
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Finding.

Block* BlockCache::find(u64 linear, u32 max_insns) {
  mmu::Mmu::Code code;
  if (!cpu_.mmu.fetch(linear, code)) return nullptr;
  // Code outside plain memory never runs from a cache.
  if (max_insns == 1 || code.host == nullptr) return find_single(linear, code);
  if (Block* block = store_->find(code.physical, cpu_.state.code_bits)) {
    if (block->second_page == kNoPage || second_page_matches(*block, linear)) return block;
    if (cpu_.state.fault.pending) return nullptr;
    const auto guard = lock();
    if (block->valid) store_->forget(*block);
  }
  return make(linear, code, max_insns);
}

u64 BlockCache::next_page(u64 linear) const {
  const u64 next = (linear | ~kPageMask) + 1;
  return cpu_.state.code_bits == 64 ? next : next & 0xffff'ffff;
}

bool BlockCache::second_page_matches(const Block& block, u64 linear) {
  mmu::Mmu::Code code;
  return cpu_.mmu.fetch(next_page(linear), code) && (code.physical & kPageMask) == block.second_page;
}

bool BlockCache::look_for_second_page(u64 linear, Source& source) {
  if (!cpu_.mmu.fetch(next_page(linear), source.second)) return false;
  source.second_page = source.second.physical & kPageMask;
  return true;
}

Block* BlockCache::find_single(u64 linear, const mmu::Mmu::Code& code) {
  const u32 left_in_page = static_cast<u32>(kPageSize - code.physical % kPageSize);
  std::array<u8, 16> mmio_bytes;
  Source source{code.physical, {code.host, code.host ? left_in_page : 0}};
  if (code.host == nullptr) {
    // Byte by byte, as the bus would.
    const u32 length = std::min(left_in_page, kLongestInsn);
    for (u32 i = 0; i < length; ++i)
      mmio_bytes[i] = static_cast<u8>(cpu_.mmu.memory().read(code.physical + i, 1));
    source.bytes = std::span(mmio_bytes).first(length);
  }
  single_ = Block{};
  single_.insns = single_insns_;
  while (!build(source, 1, single_))
    if (!look_for_second_page(linear, source)) return nullptr;
  return &single_;
}

void BlockCache::protect(u64 page) {
  {
    const auto guard = lock();
    if (store_->is_code_page(page)) return;
  }
  // Not with the lock held, which others may wait for, who are waited for here.
  core::GuestRam& ram = cpu_.mmu.memory().ram();
  ram.claim_code_page(page);
  cpu_.mmu.protect_code_page(page);
  if (coherence_) coherence_->protect(*self_, page);
  const auto guard = lock();
  if (!store_->add_code_page(page)) ram.release_code_page(page);
}

Block* BlockCache::make(u64 linear, const mmu::Mmu::Code& code, u32 max_insns) {
  const u64 page = code.physical & kPageMask;
  const u64 offset = code.physical % kPageSize;
  Source source{code.physical, {code.host, kPageSize - offset}};
  while (true) {
    protect(page);
    if (source.second_page != kNoPage) protect(source.second_page);
    {
      const auto guard = lock();
      // What nothing is made from may be unprotected again, and another processor may have been faster.
      if (!store_->is_code_page(page)) continue;
      if (source.second_page != kNoPage && !store_->is_code_page(source.second_page)) continue;
      if (Block* block = store_->find(code.physical, cpu_.state.code_bits)) {
        if (block->second_page == source.second_page || block->second_page == kNoPage) return block;
        store_->forget(*block);
        continue;
      }
      if (store_->full()) break;
      Block& block = store_->add();
      // Before the bytes are read.
      store_->expect_code(page, offset);
      if (source.second_page != kNoPage) store_->expect_code(source.second_page);
      if (build(source, max_insns, block)) {
        store_->enter(block);
        return &block;
      }
      store_->drop_last();
      store_->publish(page);
    }
    if (!look_for_second_page(linear, source)) return nullptr;
    if (source.second.host == nullptr) return find_single(linear, code);
  }
  ask_for_room();
  return find_single(linear, code);
}

// ---------------------------------------------------------------------------------------------------------------
// Decoding.

bool BlockCache::build(const Source& source, u32 max_insns, Block& block) {
  block.physical = source.physical;
  block.code_bits = cpu_.state.code_bits;
  bool last = false;
  u32 used = 0;
  while (!last && used < std::min(max_insns, longest_)) {
    Insn& insn = block.insns[used];
    const auto rest = source.bytes.subspan(block.bytes);
    const auto result = rest.empty()
                            ? Decoder::Result::kTruncated
                            : decoder(block.code_bits).decode(rest, static_cast<u16>(block.bytes), insn);
    if (result == Decoder::Result::kTruncated) {
      // An instruction that continues on the next page stands in a block of its own.
      if (used != 0) break;
      if (!decode_across_pages(source, insn)) return false;
      block.second_page = source.second_page;
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
  block.depends_begin = static_cast<u16>(source.physical % kPageSize);
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
  return true;
}

bool BlockCache::decode_across_pages(const Source& source, Insn& insn) const {
  if (source.second_page == kNoPage) return false;
  std::array<u8, 16> bytes{};
  const u32 head = std::min(static_cast<u32>(source.bytes.size()), kLongestInsn);
  std::copy_n(source.bytes.begin(), head, bytes.begin());
  const mmu::Mmu::Code& next = source.second;
  for (u32 i = head; i < kLongestInsn; ++i)
    bytes[i] = next.host ? next.host[i - head]
                         : static_cast<u8>(cpu_.mmu.memory().read(next.physical + i - head, 1));
  const auto result = decoder(cpu_.state.code_bits).decode(std::span(bytes).first(kLongestInsn), 0, insn);
  DOPPEL_CHECK(result != Decoder::Result::kTruncated, "15 bytes hold any instruction");
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Watching, and making room.

void BlockCache::watch(u64 page) {
  while (true) {
    protect(page);
    const auto guard = lock();
    if (!store_->is_code_page(page)) continue;
    store_->watch(page, *this);
    return;
  }
}

void BlockCache::watched_page_written(u64 page, bool here) {
  if (!here && self_)
    coherence_->tell_page_written(*self_, page);
  else if (backend_)
    backend_->watched_page_written(page);
}

void BlockCache::ask_for_room() {
  full_generation_ = store_->generation();
  cpu_.state.notify(core::kPendingRoom);
}

void BlockCache::make_room() {
  begin_exclusive();
  // Unless another processor did it meanwhile.
  if (full_generation_ == store_->generation()) clear();
  end_exclusive();
}

void BlockCache::clear() {
  const auto guard = lock();
  store_->clear();
}

}  // namespace doppel::jit
