// The MC146818 real-time clock with 128 bytes of battery-backed CMOS RAM (MC146818A datasheet; ICH9
// datasheet, "Real Time Clock Registers"). Its registers are the state: they are brought up to date from the
// virtual clock whenever somebody looks, and a timer is armed only while an enabled interrupt waits for it.
// The machine says what the date is at power-on and fills in the CMOS bytes that describe the PC.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "core/clock.hpp"
#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"

namespace doppel::devices {

// Offsets: 0 index (bit 7, the NMI mask, is not stored), 1 data.
class RtcMc146818 final : public ByteDevice {
 public:
  // `unix_seconds`: the date the guest sees at time zero of `clock`, as seconds since 1970 in the time zone
  // the guest expects.
  RtcMc146818(core::IrqLine irq8, core::Clock& clock, core::Counters& counters, i64 unix_seconds);

  // Machine set-up of a CMOS byte (0x0e-0x7f), without side effects; the date and registers A-D are refused.
  void set_cmos(u8 index, u8 value);
  [[nodiscard]] u8 cmos(u8 index) const { return cmos_[index & 0x7f]; }

  [[nodiscard]] std::string_view name() const override { return "rtc_mc146818"; }
  void reset() override;  // the date and the CMOS survive
  void snapshot(core::SnapshotIo& io) override;

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  [[nodiscard]] u8 read_register();
  void write_register(u8 value);
  void write_a(u8 value);

  [[nodiscard]] int decode(u8 raw) const;
  [[nodiscard]] u8 encode(int value) const;
  [[nodiscard]] int decode_hours(u8 raw) const;
  [[nodiscard]] u8 encode_hours(int value) const;
  [[nodiscard]] i64 date() const;  // seconds since 1970 that the registers show
  void set_date(i64 unix_seconds);
  [[nodiscard]] int second_of_day() const;
  [[nodiscard]] std::optional<u32> seconds_to_alarm() const;

  [[nodiscard]] bool divider_held() const;
  [[nodiscard]] bool date_held() const;
  [[nodiscard]] u64 period() const;  // of the periodic interrupt, in 32768 Hz cycles; 0: off
  void catch_up();
  void publish();
  [[nodiscard]] u64 next_interrupt() const;

  core::IrqLine irq8_;
  core::Clock& clock_;
  std::array<u8, 128> cmos_{};
  u8 index_ = 0;
  u64 origin_ = 0;  // when the divider chain last started a second; may lie before time zero (wraps)
  u64 seen_ = 0;    // up to when the registers are right
  std::unique_ptr<core::Timer> timer_;
};

}  // namespace doppel::devices
