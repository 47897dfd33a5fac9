// The PC's interrupt wires: each ISA line goes to the 8259 pair and to an I/O APIC pin; PCI wires go to I/O
// APIC pins 16 to 23 and, through the PIIX router, to ISA lines. Lines with several sources are wired-OR.
#pragma once

#include <array>

#include "devices/io_apic.hpp"
#include "devices/pc_layout.hpp"
#include "devices/pic_8259.hpp"

namespace doppel::machine {

class InterruptWiring {
 public:
  enum Source : u32 { kDevice = 1, kPciRouter = 2, kHpet = 4 };

  InterruptWiring(devices::Pic8259Pair& pic, devices::IoApic& io_apic) : pic_(pic), io_apic_(io_apic) {}

  // One source of ISA line `irq` changes level.
  void isa(Source source, u8 irq, bool level) {
    u32& sources = sources_[irq];
    sources = level ? sources | source : sources & ~u32{source};
    pic_.set_irq(irq, sources != 0);
    io_apic_.set_irq(irq == devices::kIrqPit ? devices::kIoApicPinPit : irq, sources != 0);
  }
  [[nodiscard]] core::IrqLine isa_line(u8 irq) {
    return core::IrqLine([this, irq](bool level) { isa(kDevice, irq, level); });
  }
  // The 8254 and the RTC lose their lines while the HPET's legacy replacement is on.
  [[nodiscard]] core::IrqLine replaceable_line(u8 irq) {
    return core::IrqLine([this, irq](bool level) {
      if (!hpet_replaces_legacy_) isa(kDevice, irq, level);
    });
  }
  void set_hpet_replaces_legacy(bool on) {
    hpet_replaces_legacy_ = on;
    const Source gone = on ? kDevice : kHpet;
    isa(gone, devices::kIrqPit, false);
    isa(gone, devices::kIrqRtc, false);
  }

 private:
  devices::Pic8259Pair& pic_;
  devices::IoApic& io_apic_;
  std::array<u32, 16> sources_{};
  bool hpet_replaces_legacy_ = false;
};

}  // namespace doppel::machine
