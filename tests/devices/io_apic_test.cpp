#include "devices/io_apic.hpp"

#include <doctest.h>

#include "devices/local_apic.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

// An I/O APIC and one local APIC with ID 0.
struct Fixture {
  Fixture() { set_spurious(0x1ff); }

  u32 get(u8 index) {
    chip.write(0, 4, index);
    return static_cast<u32>(chip.read(0x10, 4));
  }
  void set(u8 index, u32 value) {
    chip.write(0, 4, index);
    chip.write(0x10, 4, value);
  }
  void route(u8 pin, u32 low, u32 high = 0) {
    set(static_cast<u8>(0x11 + pin * 2), high);
    set(static_cast<u8>(0x10 + pin * 2), low);
  }
  u32 entry(u8 pin) { return get(static_cast<u8>(0x10 + pin * 2)); }
  void set_spurious(u32 value) { apic.write(0xf0, 4, value); }
  void end_of_interrupt() { apic.write(0xb0, 4, 0); }
  int take() {
    const auto vector = apic.acknowledge();
    return vector ? *vector : -1;
  }

  ManualClock clock;
  Counters counters;
  std::recursive_mutex lock;
  ApicBus bus{lock};
  u32 told = 0;
  LocalApic apic{{.timer_hz = 1'000'000'000, .tsc_hz = 1'000'000'000},
                 clock,
                 counters,
                 bus,
                 {[this](Pending p) { told |= p; }, [] { return u8{0x21}; }}};
  IoApic chip{counters, bus};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "I/O APIC registers") {
  CHECK(get(0) == 0);
  CHECK(get(1) == 0x0017'0020);
  set(0, 0xff00'0000);
  CHECK(get(0) == 0x0f00'0000);
  CHECK(get(2) == 0x0f00'0000);
  set(1, ~0u);
  CHECK(get(1) == 0x0017'0020);
  for (u8 pin = 0; pin < 24; ++pin) CHECK(entry(pin) == 0x1'0000);
  route(23, 0xffff'ffff, 0xffff'ffff);
  CHECK(entry(23) == 0x1'afff);  // status bits are read-only, the rest reserved
  CHECK(get(0x3f) == 0xff00'0000);
  CHECK(get(0x40) == ~0u);
  CHECK(chip.read(0x20, 4) == ~u64{0});
  CHECK(counters.values()["io_apic.unknown"] == 3);
}

TEST_CASE_FIXTURE(Fixture, "an edge is one interrupt, lost while masked") {
  route(4, 0x1'0044);
  chip.set_irq(4, true);
  route(4, 0x44);
  CHECK(take() == -1);
  chip.set_irq(4, false);
  chip.set_irq(4, true);
  CHECK(take() == 0x44);
  CHECK((entry(4) & 0x4000) == 0);
  end_of_interrupt();
  chip.set_irq(4, true);
  CHECK(take() == -1);
  chip.set_irq(24, true);
  chip.set_irq(255, true);
}

TEST_CASE_FIXTURE(Fixture, "a level comes back after EOI until it is gone; both polarities mean asserted") {
  for (const u32 polarity : {0u, 0x2000u}) {
    route(9, 0x1'8049 | polarity);
    chip.set_irq(9, true);
    CHECK(take() == -1);
    route(9, 0x8049 | polarity);
    CHECK(entry(9) == (0xc049 | polarity));
    CHECK(take() == 0x49);
    CHECK(take() == -1);
    end_of_interrupt();
    CHECK(take() == 0x49);
    chip.set_irq(9, false);
    CHECK((entry(9) & 0x4000) != 0);
    end_of_interrupt();
    CHECK((entry(9) & 0x4000) == 0);
    CHECK(take() == -1);
  }
}

TEST_CASE_FIXTURE(Fixture, "remote IRR is cleared by the EOI register and by switching to edge") {
  route(9, 0x8049);
  chip.set_irq(9, true);
  chip.set_irq(9, false);
  chip.write(0x40, 4, 0x48);
  CHECK((entry(9) & 0x4000) != 0);
  chip.write(0x40, 4, 0x49);
  CHECK((entry(9) & 0x4000) == 0);
  chip.set_irq(9, true);
  CHECK((entry(9) & 0x4000) != 0);
  route(9, 0x49);
  CHECK((entry(9) & 0x4000) == 0);
}

TEST_CASE_FIXTURE(Fixture, "what no local APIC takes stays pending until one does") {
  set_spurious(0xff);
  route(4, 0x44);
  route(9, 0x8049);
  chip.set_irq(4, true);
  chip.set_irq(9, true);
  CHECK(entry(4) == 0x1044);  // delivery status: send pending
  CHECK(entry(9) == 0x8049);
  set_spurious(0x1ff);
  CHECK(entry(4) == 0x44);
  CHECK(entry(9) == 0xc049);
  CHECK(take() == 0x49);
  end_of_interrupt();
  chip.set_irq(9, false);
  chip.write(0x40, 4, 0x49);
  CHECK(take() == 0x49);
  end_of_interrupt();
  CHECK(take() == 0x44);
}

TEST_CASE_FIXTURE(Fixture, "delivery modes other than fixed") {
  struct {
    u32 mode, told;
  } const rows[] = {{2, kPendingSmi}, {4, kPendingNmi}, {5, kPendingInit}};
  for (const auto& [mode, expected] : rows) {
    set_spurious(0x1ff);
    told = 0;
    route(1, mode << 8);
    chip.set_irq(1, true);
    chip.set_irq(1, false);
    CHECK(told == expected);
  }
  set_spurious(0x1ff);
  route(1, 7 << 8);
  chip.set_irq(1, true);
  CHECK(take() == 0x21);
  CHECK(take() == -1);
}

TEST_CASE_FIXTURE(Fixture, "destinations") {
  apic.write(0xd0, 4, 0x0200'0000);
  struct {
    u32 low, high;
    bool arrives;
  } const rows[] = {{0x50, 0, true},
                    {0x50, 0x0100'0000, false},
                    {0x50, 0xff00'0000, true},
                    {0x850, 0x0300'0000, true},
                    {0x850, 0x0100'0000, false},
                    {0x950, 0x0200'0000, true}};
  for (const auto& [low, high, arrives] : rows) {
    route(6, low, high);
    chip.set_irq(6, true);
    chip.set_irq(6, false);
    CHECK_MESSAGE(take() == (arrives ? 0x50 : -1), low, " ", high);
    end_of_interrupt();
    chip.reset();
  }
}

TEST_CASE("an I/O APIC snapshot") {
  Fixture f, g;
  f.set(0, 0x0300'0000);
  f.route(9, 0x8049);
  f.route(5, 0x45, 0x0700'0000);
  f.chip.set_irq(9, true);
  f.chip.set_irq(5, true);
  f.chip.write(0, 4, 1);
  devices::testing::copy_by_snapshot(f.chip, g.chip);
  CHECK(g.chip.read(0x10, 4) == 0x0017'0020);
  CHECK(g.entry(9) == 0xc049);
  CHECK(g.entry(5) == 0x1045);
  CHECK(g.get(0) == 0x0300'0000);
  g.chip.write(0x40, 4, 0x49);
  CHECK(g.take() == 0x49);  // the wire was high
}

TEST_CASE_FIXTURE(Fixture, "random accesses to the I/O APIC neither crash nor hang") {
  devices::testing::Hostile random(2);
  for (int i = 0; i < 100'000; ++i) {
    random.access(chip, 0x1000);
    set(static_cast<u8>(random.below(0x44)), static_cast<u32>(random.value()));
    if (random.below(2)) chip.write(0x40, 4, random.below(256));
    chip.set_irq(static_cast<u8>(random.below(256)), random.below(2));
    if (random.below(8) == 0) set_spurious(random.below(2) ? 0x1ff : 0xff);
    if (take() >= 0) end_of_interrupt();
  }
  CHECK(counters.values().size() < 10);
}

TEST_CASE_FIXTURE(Fixture, "damaged I/O APIC snapshots are survived") {
  devices::testing::hostile_snapshots(chip, 0x50, clock);
  devices::testing::flipped_snapshots(chip, 0x50, clock);
}
