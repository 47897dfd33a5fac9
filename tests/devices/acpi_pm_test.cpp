#include "devices/acpi_pm.hpp"

#include <doctest.h>

#include <vector>

#include "devices/reset_control.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

constexpr u64 kStatus = 0, kEnable = 2, kControl = 4, kTimer = 8;
constexpr u64 kHz = 3'579'545;

struct Fixture {
  Fixture() { chip.reset(); }

  u64 get(u64 offset) { return chip.read(offset, 2) & 0xffff; }
  void set(u64 offset, u64 value) { chip.write(offset, 2, value); }

  ManualClock clock;
  Counters counters;
  bool sci = false;
  int powered_off = 0;
  AcpiPm chip{clock, counters, kHz, IrqLine([this](bool level) { sci = level; }), [this] { ++powered_off; }};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "the PM timer counts at 3.579545 MHz and wraps at 32 bits") {
  CHECK((chip.read(kTimer, 4) & 0xffff'ffff) == 0);
  clock.advance(1'000'000'000);
  CHECK((chip.read(kTimer, 4) & 0xffff'ffff) == kHz);
  CHECK((chip.read(kTimer + 1, 1) & 0xff) == (kHz >> 8 & 0xff));
  clock.advance(1'199'000'000'000);
  CHECK((chip.read(kTimer, 4) & 0xffff'ffff) == kHz * 1200 - (u64{1} << 32));
}

TEST_CASE_FIXTURE(Fixture, "TMR_STS follows the timer's top bit and raises the SCI when enabled") {
  clock.advance(599'000'000'000);
  CHECK(get(kStatus) == 0);
  clock.advance(2'000'000'000);  // 2^31 ticks take 599.9 s
  CHECK(get(kStatus) == 1);
  CHECK_FALSE(sci);
  set(kEnable, 1);
  CHECK(sci);
  set(kStatus, 1);
  CHECK(get(kStatus) == 0);
  CHECK_FALSE(sci);
  clock.advance(600'000'000'000);
  CHECK(sci);
}

TEST_CASE_FIXTURE(Fixture,
                  "the power button is an event that the guest enables and clears, byte by byte too") {
  chip.press_power_button();
  CHECK(get(kStatus) == 0x100);
  CHECK_FALSE(sci);
  chip.write(kEnable + 1, 1, 1);
  CHECK(get(kEnable) == 0x100);
  CHECK(sci);
  chip.write(kStatus, 1, 0xff);
  CHECK(sci);
  set(kControl, 0);  // SCI_EN
  CHECK_FALSE(sci);
  set(kControl, 1);
  CHECK(sci);
  chip.write(kStatus + 1, 1, 1);
  CHECK_FALSE(sci);
  CHECK((chip.read(0, 4) & 0xffff'ffff) == 0x0100'0000);
  chip.write(0, 4, 0xffff'ffff);
  CHECK(get(kEnable) == 0x721);
}

TEST_CASE_FIXTURE(Fixture, "only SLP_EN with the type of S5 powers off") {
  struct {
    u64 value;
    int off;
  } const rows[] = {
      {kSlpTypS5 << 10, 0}, {5 << 10 | 1 << 13, 0}, {1 << 10 | 1 << 13, 0}, {kSlpTypS5 << 10 | 1 << 13, 1}};
  for (const auto& [value, off] : rows) {
    set(kControl, value);
    CHECK(powered_off == off);
    CHECK((get(kControl) & 0x2000) == 0);
  }
  CHECK(counters.values()["acpi_pm.unsupported_sleep"] == 2);
  set(kControl, 0);
  chip.write(kControl + 1, 1, kSlpTypS5 << 2 | 1 << 5);
  CHECK(powered_off == 2);
}

TEST_CASE("an ACPI PM snapshot") {
  Fixture f, g;
  f.set(kEnable, 0x101);
  f.set(kControl, 0x403);
  f.chip.press_power_button();
  devices::testing::copy_by_snapshot(f.chip, g.chip);
  CHECK(g.sci);
  CHECK(g.chip.read(0, 4) == f.chip.read(0, 4));
  CHECK(g.get(kControl) == 0x403);
}

TEST_CASE_FIXTURE(Fixture, "random accesses to the ACPI ports neither crash nor hang") {
  devices::testing::Hostile random(4);
  for (int i = 0; i < 100'000; ++i) {
    random.access(chip, 16);
    if (random.below(16) == 0) chip.press_power_button();
    clock.advance(random.below(10) ? random.below(1000) : random.below(u64{1} << 40));
  }
  CHECK(counters.values().size() < 5);
}

TEST_CASE("port 0xcf9 resets when bit 2 rises, hard if bit 1 is set") {
  Counters counters;
  std::vector<bool> resets;
  ResetControl chip(counters, [&](bool hard) { resets.push_back(hard); });
  chip.reset();
  struct {
    u8 value, reads;
    std::vector<bool> expected;
  } const rows[] = {{0x02, 0x02, {}},
                    {0x06, 0x06, {true}},
                    {0x06, 0x06, {true}},
                    {0xf0, 0x00, {true}},
                    {0x04, 0x04, {true, false}},
                    {0x00, 0x00, {true, false}},
                    {0x0e, 0x06, {true, false, true}}};
  for (const auto& row : rows) {
    chip.write(0, 1, row.value);
    CHECK(resets == row.expected);
    CHECK(chip.read(0, 1) == row.reads);
  }
  SnapshotIo out;
  chip.snapshot(out);
  chip.reset();
  CHECK(chip.read(0, 1) == 0);
  SnapshotIo in(out.stream());
  chip.snapshot(in);
  CHECK(chip.read(0, 1) == 6);
  devices::testing::Hostile random(5);
  for (int i = 0; i < 1000; ++i) random.access(chip, 1);
}

TEST_CASE_FIXTURE(Fixture, "damaged ACPI PM snapshots are survived") {
  set(kEnable, 1);
  devices::testing::hostile_snapshots(chip, 16, clock);
  devices::testing::flipped_snapshots(chip, 16, clock);
}
