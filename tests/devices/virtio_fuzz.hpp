// A hostile driver for any virtio device: random registers and damaged snapshots, and requests in random
// queues and layouts, mostly shaped like what a driver does, so that they get past the first check.
#pragma once

#include "devices/virtio/virtio_pci.hpp"
#include "tests/devices/fuzz_guest.hpp"

namespace doppel::devices::testing {

class VirtioFuzz : public FuzzGuest {
 public:
  void step() override {
    VirtioPci& function = *function_;
    switch (rarely(1) ? random.below(12) : kRequest) {
      case 0:
        if (random.below(32) == 0) start();
        break;
      case 1:
        if (random.below(8) == 0)
          mmio.write(kBar + random.below(0x4000), 1u << random.below(4), random.value());
        break;
      case 2:
        (void)mmio.read(kBar + random.below(0x4000), 1u << random.below(4));
        break;
      case 3:
        mmio.write(kMsix + random.below(0x1000), 1u << random.below(4), random.value());
        break;
      case 4:
        if (random.below(4) == 0)
          function.config_write(static_cast<u8>(0x40 + random.below(64) * 4 % 0x80), 4,
                                static_cast<u32>(random.value()));
        break;
      case 5:
        if (random.below(64) == 0) snapshot_round(function);
        break;
      case 6:
        mmio.write(kBar + 0x2000 + random.below(64), 1u << random.below(4), random.value());
        break;
      default: {
        const u16 queue = static_cast<u16>(random.below(queues_));
        request(queue);
        mmio.write(kBar + 0x3000 + (random.below(16) ? queue : random.below(2 * queues_)) * 4, 2, queue);
      }
    }
    if ((mmio.read(kBar + 0x14, 1) & 0x44) != 4 && random.below(4)) start();  // not in operation
    happen();
  }

 protected:
  // `pieces`: what a request has at least, most of the time.
  VirtioFuzz(u32 seed, u16 queues, u32 pieces = 1)
      : FuzzGuest(seed), queues_(queues), pieces_(pieces), calm_(seed % 2 == 0) {}
  void attach(VirtioPci& function) {
    function_ = &function;
    function.config_write(0x14, 4, kMsix);
    function.config_write(0x20, 4, kBar);
    function.config_write(4, 2, 6);
    function.update_bars();
  }
  // The descriptor at `at` is number `position` of `count` in its request: the device's own sense for it.
  virtual void shape(u16 queue, u64 at, u32 position, u32 count) = 0;
  // Whether the device has more than the end of a request in this queue to write to.
  virtual bool writes(u16) { return random.below(2); }
  // Something on the host's side.
  virtual void happen() {}

  // Once in so many times; much more rarely in every other guest, which gets further.
  bool rarely(u64 times) { return random.below(calm_ ? times * 32 : times) == 0; }

  // For shape(): the memory of a descriptor.
  void set(u64 at, u64 memory, u32 size) {
    store<u64>(at, memory);
    store<u32>(at + 8, size);
  }

 private:
  static constexpr u64 kBar = 0xe000'0000, kMsix = 0xe001'0000;
  static constexpr u64 kRequest = 11;  // what step() does
  struct Ring {
    u16 available = 0;
    bool wrap = true;
  };
  static u64 base(u16 queue) { return queue * u64{0x8000}; }

