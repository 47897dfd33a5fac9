#include "devices/pci_msi.hpp"

#include <doctest.h>

#include <utility>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

using Messages = std::vector<std::pair<u64, u32>>;

struct Fixture {
  Fixture() { set(kPciCommand, 2, kPciCommandBusMaster | kPciCommandMemory); }
  MsiSink sink() {
    return [this](u64 address, u32 data) { sent.emplace_back(address, data); };
  }
  void set(u32 offset, u32 width, u32 value) { function.config_write(static_cast<u8>(offset), width, value); }
  u32 get(u32 offset, u32 width) { return function.config_read(static_cast<u8>(offset), width); }
  Messages take() { return std::exchange(sent, {}); }

  Messages sent;
  Counters counters;
  PciFunction function{{.vendor = 0x1af4, .device = 0x1042, .class_code = 0x01'0000}};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "capabilities form a list") {
  const MsiCapability msi(function, 4, sink());
  const MsixCapability msix(function, 3, 1, sink(), counters);
  CHECK((get(kPciStatus, 2) & 0x10) != 0);
  const u32 first = get(kPciCapabilities, 1);
  CHECK(get(first, 1) == 5);
  const u32 second = get(first + 1, 1);
  CHECK(get(second, 1) == 0x11);
  CHECK(get(second + 1, 1) == 0);
  CHECK(get(first + 2, 2) == 0x184);  // 64-bit, masks, 4 vectors
  CHECK(get(second + 2, 2) == 2);     // 3 vectors
  CHECK(get(second + 4, 4) == 1);
  CHECK(get(second + 8, 4) == (msix.size() / 2 | 1));
}

TEST_CASE_FIXTURE(Fixture, "MSI: one vector, several, more than the guest gave") {
  MsiCapability msi(function, 4, sink());
  const u32 at = get(kPciCapabilities, 1);
  set(at + 4, 4, 0xfee0'1000);
  set(at + 8, 4, 1);
  set(at + 12, 2, 0x4043);
  msi.signal(0);
  CHECK(take().empty());  // not enabled
  CHECK_FALSE(msi.enabled());
  set(at + 2, 2, 1);
  CHECK(msi.enabled());
  msi.config_written();
  CHECK(take() == Messages{{0x1'fee0'1000, 0x4043}});
  msi.signal(3);
  CHECK(take() == Messages{{0x1'fee0'1000, 0x4043}});
  set(at + 2, 2, 1 | 2 << 4);
  msi.signal(2);
  msi.signal(9);
  CHECK(take() == Messages{{0x1'fee0'1000, 0x4042}, {0x1'fee0'1000, 0x4043}});
}

TEST_CASE_FIXTURE(Fixture, "MSI: a masked vector waits, and shows as pending") {
  MsiCapability msi(function, 2, sink());
  const u32 at = get(kPciCapabilities, 1);
  set(at + 2, 2, 1 | 1 << 4);
  set(at + 16, 4, 2);
  msi.signal(1);
  msi.signal(1);
  CHECK(take().empty());
  CHECK(get(at + 20, 4) == 2);
  set(at + 16, 4, 0);
  msi.config_written();
  CHECK(take() == Messages{{0, 1}});
  CHECK(get(at + 20, 4) == 0);
  set(kPciCommand, 2, 0);  // no bus master, no message
  msi.signal(0);
  CHECK(take().empty());
  msi.reset();
  set(kPciCommand, 2, kPciCommandBusMaster);
  msi.config_written();
  CHECK(take().empty());
}

TEST_CASE_FIXTURE(Fixture, "MSI-X: the table, masks of vectors and of the function, pending bits") {
  MsixCapability msix(function, 70, 1, sink(), counters);
  const u32 at = get(kPciCapabilities, 1);
  msix.write(65 * 16, 8, 0x1'fee0'0003);
  msix.write(65 * 16 + 8, 4, 0x77);
  CHECK(msix.read(65 * 16 + 12, 4) == 1);  // masked since reset
  CHECK(msix.read(65 * 16, 4) == 0xfee0'0000);
  msix.signal(65);
  CHECK(take().empty());
  CHECK(msix.read(msix.size() / 2 + 8, 8) == 2);
  msix.write(65 * 16 + 12, 4, 0);
  CHECK(take().empty());  // not enabled
  set(at + 2, 2, 0xc000);
  msix.config_written();
  CHECK(msix.enabled());
  CHECK(take().empty());  // all masked
  set(at + 2, 2, 0x8000);
  msix.config_written();
  CHECK(take() == Messages{{0x1'fee0'0000, 0x77}});
  CHECK(msix.read(msix.size() / 2 + 8, 4) == 0);
  msix.signal(65);
  CHECK(take() == Messages{{0x1'fee0'0000, 0x77}});
  msix.signal(70);
  msix.signal(~0u);
  CHECK(take().empty());
  msix.reset();
  msix.signal(65);
  CHECK(take().empty());
}

TEST_CASE_FIXTURE(Fixture, "MSI-X: odd accesses, hostile guests, damaged snapshots") {
  MsixCapability msix(function, 3, 1, sink(), counters);
  CHECK(msix.read(0, 2) == ~u64{0});
  CHECK(msix.read(2, 4) == ~u64{0});
  CHECK(msix.read(3 * 16, 4) == 0);
  CHECK(msix.read(msix.size(), 4) == ~u64{0});
  msix.write(msix.size() / 2, 4, 1);  // pending bits are read-only
  CHECK(counters["msix.unknown"] == 4);
  ManualClock clock;
  devices::testing::hostile_guest(msix, msix.size(), clock, [&](u32 random) {
    set(get(kPciCapabilities, 1) + 2, 2, random);
    msix.config_written();
    msix.signal(random % 5);
    sent.clear();
  });
  MsixCapability other(function, 3, 1, sink(), counters);
  devices::testing::copy_by_snapshot(msix, other);
  devices::testing::hostile_snapshots(msix, 256, clock);
}
