#include "devices/pci_bus.hpp"

#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kAddress = 0, kResetControl = 1, kData = 4, kEnd = 8;
constexpr u32 kEnable = 1u << 31, kAddressBits = 0x80ff'fffc;

}  // namespace

PciBus::PciBus(core::Counters& counters, core::Device& reset_control,
               std::function<void(u8 wire, bool level)> wire)
    : unknown_(counters["pci_bus.unknown"]), reset_control_(reset_control), wire_(std::move(wire)) {}

void PciBus::insert(u32 slot, u32 number, PciFunction& function) {
  const u32 index = slot * 8 + number;
  DOPPEL_CHECK(slot < 32 && number < 8 && !functions_[index], "PCI function 00:{:02x}.{}", slot, number);
  functions_[index] = &function;
  function.on_intx([this, index](bool asserted) { set_intx(index, asserted); });
}

void PciBus::reset() {
  address_ = 0;
  for_each([](PciFunction& function) { function.reset(); });
}

PciFunction* PciBus::selected() const {
  const bool bus0 = (address_ >> 16 & 0xff) == 0;
  return (address_ & kEnable) && bus0 ? functions_[address_ >> 8 & 0xff] : nullptr;
}

// The address register takes whole dwords only; narrower accesses there belong to whoever else has those
// ports (440FX, "CONFADD").
u64 PciBus::read(u64 offset, u32 width) {
  if (offset == kAddress && width == 4) return address_;
  if (offset == kResetControl && width == 1) return reset_control_.read(0, 1);
  if (offset >= kData && offset < kEnd && width <= kEnd - offset) {
    PciFunction* function = selected();
    if (!function) return ~u64{0};
    return function->config_read(static_cast<u8>((address_ & 0xfc) + (offset - kData)), width);
  }
  ++unknown_;
  core::log(core::LogCategory::kPci, "pci_bus: read of {} bytes at port {:#x}", width, 0xcf8 + offset);
  return ~u64{0};
}

void PciBus::write(u64 offset, u32 width, u64 value) {
  if (offset == kAddress && width == 4) {
    address_ = static_cast<u32>(value) & kAddressBits;
  } else if (offset == kResetControl && width == 1) {
    reset_control_.write(0, 1, value);
  } else if (offset >= kData && offset < kEnd && width <= kEnd - offset) {
    PciFunction* function = selected();
    if (!function) return;
    function->config_write(static_cast<u8>((address_ & 0xfc) + (offset - kData)), width,
                           static_cast<u32>(value));
    // All of them: what this one has left may be what another one is waiting for.
    for_each([](PciFunction& f) { f.update_bars(); });
  } else {
    ++unknown_;
    core::log(core::LogCategory::kPci, "pci_bus: write of {} bytes at port {:#x}", width, 0xcf8 + offset);
  }
}

void PciBus::set_intx(u32 index, bool asserted) {
  const u32 pin = functions_[index]->interrupt_pin();
  if (pin == 0) return;
  const u8 wire = pci_wire(index / 8, pin - 1);
  const bool was = asserting_[wire] != 0;
  asserting_[wire] += asserted ? 1 : -1u;
  const bool is = asserting_[wire] != 0;
  if (is != was) wire_(wire, is);
}

void PciBus::snapshot(core::SnapshotIo& io) {
  io.field("address", address_);
  address_ &= kAddressBits;
  for_each([&](PciFunction& function) { function.snapshot(io); });
}

}  // namespace doppel::devices
