#include "devices/apic_timer.hpp"

#include <algorithm>
#include <utility>

#include "devices/ticks.hpp"

namespace doppel::devices {

namespace {
// A guest may program a period of nanoseconds; expiries closer than this are merged.
constexpr u64 kShortestPeriodNs = 50'000;
}  // namespace

ApicTimer::ApicTimer(core::Clock& clock, u64 hz, u64 tsc_hz, std::function<void()> on_expiry)
    : clock_(clock),
      hz_(hz),
      tsc_hz_(tsc_hz),
      on_expiry_(std::move(on_expiry)),
      timer_(clock.make_timer([this] { expire(); })) {}

void ApicTimer::reset() {
  mode_ = Mode::kOneShot;
  masked_ = true;
  running_ = false;
  initial_ = divide_ = first_lap_ = 0;
  deadline_ = 0;
  timer_->cancel();
}

// "The timer mode can be changed without restarting the counter", except to and from TSC-deadline mode, which
// disarms the timer (SDM Vol. 3A, "TSC-Deadline Mode").
void ApicTimer::configure(Mode mode, bool masked) {
  const bool was_deadline = mode_ == Mode::kTscDeadline, is_deadline = mode == Mode::kTscDeadline;
  if (was_deadline != is_deadline) {
    running_ = false;
    initial_ = 0;
    deadline_ = 0;
  } else if (running_ && mode_ != Mode::kPeriodic && current_count() == 0) {
    expire();
  }
  mode_ = mode;
  masked_ = masked;
  arm(0);
}

void ApicTimer::set_initial_count(u32 count) {
  if (mode_ == Mode::kTscDeadline) return;
  initial_ = count;
  restart(count);
}

u32 ApicTimer::current_count() const {
  if (!running_) return 0;
  const u64 counted = elapsed();
  if (counted < first_lap_) return static_cast<u32>(first_lap_ - counted);
  if (mode_ != Mode::kPeriodic) return 0;
  return static_cast<u32>(initial_ - (counted - first_lap_) % initial_);
}

// The count goes on from where it is, at the new speed.
void ApicTimer::set_divide(u32 configuration) {
  const u32 rest = current_count();
  divide_ = configuration & 0xb;
  if (rest != 0) restart(rest);
}

void ApicTimer::set_tsc_deadline(u64 deadline) {
  if (mode_ != Mode::kTscDeadline) return;
  deadline_ = deadline;
  arm(0);
}

void ApicTimer::set_tsc_offset(u64 offset) {
  tsc_offset_ = offset;
  if (mode_ == Mode::kTscDeadline) arm(0);
}

// Bits 3, 1 and 0 of the register: 2, 4, 8, 16, 32, 64, 128, 1.
u32 ApicTimer::divisor() const {
  const u32 code = (divide_ >> 1 & 4) | (divide_ & 3);
  return 1u << ((code + 1) & 7);
}

u64 ApicTimer::elapsed() const {
  const u64 now = clock_.now();
  return now < epoch_ns_ ? 0 : ticks_after(now - epoch_ns_, hz_) / divisor();
}

void ApicTimer::restart(u32 first_lap) {
  first_lap_ = first_lap;
  epoch_ns_ = clock_.now();
  running_ = first_lap != 0;
  arm(0);
}

void ApicTimer::expire() {
  if (mode_ == Mode::kPeriodic) {
    arm(later(clock_.now(), kShortestPeriodNs));
  } else {
    running_ = false;
    deadline_ = 0;
  }
  on_expiry_();
}

// Sets the host timer to the next expiry, but not before `earliest_ns`.
void ApicTimer::arm(u64 earliest_ns) {
  timer_->cancel();
  if (mode_ == Mode::kTscDeadline) {
    if (deadline_ == 0) return;
    const u64 ticks = ticks_after(clock_.now(), tsc_hz_), tsc = ticks + tsc_offset_;
    if (deadline_ <= tsc)
      expire();
    else
      timer_->arm(time_of_tick(u128{ticks} + (deadline_ - tsc), tsc_hz_));
    return;
  }
  if (!running_ || (mode_ == Mode::kPeriodic && masked_)) return;
  const u64 counted = elapsed();
  u128 next = first_lap_;
  if (mode_ == Mode::kPeriodic && counted >= first_lap_)
    next += u128{(counted - first_lap_) / initial_ + 1} * initial_;
  const u64 due = later(epoch_ns_, time_of_tick(next * divisor(), hz_));
  timer_->arm(std::max(due, earliest_ns));
}

void ApicTimer::snapshot(core::SnapshotIo& io) {
  io.field("mode", mode_);
  io.field("masked", masked_);
  io.field("running", running_);
  io.field("initial", initial_);
  io.field("divide", divide_);
  io.field("first_lap", first_lap_);
  io.field("epoch", epoch_ns_);
  io.field("deadline", deadline_);
  io.field("tsc_offset", tsc_offset_);
  if (!io.loading()) return;
  running_ = running_ && initial_ != 0;
  arm(0);
}

}  // namespace doppel::devices
