#include "devices/dma_8237.hpp"

#include <doctest.h>

#include <algorithm>
#include <numeric>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

constexpr u8 kToMemory = 0x44, kFromMemory = 0x48, kVerify = 0x40, kAuto = 0x10, kDown = 0x20;  // single mode

struct Fixture {
  Fixture() { device.reset(); }
  void out(u64 offset, u8 value) { device.write(offset, 1, value); }
  u8 in(u64 offset) { return static_cast<u8>(device.read(offset, 1)); }
  // As a driver programs a channel of the first controller, ports and page by number.
  void program(u32 channel, u8 mode, u16 address, u16 count) {
    static constexpr u8 kPage[] = {7, 3, 1, 2};
    out(0x0a, static_cast<u8>(4 | channel));
    out(0x0c, 0);
    out(0x0b, static_cast<u8>(mode | channel));
    for (const u64 offset : {channel * 2, channel * 2 + 1}) {
      const u16 value = offset % 2 ? count : address;
      out(offset, static_cast<u8>(value));
      out(offset, static_cast<u8>(value >> 8));
    }
    out(Dma8237::kPages + kPage[channel], 0x03);
    out(0x0a, static_cast<u8>(channel));
  }
  u16 word(u64 offset) {
    out(0x0c, 0);
    const u8 low = in(offset);
    return static_cast<u16>(low | in(offset) << 8);
  }

  GuestRam ram{1u << 20};
  Counters counters;
  Dma8237 device{ram, counters};
};

