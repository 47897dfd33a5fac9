#include "devices/host_bridge.hpp"

#include <utility>

namespace doppel::devices {

namespace {

constexpr u8 kPam = 0x59, kPamRegisters = 7;  // one nibble a segment: bit 0 read enable, bit 1 write enable
constexpr u8 kSmram = 0x72;
constexpr u8 kSmramReset = 0x02;      // the window is 0xa0000-0xbffff; the field is read-only
constexpr u8 kSmramOpen = 1u << 6;    // D_OPEN: the window is RAM outside system management mode too
constexpr u8 kSmramClosed = 1u << 5;  // D_CLS
constexpr u8 kSmramLock = 1u << 4;    // D_LCK: D_OPEN falls, the register becomes read-only until reset

struct Segment {
  u64 base, size;
  u8 offset, shift;  // of its nibble
};
// Low nibble first, in the order of addresses but for the last: PAM0's high nibble is the 64 KiB of the BIOS.
constexpr std::array<Segment, 13> kPamSegments = {{{0xc'0000, 0x4000, kPam + 1, 0},
                                                   {0xc'4000, 0x4000, kPam + 1, 4},
                                                   {0xc'8000, 0x4000, kPam + 2, 0},
                                                   {0xc'c000, 0x4000, kPam + 2, 4},
                                                   {0xd'0000, 0x4000, kPam + 3, 0},
                                                   {0xd'4000, 0x4000, kPam + 3, 4},
                                                   {0xd'8000, 0x4000, kPam + 4, 0},
                                                   {0xd'c000, 0x4000, kPam + 4, 4},
                                                   {0xe'0000, 0x4000, kPam + 5, 0},
                                                   {0xe'4000, 0x4000, kPam + 5, 4},
                                                   {0xe'8000, 0x4000, kPam + 6, 0},
                                                   {0xe'c000, 0x4000, kPam + 6, 4},
                                                   {0xf'0000, 0x1'0000, kPam, 4}}};
constexpr u64 kSmramBase = 0xa'0000, kSmramSize = 0x2'0000;

// What an operating system and SeaBIOS take for an emulated board ("QEMU Virtual Machine").
constexpr u16 kBoardVendor = 0x1af4, kBoard = 0x1100;

}  // namespace

HostBridge::HostBridge(RamRouter route)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x1237,
                   .class_code = 0x06'0000,
                   .revision = 2,
                   .subsystem_vendor = kBoardVendor,
                   .subsystem = kBoard}),
      route_(std::move(route)) {
  define(kPam, 1, 0, 0x30);
  define(kPam + 1, 4, 0, 0x3333'3333);
  define(kPam + 5, 2, 0, 0x3333);
  define(kSmram, 1, kSmramReset, 0x78);
}

void HostBridge::reset() {
  PciFunction::reset();
  apply(true);
}

void HostBridge::config_write(u8 offset, u32 width, u32 value) {
  const u8 smram = static_cast<u8>(config_read(kSmram, 1));
  PciFunction::config_write(offset, width, value);
  u8 now = static_cast<u8>(config_read(kSmram, 1));
  if (smram & kSmramLock) now = smram;
  if (now & kSmramLock) now = static_cast<u8>(now & ~kSmramOpen);
  PciFunction::config_write(kSmram, 1, now);
  apply(false);
}

void HostBridge::shadow_everything() {
  config_write(kPam, 1, 0x30);
  config_write(kPam + 1, 4, 0x3333'3333);
  config_write(kPam + 5, 2, 0x3333);
}

HostBridge::Routing HostBridge::wanted(u32 segment) {
  if (segment == kPamSegments.size()) {
    const u32 smram = config_read(kSmram, 1);
    const bool open = (smram & (kSmramOpen | kSmramClosed)) == kSmramOpen;
    return {open, open};
  }
  const Segment& pam = kPamSegments[segment];
  const u32 bits = config_read(pam.offset, 1) >> pam.shift;
  return {(bits & 1) != 0, (bits & 2) != 0};
}

void HostBridge::apply(bool all) {
  static_assert(kPamSegments.size() + 1 == kSegments && kPamRegisters == 7);
  for (u32 i = 0; i < kSegments; ++i) {
    const Routing routing = wanted(i);
    if (!all && routing == routed_[i]) continue;
    routed_[i] = routing;
    const bool pam = i < kPamSegments.size();
    route_(pam ? kPamSegments[i].base : kSmramBase, pam ? kPamSegments[i].size : kSmramSize, routing.reads,
           routing.writes);
  }
}

void HostBridge::snapshot(core::SnapshotIo& io) {
  PciFunction::snapshot(io);
  if (io.loading()) apply(true);
}

}  // namespace doppel::devices