  void start() {
    const auto common = [this](u64 at, u32 width, u64 value) { mmio.write(kBar + at, width, value); };
    function_->config_write(0x14, 4, kMsix);
    function_->config_write(0x20, 4, kBar);
    function_->config_write(4, 2, 6);
    common(0x14, 1, 0);
    common(0x14, 1, 3);
    packed_ = random.below(2);
    u64 offered = 0;
    for (u32 half = 0; half < 2; ++half) {
      common(0x00, 4, half);
      offered |= mmio.read(kBar + 0x04, 4) << half * 32;
    }
    offered &= ~(u64{1} << 34);
    u64 features = (u64{1} << 32) | (packed_ ? u64{1} << 34 : 0) |
                   (random.below(2) ? offered : offered & random.value());
    if (random.below(64) == 0) features ^= u64{1} << random.below(64);
    for (u32 half = 0; half < 2; ++half) {
      common(0x08, 4, half);
      common(0x0c, 4, features >> half * 32 & 0xffff'ffff);
    }
    common(0x14, 1, 11);
    size_ = packed_ ? static_cast<u16>(1 + random.below(16)) : static_cast<u16>(1u << random.below(5));
    rings_.assign(queues_, {});
    for (u16 queue = 0; queue < queues_; ++queue) {
      for (const u64 area : {0x1000, 0x4000, 0x6000})
        for (u64 at = 0; at < 0x200; at += 8) store<u64>(base(queue) + area + at, 0);
      common(0x16, 2, queue);
      common(0x18, 2, size_);
      common(0x20, 8, random.below(64) ? base(queue) + 0x1000 : address());
      common(0x28, 8, random.below(64) ? base(queue) + 0x4000 : address());
      common(0x30, 8, random.below(64) ? base(queue) + 0x6000 : address());
      common(0x1c, 2, 1);
    }
    messages(random.below(2));
    common(0x14, 1, 15);
  }
  // MSI-X on or off, and which vector each queue and the configuration have.
  void messages(bool on) {
    u8 at = static_cast<u8>(function_->config_read(0x34, 1));
    while (at != 0 && function_->config_read(at, 1) != 0x11)
      at = static_cast<u8>(function_->config_read(static_cast<u8>(at + 1), 1));
    if (at == 0) return;
    function_->config_write(static_cast<u8>(at + 2), 2,
                            on ? 0x8000 | static_cast<u32>(random.below(8) == 0) << 14 : 0);
    mmio.write(kBar + 0x10, 2, random.below(4));
    for (u16 queue = 0; queue < queues_; ++queue) {
      mmio.write(kBar + 0x16, 2, queue);
      mmio.write(kBar + 0x1a, 2, random.below(8) ? random.below(queues_ + 1u) : random.value());
      mmio.write(kMsix + queue * 16u + 12, 4, random.below(4) == 0);  // masked
    }
  }
  void descriptor(u64 at, u16 flags, u16 link) {
    const bool wild = rarely(256);
    store<u64>(at, wild ? address() : random.below(kRam - 8192));
    store<u32>(at + 8, wild ? length() : static_cast<u32>(1 + random.below(random.below(2) ? 4096 : 64)));
    store<u16>(at + 12, packed_ ? link : flags);
    store<u16>(at + 14, packed_ ? flags : link);
  }
  void request(u16 queue) {
    if (rings_.empty()) return;
    Ring& ring = rings_[queue];
    const u32 count = static_cast<u32>((rarely(256) ? 1 : pieces_) + random.below(4));
    const bool written = writes(queue);
    u16 index = packed_ ? ring.available : static_cast<u16>(random.below(size_));
    const u16 head = index;
    for (u32 i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      u16 flags = static_cast<u16>((last ? 2 : 1) | (written && i != 0 ? 2 : 0));
      if (count == 1) flags = written ? 2 : 0;
      if (rarely(256)) flags ^= static_cast<u16>(1u << random.below(3));
      if (packed_) flags = static_cast<u16>(flags | (ring.wrap ? 0x80 : 0x8000));
      const u16 next = static_cast<u16>((index + 1) % size_);
      const u64 at = base(queue) + 0x1000 + index * 16u;
      descriptor(at, flags, rarely(256) ? static_cast<u16>(random.value()) : next);
      if (!rarely(16)) shape(queue, at, i, count);
      if (flags & 4)
        for (u32 n = 0; n < 4; ++n)
          descriptor(base(queue) + 0x7000 + n * 16, static_cast<u16>(random.below(8)),
                     static_cast<u16>(n + 1));
      if ((flags & 4) && random.below(4)) set(at, base(queue) + 0x7000, 64);
      index = next;
      if (packed_ && next == 0) ring.wrap = !ring.wrap;
    }
    if (packed_) {
      ring.available = index;
    } else {
      store<u16>(base(queue) + 0x4004 + ring.available % size_ * 2,
                 rarely(512) ? static_cast<u16>(random.value()) : head);
      ring.available = static_cast<u16>(ring.available + (rarely(512) ? random.value() : 1));
      store<u16>(base(queue) + 0x4002, ring.available);
    }
  }

  u16 queues_;
  u32 pieces_;
  bool calm_;
  VirtioPci* function_ = nullptr;
  bool packed_ = false;
  u16 size_ = 8;
  std::vector<Ring> rings_;
};

}  // namespace doppel::devices::testing
