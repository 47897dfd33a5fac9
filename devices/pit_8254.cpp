#include "devices/pit_8254.hpp"

#include <algorithm>
#include <utility>

#include "devices/snapshot_flag.hpp"
#include "devices/ticks.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kHz = 1'193'182;

constexpr u64 kMaxPulses = u64{1} << 52;  // a century: bounds what a snapshot may claim, against overflow

constexpr u32 from_bcd(u32 raw) {
  return (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15);
}

constexpr u16 to_bcd(u32 value) {
  return static_cast<u16>(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                          value % 10);
}

}  // namespace

// --- One counter. While loaded, everything follows from `initial_` (N) and `elapsed_` (e):
//
//   mode 0     OUT rises at e = N                        count N - e, wrapping
//   mode 1     OUT low until e = N                       count N - e, wrapping
//   mode 2     OUT low for the last pulse of N           count N - e % N
//   mode 3     OUT high for (N + 1) / 2 pulses of N      count by twos, from an even number, in each half
//   mode 4, 5  OUT low for the one pulse at e = N        count N - e, wrapping

bool PitCounter::output() const {
  if (mode_ == 0) return loaded_ && !load_next_ && !half_written_ && elapsed_ >= initial_;
  if (!loaded_) return true;
  switch (mode_) {
    case 1:
      return elapsed_ >= initial_;
    case 2:
      return !gate_ || load_next_ || elapsed_ % initial_ != initial_ - 1;
    case 3:
      return !gate_ || load_next_ || elapsed_ % initial_ < (initial_ + 1) / 2;
    default:
      return elapsed_ != initial_;
  }
}

bool PitCounter::counting() const {
  if (!loaded_) return false;
  if (mode_ == 1 || mode_ == 5) return true;  // their gate only triggers
  return gate_ && !half_written_;
}

u32 PitCounter::count() const {
  if (mode_ == 2) return static_cast<u32>(initial_ - elapsed_ % initial_) % modulus();
  if (mode_ == 3) {
    const u64 position = elapsed_ % initial_;
    const u32 half = (initial_ + 1) / 2;
    return static_cast<u32>((initial_ & ~1u) - 2 * (position < half ? position : position - half)) %
           modulus();
  }
  return static_cast<u32>(initial_ + modulus() - elapsed_ % modulus()) % modulus();
}

u16 PitCounter::visible_count() const {
  if (!loaded_) return stopped_count_;
  return bcd_ ? to_bcd(count()) : static_cast<u16>(count());
}

u64 PitCounter::next_rise(u64 elapsed, u32 initial) const {
  switch (mode_) {
    case 0:
    case 1:
      return elapsed < initial ? initial : core::kNever;
    case 2:
    case 3:
      return initial < 2 ? core::kNever : (elapsed / initial + 1) * initial;
    default:
      return elapsed <= initial ? u64{initial} + 1 : core::kNever;
  }
}

// A new count takes effect at the end of the period in mode 2, of the half period in mode 3.
u64 PitCounter::pulses_to_new_count() const {
  const u64 position = elapsed_ % initial_;
  const u32 half = (initial_ + 1) / 2;
  return (mode_ == 3 && position < half ? half : initial_) - position;
}

u64 PitCounter::pulses_to_rise() const {
  if (load_next_) {
    if (!output() && mode_ >= 4) return 1;
    const bool will_count = gate_ || mode_ == 1 || mode_ == 5;
    return will_count && next_rise(0, reload_) != core::kNever ? 1 + next_rise(0, reload_) : core::kNever;
  }
  if (!counting()) return core::kNever;
  const u64 rise = next_rise(elapsed_, initial_);
  const u64 pulses = rise == core::kNever ? core::kNever : rise - elapsed_;
  return periodic() && null_count_ ? std::min(pulses, pulses_to_new_count()) : pulses;
}

bool PitCounter::take_rise() {
  return std::exchange(rose_, false);
}

template <class Change>
void PitCounter::watching_output(Change change) {
  const bool before = output();
  change();
  if (!before && output()) rose_ = true;
}

