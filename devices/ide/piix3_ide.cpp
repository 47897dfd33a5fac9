#include "devices/ide/piix3_ide.hpp"

#include <utility>

namespace doppel::devices {

namespace {

constexpr u32 kBusMasterBar = 4;
constexpr u64 kBusMasterPorts = 16, kPortsPerChannel = 8;
constexpr u8 kTiming = 0x40;                 // IDETIM: a word for each channel
constexpr u32 kDecodeEnabled = 0x8000'8000;  // what a firmware leaves there: operating systems look

}  // namespace

Piix3Ide::Piix3Ide(core::IrqLine primary, core::IrqLine secondary, core::GuestRam& ram, core::Bus& ports,
                   core::Counters& counters)
    : PciFunction({.vendor = 0x8086, .device = 0x7010, .class_code = 0x01'0180}),
      primary_(std::move(primary), ram, counters, [this] { return bus_master(); }),
      secondary_(std::move(secondary), ram, counters, [this] { return bus_master(); }) {
  define(kTiming, 4, kDecodeEnabled, 0xffff'ffff);
  add_bar(kBusMasterBar, BarKind::kPort, kBusMasterPorts, attach_to(ports, *this, kBusMasterPorts));
}

void Piix3Ide::reset() {
  primary_.reset();
  secondary_.reset();
  PciFunction::reset();
}

u64 Piix3Ide::read(u64 offset, u32 width) {
  u64 value = 0;
  for (u32 i = 0; i < width; ++i) {
    const u32 at = static_cast<u32>(offset + i);
    const u8 byte =
        at < kBusMasterPorts ? channel(at / kPortsPerChannel).read_master(at % kPortsPerChannel) : u8{0xff};
    value |= u64{byte} << i * 8;
  }
  return value;
}

void Piix3Ide::write(u64 offset, u32 width, u64 value) {
  for (u32 i = 0; i < width; ++i) {
    const u32 at = static_cast<u32>(offset + i);
    if (at < kBusMasterPorts)
      channel(at / kPortsPerChannel).write_master(at % kPortsPerChannel, static_cast<u8>(value >> i * 8));
  }
}

void Piix3Ide::snapshot(core::SnapshotIo& io) {
  PciFunction::snapshot(io);
  primary_.snapshot(io);
  secondary_.snapshot(io);
}

}  // namespace doppel::devices
