#include "devices/acpi_pm.hpp"

#include <utility>

#include "core/log.hpp"
#include "devices/ticks.hpp"

namespace doppel::devices {

namespace {

// PM1 status and enable bits (ACPI Specification, "PM1 Status Registers").
constexpr u16 kTimer = 1u << 0, kGlobal = 1u << 5, kPowerButton = 1u << 8, kSleepButton = 1u << 9,
              kRtc = 1u << 10;
constexpr u16 kEnableBits = kTimer | kGlobal | kPowerButton | kSleepButton | kRtc;

// PM1 control bits ("PM1 Control Registers"); GBL_RLS and SLP_EN are write-only.
constexpr u16 kSciEnable = 1u << 0, kBusMasterReload = 1u << 1, kSleepType = 7u << 10,
              kSleepEnable = 1u << 13;
constexpr u32 kSleepTypeShift = 10;

constexpr u64 kHalfPeriod = u64{1} << (kAcpiPmTimerBits - 1);  // ticks between changes of the top bit
constexpr u64 kImplementedPorts = kAcpiPmTimer + 4;

}  // namespace

AcpiPm::AcpiPm(core::Clock& clock, core::Counters& counters, u64 timer_hz, core::IrqLine sci,
               std::function<void()> power_off)
    : clock_(clock),
      unknown_(counters["acpi_pm.unknown"]),
      unsupported_sleep_(counters["acpi_pm.unsupported_sleep"]),
      timer_hz_(timer_hz),
      sci_(std::move(sci)),
      power_off_(std::move(power_off)),
      carry_timer_(clock.make_timer([this] { update(); })) {}

// SCI_EN starts set: the FADT has no SMI command port, so the guest takes the hardware to be in ACPI mode.
void AcpiPm::reset() {
  status_ = enable_ = 0;
  control_ = kSciEnable;
  next_carry_ = (ticks_after(clock_.now(), timer_hz_) / kHalfPeriod + 1) * kHalfPeriod;
  update();
}

u64 AcpiPm::read(u64 offset, u32 width) {
  if (offset >= kImplementedPorts || width > kImplementedPorts - offset) {
    ++unknown_;
    core::log(core::LogCategory::kPort, "acpi_pm: read of {} bytes at {:#x}", width, offset);
    return ~u64{0};
  }
  update();
  const u64 timer = ticks_after(clock_.now(), timer_hz_) & 0xffff'ffff;
  const u64 low = u64{status_} | u64{enable_} << 16 | u64{control_} << 32;
  return static_cast<u64>((u128{timer} << kAcpiPmTimer * 8 | low) >> offset * 8);
}

void AcpiPm::write(u64 offset, u32 width, u64 value) {
  if (offset >= kAcpiPmControl + 2 || width > kAcpiPmControl + 2 - offset || width > 4) {
    ++unknown_;
    core::log(core::LogCategory::kPort, "acpi_pm: write of {} bytes at {:#x}", width, offset);
    return;
  }
  // The bytes written, and which they are, in the layout of the whole block.
  const u64 mask = ((u64{1} << width * 8) - 1) << offset * 8;
  const u64 bytes = value << offset * 8 & mask;
  const auto part = [](u64 block, u32 at) { return static_cast<u16>(block >> at * 8); };

  update();
  status_ &= static_cast<u16>(~part(bytes, kAcpiPmEvent));
  if (const u16 m = part(mask, kAcpiPmEvent + 2))
    enable_ = static_cast<u16>(((enable_ & ~m) | part(bytes, kAcpiPmEvent + 2)) & kEnableBits);
  if (const u16 m = part(mask, kAcpiPmControl)) write_control(part(bytes, kAcpiPmControl), m);
  update();
}

void AcpiPm::write_control(u16 value, u16 mask) {
  control_ = static_cast<u16>(((control_ & ~mask) | value) & (kSciEnable | kBusMasterReload | kSleepType));
  if (!(value & kSleepEnable)) return;
  const u32 type = (control_ & kSleepType) >> kSleepTypeShift;
  if (type == kSlpTypS5) {
    power_off_();
    return;
  }
  ++unsupported_sleep_;
  core::log(core::LogCategory::kMachine, "acpi_pm: sleep type {} is not supported", type);
}

// Brings TMR_STS, the SCI and the timer for the next change of the counter's top bit up to date.
void AcpiPm::update() {
  const u64 ticks = ticks_after(clock_.now(), timer_hz_);
  if (ticks >= next_carry_) {
    status_ |= kTimer;
    next_carry_ = (ticks / kHalfPeriod + 1) * kHalfPeriod;
  }
  if ((enable_ & kTimer) && !(status_ & kTimer))
    carry_timer_->arm(time_of_tick(next_carry_, timer_hz_));
  else
    carry_timer_->cancel();
  sci_.set((control_ & kSciEnable) && (status_ & enable_) != 0);
}

void AcpiPm::press_power_button() {
  status_ |= kPowerButton;
  update();
}

void AcpiPm::snapshot(core::SnapshotIo& io) {
  io.field("status", status_);
  io.field("enable", enable_);
  io.field("control", control_);
  io.field("next_carry", next_carry_);
  if (io.loading()) update();
}

}  // namespace doppel::devices