void PitCounter::run(u64 pulses) {
  const u64 rise = next_rise(elapsed_, initial_);
  elapsed_ += pulses;
  if (rise <= elapsed_) rose_ = true;
}

void PitCounter::load() {
  initial_ = reload_;
  elapsed_ = 0;
  loaded_ = true;
  load_next_ = null_count_ = false;
}

void PitCounter::clock(u64 pulses) {
  if (pulses == 0) return;
  if (load_next_) {
    watching_output([&] { load(); });
    --pulses;
  }
  if (!counting()) return;
  if (periodic() && null_count_ && pulses >= pulses_to_new_count()) {
    const u64 before = pulses_to_new_count();
    const bool first_half_ends = mode_ == 3 && elapsed_ % initial_ < (initial_ + 1) / 2;
    run(before);
    pulses -= before;
    load();
    if (first_half_ends) elapsed_ = (initial_ + 1) / 2;
  }
  run(pulses);
}

void PitCounter::write_control(u8 control) {
  watching_output([&] {
    stopped_count_ = visible_count();
    access_ = control >> 4 & 3;
    mode_ = control >> 1 & 7;
    if (mode_ > 5) mode_ -= 4;  // the high bit of modes 2 and 3 is a don't-care
    bcd_ = control & 1;
    null_count_ = true;
    armed_ = loaded_ = load_next_ = half_written_ = false;
    write_high_ = read_high_ = count_latched_ = status_latched_ = false;
  });
}

void PitCounter::write(u8 value) {
  if (access_ == 1) return set_count(value);
  if (access_ == 2) return set_count(static_cast<u16>(value << 8));
  if (write_high_) {
    write_high_ = false;
    return set_count(static_cast<u16>(value << 8 | low_byte_));
  }
  low_byte_ = value;
  write_high_ = true;
  half_written_ = mode_ == 0;
}

void PitCounter::set_count(u16 raw) {
  const u32 value = (bcd_ ? from_bcd(raw) : raw) % modulus();
  watching_output([&] {
    reload_ = value == 0 ? modulus() : value;
    null_count_ = armed_ = true;
    half_written_ = false;
    if (mode_ == 0 || mode_ == 4 || (periodic() && !loaded_)) load_next_ = true;
  });
}

void PitCounter::set_gate(bool level) {
  if (level == gate_) return;
  watching_output([&] {
    gate_ = level;
    if (gate_ && armed_ && mode_ != 0 && mode_ != 4) load_next_ = true;
  });
}

void PitCounter::latch_count() {
  if (count_latched_) return;
  count_latched_ = true;
  latched_count_ = visible_count();
}

void PitCounter::latch_status() {
  if (status_latched_) return;
  status_latched_ = true;
  latched_status_ = static_cast<u8>(output() << 7 | null_count_ << 6 | access_ << 4 | mode_ << 1 | bcd_);
}

u8 PitCounter::read() {
  if (std::exchange(status_latched_, false)) return latched_status_;
  const u16 value = count_latched_ ? latched_count_ : visible_count();
  const bool high = access_ == 2 || (access_ == 3 && read_high_);
  if (access_ == 3) read_high_ = !read_high_;
  if (access_ != 3 || high) count_latched_ = false;
  return static_cast<u8>(high ? value >> 8 : value);
}

void PitCounter::snapshot(core::SnapshotIo& io) {
  io.field("mode", mode_);
  io.field("access", access_);
  io.field("low_byte", low_byte_);
  io.field("latched_status", latched_status_);
  io.field("latched_count", latched_count_);
  io.field("stopped_count", stopped_count_);
  io.field("reload", reload_);
  io.field("initial", initial_);
  io.field("elapsed", elapsed_);
  snapshot_flag(io, "gate", gate_);
  snapshot_flag(io, "bcd", bcd_);
  snapshot_flag(io, "write_high", write_high_);
  snapshot_flag(io, "read_high", read_high_);
  snapshot_flag(io, "count_latched", count_latched_);
  snapshot_flag(io, "status_latched", status_latched_);
  snapshot_flag(io, "armed", armed_);
  snapshot_flag(io, "null_count", null_count_);
  snapshot_flag(io, "load_next", load_next_);
  snapshot_flag(io, "loaded", loaded_);
  snapshot_flag(io, "half_written", half_written_);
  snapshot_flag(io, "rose", rose_);
  mode_ = std::min<u8>(mode_, 5);
  access_ &= 3;
  elapsed_ = std::min(elapsed_, kMaxPulses);
  reload_ = std::clamp<u32>(reload_, 1, modulus());
  initial_ = std::clamp<u32>(initial_, 1, modulus());
}

