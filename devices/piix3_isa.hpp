// The ISA bridge of an i440FX board, 82371SB PIIX3 (8086:7000), function 0 of slot 1: it routes the PCI
// interrupt lines to the 8259 pair. Source: Intel 82371SB datasheet (290550), "PIRQRC".
#pragma once

#include <functional>

#include "devices/pci_function.hpp"

namespace doppel::devices {

// Configuration registers that route PIRQA to PIRQD, one byte each; ACPI's link devices write them too.
inline constexpr u8 kPiixPirqRoute = 0x60;
inline constexpr u8 kPiixPirqDisabled = 0x80;     // bit 7: not routed; bits 3:0: the IRQ
inline constexpr u16 kPiixRoutableIrqs = 0xdef8;  // not 0, 1, 2, 8 and 13

class IsaBridge final : public PciFunction {
 public:
  // `isa_irq` drives an 8259 input; it is called on changes only, with the OR of all lines routed there.
  explicit IsaBridge(std::function<void(u8 irq, bool level)> isa_irq);

  // A line of PciBus, 0-7, changed. Lines 1 and 5 are PIRQA, 2 and 6 PIRQB, 3 and 7 PIRQC, 0 and 4 PIRQD.
  void set_wire(u8 wire, bool level);

  void reset() override;
  void config_write(u8 offset, u32 width, u32 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  void route();

  std::function<void(u8 irq, bool level)> isa_irq_;
  u8 wires_ = 0;
  u16 driven_ = 0;  // bit n: IRQ n is held high
};

}  // namespace doppel::devices
