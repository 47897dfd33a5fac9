#include "devices/virtio/packed_virtqueue.hpp"

#include <cstddef>
#include <utility>

namespace doppel::devices {

namespace {

constexpr u16 kAvailable = 1u << 7, kUsed = 1u << 15;
constexpr u64 kFlagsField = 14, kIdField = 12, kLengthField = 8;

struct PackedDescriptor {
  u64 address;
  u32 length;
  u16 id;
  u16 flags;
};
static_assert(offsetof(PackedDescriptor, flags) == kFlagsField && offsetof(PackedDescriptor, id) == kIdField);

// Event suppression structures (2.8.10): a place in the ring, then what is wanted.
constexpr u64 kEventPlace = 0, kEventFlags = 2, kEventSize = 4;
constexpr u16 kEnable = 0, kDisable = 1, kAtPlace = 2, kPlaceWrap = 1u << 15;

}  // namespace

std::unique_ptr<Virtqueue> PackedVirtqueue::make(core::GuestRam& ram, const Areas& areas, u16 size,
                                                 Features features) {
  const auto ring = ram.span(areas.descriptors, size * sizeof(Descriptor));
  const auto driver = ram.span(areas.driver, kEventSize), device = ram.span(areas.device, kEventSize);
  if (ring.empty() || driver.empty() || device.empty()) return nullptr;
  if (areas.descriptors % 16 || areas.driver % 4 || areas.device % 4) return nullptr;
  std::unique_ptr<PackedVirtqueue> queue(new PackedVirtqueue(ram, size, features));
  queue->ring_ = {ring, areas.descriptors};
  queue->driver_event_ = {driver, areas.driver};
  RingArea(device, areas.device).store(kEventFlags, kEnable);
  return queue;
}

// 2.8.6: a descriptor is the device's when its available bit is the driver's wrap counter and its used bit is
// not. The flags of the first one in a chain are written last and so are read first.
Virtqueue::Taken PackedVirtqueue::take_next(VirtioChain& chain) {
  const auto flags_at = [this](u16 index) { return ring_.load(index * sizeof(Descriptor) + kFlagsField); };
  const u16 first = flags_at(available_.index);
  if (bool(first & kAvailable) != available_.wrap || bool(first & kUsed) == available_.wrap)
    return Taken::kNone;
  Position at = available_;
  for (chain.descriptors = 1;; ++chain.descriptors, at.advance(1, size_)) {
    if (chain.descriptors > size_) {
      (void)fail();
      return Taken::kBroken;
    }
    const auto raw = ring_.get<PackedDescriptor>(at.index * sizeof(PackedDescriptor));
    const Descriptor descriptor{raw.address, raw.length, raw.flags, raw.id};
    chain.id = raw.id;  // that of the last one counts
    const bool alone = chain.descriptors == 1 && !(descriptor.flags & kNext);
    const bool good = !(descriptor.flags & kIndirect) ? add(chain, descriptor)
                      : alone                         ? walk_indirect(chain, descriptor)
                                                      : fail();
    if (!good) return Taken::kBroken;
    if (!(descriptor.flags & kNext)) break;
  }
  available_.advance(chain.descriptors, size_);
  return Taken::kChain;
}

void PackedVirtqueue::untake(const VirtioChain& chain) {
  available_.go_back(chain.descriptors, size_);
}

// In an indirect table the order is that of the table; only the write flag counts (2.8.19).
bool PackedVirtqueue::walk_indirect(VirtioChain& chain, const Descriptor& descriptor) {
  const auto table = indirect_table(descriptor);
  if (table.empty()) return false;
  for (u64 offset = 0; offset < table.size(); offset += sizeof(Descriptor)) {
    PackedDescriptor inner;
    std::memcpy(&inner, table.data() + offset, sizeof inner);
    if (!add(chain, {inner.address, inner.length, inner.flags, inner.id})) return false;
  }
  return true;
}

void PackedVirtqueue::put_used(const VirtioChain& chain, u32 written) {
  const u64 place = used_.index * sizeof(Descriptor);
  ring_.put(place + kLengthField, written);
  ring_.put(place + kIdField, chain.id);
  const u16 turn = used_.wrap ? kAvailable | kUsed : 0;
  ring_.store(place + kFlagsField, static_cast<u16>(turn | (written ? kDeviceWrites : 0)));
  ram_.written_in_place(ring_.address() + place, sizeof(Descriptor));
  used_.advance(chain.descriptors, size_);
  given_back_ += chain.descriptors;
}

bool PackedVirtqueue::interrupt_wanted() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const u32 passed = std::exchange(given_back_, 0);
  if (passed == 0) return false;
  const u16 wanted = driver_event_.load(kEventFlags);
  if (wanted == kEnable || wanted == kDisable) return wanted == kEnable;
  if (wanted != kAtPlace || !features_.event_index) return true;
  if (passed >= size_) return true;
  // Has the place the driver named been passed? Counted back from where the device is now.
  const u16 event = driver_event_.load(kEventPlace);
  const u32 place = event & ~u32{kPlaceWrap};
  const u32 turn = bool(event & kPlaceWrap) == used_.wrap ? 0 : size_;
  const i64 behind = i64{used_.index} + turn - place;
  return behind > 0 && behind <= i64{passed};
}

void PackedVirtqueue::snapshot(core::SnapshotIo& io) {
  Virtqueue::snapshot(io);
  for (Position* position : {&available_, &used_}) {
    io.field("index", position->index);
    io.field("wrap", position->wrap);
    if (position->index >= size_) throw core::SnapshotError("snapshot: a virtqueue index is out of range");
  }
  io.field("given_back", given_back_);
}

}  // namespace doppel::devices
