// The smaller chips of the PIIX family: power management, SMBus; and the parallel port.
#include <doctest.h>

#include <optional>
#include <string>

#include "devices/parallel_port.hpp"
#include "devices/piix4_pm.hpp"
#include "devices/smbus_piix4.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

struct Pm {
  Pm() { function.reset(); }
  PciFunction::Mapper record(std::optional<u64>& place) {
    return [this, &place](std::optional<u64> base) {
      if (base && base == taken) return false;
      place = base;
      return true;
    };
  }
  std::optional<u64> pm, smbus, taken = 0xb000;
  Piix4Pm function{record(pm), record(smbus)};
};

class Printer final : public CharBackend {
 public:
  void write(u8 byte) override { text += static_cast<char>(byte); }
  std::string text;
};

}  // namespace

TEST_CASE_FIXTURE(Pm, "the PM and SMBus blocks are where their registers say, while enabled") {
  CHECK_FALSE(pm);
  function.config_write(0x40, 4, 0xffff'ffff);
  CHECK(function.config_read(0x40, 4) == 0xffc1);
  function.config_write(0x40, 4, 0x601);
  CHECK_FALSE(pm);
  function.config_write(0x80, 1, 1);
  CHECK(pm == 0x600);
  function.config_write(0x41, 1, 0xb0);  // taken by another device
  CHECK_FALSE((pm && *pm == 0xb000));
  taken = std::nullopt;
  function.config_write(0x41, 1, 0xb0);
  CHECK(pm == 0xb000);
  function.config_write(0x90, 4, 0x701);
  function.config_write(0xd2, 1, 9);
  CHECK(smbus == 0x700);
  function.config_write(0xd2, 1, 0);
  CHECK_FALSE(smbus);
  function.reset();
  CHECK_FALSE(pm);
  function.place_pm(0x600);
  CHECK(pm == 0x600);
  CHECK(function.config_read(0x5b, 1) == 2);  // APMC_EN: SMM needs no set-up
}

TEST_CASE("an SMBus transfer ends at once, without an acknowledge") {
  Counters counters;
  SmbusPiix4 smbus(counters);
  smbus.reset();
  CHECK(smbus.read(0, 1) == 0);
  smbus.write(4, 1, 0xa1);
  smbus.write(2, 1, 0x48);
  CHECK(smbus.read(2, 1) == 0x08);  // START reads as zero
  CHECK(smbus.read(0, 1) == 0x04);
  smbus.write(0, 1, 0xfb);
  CHECK(smbus.read(0, 1) == 0x04);
  smbus.write(0, 1, 0x04);
  CHECK(smbus.read(0, 1) == 0);
  CHECK(smbus.read(14, 1) == 0xff);
  ManualClock clock;
  devices::testing::hostile_guest(smbus, 16, clock);
  devices::testing::flipped_snapshots(smbus, 16, clock);
}

TEST_CASE("the parallel port: a strobed byte is printed and acknowledged") {
  Counters counters;
  Printer printer;
  u32 edges = 0;
  ParallelPort port(IrqLine([&](bool level) { edges += level; }), printer, counters);
  port.reset();
  port.write(0, 1, 'x');
  CHECK(port.read(0, 1) == 'x');
  CHECK(port.read(1, 1) == 0xdf);
  CHECK(port.read(2, 1) == 0xcc);
  port.write(2, 1, 0x0d);
  port.write(2, 1, 0x0d);  // still strobing: one byte
  CHECK(printer.text == "x");
  CHECK(edges == 0);
  port.write(2, 1, 0x1c);
  port.write(2, 1, 0x1d);
  CHECK(printer.text == "xx");
  CHECK(edges == 1);
  ManualClock clock;
  devices::testing::hostile_guest(port, 3, clock);
  devices::testing::flipped_snapshots(port, 3, clock);
}
