// One soft-TLB array with what the slow paths remember beside each entry. mmu::Mmu keeps one for each
// privilege and address space and decides what goes in; this only stores, finds and drops, and does so
// without touching slots that were never filled. It knows neither page tables nor memory.
#pragma once

#include <array>
#include <bitset>
#include <span>

#include "core/guest_ram.hpp"
#include "mmu/tlb.hpp"

namespace doppel::mmu {

// A cached translation of one 4 KiB piece of a page, and what this array's privilege may do with it.
struct PageInfo {
  u64 la = kTlbInvalid;
  u64 physical = 0;  // A20 applied
  u8 shift = 12;     // log2 of the size of the page it is a piece of
  bool global = false, readable = false, writable = false, executable = false, dirty = false;
};

class TlbArray {
 public:
  [[nodiscard]] TlbEntry* entries() { return entries_.data(); }
  [[nodiscard]] const TlbEntry& entry(u64 la) const { return entries_[index_of(la)]; }
  // The slot for `la`; it holds la's page only if its `la` says so.
  [[nodiscard]] const PageInfo& slot(u64 la) const { return info_[index_of(la)]; }
  [[nodiscard]] bool holds(u64 la) const { return slot(la).la == (la & core::kPageMask); }

  // Caches `page`, in place of what its slot held.
  void fill(const PageInfo& page, const TlbEntry& tags);
  // Replaces the tags of a page that the array holds.
  void retag(u64 la, const TlbEntry& tags) { set_tags(index_of(la), tags); }

  void flush_all();
  void flush_non_global();
  // Drops the piece that holds `la` and all other pieces of the same large page.
  void flush_page(u64 la);
  // Drops only the piece that holds `la`.
  void drop(u64 la);
  // Clears the write tags of all pieces at that physical page.
  void drop_write_tags(u64 physical);

 private:
  // Slots filled since the last flush, each once. May name slots that were dropped or refilled since.
  class SlotList {
   public:
    void add(u32 index);
    void clear();
    [[nodiscard]] std::span<const u16> slots() const { return {slots_.data(), count_}; }

   private:
    std::array<u16, kTlbEntries> slots_;
    u32 count_ = 0;
    std::bitset<kTlbEntries> listed_;
  };

  static u32 index_of(u64 la) { return la / core::kPageSize % kTlbEntries; }
  static u32 bucket_of_page(u64 physical) { return physical / core::kPageSize % kPageBuckets; }
  // 1 GiB pages are counted by their own address, smaller large pages by the 4 MiB around them; those of the
  // upper half, where kernels map much with large pages, apart from the others.
  static u32 bucket_of_large(u64 la, u32 shift) {
    constexpr u32 kHalf = kLargeBuckets / 2;
    return static_cast<u32>((shift == 30 ? la >> 30 : la >> 22) % kHalf + (la >> 63) * kHalf);
  }
  void set_tags(u32 index, const TlbEntry& tags);
  void reset(u32 index);
  template <class F>
  void for_each_filled(F&& f);

  static constexpr u32 kPageBuckets = 4 * kTlbEntries, kLargeBuckets = 1024;

  std::array<TlbEntry, kTlbEntries> entries_{};
  std::array<PageInfo, kTlbEntries> info_{};
  SlotList global_, local_;
  // How many slots hold a write tag for a physical page, or a piece of a large page, of that bucket: zero
  // spares the scan, which is the usual case.
  std::array<u16, kPageBuckets> write_tags_{};
  std::array<u16, kLargeBuckets> large_{};
};

}  // namespace doppel::mmu
