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

void Virtio9p::notified(u16 index) {
  std::vector<u8> message;
  transport_->serve(index, [&](const VirtioChain& chain) -> std::optional<u32> {
    const u64 room = chain.writable_size();
    if (room < kSmallest) return std::nullopt;
    message.resize(std::min<u64>(chain.readable_size(), SharedFolder::kLargestMessage));
    message.resize(chain.read_front(message));
    return static_cast<u32>(chain.write_front(folder_.answer(message, room)));
  });
}

void Virtio9p::snapshot(core::SnapshotIo& io) {
  if (io.loading()) folder_.reset();
}

}  // namespace doppel::devices
