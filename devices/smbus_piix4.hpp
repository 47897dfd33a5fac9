// The SMBus host controller of the PIIX4, with nothing on its bus: every transfer ends at once because no
// device acknowledges. Drivers find it, scan the bus and give up. Source: Intel 82371AB datasheet (290562),
// "SMBus Host Interface I/O Registers".
#pragma once

#include <array>

#include "devices/byte_device.hpp"

namespace doppel::devices {

class SmbusPiix4 final : public ByteDevice {
 public:
  explicit SmbusPiix4(core::Counters& counters) : ByteDevice(counters, "smbus_piix4") {}

  [[nodiscard]] std::string_view name() const override { return "smbus_piix4"; }
  void reset() override { registers_.fill(0); }
  void snapshot(core::SnapshotIo& io) override { io.field("registers", registers_); }

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  std::array<u8, 14> registers_{};
};

}  // namespace doppel::devices
