#include "devices/rtc_mc146818.hpp"

#include <algorithm>
#include <chrono>

#include "devices/ticks.hpp"

namespace doppel::devices {

namespace {

enum Register : u8 {
  kSeconds = 0x00,
  kSecondsAlarm = 0x01,
  kMinutes = 0x02,
  kMinutesAlarm = 0x03,
  kHours = 0x04,
  kHoursAlarm = 0x05,
  kWeekday = 0x06,  // 1 is Sunday
  kDay = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kA = 0x0a,
  kB = 0x0b,
  kC = 0x0c,
  kD = 0x0d,
  kCentury = 0x32,
};

constexpr u8 kUpdateInProgress = 0x80;  // A
constexpr u8 kDividerReset = 0x60;      // A: both bits
constexpr u8 kSet = 0x80;               // B
constexpr u8 kUpdateEnable = 0x10;      // B
constexpr u8 kBinary = 0x04;            // B
constexpr u8 k24Hours = 0x02;           // B
constexpr u8 kSquareWaveEnable = 0x08;  // B
constexpr u8 kPeriodic = 0x40;          // C flag; the same bit of B enables it
constexpr u8 kAlarm = 0x20;             // likewise
constexpr u8 kUpdate = 0x10;            // likewise
constexpr u8 kFlags = kPeriodic | kAlarm | kUpdate;
constexpr u8 kIrq = 0x80;       // C
constexpr u8 kValidRam = 0x80;  // D
constexpr u8 kPm = 0x80;        // hours in 12-hour mode

constexpr u8 kDefaultA = 0x26;  // 32768 Hz crystal, 1024 Hz periodic rate
constexpr u64 kSecond = core::kNanosecondsPerSecond;
constexpr u64 kHalfSecond = kSecond / 2;
constexpr u64 kUipLead = 244'000;  // UIP is set this long before an update
constexpr u64 kCrystalHz = 32'768;
constexpr int kSecondsPerDay = 86'400;

constexpr i64 day_of(i64 unix_seconds) {
  return std::chrono::floor<std::chrono::days>(std::chrono::seconds{unix_seconds}).count();
}

constexpr u64 cycles_at(u64 ns) {
  return ticks_after(ns, kCrystalHz);
}

}  // namespace

RtcMc146818::RtcMc146818(core::IrqLine irq8, core::Clock& clock, core::Counters& counters, i64 unix_seconds)
    : ByteDevice(counters, "rtc_mc146818"),
      irq8_(std::move(irq8)),
      clock_(clock),
      seen_(clock.now()),
      timer_(clock.make_timer([this] {
        catch_up();
        publish();
      })) {
  cmos_[kA] = kDefaultA;
  cmos_[kB] = k24Hours;
  set_date(unix_seconds + static_cast<i64>(seen_ / kSecond));
  reset();
}

void RtcMc146818::set_cmos(u8 index, u8 value) {
  if (index > kD && index != kCentury) cmos_[index & 0x7f] = value;
}

void RtcMc146818::reset() {
  catch_up();
  cmos_[kB] &= static_cast<u8>(~(kFlags | kSquareWaveEnable));
  cmos_[kC] = 0;
  index_ = 0;
  publish();
}

// --- The date in the registers.

int RtcMc146818::decode(u8 raw) const {
  return cmos_[kB] & kBinary ? raw : (raw >> 4) * 10 + (raw & 15);
}

u8 RtcMc146818::encode(int value) const {
  return static_cast<u8>(cmos_[kB] & kBinary ? value : value / 10 << 4 | value % 10);
}

int RtcMc146818::decode_hours(u8 raw) const {
  if (cmos_[kB] & k24Hours) return decode(raw);
  return decode(raw & 0x7f) % 12 + (raw & kPm ? 12 : 0);
}

u8 RtcMc146818::encode_hours(int value) const {
  if (cmos_[kB] & k24Hours) return encode(value);
  return static_cast<u8>(encode(value % 12 == 0 ? 12 : value % 12) | (value >= 12 ? kPm : 0));
}

int RtcMc146818::second_of_day() const {
  return decode_hours(cmos_[kHours]) * 3600 + decode(cmos_[kMinutes]) * 60 + decode(cmos_[kSeconds]);
}

// Registers that hold no date (a guest may write anything) are taken as the date they overflow into.
i64 RtcMc146818::date() const {
  using namespace std::chrono;
  const int year_number = decode(cmos_[kCentury]) * 100 + decode(cmos_[kYear]);
  const auto month_number = static_cast<unsigned>(std::clamp(decode(cmos_[kMonth]), 1, 12));
  const sys_days first = year{year_number} / month{month_number} / 1;
  return i64{first.time_since_epoch().count() + decode(cmos_[kDay]) - 1} * kSecondsPerDay + second_of_day();
}

void RtcMc146818::set_date(i64 unix_seconds) {
  using namespace std::chrono;
  const auto day = floor<days>(sys_seconds{seconds{unix_seconds}});
  const year_month_day calendar{day};
  const int in_day = static_cast<int>(unix_seconds - i64{day.time_since_epoch().count()} * kSecondsPerDay);
  const int year_number = std::clamp(static_cast<int>(calendar.year()), 0, 9999);
  cmos_[kSeconds] = encode(in_day % 60);
  cmos_[kMinutes] = encode(in_day / 60 % 60);
  cmos_[kHours] = encode_hours(in_day / 3600);
  cmos_[kWeekday] = static_cast<u8>(weekday{day}.c_encoding() + 1);
  cmos_[kDay] = encode(static_cast<int>(static_cast<unsigned>(calendar.day())));
  cmos_[kMonth] = encode(static_cast<int>(static_cast<unsigned>(calendar.month())));
  cmos_[kYear] = encode(year_number % 100);
  cmos_[kCentury] = encode(year_number / 100);
}

// From the second the registers show to the next one that matches the alarm. Alarm bytes 0xc0-0xff match
// anything; a byte that is no time never matches.
std::optional<u32> RtcMc146818::seconds_to_alarm() const {
  const auto wanted = [](u8 raw, int value) { return raw >= 0xc0 ? -1 : value; };
  const int hour = wanted(cmos_[kHoursAlarm], decode_hours(cmos_[kHoursAlarm]));
  const int minute = wanted(cmos_[kMinutesAlarm], decode(cmos_[kMinutesAlarm]));
  const int second = wanted(cmos_[kSecondsAlarm], decode(cmos_[kSecondsAlarm]));
  if (hour > 23 || minute > 59 || second > 59) return {};

  const int start = second_of_day();
  for (int t = start + 1; t <= start + kSecondsPerDay;) {
    if (hour >= 0 && t / 3600 % 24 != hour)
      t = (t / 3600 + 1) * 3600;
    else if (minute >= 0 && t / 60 % 60 != minute)
      t = (t / 60 + 1) * 60;
    else if (second >= 0 && t % 60 != second)
      ++t;
    else
      return static_cast<u32>(t - start);
  }
  return {};
}

// --- Time.

bool RtcMc146818::divider_held() const {
  return (cmos_[kA] & kDividerReset) == kDividerReset;
}

bool RtcMc146818::date_held() const {
  return divider_held() || (cmos_[kB] & kSet);
}

u64 RtcMc146818::period() const {
  const u32 rate = cmos_[kA] & 15;
  if (rate == 0) return 0;
  return u64{1} << (rate < 3 ? rate + 6 : rate - 1);  // MC146818A, table 5
}

void RtcMc146818::catch_up() {
  const u64 now = clock_.now();
  if (now <= seen_) return;
  const u64 from = seen_ - origin_;
  const u64 to = now - origin_;
  seen_ = now;
  if (divider_held()) return;

  if (period() != 0 && cycles_at(to) / period() != cycles_at(from) / period()) cmos_[kC] |= kPeriodic;
  const u64 updates = to / kSecond - from / kSecond;
  if (updates == 0 || date_held()) return;
  cmos_[kC] |= kUpdate;
  if (const auto alarm = seconds_to_alarm(); alarm && *alarm <= updates) cmos_[kC] |= kAlarm;
  // The weekday is a counter of its own: it steps at midnight from whatever it was set to.
  const u8 weekday = cmos_[kWeekday];
  const i64 before = date();
  const i64 after = before + static_cast<i64>(updates);
  set_date(after);
  const i64 midnights = day_of(after) - day_of(before);
  cmos_[kWeekday] = static_cast<u8>((weekday + 6 + midnights % 7 + 7) % 7 + 1);
}

void RtcMc146818::publish() {
  const bool raised = cmos_[kB] & cmos_[kC] & kFlags;
  cmos_[kC] = static_cast<u8>((cmos_[kC] & kFlags) | (raised ? kIrq : 0));
  irq8_.set(raised);
  // A raised line stays so until register C is read: nothing more can happen to it.
  const u64 next = raised ? core::kNever : next_interrupt();
  if (next == core::kNever)
    timer_->cancel();
  else
    timer_->arm(next);
}

u64 RtcMc146818::next_interrupt() const {
  u64 next = core::kNever;
  if (divider_held()) return next;
  const u64 elapsed = seen_ - origin_;
  if ((cmos_[kB] & kPeriodic) && period() != 0)
    next = time_of_tick((cycles_at(elapsed) / period() + 1) * period(), kCrystalHz);
  if (!date_held()) {
    const u64 second = elapsed / kSecond;
    if (cmos_[kB] & kUpdate) next = std::min(next, (second + 1) * kSecond);
    if (cmos_[kB] & kAlarm)
      if (const auto alarm = seconds_to_alarm()) next = std::min(next, (second + *alarm) * kSecond);
  }
  return next == core::kNever ? next : next + origin_;
}

// --- Ports.

u8 RtcMc146818::read_byte(u64 offset) {
  if (offset == 0) return 0xff;  // the index port cannot be read
  if (offset > 1) return unknown_read(offset);
  catch_up();
  const u8 value = read_register();
  publish();
  return value;
}

u8 RtcMc146818::read_register() {
  switch (index_) {
    case kA: {
      const bool updating = !date_held() && (seen_ - origin_) % kSecond >= kSecond - kUipLead;
      return static_cast<u8>(cmos_[kA] | (updating ? kUpdateInProgress : 0));
    }
    case kC: {
      const u8 value = cmos_[kC];
      cmos_[kC] = 0;
      return static_cast<u8>(value | (value & cmos_[kB] & kFlags ? kIrq : 0));
    }
    case kD:
      return kValidRam;
    default:
      return cmos_[index_];
  }
}

void RtcMc146818::write_byte(u64 offset, u8 value) {
  if (offset > 1) return unknown_write(offset, value);
  if (offset == 0) {
    index_ = value & 0x7f;
    return;
  }
  catch_up();
  write_register(value);
  publish();
}

void RtcMc146818::write_register(u8 value) {
  switch (index_) {
    case kA:
      write_a(value);
      break;
    case kB:
      cmos_[kB] = value & kSet ? value & ~kUpdateEnable : value;  // MC146818A: SET clears UIE
      break;
    case kC:
    case kD:
      break;  // read-only
    default:
      cmos_[index_] = value;
  }
}

void RtcMc146818::write_a(u8 value) {
  const bool was_held = divider_held();
  cmos_[kA] = value & ~kUpdateInProgress;
  // The first update comes half a second after the divider is let go (MC146818A, "Divider Control").
  if (was_held && !divider_held()) origin_ = clock_.now() - kHalfSecond;
}

void RtcMc146818::snapshot(core::SnapshotIo& io) {
  if (!io.loading()) catch_up();
  io.field("cmos", cmos_);
  io.field("index", index_);
  io.field("origin", origin_);
  io.field("seen", seen_);
  if (!io.loading()) return;
  index_ &= 0x7f;
  // Keeps the arithmetic of next_interrupt() far from overflow, whatever the stream says.
  seen_ = std::min(seen_, u64{1} << 62);
  if (seen_ - origin_ > u64{1} << 62) origin_ = seen_;
  publish();
}

}  // namespace doppel::devices