std::vector<u8> numbers(std::size_t count) {
  std::vector<u8> bytes(count);
  std::iota(bytes.begin(), bytes.end(), u8{1});
  return bytes;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture,
                  "a device's bytes reach memory up to the terminal count, which masks the channel") {
  program(2, kToMemory, 0x1234, 5 - 1);
  auto bytes = numbers(8);
  auto moved = device.transfer(2, std::span(bytes).first(3), DmaDirection::kToMemory);
  CHECK(moved.bytes == 3);
  CHECK_FALSE(moved.terminal_count);
  CHECK(word(4) == 0x1237);
  CHECK(word(5) == 1);
  CHECK(in(8) == 0);
  moved = device.transfer(2, std::span(bytes).subspan(3), DmaDirection::kToMemory);
  CHECK(moved.bytes == 2);
  CHECK(moved.terminal_count);
  CHECK(std::equal(bytes.begin(), bytes.begin() + 5, ram.host(0x3'1234)));
  CHECK(*ram.host(0x3'1239) == 0);
  CHECK(in(8) == 0x04);  // status: channel 2
  CHECK(in(8) == 0);     // cleared by reading
  CHECK((in(0x0f) & 0xf) == 0xf);
  CHECK(device.transfer(2, bytes, DmaDirection::kToMemory).bytes == 0);
}

TEST_CASE_FIXTURE(Fixture, "memory's bytes reach a device; the address wraps in its page") {
  auto source = numbers(4);
  REQUIRE(ram.write(0x3'fffe, std::span(source).first(2)));
  REQUIRE(ram.write(0x3'0000, std::span(source).subspan(2)));
  program(1, kFromMemory, 0xfffe, 0xffff);
  std::vector<u8> bytes(4);
  CHECK(device.transfer(1, bytes, DmaDirection::kFromMemory).bytes == 4);
  CHECK(bytes == source);
}

TEST_CASE_FIXTURE(Fixture, "modes: auto-initialize, decrement, verify, the wrong direction, switched off") {
  auto bytes = numbers(4);
  program(3, kToMemory | kAuto, 0x100, 1);
  auto moved = device.transfer(3, bytes, DmaDirection::kToMemory);
  CHECK(moved.bytes == 2);
  CHECK(moved.terminal_count);
  CHECK(word(6) == 0x100);
  CHECK(word(7) == 1);
  CHECK((in(0x0f) & 8) == 0);

  program(3, kToMemory | kDown, 0x103, 3);
  CHECK(device.transfer(3, bytes, DmaDirection::kToMemory).terminal_count);
  CHECK(*ram.host(0x3'0103) == 1);
  CHECK(*ram.host(0x3'0100) == 4);

  program(3, kVerify, 0x100, 1);
  CHECK(device.transfer(3, bytes, DmaDirection::kToMemory).bytes == 2);
  CHECK(*ram.host(0x3'0100) == 4);

  program(3, kFromMemory, 0x100, 1);
  CHECK(device.transfer(3, bytes, DmaDirection::kToMemory).bytes == 0);
  out(8, 4);
  CHECK(device.transfer(3, bytes, DmaDirection::kFromMemory).bytes == 0);
  out(8, 0);
  CHECK(device.transfer(3, bytes, DmaDirection::kFromMemory).bytes == 2);
  CHECK(device.transfer(0, bytes, DmaDirection::kToMemory).bytes == 0);  // masked since reset
}

TEST_CASE_FIXTURE(Fixture, "word channels count words and take an even page") {
  const u64 second = Dma8237::kSecondController;
  out(second + 0x0b * 2, kToMemory | 1);
  for (const u8 value : {u8{0x00}, u8{0x80}}) out(second + 2 * 2, value);  // word address 0x8000
  for (const u8 value : {u8{1}, u8{0}}) out(second + 3 * 2, value);
  out(Dma8237::kPages + 0xb, 0x05);
  out(second + 0x0e * 2, 0);
  auto bytes = numbers(7);
  CHECK(device.transfer(5, std::span(bytes).first(1), DmaDirection::kToMemory).bytes == 0);
  const auto moved = device.transfer(5, bytes, DmaDirection::kToMemory);
  CHECK(moved.bytes == 4);
  CHECK(moved.terminal_count);
  CHECK(*ram.host(0x5'0000) == 1);
  CHECK(*ram.host(0x5'0003) == 4);
  CHECK(in(second + 8 * 2) == 0x02);
}

TEST_CASE_FIXTURE(Fixture, "master clear, requests, page registers and scratch bytes") {
  out(0x0e, 0);
  out(9, 4 | 1);
  CHECK(in(8) == 0x20);
  out(0, 0x12);  // moves the flip-flop
  out(0x0d, 0);
  CHECK(in(8) == 0);
  CHECK(in(0x0f) == 0xff);
  out(0, 0x34);
  out(0, 0x56);
  CHECK(word(0) == 0x5634);
  for (u8 i = 1; i < 16; ++i) out(Dma8237::kPages + i, i);
  for (u8 i = 1; i < 16; ++i) CHECK(in(Dma8237::kPages + i) == i);
  CHECK(in(0x15) == 0xff);
  CHECK(counters["dma_8237.unknown.read"] == 1);
}

TEST_CASE_FIXTURE(Fixture, "RAM that is not there, hostile guests and damaged snapshots do no harm") {
  out(Dma8237::kPages + 1, 0xff);
  program(2, kToMemory, 0, 0xffff);
  out(Dma8237::kPages + 1, 0xff);
  std::vector<u8> bytes(0x2'0000, 1);
  CHECK(device.transfer(2, bytes, DmaDirection::kToMemory).bytes == 0x1'0000);
  program(2, kFromMemory, 0, 1);
  out(Dma8237::kPages + 1, 0xff);
  CHECK(device.transfer(2, bytes, DmaDirection::kFromMemory).terminal_count);
  CHECK(bytes[0] == 0xff);
  ManualClock clock;
  devices::testing::hostile_guest(device, 0x50, clock, [&](u32 random) {
    if (random % 64 == 0)
      device.transfer(random >> 8 & 7, std::span(bytes).first(random >> 24),
                      random & 64 ? DmaDirection::kToMemory : DmaDirection::kFromMemory);
  });
  Dma8237 other{ram, counters};
  devices::testing::copy_by_snapshot(device, other);
  devices::testing::hostile_snapshots(device, 0x50, clock);
  devices::testing::flipped_snapshots(device, 0x50, clock);
}
