// A hostile guest for the storage devices: random registers, rings, descriptors, tables and packets, mostly
// shaped like what a driver does, so that they get past the first check. What is looked for are crashes,
// hangs, leaks and accesses out of bounds, by the sanitizers.
//   fuzz_storage [--seconds N] [--seed N]
#define DOCTEST_CONFIG_IMPLEMENT  // what guest_mischief.hpp includes is complete here; main() is ours
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "core/bus.hpp"
#include "devices/floppy_82077.hpp"
#include "devices/ide/ata_disk.hpp"
#include "devices/ide/atapi_cdrom.hpp"
#include "devices/ide/piix3_ide.hpp"
#include "devices/virtio/virtio_blk.hpp"
#include "devices/virtio/virtio_pci.hpp"
#include "tests/devices/guest_mischief.hpp"
#include "tests/devices/memory_disk.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using devices::testing::Hostile;
using devices::testing::MemoryDisk;

namespace {

constexpr u64 kRam = u64{2} << 20;

// What the three share: RAM, buses, and random numbers and memory.
struct Guest {
  explicit Guest(u32 seed) : random(seed) {}

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

  Hostile random;
  Counters counters;
  std::recursive_mutex lock;
  Bus mmio{"mmio", counters, lock}, ports{"port", counters, lock};
  GuestRam ram{kRam};
};

void maybe_fail(Guest& guest, MemoryDisk& disk) {
  disk.fail_with = guest.random.below(16) ? 0 : EIO;
  if (guest.random.below(3) == 0) disk.work();
}

void snapshot_round(Guest& guest, const std::function<void(SnapshotIo&)>& snapshot,
                    const std::function<void()>& reset) {
  SnapshotIo saved;
  snapshot(saved);
  auto stream = saved.stream();
  for (u64 damage = guest.random.below(6); damage != 0; --damage)
    stream[guest.random.below(stream.size())] = static_cast<u8>(guest.random.below(256));
  SnapshotIo loading(stream);
  try {
    snapshot(loading);
  } catch (const SnapshotError&) {
    reset();
  }
}

class VirtioGuest : Guest {
 public:
  explicit VirtioGuest(u32 seed) : Guest(seed) {
    function_.config_write(0x14, 4, 0xe001'0000);
    function_.config_write(0x20, 4, 0xe000'0000);
    function_.config_write(4, 2, 6);
    function_.update_bars();
  }
  void step() {
    switch (random.below(12)) {
      case 0:
        start();
        break;
      case 1:
        mmio.write(0xe000'0000 + random.below(0x4000), 1u << random.below(4), random.value());
        break;
      case 2:
        (void)mmio.read(0xe000'0000 + random.below(0x4000), 1u << random.below(4));
        break;
      case 3:
        mmio.write(0xe001'0000 + random.below(0x1000), 1u << random.below(4), random.value());
        break;
      case 4:
        function_.config_write(static_cast<u8>(0x40 + random.below(64) * 4 % 0x80), 4,
                               static_cast<u32>(random.value()));
        break;
      case 5:
        if (random.below(64) == 0)
          snapshot_round(
              *this, [this](SnapshotIo& io) { function_.snapshot(io); }, [this] { function_.reset(); });
        break;
      default:
        request();
        mmio.write(0xe000'3000 + random.below(4) * 4, 2, random.below(4));
        break;
    }
    maybe_fail(*this, disk_);
  }

 private:
  void start() {
    const auto common = [this](u64 at, u32 width, u64 value) { mmio.write(0xe000'0000 + at, width, value); };
    function_.config_write(4, 2, 6);
    common(0x14, 1, 0);
    common(0x14, 1, 3);
    packed_ = random.below(2);
    const u64 features = (u64{1} << 32) | (packed_ ? u64{1} << 34 : 0) | (random.below(4) << 28) |
                         (random.below(1u << 16) & 0x7e74);
    for (u32 half = 0; half < 2; ++half) {
      common(0x08, 4, half);
      common(0x0c, 4, features >> half * 32 & 0xffff'ffff);
    }
    common(0x14, 1, 11);
    size_ = packed_ ? static_cast<u16>(1 + random.below(16)) : static_cast<u16>(1u << random.below(5));
    available_ = 0;
    wrap_ = true;
    for (u16 queue = 0; queue < 4; ++queue) {
      common(0x16, 2, queue);
      common(0x18, 2, size_);
      common(0x20, 8, random.below(32) ? 0x1000 : address());
      common(0x28, 8, random.below(32) ? 0x4000 : address());
      common(0x30, 8, random.below(32) ? 0x6000 : address());
      common(0x1c, 2, 1);
    }
    for (u64 pa = 0x1000; pa < 0x8000; pa += 8) store<u64>(pa, 0);
    common(0x14, 1, 15);
  }
  void descriptor(u64 at, u16 flags, u16 link) {
    store<u64>(at, address());
    store<u32>(at + 8, random.below(3) ? 512 * static_cast<u32>(1 + random.below(4)) : length());
    store<u16>(at + 12, packed_ ? link : flags);
    store<u16>(at + 14, packed_ ? flags : link);
  }
  // A chain that begins with a header and ends with a status, most of the time.
  void request() {
    const u64 header = 0x1'0000 + random.below(16) * 32;
    static constexpr u32 kTypes[] = {0, 1, 4, 8, 11, 13};
    store<u32>(header, random.below(16) ? kTypes[random.below(6)] : static_cast<u32>(random.value()));
    store<u64>(header + 8, random.below(8) ? random.below(2048) : random.value());
    const u32 count = static_cast<u32>(2 + random.below(4));
    const bool writes = random.below(2);
    u16 index = packed_ ? available_ : static_cast<u16>(random.below(size_));
    const u16 head = index;
    for (u32 i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      u16 flags = static_cast<u16>((last ? 2 : 1) | (writes && i != 0 ? 2 : 0));
      if (random.below(16) == 0) flags ^= static_cast<u16>(1u << random.below(3));
      if (packed_) flags = static_cast<u16>(flags | (wrap_ ? 0x80 : 0x8000));
      const u16 next = static_cast<u16>((index + 1) % size_);
      const u64 at = 0x1000 + index * 16u;
      descriptor(at, flags, random.below(32) ? next : static_cast<u16>(random.value()));
      if (i == 0) {
        store<u64>(at, header);
        store<u32>(at + 8, 16);
      } else if (last) {
        store<u32>(at + 8, 1);
      }
      if (flags & 4)
        for (u32 n = 0; n < 4; ++n)
          descriptor(0x9000 + n * 16, static_cast<u16>(random.below(8)), static_cast<u16>(n + 1));
      index = next;
      if (packed_ && next == 0) wrap_ = !wrap_;
    }
    if (packed_) {
      available_ = index;
    } else {
      store<u16>(0x4004 + available_ % size_ * 2, random.below(16) ? head : static_cast<u16>(random.value()));
      available_ = static_cast<u16>(available_ + (random.below(32) ? 1 : random.value()));
      store<u16>(0x4002, available_);
    }
  }

  MemoryDisk disk_{u64{1} << 20};
  VirtioBlk model_{disk_, "fuzz"};
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
  bool packed_ = false, wrap_ = true;
  u16 size_ = 8, available_ = 0;
};

class IdeGuest : Guest {
 public:
  explicit IdeGuest(u32 seed) : Guest(seed) {
    function_.channel(0).connect(0, std::make_unique<AtaDisk>(disk_, "fuzz"));
    function_.channel(0).connect(1, std::make_unique<AtapiCdrom>(disc_, "fuzz"));
    function_.reset();
    function_.config_write(4, 2, 7);
  }
  void step() {
    IdeChannel& channel = function_.channel(0);
    static constexpr u8 kCommands[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39,
                                       0x3d, 0x40, 0x91, 0xc4, 0xc5, 0xc6, 0xc8, 0xca,
                                       0xce, 0xe7, 0xec, 0xef, 0xb0, 0xa0, 0xa1, 0x08};
    switch (random.below(10)) {
      case 0:
        random.access(channel, 9);
        break;
      case 1:
        random.access(function_, 16);
        break;
      case 2:
        command(kCommands[random.below(sizeof kCommands)]);
        break;
      case 3:
        command(0xa0);
        packet();
        break;
      case 4:
        table();
        break;
      case 5:
        if (random.below(64) == 0)
          snapshot_round(
              *this, [this](SnapshotIo& io) { function_.snapshot(io); }, [this] { function_.reset(); });
        break;
      default:
        for (u64 n = random.below(600); n != 0; --n)
          if (random.below(2))
            (void)channel.read(0, 4);
          else
            channel.write(0, 2, random.value() & 0xffff);
    }
    maybe_fail(*this, disk_);
    maybe_fail(*this, disc_);
  }

 private:
  void command(u8 code) {
    IdeChannel& channel = function_.channel(0);
    channel.write(6, 1, (random.below(2) ? 0xe0 : 0xa0) | (code == 0xa0 || random.below(8) == 0 ? 0x10 : 0));
    for (u64 reg = 1; reg < 6; ++reg)
      for (u64 twice = random.below(2); twice < 2; ++twice)
        channel.write(reg, 1, random.below(3) ? random.below(8) : random.below(256));
    channel.write(7, 1, code);
  }
  void packet() {
    static constexpr u8 kOperations[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x43,
                                         0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbb, 0xbd, 0xbe, 0x52};
    std::array<u8, 12> bytes{};
    for (u8& byte : bytes)
      if (random.below(3) == 0) byte = static_cast<u8>(random.below(2) ? random.below(8) : random.below(256));
    if (random.below(8)) bytes[0] = kOperations[random.below(sizeof kOperations)];
    for (u32 i = 0; i < 12; i += 2) function_.channel(0).write(0, 2, bytes[i] | bytes[i + 1] << 8);
  }
  void table() {
    for (u32 i = 0; i < 8; ++i) {
      store<u32>(0x1000 + i * 8, static_cast<u32>(address()));
      store<u32>(0x1000 + i * 8 + 4, (length() & 0xffff) | (random.below(4) ? 0 : 1u << 31));
    }
    function_.write(4, 4, random.below(8) ? 0x1000 : address() & 0xffff'ffff);
    function_.write(2, 1, 6);
    function_.write(0, 1, random.below(2) ? 9 : 1);
  }

  MemoryDisk disk_{u64{1} << 20}, disc_{u64{1} << 20, true};
  Piix3Ide function_{IrqLine(), IrqLine(), ram, ports, counters};
};

class FloppyGuest : Guest {
 public:
  explicit FloppyGuest(u32 seed) : Guest(seed) { chip_.reset(); }
  void step() {
    switch (random.below(6)) {
      case 0:
        random.access(chip_, 8);
        break;
      case 1:
        chip_.write(2, 1, 0x1c);
        chip_.write(7, 1, random.below(4));
        break;
      case 2:
        if (random.below(64) == 0)
          snapshot_round(
              *this, [this](SnapshotIo& io) { chip_.snapshot(io); }, [this] { chip_.reset(); });
        break;
      default:
        command();
    }
    maybe_fail(*this, disk_);
    for (u64 n = random.below(700); n != 0 && random.below(8); --n)
      if (chip_.read(4, 1) & 0x40)
        (void)chip_.read(5, 1);
      else
        break;
  }

 private:
  void command() {
    static constexpr u8 kCommands[] = {0x03, 0x04, 0xc5, 0xe6, 0x07, 0x08, 0x4a,
                                       0x4d, 0x0f, 0x12, 0x13, 0x94, 0x16};
    chip_.write(5, 1, random.below(8) ? kCommands[random.below(sizeof kCommands)] : random.below(256));
    for (u32 i = 0; i < 8; ++i) {
      static constexpr u8 kUsual[] = {0, 0, 0, 1, 2, 18, 0x1b, 0xff};
      chip_.write(5, 1, random.below(4) ? kUsual[i] : random.below(256));
    }
  }

  MemoryDisk disk_{1440 * 1024};
  Floppy82077 chip_{disk_, IrqLine(),
                    [this](std::span<u8> bytes, DmaDirection) {
                      const std::size_t size = random.below(bytes.size() + 1);
                      return Dma8237::Moved{size, random.below(2) != 0};
                    },
                    counters};
};

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  u32 seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = static_cast<u32>(std::strtoul(argv[i + 1], nullptr, 0));
  }
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  u64 steps = 0;
  u32 first = seed;
  // A fresh set of devices every so often, so that a seed that fails is a short way to the failure.
  for (; Clock::now() < end; ++seed) {
    std::fprintf(stderr, "\rseed %u ", seed);
    VirtioGuest virtio(seed);
    IdeGuest ide(seed);
    FloppyGuest floppy(seed);
    for (int i = 0; i < 5'000; ++i, steps += 3) {
      virtio.step();
      ide.step();
      floppy.step();
    }
  }
  std::printf("\n%llu steps, seeds %u to %u: 3 passed, 0 failed\n", static_cast<unsigned long long>(steps),
              first, seed - 1);
  return 0;
}
