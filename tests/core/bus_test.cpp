#include "core/bus.hpp"

#include <doctest.h>

#include <stdexcept>
#include <vector>

using namespace doppel;
using namespace doppel::core;

namespace {

struct Access {
  char kind;
  u64 offset;
  u32 width;
  u64 value;
  bool operator==(const Access&) const = default;
};

// Remembers what reached it; a read returns the low byte of each offset, and bits beyond the width that the
// bus must cut off.
class Recorder final : public Device {
 public:
  [[nodiscard]] std::string_view name() const override { return "recorder"; }
  void reset() override {}
  u64 read(u64 offset, u32 width) override {
    seen.push_back({'r', offset, width, 0});
    u64 value = width < 8 ? ~u64{0} << width * 8 : 0;
    for (u32 i = 0; i < width; ++i) value |= (offset + i) % 256 << i * 8;
    return value;
  }
  void write(u64 offset, u32 width, u64 value) override { seen.push_back({'w', offset, width, value}); }
  void snapshot(SnapshotIo&) override {}

  std::vector<Access> seen;
};

struct Fixture {
  Counters counters;
  std::recursive_mutex lock;
  Bus bus{"port", counters, lock};
  Recorder device, other;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "an access reaches its device at the device's own offset") {
  bus.attach(0x100, 8, device, 0x20);
  CHECK(bus.read(0x104, 4) == 0x27262524);
  bus.write(0x107, 1, 0xabcd);
  CHECK(device.seen == std::vector<Access>{{'r', 0x24, 4, 0}, {'w', 0x27, 1, 0xcd}});
  CHECK(bus.attached(0x107));
  CHECK_FALSE(bus.attached(0x108));
  CHECK_FALSE(bus.attached(0xff));
}

TEST_CASE_FIXTURE(Fixture, "an access that leaves or enters a range is split into bytes") {
  bus.attach(0x100, 2, device);
  bus.attach(0x102, 1, other, 9);
  CHECK(bus.read(0x101, 4) == 0xffff'0901);
  CHECK(bus.read(0xfe, 4) == 0x0100'ffff);
  bus.write(0x101, 2, 0x5566);
  CHECK(device.seen.back() == Access{'w', 1, 1, 0x66});
  CHECK(other.seen.back() == Access{'w', 9, 1, 0x55});
}

TEST_CASE_FIXTURE(Fixture, "nobody answers with ones of the width, counted by address") {
  for (const auto& [width, ones] :
       std::vector<std::pair<u32, u64>>{{1, 0xff}, {2, 0xffff}, {4, 0xffff'ffff}, {8, ~u64{0}}})
    CHECK(bus.read(0x80, width) == ones);
  bus.write(0x80, 1, 0);
  CHECK(counters.values() ==
        std::map<std::string, u64>{{"port.unassigned.read 0x80", 4}, {"port.unassigned.write 0x80", 1}});
}

TEST_CASE_FIXTURE(Fixture, "the number of counted addresses is bounded") {
  for (u64 address = 0; address < 10'000; ++address) (void)bus.read(address, 1);
  CHECK(counters.values().size() < 300);
  u64 total = 0;
  for (const auto& [name, value] : counters.values()) total += value;
  CHECK(total == 10'000);
}

TEST_CASE_FIXTURE(Fixture, "ranges that are empty, wrap or overlap are refused") {
  bus.attach(0x100, 0x10, device);
  struct {
    u64 base, size;
  } const bad[] = {{0x200, 0}, {~u64{0}, 2}, {0x100, 0x10}, {0xff, 2}, {0x10f, 1}, {0x108, 2}, {0, 0x1000}};
  for (const auto& [base, size] : bad) CHECK_THROWS_AS(bus.attach(base, size, other), std::invalid_argument);
  bus.attach(0x110, 1, other);
  bus.attach(~u64{0}, 1, other);
  CHECK(bus.read(~u64{0}, 1) == 0);
  bus.detach(0x101);
  CHECK(bus.attached(0x101));
  bus.detach(0x100);
  CHECK_FALSE(bus.attached(0x101));
}

TEST_CASE_FIXTURE(Fixture, "a device may move ranges while it is being accessed") {
  class Mover final : public Device {
   public:
    Mover(Bus& b, Device& d) : bus_(b), moved_(d) {}
    [[nodiscard]] std::string_view name() const override { return "mover"; }
    void reset() override {}
    u64 read(u64, u32) override { return 0; }
    void write(u64, u32, u64 value) override {
      bus_.detach(0x1000);
      for (u64 i = 0; i < value; ++i) bus_.attach(0x1000 + i, 1, moved_);
    }
    void snapshot(SnapshotIo&) override {}

   private:
    Bus& bus_;
    Device& moved_;
  } mover(bus, device);
  bus.attach(0, 1, mover);
  bus.attach(0x1000, 4, device);
  bus.write(0, 2, 100);
  CHECK(bus.attached(0x1063));
}
