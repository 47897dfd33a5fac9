// What a hostile driver does to any virtio device: descriptors that lead nowhere, loops, resets in the
// middle. The device's own test says how to make it look at a queue.
#pragma once

#include <functional>

#include "tests/devices/hostile.hpp"
#include "tests/devices/virtio_driver.hpp"

namespace doppel::devices::testing {

// `Host` is a VirtioHost that can be made without arguments.
template <class Host>
struct Mischief {
  u16 queues;        // all are enabled
  u64 features = 0;  // besides the transport's
  // Makes the device look at the queue.
  std::function<void(Host&, u16)> provoke = [](Host& host, u16 queue) { host.notify(queue); };

  void start(Host& host, u64 more = 0) const {
    REQUIRE(host.negotiate(kFeatureVersion1 | features | more));
    for (u16 queue = 0; queue < queues; ++queue) DriverQueue::enable(host, queue, 8);
    host.driver_ok();
    REQUIRE(host.status() == 15);
  }

  // Each of these makes the device say DEVICE_NEEDS_RESET, and after the reset it works.
  void descriptors(u16 queue) const {
    constexpr u64 kEnd = u64{4} << 20;  // of RAM
    struct {
      const char* what;
      std::vector<Segment> segments;
    } const rows[] = {
        {"not RAM", {{0x9000'0000, 16, true}}},
        {"not RAM, readable", {{0x9000'0000, 16, false}}},
        {"a device's registers", {{kVirtioBar, 16, true}}},
        {"across the end of RAM", {{kEnd - 8, 16, true}}},
        {"just past it", {{kEnd, 1, false}}},
        {"wraps", {{~u64{0} - 7, 16, true}}},
        {"empty", {{0x10'0000, 0, true}}},
        {"empty, readable", {{0x10'0000, 0, false}}},
        {"huge", {{0, 0xffff'ffff, true}}},
        {"huge, readable", {{0, 0xffff'ffff, false}}},
        {"writable before readable", {{0x10'0000, 16, true}, {0x10'1000, 16, false}}},
        {"good, then not RAM", {{0x10'0000, 16, false}, {kEnd, 16, true}}},
    };
    for (const bool packed : {false, true})
      for (const bool indirect : {false, true})
        for (const auto& row : rows) {
          CAPTURE(packed);
          CAPTURE(indirect);
          CAPTURE(row.what);
          Host host;
          start(host, kFeatureIndirect | (packed ? kFeaturePacked : 0));
          DriverQueue(host, packed, 8, indirect, queue).add(row.segments);
          provoke(host, queue);
          needs_reset(host);
        }
  }
  // Loops, heads and counts that are none, in the split layout; an indirect table in an indirect table.
  void rings(u16 queue) const {
    const u64 base = queue * u64{0x1'0000};
    const auto broken = [&](u64 more, auto prepare) {
      Host host;
      start(host, more);
      prepare(host);
      provoke(host, queue);
      needs_reset(host);
    };
    const auto descriptor = [base](Host& host, u64 at, u64 address, u32 length, u16 flags, u16 next) {
      host.store(base + at, address);
      host.store(base + at + 8, length);
      host.store(base + at + 12, flags);
      host.store(base + at + 14, next);
    };
    broken(0, [&](Host& host) {
      for (u16 i = 0; i < 8; ++i)
        descriptor(host, 0x1000 + i * 16u, 0x10'0000, 16, 1, static_cast<u16>((i + 1) % 8));
      host.template store<u16>(base + 0x4002, 1);
    });
    broken(0, [&](Host& host) {
      descriptor(host, 0x1000, 0x10'0000, 16, 3, 0);  // its own successor
      host.template store<u16>(base + 0x4002, 1);
    });
    broken(0, [&](Host& host) {
      host.template store<u16>(base + 0x4004, 8);
      host.template store<u16>(base + 0x4002, 1);
    });
    broken(0, [&](Host& host) { host.template store<u16>(base + 0x4002, 9); });
    broken(kFeatureIndirect, [&](Host& host) {
      descriptor(host, 0x1000, base + 0x8000, 16, 4, 0);
      descriptor(host, 0x8000, base + 0x8000, 16, 4, 0);
      host.template store<u16>(base + 0x4002, 1);
    });
    broken(0, [&](Host& host) {  // indirect without the feature
      descriptor(host, 0x1000, base + 0x8000, 16, 4, 0);
      descriptor(host, 0x8000, 0x10'0000, 16, 2, 0);
      host.template store<u16>(base + 0x4002, 1);
    });
  }
  // Requests of noise on every queue with resets of every kind in between; then it works as on the first day.
  void noise(u32 seed, const std::function<void(Host&, Hostile&)>& between = {}) const {
    Host host;
    Hostile random(seed);
    for (int round = 0; round < 300; ++round) {
      const bool packed = random.below(2), indirect = random.below(2);
      start(host, (packed ? kFeaturePacked : 0) | (indirect ? kFeatureIndirect : 0));
      for (u64 pa = 0; pa < u64{queues} * 0x1'0000; pa += 8)
        if ((pa & 0xffff) < 0x8000) host.template store<u64>(pa, 0);
      std::vector<DriverQueue> rings;
      for (u16 queue = 0; queue < queues; ++queue) rings.emplace_back(host, packed, u16{8}, indirect, queue);
      for (u64 steps = random.below(20); steps != 0; --steps) {
        const u16 queue = static_cast<u16>(random.below(queues));
        std::vector<Segment> segments;
        const u64 count = 1 + random.below(3);
        for (u64 i = 0; i < count; ++i) {
          const bool writes = i != 0 ? segments[i - 1].device_writes || random.below(2) : random.below(2);
          const u64 at = 0x10'0000 + random.below(0x2'0000);
          for (u64 n = 0; n < 4; ++n) host.store(at + n * 4, static_cast<u32>(random.value()));
          segments.push_back({at, static_cast<u32>(1 + random.below(random.below(4) ? 64 : 9000)), writes});
        }
        rings[queue].add(segments);
        provoke(host, queue);
        if (between) between(host, random);
        switch (random.below(24)) {
          case 0:
            host.set(kCommonAt + 0x14, 1, 0);
            break;
          case 1:
            host.function.reset();
            host.place(host.function);
            break;
          case 2:
            host.function.config_write(4, 2, random.below(2) ? 2 : 6);  // bus master off, or on again
            break;
          default:
            break;
        }
      }
      host.function.config_write(4, 2, 6);
    }
    start(host);
  }

 private:
  void needs_reset(Host& host) const {
    CHECK((host.status() & 0x40) != 0);
    CHECK(host.intx);
    CHECK((host.get(kIsrAt, 1) & 2) != 0);
    for (u16 queue = 0; queue < queues; ++queue) host.notify(queue);
    for (u64 pa = 0; pa < u64{queues} * 0x1'0000; pa += 8)
      if ((pa & 0xffff) >= 0x4000 && (pa & 0xffff) < 0x8000) host.template store<u64>(pa, 0);
    start(host);
  }
};

}  // namespace doppel::devices::testing
