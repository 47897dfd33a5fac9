// The fixed ACPI hardware: PM1a event and control blocks and the power management timer (ACPI
// Specification, "ACPI Register Model"). Attached at kPortAcpiPm; the FADT and DSDT describe the layout below
// to the guest. Power off and the SCI leave through callbacks; it does not know the machine.
#pragma once

#include <functional>
#include <memory>

#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/device.hpp"
#include "core/irq_line.hpp"

namespace doppel::devices {

// Layout of the 16 ports, for the FADT.
inline constexpr u8 kAcpiPmEvent = 0;        // status (2 bytes), enable (2 bytes)
inline constexpr u8 kAcpiPmControl = 4;      // 2 bytes
inline constexpr u8 kAcpiPmTimer = 8;        // 4 bytes
inline constexpr u32 kAcpiPmTimerBits = 32;  // FADT flag TMR_VAL_EXT is set
inline constexpr u8 kSlpTypS5 = 0;           // SLP_TYP that \_S5 names: soft off, as in the PIIX4

class AcpiPm final : public core::Device {
 public:
  AcpiPm(core::Clock& clock, core::Counters& counters, u64 timer_hz, core::IrqLine sci,
         std::function<void()> power_off);

  [[nodiscard]] std::string_view name() const override { return "acpi_pm"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

  // The user presses the power button: a guest that listens shuts down.
  void press_power_button();

 private:
  void update();
  void write_control(u16 value, u16 mask);

  core::Clock& clock_;
  core::Counters::Counter& unknown_;
  core::Counters::Counter& unsupported_sleep_;
  u64 timer_hz_;
  core::IrqLine sci_;
  std::function<void()> power_off_;
  std::unique_ptr<core::Timer> carry_timer_;

  u16 status_ = 0, enable_ = 0, control_ = 0;
  u64 next_carry_ = 0;  // timer value, not wrapped, at which its top bit changes next
};

}  // namespace doppel::devices
