#include "mmu/tlb_array.hpp"

namespace doppel::mmu {

using core::kPageMask;

void TlbArray::SlotList::add(u32 index) {
  if (listed_.test(index)) return;
  listed_.set(index);
  slots_[count_++] = static_cast<u16>(index);
}

void TlbArray::SlotList::clear() {
  if (count_ == 0) return;
  count_ = 0;
  listed_.reset();
}

void TlbArray::fill(const PageInfo& page, const TlbEntry& tags) {
  const u32 index = index_of(page.la);
  PageInfo& info = info_[index];
  if (info.shift > 12) --large_[bucket_of_large(info.la, info.shift)];
  set_tags(index, {});  // counted by the old physical page
  info = page;
  if (page.shift > 12) ++large_[bucket_of_large(page.la, page.shift)];
  set_tags(index, tags);
  (page.global ? global_ : local_).add(index);
}

void TlbArray::set_tags(u32 index, const TlbEntry& tags) {
  u16& count = write_tags_[bucket_of_page(info_[index].physical)];
  if (entries_[index].write != kTlbInvalid) --count;
  if (tags.write != kTlbInvalid) ++count;
  entries_[index] = tags;
}

void TlbArray::reset(u32 index) {
  PageInfo& info = info_[index];
  if (info.la == kTlbInvalid) return;
  if (info.shift > 12) --large_[bucket_of_large(info.la, info.shift)];
  set_tags(index, {});
  info = {};
}

template <class F>
void TlbArray::for_each_filled(F&& f) {
  for (const u32 index : global_.slots()) f(index);
  for (const u32 index : local_.slots()) f(index);
}

void TlbArray::flush_all() {
  for_each_filled([this](u32 index) { reset(index); });
  global_.clear();
  local_.clear();
}

void TlbArray::flush_non_global() {
  for (const u32 index : local_.slots())
    if (!info_[index].global) reset(index);
  local_.clear();
}

void TlbArray::flush_page(u64 la) {
  drop(la);
  if (large_[bucket_of_large(la, 22)] == 0 && large_[bucket_of_large(la, 30)] == 0) return;
  for_each_filled([this, la](u32 index) {
    const PageInfo& info = info_[index];
    if (info.la != kTlbInvalid && (info.la ^ la) >> info.shift == 0) reset(index);
  });
}

void TlbArray::drop(u64 la) {
  if (holds(la)) reset(index_of(la));
}

void TlbArray::drop_write_tags(u64 physical) {
  if (write_tags_[bucket_of_page(physical)] == 0) return;
  for_each_filled([this, physical](u32 index) {
    if (info_[index].physical != (physical & kPageMask)) return;
    TlbEntry tags = entries_[index];
    tags.write = kTlbInvalid;
    set_tags(index, tags);
  });
}

}  // namespace doppel::mmu
