// Shared by device tests: a hostile guest that reads and writes random registers, snapshot round trips, and
// damaged snapshots. All of it is repeatable.
#pragma once

#include <doctest.h>

#include <functional>

#include "core/clock.hpp"
#include "core/device.hpp"
#include "tests/devices/hostile.hpp"

namespace doppel::devices::testing {

// 100,000 random accesses at offsets below `size`, a little beyond it, and far away; `between` runs after
// each (host input, time passing). Passes by not crashing; the sanitizers look on.
inline void hostile_guest(core::Device& device, u64 size, core::ManualClock& clock,
                          const std::function<void(u32 random)>& between = {}) {
  Hostile random(20'240'229);
  for (int i = 0; i < 100'000; ++i) {
    const u32 width = 1u << random.below(4);
    u64 offset = random.below(size + 1);
    if (random.below(64) == 0) offset = random.value();
    if (random.below(2))
      device.write(offset, width, random.value());
    else
      (void)device.read(offset, width);
    if (random.below(8) == 0) clock.advance(u64{1} << random.below(24));
    if (between) between(static_cast<u32>(random.value()));
  }
}

// Saves `from`, loads it into `to`, and checks that `to` saves the same again.
inline void copy_by_snapshot(core::Device& from, core::Device& to) {
  core::SnapshotIo saved;
  from.snapshot(saved);
  core::SnapshotIo loading(saved.stream());
  to.snapshot(loading);
  core::SnapshotIo again;
  to.snapshot(again);
  CHECK(saved.stream() == again.stream());
}

// Loads 2,000 damaged copies of `device`'s state; each must be refused (that machine is then
// given up, never run) or leave a device that still runs.
inline void hostile_snapshots(core::Device& device, u64 size, core::ManualClock& clock) {
  core::SnapshotIo saved;
  device.snapshot(saved);
  Hostile random(7);
  for (int i = 0; i < 2'000; ++i) {
    auto stream = saved.stream();
    for (int damage = 0; damage < 20; ++damage)
      stream[random.below(stream.size())] = static_cast<u8>(random.below(256));
    if (random.below(8) == 0) stream.resize(random.below(stream.size()));
    core::SnapshotIo loading(stream);
    try {
      device.snapshot(loading);
    } catch (const core::SnapshotError&) {
      continue;
    }
    for (u64 offset = 0; offset < size; ++offset) (void)device.read(offset, 1);
    device.write(random.below(size), 1, random.below(256));
    clock.advance(random.below(100'000));
  }
}

// The same with bytes damaged inside fields only, found by value: flips one byte at a time, which leaves most
// streams acceptable.
inline void flipped_snapshots(core::Device& device, u64 size, core::ManualClock& clock) {
  core::SnapshotIo saved;
  device.snapshot(saved);
  for (std::size_t at = 0; at < saved.stream().size(); ++at) {
    auto stream = saved.stream();
    stream[at] ^= 0xff;
    core::SnapshotIo loading(stream);
    try {
      device.snapshot(loading);
    } catch (const core::SnapshotError&) {
      continue;
    }
    for (u64 offset = 0; offset < size; ++offset) {
      (void)device.read(offset, 1);
      device.write(offset, 1, 0x5a);
    }
    clock.advance(50'000);
  }
}

}  // namespace doppel::devices::testing
