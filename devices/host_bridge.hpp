// The two chips every operating system expects on an i440FX board: the host bridge at 00:00.0 and the ISA
// bridge at 00:01.0, which routes the PCI interrupt lines to the 8259 pair. RAM shadowing and SMRAM are not
// modelled: their registers hold what is written, and all of the first MiB is RAM.
#pragma once

#include <array>
#include <functional>

#include "devices/pci_function.hpp"

namespace doppel::devices {

// 82441FX (8086:1237).
class HostBridge final : public PciFunction {
 public:
  HostBridge();
};

// 82371SB, PIIX3 (8086:7000), function 0.
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
