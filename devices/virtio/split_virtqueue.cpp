#include "devices/virtio/split_virtqueue.hpp"

namespace doppel::devices {

namespace {

// Both rings: flags, index, entries, and after them the other side's event index.
constexpr u64 kFlags = 0, kIndex = 2, kEntries = 4;
constexpr u64 kAvailableEntry = 2, kUsedEntry = 8, kEvent = 2;
constexpr u16 kNoInterrupt = 1, kNoNotify = 1;

struct UsedEntry {
  u32 id;
  u32 written;
};

}  // namespace

std::unique_ptr<Virtqueue> SplitVirtqueue::make(core::GuestRam& ram, const Areas& areas, u16 size,
                                                Features features) {
  const auto descriptors = ram.span(areas.descriptors, size * sizeof(Descriptor));
  const auto available = ram.span(areas.driver, kEntries + size * kAvailableEntry + kEvent);
  const auto used = ram.span(areas.device, kEntries + size * kUsedEntry + kEvent);
  if (descriptors.empty() || available.empty() || used.empty()) return nullptr;
  if (areas.descriptors % 16 || areas.driver % 2 || areas.device % 4) return nullptr;
  std::unique_ptr<SplitVirtqueue> queue(new SplitVirtqueue(ram, size, features));
  queue->descriptors_ = {descriptors, areas.descriptors};
  queue->available_ = {available, areas.driver};
  queue->used_ = {used, areas.device};
  return queue;
}

Virtqueue::Taken SplitVirtqueue::take_next(VirtioChain& chain) {
  const u16 waiting = static_cast<u16>(available_.load(kIndex) - next_available_);
  if (waiting == 0) return Taken::kNone;
  if (waiting > size_) {
    (void)fail();
    return Taken::kBroken;
  }
  chain.id = available_.load(kEntries + next_available_ % size_ * kAvailableEntry);
  ++next_available_;
  if (features_.event_index) {
    used_.store(kEntries + size_ * kUsedEntry, next_available_);  // notify me of the one after this
    std::atomic_thread_fence(std::memory_order_seq_cst);          // before the look for that one
  }
  return walk(chain, ram_.span(descriptors_.address(), descriptors_.size()), chain.id, false)
             ? Taken::kChain
             : Taken::kBroken;
}

void SplitVirtqueue::untake(const VirtioChain&) {
  --next_available_;
  if (features_.event_index) used_.store(kEntries + size_ * kUsedEntry, next_available_);
}

// A chain that visits more descriptors than there are has a loop.
bool SplitVirtqueue::walk(VirtioChain& chain, std::span<const u8> table, u16 index, bool indirect) {
  const u64 count = table.size() / sizeof(Descriptor);
  for (u64 visited = 0; visited < count; ++visited) {
    if (index >= count) return fail();
    Descriptor descriptor;
    std::memcpy(&descriptor, table.data() + index * sizeof descriptor, sizeof descriptor);
    if (descriptor.flags & kIndirect) {
      if (indirect) return fail();
      const auto inner = indirect_table(descriptor);
      return !inner.empty() && walk(chain, inner, 0, true);
    }
    if (!add(chain, descriptor)) return false;
    if (!(descriptor.flags & kNext)) return true;
    index = descriptor.next;
  }
  return fail();
}

void SplitVirtqueue::put_used(const VirtioChain& chain, u32 written) {
  const u64 place = kEntries + next_used_ % size_ * kUsedEntry;
  used_.put(place, UsedEntry{chain.id, written});
  ++next_used_;
  used_.store(kIndex, next_used_);
  ram_.written_in_place(used_.address(), used_.size());
}

// 2.7.7.2: with event indices, an interrupt for the entry the driver named; without, unless it said no.
bool SplitVirtqueue::interrupt_wanted() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const u16 before = announced_;
  announced_ = next_used_;
  if (before == next_used_) return false;
  if (!features_.event_index) return !(available_.load(kFlags) & kNoInterrupt);
  const u16 event = available_.load(kEntries + size_ * kAvailableEntry);
  return static_cast<u16>(next_used_ - event - 1) < static_cast<u16>(next_used_ - before);
}

void SplitVirtqueue::snapshot(core::SnapshotIo& io) {
  Virtqueue::snapshot(io);
  io.field("next_available", next_available_);
  io.field("next_used", next_used_);
  io.field("announced", announced_);
}

}  // namespace doppel::devices
