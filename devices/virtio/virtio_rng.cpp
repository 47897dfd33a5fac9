#include "devices/virtio/virtio_rng.hpp"

#include <sys/random.h>

#include <algorithm>

namespace doppel::devices {

namespace {

// Of one request: a driver that wants more asks again, and the vCPU is not held up.
constexpr u64 kMost = 4096;

}  // namespace

void VirtioRng::notified(u16 index) {
  transport_->serve(index, [](const VirtioChain& chain) {
    u64 written = 0;
    for (const auto& piece : chain.writable) {
      const u64 size = std::min<u64>(piece.memory.size(), kMost - written);
      const ssize_t got = ::getrandom(piece.memory.data(), size, 0);
      if (got <= 0) break;
      written += static_cast<u64>(got);
      if (static_cast<u64>(got) < piece.memory.size()) break;
    }
    return static_cast<u32>(written);
  });
}

}  // namespace doppel::devices
