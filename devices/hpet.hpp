// The high precision event timers: a 64-bit up counter and three comparators (IA-PC HPET Specification 1.0a).
// The first can be periodic; no FSB (MSI) delivery is claimed. Interrupts leave through `Wires`: to I/O APIC
// pins, or in legacy replacement mode as IRQ 0 and IRQ 8, which the machine then takes from the 8254 and the
// RTC. It knows no interrupt controller.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/device.hpp"

namespace doppel::devices {

class Hpet final : public core::Device {
 public:
  static constexpr u32 kTimers = 3;

  struct Wires {
    std::function<void(u8 pin, bool level)> io_apic;
    std::function<void(u8 irq, bool level)> legacy;        // irq is 0 or 8
    std::function<void(bool enabled)> legacy_replacement;  // silence (true) or restore the 8254 and the RTC
  };

  // `hz` at least 10 MHz, as the specification demands. `route_capabilities`: bit n says that timers may be
  // routed to I/O APIC pin n.
  Hpet(core::Clock& clock, core::Counters& counters, u64 hz, u32 route_capabilities, Wires wires);

  [[nodiscard]] std::string_view name() const override { return "hpet"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Channel {
    u64 configuration = 0;
    u64 comparator = 0;
    u64 period = 0;  // what a match adds in periodic mode
  };

  [[nodiscard]] bool running() const;
  [[nodiscard]] u64 counter() const;
  [[nodiscard]] static u64 width_mask(const Channel& channel);
  [[nodiscard]] bool periodic(const Channel& channel) const;

  [[nodiscard]] u64 read_register(u64 offset) const;
  void write_register(u64 offset, u64 value, u64 mask);
  void write_configuration(u64 value);
  void write_channel(u32 index, u64 offset, u64 value, u64 mask);
  void write_comparator(Channel& channel, u64 value, u64 mask);

  void arm(u32 index, bool matched);
  void arm_all();
  void expire(u32 index);
  void update_lines();
  void drive(bool legacy, u8 line, bool level);
  void pulse(u32 index);

  core::Clock& clock_;
  core::Counters::Counter& unknown_;
  u64 hz_;
  u64 capabilities_;
  u64 route_capabilities_;
  Wires wires_;
  std::array<std::unique_ptr<core::Timer>, kTimers> timers_;

  std::array<Channel, kTimers> channels_;
  std::array<u64, kTimers> due_;  // when each host timer fires, or kNever
  u64 configuration_ = 0;
  u32 status_ = 0;
  u64 counter_base_ = 0;  // counter at epoch_ns_, or its value while halted
  u64 epoch_ns_ = 0;
  u64 asserted_ = 0;  // bits 0-31: I/O APIC pins held high by level interrupts; bits 32, 40: IRQ 0 and 8
};

}  // namespace doppel::devices
