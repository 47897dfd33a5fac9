// The timer of a local APIC: a 32-bit down counter behind a divider, one-shot or periodic, or a deadline in
// TSC ticks (SDM Vol. 3A, "APIC Timer"). Only devices/local_apic uses it. It computes its count from the
// clock, reports expiries through a callback, and knows no vector and no register address.
#pragma once

#include <functional>
#include <memory>

#include "core/clock.hpp"
#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

class ApicTimer {
 public:
  enum class Mode : u8 { kOneShot = 0, kPeriodic = 1, kTscDeadline = 2, kReserved = 3 };

  // `hz` is the counter's input before the divider.
  ApicTimer(core::Clock& clock, u64 hz, u64 tsc_hz, std::function<void()> on_expiry);

  void reset();
  // The LVT entry. A masked periodic timer counts but does not wake anybody.
  void configure(Mode mode, bool masked);

  // All of these do what a register access does in the current mode; in TSC-deadline mode the counter is
  // dead, in the others the deadline is.
  void set_initial_count(u32 count);
  [[nodiscard]] u32 initial_count() const { return initial_; }
  [[nodiscard]] u32 current_count() const;
  void set_divide(u32 configuration);
  [[nodiscard]] u32 divide() const { return divide_; }
  void set_tsc_deadline(u64 deadline);
  [[nodiscard]] u64 tsc_deadline() const { return deadline_; }

  // TSC = clock ticks at tsc_hz + offset, modulo 2^64.
  void set_tsc_offset(u64 offset);

  void snapshot(core::SnapshotIo& io);

 private:
  [[nodiscard]] u32 divisor() const;
  [[nodiscard]] u64 elapsed() const;
  void restart(u32 first_lap);
  void expire();
  void arm(u64 earliest_ns);

  core::Clock& clock_;
  u64 hz_, tsc_hz_;
  std::function<void()> on_expiry_;
  std::unique_ptr<core::Timer> timer_;

  Mode mode_ = Mode::kOneShot;
  bool masked_ = true;
  bool running_ = false;
  u32 initial_ = 0;
  u32 divide_ = 0;     // the divide configuration register
  u32 first_lap_ = 0;  // counts from epoch_ns_ to the first expiry; later laps take `initial_`
  u64 epoch_ns_ = 0;
  u64 deadline_ = 0;  // in TSC ticks; 0 is disarmed
  u64 tsc_offset_ = 0;
};

}  // namespace doppel::devices
