#include "devices/piix3_isa.hpp"

#include <utility>

namespace doppel::devices {

namespace {

constexpr u8 kPirqIrq = 0x0f;
constexpr u32 kPirqs = 4;

}  // namespace

IsaBridge::IsaBridge(std::function<void(u8 irq, bool level)> isa_irq)
    : PciFunction({.vendor = 0x8086, .device = 0x7000, .class_code = 0x06'0100, .header_type = 0x80}),
      isa_irq_(std::move(isa_irq)) {
  define(kPiixPirqRoute, 4, 0x8080'8080, 0x8f8f'8f8f);
}

void IsaBridge::reset() {
  PciFunction::reset();
  route();
}

void IsaBridge::config_write(u8 offset, u32 width, u32 value) {
  PciFunction::config_write(offset, width, value);
  route();
}

void IsaBridge::set_wire(u8 wire, bool level) {
  const u8 bit = static_cast<u8>(1u << (wire & 7));
  wires_ = static_cast<u8>(level ? wires_ | bit : wires_ & ~bit);
  route();
}

void IsaBridge::route() {
  u16 wanted = 0;
  for (u32 pirq = 0; pirq < kPirqs; ++pirq) {
    // PIRQ n is the lines n + 1 and n + 5, so that INTA of slot 1 is PIRQA as on an i440FX board.
    const u32 first = (pirq + 1) % kPirqs;
    const u32 control = config_read(static_cast<u8>(kPiixPirqRoute + pirq), 1);
    if ((wires_ >> first & 0x11) && !(control & kPiixPirqDisabled))
      wanted |= static_cast<u16>(1u << (control & kPirqIrq)) & kPiixRoutableIrqs;
  }
  const u16 changed = std::exchange(driven_, wanted) ^ wanted;
  for (u8 irq = 0; irq < 16; ++irq)
    if (changed >> irq & 1) isa_irq_(irq, wanted >> irq & 1);
}

void IsaBridge::snapshot(core::SnapshotIo& io) {
  PciFunction::snapshot(io);
  io.field("wires", wires_);
  if (io.loading()) route();
}

}  // namespace doppel::devices
