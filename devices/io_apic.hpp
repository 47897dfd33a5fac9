// The I/O APIC: 24 interrupt pins, each with a redirection entry that says which vector goes to which local
// APICs (Intel 82093AA; version 0x20 with an EOI register). Devices reach it as pins through set_irq; it
// sends through ApicBus and knows neither devices nor local APICs. A pin carries "asserted" or not: the
// polarity bit is kept for the guest and otherwise ignored, because no board inverts its lines here.
#pragma once

#include <array>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "devices/apic_bus.hpp"

namespace doppel::devices {

class IoApic final : public core::Device {
 public:
  static constexpr u32 kPins = 24;

  IoApic(core::Counters& counters, ApicBus& bus);

  [[nodiscard]] std::string_view name() const override { return "io_apic"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

  // Pins beyond the last are ignored.
  void set_irq(u8 pin, bool asserted);

 private:
  [[nodiscard]] u32 read_indirect() const;
  void write_indirect(u32 value);
  void service(u32 pin);
  void service_all();
  void end_of_interrupt(u8 vector);

  core::Counters::Counter& unknown_;
  ApicBus& bus_;
  std::array<u64, kPins> entries_{};
  u32 asserted_ = 0;      // bit n: pin n is asserted now; the wires are not part of reset
  u32 edge_pending_ = 0;  // bit n: an edge that no local APIC took yet
  u8 index_ = 0;
  u8 id_ = 0;
};

}  // namespace doppel::devices
