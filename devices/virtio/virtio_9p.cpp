#include "devices/virtio/virtio_9p.hpp"

#include <algorithm>
#include <cstring>
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

void Virtio9p::notified(u16 index) {
  Virtqueue* queue = transport_->queue(index);
  if (!queue) return;
  VirtioChain chain;
  std::vector<u8> message;
  for (u32 count = 0; count < 2u * queue_size(); ++count) {
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kNone) break;
    const u64 room = chain.writable_size();
    if (taken == Virtqueue::Taken::kBroken || room < kSmallest) return transport_->needs_reset();
    message.resize(std::min<u64>(chain.readable_size(), SharedFolder::kLargestMessage));
    message.resize(chain.read_front(message));
    const std::vector<u8> answer = folder_.answer(message, room);
    std::span<const u8> from = answer;
    for (const auto& piece : chain.writable) {
      const std::size_t size = std::min(piece.memory.size(), from.size());
      std::memcpy(piece.memory.data(), from.data(), size);
      from = from.subspan(size);
    }
    queue->give_back(chain, static_cast<u32>(answer.size()));
  }
  transport_->announce(index);
}

void Virtio9p::snapshot(core::SnapshotIo& io) {
  if (io.loading()) folder_.reset();
}

}  // namespace doppel::devices
