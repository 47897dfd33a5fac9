// PCI bus 0: configuration mechanism 1 at ports 0xcf8-0xcff, the functions that sit in its slots, and their
// INTx pins, wired to eight lines as pci_wire() says. Absent functions read as all ones. The functions belong
// to others and outlive it. It knows no interrupt controller.
#pragma once

#include <array>
#include <functional>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "devices/pci_function.hpp"

namespace doppel::devices {

// Number of interrupt lines the slots' pins are spread over.
inline constexpr u32 kPciWires = 8;

// The line that INTA (pin 0) ... INTD (pin 3) of a slot is wired to. Line n is I/O APIC pin 16 + n.
[[nodiscard]] constexpr u8 pci_wire(u32 slot, u32 pin) {
  return static_cast<u8>((slot + pin) % kPciWires);
}

class PciBus final : public core::Device {
 public:
  // Attached at kPortPciAddress, 8 ports. `reset_control` answers byte accesses at the second of them
  // (0xcf9); `wire` learns of every change of a line.
  PciBus(core::Counters& counters, core::Device& reset_control,
         std::function<void(u8 wire, bool level)> wire);

  // Puts `function` at 00:slot.number; that place must be free. Slot below 32, number below 8.
  void insert(u32 slot, u32 number, PciFunction& function);

  [[nodiscard]] std::string_view name() const override { return "pci_bus"; }
  // Resets every function too.
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  // Saves every function too.
  void snapshot(core::SnapshotIo& io) override;

 private:
  static constexpr u32 kFunctions = 256;  // slot * 8 + number

  [[nodiscard]] PciFunction* selected() const;
  void set_intx(u32 index, bool asserted);
  template <class Action>
  void for_each(Action action) const {
    for (PciFunction* function : functions_)
      if (function) action(*function);
  }

  core::Counters::Counter& unknown_;
  core::Device& reset_control_;
  std::function<void(u8 wire, bool level)> wire_;
  std::array<PciFunction*, kFunctions> functions_{};
  std::array<u32, kPciWires> asserting_{};  // how many functions hold each line
  u32 address_ = 0;                         // the configuration address register
};

}  // namespace doppel::devices
