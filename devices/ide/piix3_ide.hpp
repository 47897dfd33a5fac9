// The IDE function of the PIIX3 (8086:7010, 00:01.1): two channels in compatibility mode, at the ports and
// interrupts a PC always had, and the bus master in BAR 4. Made by the machine, which puts drives on the
// channels. Source: Intel 82371SB (PIIX3) datasheet, "PCI IDE".
#pragma once

#include "core/bus.hpp"
#include "devices/ide/ide_channel.hpp"
#include "devices/pci_function.hpp"

namespace doppel::devices {

class Piix3Ide final : public PciFunction, public core::Device {
 public:
  // `ports` is where the bus master's BAR appears; the channels are attached by the caller.
  Piix3Ide(core::IrqLine primary, core::IrqLine secondary, core::GuestRam& ram, core::Bus& ports,
           core::Counters& counters);

  [[nodiscard]] IdeChannel& channel(u32 index) { return index ? secondary_ : primary_; }

  // PciFunction; also core::Device's. Channels included.
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

  // core::Device: the bus master's 16 ports.
  [[nodiscard]] std::string_view name() const override { return "piix3_ide"; }
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;

 private:
  IdeChannel primary_, secondary_;
};

}  // namespace doppel::devices
