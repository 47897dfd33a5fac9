#include "devices/debug_ports.hpp"

#include <string>
#include <vector>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

struct Console final : CharBackend {
  std::string text;
  void write(u8 byte) override { text += static_cast<char>(byte); }
};

}  // namespace

TEST_CASE("debug console: bytes go out, reading says it is there") {
  core::Counters counters;
  core::ManualClock clock;
  Console console;
  DebugConsole device(console, counters);
  for (const char c : {'o', 'k'}) device.write(0, 1, static_cast<u8>(c));
  CHECK(console.text == "ok");
  CHECK(device.read(0, 1) == 0xe9);
  device.write(0, 2, 0x4141);
  CHECK(console.text == "okA");
  CHECK(counters["debug_console.unknown.write"] == 1);
  testing::hostile_guest(device, 1, clock);
}

TEST_CASE("debug exit: the status is odd, whatever the width") {
  std::vector<u32> statuses;
  core::ManualClock clock;
  DebugExit device([&](u32 status) { statuses.push_back(status); });
  device.write(0, 1, 0x10);
  device.write(0, 4, 0x1234'5678);
  CHECK(statuses == std::vector<u32>{0x21, 0x2468'acf1});
  CHECK(device.read(0, 1) == ~u64{0});
  testing::hostile_guest(device, 4, clock);
}

TEST_CASE("POST code port: remembers its bytes") {
  core::Counters counters;
  core::ManualClock clock;
  PostCodePort device(counters);
  device.write(0, 1, 0x42);
  device.write(5, 1, 0x17);
  CHECK(device.post_code() == 0x42);
  CHECK(device.read(5, 1) == 0x17);
  PostCodePort copy(counters);
  testing::copy_by_snapshot(device, copy);
  CHECK(copy.post_code() == 0x42);
  device.reset();
  CHECK(device.post_code() == 0);
  testing::hostile_guest(device, 16, clock);
  testing::flipped_snapshots(device, 16, clock);
}

TEST_CASE("system control A: A20 at every write, reset when bit 0 rises") {
  core::Counters counters;
  core::ManualClock clock;
  int resets = 0;
  std::vector<bool> a20;
  const SystemControlA::Outputs outputs{[&] { ++resets; }, [&](bool on) { a20.push_back(on); }};
  SystemControlA device(counters, outputs);
  CHECK(device.read(0, 1) == 0x02);
  device.write(0, 1, 0xfc);
  CHECK(device.read(0, 1) == 0x00);
  device.write(0, 1, 0x02);
  CHECK(a20 == std::vector<bool>{false, true});
  CHECK(resets == 0);
  device.write(0, 1, 0x03);
  device.write(0, 1, 0x03);
  CHECK(resets == 1);
  SystemControlA copy(counters, outputs);
  testing::copy_by_snapshot(device, copy);
  CHECK(copy.read(0, 1) == 0x03);
  device.reset();
  CHECK(device.read(0, 1) == 0x02);
  testing::hostile_guest(device, 1, clock);
}

TEST_CASE("system control B: gate and output of counter 2, refresh toggle") {
  core::Counters counters;
  core::ManualClock clock;
  bool gate = true;
  bool output = false;
  SystemControlB device({[&](bool level) { gate = level; }, [&] { return output; }}, clock, counters);
  CHECK(!gate);
  device.write(0, 1, 0xff);
  CHECK(gate);
  CHECK((device.read(0, 1) & 0xef) == 0x0f);
  output = true;
  CHECK((device.read(0, 1) & 0xef) == 0x2f);
  int toggles = 0;
  u64 last = device.read(0, 1);
  for (int i = 0; i < 1000; ++i) {
    clock.advance(1000);
    const u64 now = device.read(0, 1);
    toggles += (now ^ last) >> 4 & 1;
    last = now;
  }
  CHECK(toggles == 66);  // a millisecond / 15.085 us
  testing::hostile_guest(device, 1, clock);
}
