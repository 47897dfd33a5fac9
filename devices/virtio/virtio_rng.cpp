#include "devices/virtio/virtio_rng.hpp"

#include <sys/random.h>

#include <algorithm>

namespace doppel::devices {

namespace {

// Of one request: a driver that wants more asks again, and the vCPU is not held up.
constexpr u64 kMost = 4096;

}  // namespace

void VirtioRng::notified(u16 index) {
  Virtqueue* queue = transport_->queue(index);
  if (!queue) return;
  VirtioChain chain;
  for (u32 count = 0; count < 2u * queue_size(); ++count) {
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kNone) break;
    if (taken == Virtqueue::Taken::kBroken) return transport_->needs_reset();
    u64 written = 0;
    for (const auto& piece : chain.writable) {
      const u64 size = std::min<u64>(piece.memory.size(), kMost - written);
      const ssize_t got = ::getrandom(piece.memory.data(), size, 0);
      if (got <= 0) break;
      written += static_cast<u64>(got);
      if (static_cast<u64>(got) < piece.memory.size()) break;
    }
    queue->give_back(chain, static_cast<u32>(written));
  }
  transport_->announce(index);
}

}  // namespace doppel::devices
