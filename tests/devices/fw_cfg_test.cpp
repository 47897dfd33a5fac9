#include "devices/fw_cfg.hpp"

#include <doctest.h>

#include <algorithm>
#include <string>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

constexpr u32 kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;
constexpr u64 kDescriptor = 0x1000, kBuffer = 0x2000, kRamSize = 0x10'0000;

void put_big_endian(std::span<u8> out, u64 value) {
  for (std::size_t i = out.size(); i-- > 0; value >>= 8) out[i] = static_cast<u8>(value);
}

struct Fixture {
  Fixture() {
    device.set_item(0x100, {1, 2, 3, 4, 5});
    device.set_file("etc/one", {10, 11, 12});
    device.set_file("etc/two", {20});
    device.reset();
  }
  std::string bytes(u16 key, std::size_t count) {
    device.write(0, 2, key);
    std::string out;
    while (out.size() < count) out += static_cast<char>(device.read(1, 1));
    return out;
  }
  // Runs a transfer and returns the descriptor's control field.
  u32 dma(u32 control, u32 length, u64 address, u64 descriptor = kDescriptor) {
    std::array<u8, 16> fields;
    put_big_endian(std::span(fields).first(4), control);
    put_big_endian(std::span(fields).subspan(4, 4), length);
    put_big_endian(std::span(fields).subspan(8, 8), address);
    REQUIRE(ram.write(descriptor, fields));
    start(descriptor);
    u32 result;
    std::memcpy(&result, ram.host(descriptor), 4);
    return __builtin_bswap32(result);
  }
  void start(u64 descriptor) {
    device.write(4, 4, __builtin_bswap32(static_cast<u32>(descriptor >> 32)));
    device.write(8, 4, __builtin_bswap32(static_cast<u32>(descriptor)));
  }
  [[nodiscard]] std::vector<u8> buffer(std::size_t count) const {
    return {ram.host(kBuffer), ram.host(kBuffer) + count};
  }

  GuestRam ram{kRamSize};
  Counters counters;
  FwCfg device{ram, counters};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "signature, features, items, zeros past the end") {
  CHECK(bytes(kFwCfgSignature, 4) == "QEMU");
  CHECK(bytes(kFwCfgId, 4) == std::string("\3\0\0\0", 4));
  CHECK(bytes(0x100, 7) == std::string("\1\2\3\4\5\0\0", 7));
  CHECK(bytes(0x4321, 2) == std::string(2, '\0'));
  bytes(0x100, 2);
  CHECK(device.read(1, 1) == 3);
  device.reset();
  CHECK(device.read(1, 1) == 'Q');
}

TEST_CASE_FIXTURE(Fixture, "the directory names every file, big-endian; a file may be replaced") {
  device.set_file("etc/one", {9});
  const std::string directory = bytes(kFwCfgDirectory, 4 + 2 * 64);
  CHECK(directory.substr(0, 12) == std::string("\0\0\0\2\0\0\0\1\0\x20\0\0", 12));
  CHECK(std::string(directory.c_str() + 12) == "etc/one");
  CHECK(directory.substr(68, 8) == std::string("\0\0\0\1\0\x21\0\0", 8));
  CHECK(std::string(directory.c_str() + 76) == "etc/two");
  CHECK(bytes(0x20, 2) == std::string("\x09\0", 2));
  CHECK(device.file("etc/two").size() == 1);
  CHECK(device.file("etc/three").empty());
}

TEST_CASE_FIXTURE(Fixture, "DMA selects, skips and reads") {
  CHECK(device.read(4, 4) == 0x554d'4551);  // "QEMU CFG", as bytes
  CHECK(device.read(8, 4) == 0x4746'4320);
  CHECK(dma(0x100u << 16 | kSelect | kRead, 3, kBuffer) == 0);
  CHECK(buffer(3) == std::vector<u8>{1, 2, 3});
  CHECK(dma(kSkip, 1, 0) == 0);
  CHECK(dma(kRead, 3, kBuffer) == 0);
  CHECK(buffer(3) == std::vector<u8>{5, 0, 0});
  CHECK(dma(0x100u << 16 | kSelect, 0, 0) == 0);
  CHECK(device.read(1, 1) == 1);
}

TEST_CASE_FIXTURE(Fixture, "DMA that makes no sense fails in the descriptor, or is ignored") {
  struct Case {
    u32 control, length;
    u64 address;
    u32 result;
  };
  for (const Case& c : {Case{kRead, 4, kRamSize, kError}, Case{kRead, 4, ~u64{0}, kError},
                        Case{kRead, 0xffff'ffff, 0, kError}, Case{kRead, 0x2000, kRamSize - 0x1000, kError},
                        Case{kWrite, 1, kBuffer, kError}, Case{kRead | kWrite, 1, kBuffer, 0},
                        Case{kSkip, 0xffff'ffff, 0, 0}, Case{0, 5, kBuffer, 0}, Case{kRead, 0, ~u64{0}, 0}}) {
    CAPTURE(c.control);
    CAPTURE(c.length);
    CHECK(dma(c.control, c.length, c.address, kRamSize - 16) == c.result);
  }
  for (const u64 descriptor : {kRamSize - 15, kRamSize, ~u64{0}, u64{1} << 40}) start(descriptor);
  CHECK(counters["fw_cfg.bad dma"] == 5 + 4);
  CHECK(dma(0x100u << 16 | kSelect | kRead, 1, kDescriptor) == 0x0000'0000);  // over its own descriptor
}

TEST_CASE_FIXTURE(Fixture, "code that DMA overwrites is reported") {
  u64 reported = 0;
  ram.on_code_write([&](u64 pa, u64) { reported = pa; });
  ram.claim_code_page(kBuffer);
  CHECK(dma(0x100u << 16 | kSelect | kRead, 3, kBuffer) == 0);
  CHECK(reported == kBuffer);
}

TEST_CASE_FIXTURE(Fixture, "odd accesses are open bus") {
  CHECK(device.read(0, 2) == ~u64{0});
  CHECK(device.read(1, 4) == ~u64{0});
  CHECK(device.read(11, 4) == ~u64{0});
  device.write(1, 1, 7);  // the data port is read-only
  device.write(0, 1, 7);
  CHECK(counters["fw_cfg.unknown"] == 5);
}

TEST_CASE_FIXTURE(Fixture, "a hostile guest, and damaged snapshots, do no harm") {
  ManualClock clock;
  devices::testing::hostile_guest(device, FwCfg::kPorts, clock, [&](u32 random) {
    if (random % 16 == 0) dma(random, random >> 8, random % (2 * kRamSize));
  });
  bytes(0x100, 2);
  GuestRam other_ram{kRamSize};
  FwCfg other{other_ram, counters};
  other.set_item(0x100, {1, 2, 3, 4, 5});
  devices::testing::copy_by_snapshot(device, other);
  CHECK(other.read(1, 1) == 3);
  devices::testing::hostile_snapshots(device, FwCfg::kPorts, clock);
  devices::testing::flipped_snapshots(device, FwCfg::kPorts, clock);
}
