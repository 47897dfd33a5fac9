// The virtual clock of one VM. TSC, PIT, RTC, HPET, APIC and ACPI timers all derive from now(), so that
// pausing and snapshots move one thing. Devices get a Clock& at construction and make their timers from it.
// Callbacks run with the machine's device lock held, never concurrently with a device access.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "core/types.hpp"

namespace doppel::core {

inline constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
inline constexpr u64 kNever = ~u64{0};

// A single deadline. Destroying it cancels it.
class Timer {
 public:
  virtual ~Timer() = default;
  virtual void arm(
      u64 deadline_ns) = 0;  // replaces an earlier deadline; one in the past fires as soon as possible
  virtual void cancel() = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual u64 now() const = 0;  // nanoseconds of guest time since power-on
  // `on_expiry` is called once per arm(), at or after the deadline.
  [[nodiscard]] virtual std::unique_ptr<Timer> make_timer(std::function<void()> on_expiry) = 0;
};

// The bookkeeping every clock shares: which timers are armed, which comes first. Not thread-safe; the owner
// locks.
class TimerQueue {
 public:
  // Called whenever the earliest deadline may have become earlier (to wake the thread that waits for it).
  explicit TimerQueue(std::function<void()> on_change = {}) : on_change_(std::move(on_change)) {}

  [[nodiscard]] std::unique_ptr<Timer> make_timer(std::function<void()> on_expiry);
  [[nodiscard]] u64 next_deadline() const { return armed_.empty() ? kNever : armed_.begin()->first; }
  // Fires every timer whose deadline is <= now, in order of deadline.
  void run_expired(u64 now);

 private:
  class Entry;
  std::multimap<u64, Entry*> armed_;
  std::function<void()> on_change_;
};

// A clock that moves only when told: for tests and deterministic execution.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] u64 now() const override { return now_; }
  [[nodiscard]] std::unique_ptr<Timer> make_timer(std::function<void()> on_expiry) override {
    return queue_.make_timer(std::move(on_expiry));
  }
  // Moves time forward, firing timers at their exact deadlines on the way.
  void advance(u64 ns);

 private:
  u64 now_ = 0;
  TimerQueue queue_;
};

}  // namespace doppel::core
