// What the device fuzzers share: a hostile guest with RAM, buses and random numbers, damaged snapshots, and
// the loop over seeds. What is looked for are crashes, hangs, leaks and accesses out of bounds, by the
// sanitizers.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "core/bus.hpp"
#include "core/counters.hpp"
#include "core/guest_ram.hpp"
#include "core/snapshot.hpp"
#include "tests/devices/hostile.hpp"
#include "tests/devices/memory_disk.hpp"

namespace doppel::devices::testing {

// Devices under attack. One step is an access, a request or something that happens on the host.
class FuzzGuest {
 public:
  static constexpr u64 kRam = u64{2} << 20;

  explicit FuzzGuest(u32 seed) : random(seed) {}
  FuzzGuest(const FuzzGuest&) = delete;
  FuzzGuest& operator=(const FuzzGuest&) = delete;
  virtual ~FuzzGuest() = default;
  virtual void step() = 0;

 protected:
  // Mostly small and in RAM, at times at its end or nowhere.
  u64 address() {
    switch (random.below(16)) {
      case 0:
        return random.value();
      case 1:
        return kRam - random.below(64);
      default:
        return random.below(kRam) & ~random.below(16);
    }
  }
  u32 length() { return static_cast<u32>(random.below(8) ? random.below(5000) : random.value()); }
  template <class T>
  void store(u64 pa, T value) {
    (void)ram.write(pa, {reinterpret_cast<const u8*>(&value), sizeof value});
  }
  // The disk works on, or fails for a while.
  void disturb(MemoryDisk& disk) {
    disk.fail_with = random.below(16) ? 0 : EIO;
    if (random.below(3) == 0) disk.work();
  }
  // Saves, damages and loads; what is refused is reset.
  void snapshot_round(const std::function<void(core::SnapshotIo&)>& snapshot,
                      const std::function<void()>& reset) {
    core::SnapshotIo saved;
    snapshot(saved);
    auto stream = saved.stream();
    for (u64 damage = stream.empty() ? 0 : random.below(6); damage != 0; --damage)
      stream[random.below(stream.size())] = static_cast<u8>(random.below(256));
    core::SnapshotIo loading(stream);
    try {
      snapshot(loading);
    } catch (const core::SnapshotError&) {
      reset();
    }
  }
  template <class Device>
  void snapshot_round(Device& device) {
    snapshot_round([&](core::SnapshotIo& io) { device.snapshot(io); }, [&] { device.reset(); });
  }

  Hostile random;
  core::Counters counters;
  std::recursive_mutex lock;
  core::Bus mmio{"mmio", counters, lock}, ports{"port", counters, lock};
  core::GuestRam ram{kRam};
};

struct FuzzTarget {
  const char* name;
  std::function<std::unique_ptr<FuzzGuest>(u32 seed)> make;
  u64 steps = 5'000;  // of one set of devices
};

// [--seconds N] [--seed N] [--only NAME]. A fresh set of devices every few thousand steps, so that a seed
// that fails is a short way to the failure.
inline int fuzz_main(int argc, char** argv, std::vector<FuzzTarget> targets) {
  double seconds = 5;
  u32 seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--seconds") seconds = std::atof(argv[i + 1]);
    if (option == "--seed") seed = static_cast<u32>(std::strtoul(argv[i + 1], nullptr, 0));
    if (option == "--only")
      std::erase_if(targets,
                    [&](const FuzzTarget& target) { return target.name != std::string_view(argv[i + 1]); });
  }
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  u64 steps = 0;
  const u32 first = seed;
  std::vector<double> spent(targets.size());
  for (; Clock::now() < end; ++seed)
    for (std::size_t i = 0; i < targets.size(); ++i) {
      std::fprintf(stderr, "\rseed %u %-12s", seed, targets[i].name);
      const auto start = Clock::now();
      const auto guest = targets[i].make(seed);
      for (u64 step = 0; step < targets[i].steps; ++step, ++steps) guest->step();
      spent[i] += std::chrono::duration<double>(Clock::now() - start).count();
    }
  std::printf("\n");
  for (std::size_t i = 0; i < targets.size(); ++i) std::printf("%s %.1f s\n", targets[i].name, spent[i]);
  std::printf("%llu steps, seeds %u to %u: %zu passed, 0 failed\n", static_cast<unsigned long long>(steps),
              first, seed - 1, targets.size());
  return targets.empty() || steps == 0;
}

}  // namespace doppel::devices::testing
