#include "devices/hpet.hpp"

#include <doctest.h>

#include <map>
#include <utility>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

constexpr u64 kConfig = 0x10, kStatus = 0x20, kCounter = 0xf0;
constexpr u64 config(u32 timer) {
  return 0x100 + timer * 0x20;
}
constexpr u64 comparator(u32 timer) {
  return config(timer) + 8;
}
constexpr u64 route(u64 pin) {
  return pin << 9;
}
constexpr u64 kLevel = 2, kInterrupt = 4, kPeriodic = 8, kSetValue = 0x40, k32Bit = 0x100;

// 100 MHz: a tick is 10 ns. Pins 2, 10 and 11 may be used.
struct Fixture {
  Fixture() { chip.reset(); }

  u64 get(u64 offset) { return chip.read(offset, 8); }
  void set(u64 offset, u64 value) { chip.write(offset, 8, value); }
  // Rising edges seen on a line since the last call: pins of the I/O APIC, or 100 + IRQ.
  int edges(u8 line) { return std::exchange(rises[line], 0); }
  void wire(u8 line, bool high) {
    if (high && !level[line]) ++rises[line];
    level[line] = high;
  }

  ManualClock clock;
  Counters counters;
  std::map<u8, int> rises;
  std::map<u8, bool> level;
  bool replaced = false;
  Hpet chip{clock,
            counters,
            100'000'000,
            0xc04,
            {[this](u8 pin, bool high) { wire(pin, high); },
             [this](u8 irq, bool high) { wire(static_cast<u8>(100 + irq), high); },
             [this](bool on) { replaced = on; }}};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "HPET registers after reset, by dword and qword") {
  CHECK(get(0) == 0x0098'9680'8086'a201);
  CHECK(chip.read(4, 4) == 10'000'000);
  CHECK((chip.read(1, 1) & 0xff) == 0xa2);
  CHECK(get(kConfig) == 0);
  CHECK(get(kCounter) == 0);
  CHECK(get(config(0)) == 0x0000'0c04'0000'0030);
  CHECK(get(config(2)) == 0x0000'0c04'0000'0020);
  CHECK(get(comparator(1)) == ~u64{0});
  CHECK(get(config(3)) == ~u64{0});
  set(0, 0);
  CHECK(get(0) == 0x0098'9680'8086'a201);
}

TEST_CASE_FIXTURE(Fixture, "the main counter runs only while enabled and is written in halves") {
  clock.advance(1000);
  CHECK(get(kCounter) == 0);
  chip.write(kCounter + 4, 4, 0x1234);
  set(kConfig, 1);
  clock.advance(1005);
  CHECK(get(kCounter) == 0x1234'0000'0064);
  CHECK(chip.read(kCounter + 4, 4) == 0x1234);
  set(kConfig, 0);
  clock.advance(1000);
  CHECK(get(kCounter) == 0x1234'0000'0064);
}

TEST_CASE_FIXTURE(Fixture, "one-shot: one edge at the match") {
  set(config(1), kInterrupt | route(10));
  set(comparator(1), 1000);
  set(kConfig, 1);
  clock.advance(9'999);
  CHECK(edges(10) == 0);
  clock.advance(1);
  CHECK(edges(10) == 1);
  clock.advance(10'000'000);
  CHECK(edges(10) == 0);
  CHECK(get(kStatus) == 0);
  set(comparator(1), 500);  // passed: not before the counter wraps
  clock.advance(1'000'000'000);
  CHECK(edges(10) == 0);
}

TEST_CASE_FIXTURE(Fixture, "one-shot in 32-bit mode matches again at every wrap") {
  set(config(1), kInterrupt | k32Bit | route(10));
  set(comparator(1), 0xffff'ffff'0000'0010);
  CHECK(get(comparator(1)) == 0x10);
  set(kConfig, 1);
  clock.advance(160);
  CHECK(edges(10) == 1);
  clock.advance(u64{10} << 32);
  CHECK(edges(10) == 1);
}

TEST_CASE_FIXTURE(Fixture, "periodic: the first write with VAL_SET is the comparator, the next the period") {
  set(config(0), kInterrupt | kPeriodic | kSetValue | route(2));
  set(comparator(0), 50'000);
  CHECK((get(config(0)) & kSetValue) == 0);
  set(comparator(0), 10'000);
  CHECK(get(comparator(0)) == 50'000);
  set(kConfig, 1);
  clock.advance(499'999);
  CHECK(edges(2) == 0);
  clock.advance(1);
  CHECK(edges(2) == 1);
  CHECK(get(comparator(0)) == 60'000);
  clock.advance(1'000'000);
  CHECK(edges(2) == 10);
}

TEST_CASE_FIXTURE(Fixture, "only the first timer is periodic, and only possible routes stick") {
  set(config(1), kPeriodic | kSetValue | route(10));
  CHECK((get(config(1)) & 0xffff'ffff) == (0x20 | route(10)));
  set(config(1), route(9));
  CHECK((get(config(1)) & 0xffff'ffff) == (0x20 | route(10)));
}

TEST_CASE_FIXTURE(Fixture, "periods of nanoseconds are merged") {
  set(config(0), kInterrupt | kPeriodic | kSetValue | route(2));
  set(comparator(0), 1);
  set(kConfig, 1);
  clock.advance(1'000'000);
  const int count = edges(2);
  CHECK(count > 10);
  CHECK(count <= 21);
}

TEST_CASE_FIXTURE(Fixture, "level: the status bit holds the pin until it is cleared") {
  set(config(2), kInterrupt | kLevel | route(11));
  set(comparator(2), 100);
  set(kConfig, 1);
  clock.advance(1000);
  CHECK(level[11]);
  CHECK(get(kStatus) == 4);
  set(kStatus, 3);
  CHECK(level[11]);
  set(kStatus, 4);
  CHECK_FALSE(level[11]);
  CHECK(get(kStatus) == 0);

  set(comparator(2), 1'000);
  set(config(2), kLevel | route(11));  // not enabled: status only
  clock.advance(10'000);
  CHECK(get(kStatus) == 4);
  CHECK_FALSE(level[11]);
  set(config(2), kInterrupt | kLevel | route(11));
  CHECK(level[11]);
  set(kConfig, 0);
  CHECK_FALSE(level[11]);
}

TEST_CASE_FIXTURE(Fixture, "legacy replacement sends the first two timers to IRQ 0 and 8") {
  set(kConfig, 3);
  CHECK(replaced);
  for (u32 timer = 0; timer < 3; ++timer) {
    set(config(timer), kInterrupt | route(10));
    set(comparator(timer), get(kCounter) + 100);
  }
  clock.advance(1000);
  CHECK(edges(100) == 1);
  CHECK(edges(108) == 1);
  CHECK(edges(10) == 1);
  chip.reset();
  CHECK_FALSE(replaced);
}

TEST_CASE("an HPET snapshot carries armed timers on") {
  Fixture f, g;
  f.set(config(0), kInterrupt | kPeriodic | kSetValue | route(2));
  f.set(comparator(0), 10'000);
  f.set(config(2), kInterrupt | kLevel | route(11));
  f.set(comparator(2), 1);
  f.set(kConfig, 3);
  f.clock.advance(250'000);
  g.clock.advance(250'000);
  devices::testing::copy_by_snapshot(f.chip, g.chip);
  CHECK(g.replaced);
  CHECK(g.get(kCounter) == f.get(kCounter));
  CHECK(g.get(kStatus) == 4);
  g.clock.advance(50'000);
  CHECK(g.edges(100) == 1);
  SnapshotIo again;
  f.clock.advance(50'000);
  SnapshotIo first;
  f.chip.snapshot(first);
  g.chip.snapshot(again);
  CHECK(again.stream() == first.stream());
}

TEST_CASE_FIXTURE(Fixture, "random accesses to the HPET neither crash nor hang") {
  devices::testing::Hostile random(3);
  for (int i = 0; i < 100'000; ++i) {
    random.access(chip, 0x400);
    random.access(chip, 0x170);
    if (random.below(4) == 0) set(kConfig, random.below(4));
    clock.advance(random.below(100'000));
  }
  CHECK(counters.values().size() < 10);
}

TEST_CASE_FIXTURE(Fixture, "damaged HPET snapshots are survived") {
  set(config(0), kInterrupt | kPeriodic | kSetValue | route(2));
  set(comparator(0), 10'000);
  set(kConfig, 1);
  devices::testing::hostile_snapshots(chip, 0x160, clock);
  devices::testing::flipped_snapshots(chip, 0x160, clock);
}
