#include "devices/virtio/virtio_9p.hpp"

#include <algorithm>
#include <vector>

namespace doppel::devices {

namespace {

constexpr u64 kMountTag = 1;           // feature
constexpr std::size_t kSmallest = 11;  // room for an answer: that of an error

}  // namespace

u64 Virtio9p::features() const {
  return kMountTag;
}

// A length of two bytes, then the tag.
u8 Virtio9p::read_config(u32 offset) {
  if (offset < 2) return static_cast<u8>(tag_.size() >> offset * 8);
  return offset - 2 < tag_.size() ? static_cast<u8>(tag_[offset - 2]) : u8{0};
}

// A driver has no more in flight than its queue holds; of one that has, the rest waits.
void Virtio9p::notified(u16 index) {
  Virtqueue* queue = transport_->queue(index);
  while (queue && in_flight_ < kQueueSize) {
    VirtioChain chain;
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kNone) return;
    const u64 room = chain.writable_size();
    if (taken == Virtqueue::Taken::kBroken || room < kSmallest) return transport_->needs_reset();
    std::vector<u8> message(std::min<u64>(chain.readable_size(), SharedFolder::kLargestMessage));
    message.resize(chain.read_front(message));
    ++in_flight_;
    folder_.submit(std::move(message), room,
                   [this, chain = std::move(chain)](std::span<const u8> answer) { finish(chain, answer); });
  }
}

void Virtio9p::finish(const VirtioChain& chain, std::span<const u8> answer) {
  const bool held = in_flight_-- == kQueueSize;
  Virtqueue* queue = transport_->queue(0);
  if (!queue) return;
  queue->give_back(chain, static_cast<u32>(chain.write_front(answer)));
  transport_->announce(0);
  if (held) notified(0);
}

void Virtio9p::reset() {
  folder_.reset();
  in_flight_ = 0;
}

void Virtio9p::snapshot(core::SnapshotIo& io) {
  if (io.loading()) reset();
}

}  // namespace doppel::devices
