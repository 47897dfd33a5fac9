// A standard parallel port (SPP) with a printer that is always ready. Every strobed byte goes to the backend;
// the acknowledge follows at once. Source: IEEE 1284-1994, compatibility mode; IBM PC Technical Reference,
// "Printer Adapter".
#pragma once

#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"
#include "devices/char_backend.hpp"

namespace doppel::devices {

// Offsets: 0 data, 1 status, 2 control.
class ParallelPort final : public ByteDevice {
 public:
  ParallelPort(core::IrqLine irq, CharBackend& backend, core::Counters& counters)
      : ByteDevice(counters, "parallel_port"), irq_(std::move(irq)), backend_(backend) {}

  [[nodiscard]] std::string_view name() const override { return "parallel_port"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  core::IrqLine irq_;
  CharBackend& backend_;
  u8 data_ = 0, control_ = 0;
};

}  // namespace doppel::devices
