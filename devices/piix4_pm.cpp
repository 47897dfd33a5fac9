#include "devices/piix4_pm.hpp"

#include <utility>

namespace doppel::devices {

namespace {

constexpr u8 kPmBase = 0x40;     // PMBA: bits 15:6; bit 0 reads as 1
constexpr u8 kDeviceB = 0x58;    // DEVACTB
constexpr u8 kPmMisc = 0x80;     // PMREGMISC: bit 0 enables PMBA
constexpr u8 kSmbusBase = 0x90;  // SMBBA: bits 15:4; bit 0 reads as 1
constexpr u8 kSmbusHost = 0xd2;  // SMBHSTCFG: bit 0 enables SMBBA, bits 3:1 the interrupt
constexpr u8 kSmbusRevision = 0xd6;
constexpr u32 kEnable = 1;
// APMC_EN: a write to port 0xb2 raises an SMI. It reads as set so that firmware takes SMM for set up and
// leaves it alone: there is none.
constexpr u32 kApmcEnable = 1u << 25;

}  // namespace

// Revision 3 and up: guests trust a single read of the timer.
Piix4Pm::Piix4Pm(Mapper pm, Mapper smbus)
    : PciFunction(
          {.vendor = 0x8086, .device = 0x7113, .class_code = 0x06'8000, .revision = 3, .interrupt_pin = 1}),
      pm_{std::move(pm), std::nullopt},
      smbus_{std::move(smbus), std::nullopt} {
  define(kPmBase, 4, 1, 0xffc0);
  define(kDeviceB, 4, kApmcEnable, 0xffff'ffff);
  define(kPmMisc, 1, 0, kEnable);
  define(kSmbusBase, 4, 1, 0xfff0);
  define(kSmbusHost, 1, 0, 0x0f);
  define(kSmbusRevision, 1, 0, 0);
}

void Piix4Pm::place_pm(u16 base) {
  config_write(kPmBase, 4, base);
  config_write(kPmMisc, 1, kEnable);
}

void Piix4Pm::reset() {
  PciFunction::reset();
  place_blocks();
}

void Piix4Pm::config_write(u8 offset, u32 width, u32 value) {
  PciFunction::config_write(offset, width, value);
  place_blocks();
}

void Piix4Pm::place_blocks() {
  const auto wanted = [this](u8 base, u8 enable) -> std::optional<u64> {
    const u64 port = config_read(base, 4) & ~u32{1};
    return (config_read(enable, 1) & kEnable) && port != 0 ? std::optional(port) : std::nullopt;
  };
  pm_.move_to(wanted(kPmBase, kPmMisc));
  smbus_.move_to(wanted(kSmbusBase, kSmbusHost));
}

// A place that is taken leaves the block nowhere; the next write to the function's registers tries again.
void Piix4Pm::Block::move_to(std::optional<u64> base) {
  if (base == mapped) return;
  mapped = mapper(base) ? base : std::nullopt;
}

void Piix4Pm::snapshot(core::SnapshotIo& io) {
  PciFunction::snapshot(io);
  if (io.loading()) place_blocks();
}

}  // namespace doppel::devices