// --- The chip.

void Pit8254::reset() {
  counters_ = {PitCounter(true), PitCounter(true), PitCounter(false)};
}

void Pit8254::clock(u64 pulses) {
  for (auto& counter : counters_) counter.clock(pulses);
}

u8 Pit8254::read(u8 address) {
  return address < kCounters ? counters_[address].read() : u8{0xff};
}

void Pit8254::write(u8 address, u8 value) {
  if (address < kCounters) return counters_[address].write(value);
  const u8 select = value >> 6;
  if (select == 3) {  // read-back; bits 5 and 4 are active low
    for (u8 i = 0; i < kCounters; ++i) {
      if (!(value >> (i + 1) & 1)) continue;
      if (!(value & 0x20)) counters_[i].latch_count();
      if (!(value & 0x10)) counters_[i].latch_status();
    }
  } else if ((value & 0x30) == 0) {
    counters_[select].latch_count();
  } else {
    counters_[select].write_control(value);
  }
}

void Pit8254::snapshot(core::SnapshotIo& io) {
  for (auto& counter : counters_) counter.snapshot(io);
}

// --- The ports.

PitDevice::PitDevice(core::IrqLine irq0, core::Clock& clock, core::Counters& counters)
    : ByteDevice(counters, "pit_8254"),
      irq0_(std::move(irq0)),
      clock_(clock),
      timer_(clock.make_timer([this] {
        deadline_ = core::kNever;
        catch_up();
        publish();
      })) {
  reset();
}

void PitDevice::reset() {
  chip_.reset();
  pulse_ = ticks_after(clock_.now(), kHz);
  publish();
}

void PitDevice::catch_up() {
  const u64 now = ticks_after(clock_.now(), kHz);
  if (now <= pulse_) return;
  chip_.clock(now - pulse_);
  pulse_ = now;
}

// Shows OUT 0 to the interrupt line and wakes up for its next rise.
void PitDevice::publish() {
  PitCounter& timer = chip_.counter(0);
  if (timer.take_rise()) {
    irq0_.set(false);
    irq0_.set(true);
  }
  irq0_.set(timer.output());

  const u64 pulses = timer.pulses_to_rise();
  const u64 deadline = pulses == core::kNever ? core::kNever : time_of_tick(pulse_ + pulses, kHz);
  if (deadline == deadline_) return;
  deadline_ = deadline;
  if (deadline == core::kNever)
    timer_->cancel();
  else
    timer_->arm(deadline);
}

void PitDevice::set_gate2(bool level) {
  catch_up();
  chip_.counter(2).set_gate(level);
}

bool PitDevice::output2() {
  catch_up();
  return chip_.counter(2).output();
}

u8 PitDevice::read_byte(u64 offset) {
  if (offset > 3) return unknown_read(offset);
  catch_up();
  const u8 value = chip_.read(static_cast<u8>(offset));
  publish();
  return value;
}

void PitDevice::write_byte(u64 offset, u8 value) {
  if (offset > 3) return unknown_write(offset, value);
  catch_up();
  chip_.write(static_cast<u8>(offset), value);
  core::log(core::LogCategory::kTimer, "pit_8254: port {} <- {:#04x}", offset, value);
  publish();
}

void PitDevice::snapshot(core::SnapshotIo& io) {
  if (!io.loading()) catch_up();
  chip_.snapshot(io);
  io.field("pulse", pulse_);
  if (!io.loading()) return;
  pulse_ = std::min(pulse_, kMaxPulses);
  deadline_ = core::kNever;
  timer_->cancel();
  publish();
}

}  // namespace doppel::devices
