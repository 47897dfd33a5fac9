// The power management function of an i440FX board, 82371AB PIIX4 (8086:7113): it puts the ACPI registers
// and the SMBus host controller at the ports that its PMBA and SMBBA registers say. What lies there is the
// owner's. Source: Intel 82371AB datasheet (290562), "PCI Configuration Registers, Function 3".
#pragma once

#include "devices/pci_function.hpp"

namespace doppel::devices {

class Piix4Pm final : public PciFunction {
 public:
  static constexpr u64 kPmPorts = 64, kSmbusPorts = 16;

  // Mappers for kPmPorts and kSmbusPorts ports (PciFunction::attach_to).
  Piix4Pm(Mapper pm, Mapper smbus);

  // What firmware does: the ACPI registers appear at `base`.
  void place_pm(u16 base);

  void reset() override;
  void config_write(u8 offset, u32 width, u32 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Block {
    Mapper mapper;
    std::optional<u64> mapped;
    void move_to(std::optional<u64> base);
  };
  void place_blocks();

  Block pm_, smbus_;
};

}  // namespace doppel::devices
