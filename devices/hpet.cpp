#include "devices/hpet.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "devices/ticks.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kCapabilities = 0x000, kConfiguration = 0x010, kStatus = 0x020, kCounter = 0x0f0;
constexpr u64 kChannels = 0x100, kChannelSize = 0x20;
constexpr u64 kChannelConfiguration = 0x00, kChannelComparator = 0x08;

// Capabilities: vendor 8086, legacy replacement, 64-bit counter, number of the last timer, revision 1.
constexpr u64 kCapabilityBits = 0x8086'0000 | 1u << 15 | 1u << 13 | (Hpet::kTimers - 1) << 8 | 1;
constexpr u64 kFemtosecondsPerSecond = 1'000'000'000'000'000;

constexpr u64 kEnable = 1u << 0, kLegacyReplacement = 1u << 1;

// Timer configuration and capability register.
constexpr u64 kLevel = 1u << 1, kInterruptEnable = 1u << 2, kPeriodic = 1u << 3, kPeriodicCapable = 1u << 4,
              k64BitCapable = 1u << 5, kSetValue = 1u << 6, k32BitMode = 1u << 8;
constexpr u32 kRouteShift = 9;
constexpr u64 kChannelWritable =
    kLevel | kInterruptEnable | kPeriodic | kSetValue | k32BitMode | 0x1fu << kRouteShift;

// A guest may program a period of nanoseconds; expiries closer than this are merged.
constexpr u64 kShortestPeriodNs = 50'000;

constexpr u32 kLegacyLine0 = 32;  // where asserted_ keeps IRQ 0; IRQ 8 is eight further
constexpr u64 kDrivenLines = u64{1} << (kLegacyLine0 + 8) | u64{1} << kLegacyLine0 | 0xffff'ffff;

u8 route(u64 configuration) {
  return configuration >> kRouteShift & 0x1f;
}

u64 merge(u64 old, u64 value, u64 mask) {
  return (old & ~mask) | (value & mask);
}

}  // namespace

Hpet::Hpet(core::Clock& clock, core::Counters& counters, u64 hz, u32 route_capabilities, Wires wires)
    : clock_(clock),
      unknown_(counters["hpet.unknown"]),
      hz_(hz),
      capabilities_((kFemtosecondsPerSecond / hz) << 32 | kCapabilityBits),
      route_capabilities_(u64{route_capabilities} << 32),
      wires_(std::move(wires)) {
  due_.fill(core::kNever);
  for (u32 i = 0; i < kTimers; ++i) timers_[i] = clock.make_timer([this, i] { expire(i); });
}

void Hpet::reset() {
  write_configuration(0);
  channels_.fill({});
  for (u32 i = 0; i < kTimers; ++i) {
    channels_[i].configuration = k64BitCapable | (i == 0 ? kPeriodicCapable : 0) | route_capabilities_;
    channels_[i].comparator = ~u64{0};
  }
  status_ = 0;
  counter_base_ = 0;
  arm_all();
  update_lines();
}

bool Hpet::running() const {
  return configuration_ & kEnable;
}

u64 Hpet::counter() const {
  const u64 now = clock_.now();
  return counter_base_ + (running() && now > epoch_ns_ ? ticks_after(now - epoch_ns_, hz_) : 0);
}

u64 Hpet::width_mask(const Channel& channel) {
  return channel.configuration & k32BitMode ? 0xffff'ffff : ~u64{0};
}

bool Hpet::periodic(const Channel& channel) const {
  return (channel.configuration & kPeriodic) && (channel.period & width_mask(channel)) != 0;
}

// --- Registers.

u64 Hpet::read(u64 offset, u32 width) {
  const u64 within = offset & 7;
  if (within + width > 8) {
    ++unknown_;
    core::log(core::LogCategory::kTimer, "hpet: read of {} bytes at {:#x}", width, offset);
    return ~u64{0};
  }
  return read_register(offset - within) >> within * 8;
}

void Hpet::write(u64 offset, u32 width, u64 value) {
  const u64 within = offset & 7;
  if ((width != 4 && width != 8) || within % width != 0) {
    ++unknown_;
    core::log(core::LogCategory::kTimer, "hpet: write of {} bytes at {:#x}", width, offset);
    return;
  }
  // A match that the clock has not reported yet happened before this write, which may move the comparator.
  for (u32 i = 0; i < kTimers; ++i)
    if (due_[i] <= clock_.now()) expire(i);
  const u64 mask = (width == 8 ? ~u64{0} : u64{0xffff'ffff}) << within * 8;
  write_register(offset - within, value << within * 8, mask);
}

u64 Hpet::read_register(u64 offset) const {
  switch (offset) {
    case kCapabilities:
      return capabilities_;
    case kConfiguration:
      return configuration_;
    case kStatus:
      return status_;
    case kCounter:
      return counter();
    default:
      break;
  }
  const u64 index = offset / kChannelSize - kChannels / kChannelSize;
  if (index < kTimers) {
    const Channel& channel = channels_[index];
    if (offset % kChannelSize == kChannelConfiguration) return channel.configuration;
    if (offset % kChannelSize == kChannelComparator) return channel.comparator & width_mask(channel);
  }
  ++unknown_;
  core::log(core::LogCategory::kTimer, "hpet: read of unknown register {:#x}", offset);
  return ~u64{0};
}

void Hpet::write_register(u64 offset, u64 value, u64 mask) {
  switch (offset) {
    case kConfiguration:
      write_configuration(merge(configuration_, value, mask));
      return;
    case kStatus:
      status_ &= ~static_cast<u32>(value & mask);
      update_lines();
      return;
    case kCounter:
      counter_base_ = merge(counter(), value, mask);
      epoch_ns_ = clock_.now();
      arm_all();
      return;
    default:
      break;
  }
  const u64 index = offset / kChannelSize - kChannels / kChannelSize;
  if (index < kTimers) {
    write_channel(static_cast<u32>(index), offset % kChannelSize, value, mask);
    return;
  }
  ++unknown_;
  core::log(core::LogCategory::kTimer, "hpet: write of {:#x} to unknown register {:#x}", value, offset);
}

void Hpet::write_configuration(u64 value) {
  counter_base_ = counter();
  epoch_ns_ = clock_.now();
  const u64 before = std::exchange(configuration_, value & (kEnable | kLegacyReplacement));
  update_lines();
  if ((before ^ configuration_) & kLegacyReplacement)
    wires_.legacy_replacement(configuration_ & kLegacyReplacement);
  arm_all();
}

void Hpet::write_channel(u32 index, u64 offset, u64 value, u64 mask) {
  Channel& channel = channels_[index];
  if (offset == kChannelConfiguration) {
    u64 writable = kChannelWritable & mask;
    if (!(channel.configuration & kPeriodicCapable)) writable &= ~(kPeriodic | kSetValue);
    const u64 wanted = merge(channel.configuration, value, writable);
    // "If the value is not supported, the value read back will not match what was written": the route stays.
    const bool routable = route_capabilities_ >> (32 + route(wanted)) & 1;
    channel.configuration = routable ? wanted : merge(wanted, channel.configuration, 0x1fu << kRouteShift);
    if (!(channel.configuration & kLevel)) status_ &= ~(1u << index);
  } else if (offset == kChannelComparator) {
    write_comparator(channel, value, mask);
  } else {
    ++unknown_;
    core::log(core::LogCategory::kTimer, "hpet: write of {:#x} to timer {} register {:#x}", value, index,
              offset);
    return;
  }
  arm(index, false);
  update_lines();
}

// In periodic mode a write sets the period, and with Tn_VAL_SET_CNF the comparator as well.
void Hpet::write_comparator(Channel& channel, u64 value, u64 mask) {
  const bool is_periodic = channel.configuration & kPeriodic;
  if (!is_periodic || (channel.configuration & kSetValue))
    channel.comparator = merge(channel.comparator, value, mask);
  if (is_periodic) channel.period = merge(channel.period, value, mask);
  channel.configuration &= ~kSetValue;
}

// --- Matches.

// Sets the host timer to the next match: from now on, or after the one that has just `matched`. A periodic
// comparator that has fallen behind skips the matches it missed.
void Hpet::arm(u32 index, bool matched) {
  Channel& channel = channels_[index];
  timers_[index]->cancel();
  due_[index] = core::kNever;
  if (!running() || !(channel.configuration & (kInterruptEnable | kLevel))) return;
  const u64 mask = width_mask(channel);
  const u64 now_ticks = counter();
  if (periodic(channel)) {
    const u64 period = channel.period & mask;
    const u64 behind = (now_ticks - channel.comparator) & mask;
    if (behind <= mask / 2) channel.comparator += (behind / period + 1) * period;
  }
  const u128 distance = u128{(channel.comparator - now_ticks - matched) & mask} + matched;
  const u64 ticks_since_epoch = now_ticks - counter_base_;
  const u64 due = later(epoch_ns_, time_of_tick(ticks_since_epoch + distance, hz_));
  due_[index] = matched ? std::max(due, later(clock_.now(), kShortestPeriodNs)) : due;
  if (due_[index] != core::kNever) timers_[index]->arm(due_[index]);
}

void Hpet::arm_all() {
  for (u32 i = 0; i < kTimers; ++i) arm(i, false);
}

void Hpet::expire(u32 index) {
  arm(index, true);
  if (channels_[index].configuration & kLevel) {
    status_ |= 1u << index;
    update_lines();
  } else {
    pulse(index);
  }
}

// --- Interrupt lines.

// The levels that status bits hold, as a difference to those already driven.
void Hpet::update_lines() {
  const bool legacy = configuration_ & kLegacyReplacement;
  u64 wanted = 0;
  for (u32 i = 0; i < kTimers; ++i) {
    if (!(status_ >> i & 1) || !(channels_[i].configuration & kInterruptEnable) || !running()) continue;
    wanted |= u64{1} << (legacy && i < 2 ? kLegacyLine0 + i * 8 : route(channels_[i].configuration));
  }
  const u64 changed = asserted_ ^ wanted;
  asserted_ = wanted;
  for (u32 line = 0; line <= kLegacyLine0 + 8; ++line)
    if (changed >> line & 1)
      drive(line >= kLegacyLine0, static_cast<u8>(line & (kLegacyLine0 - 1)), wanted >> line & 1);
}

void Hpet::drive(bool legacy, u8 line, bool level) {
  (legacy ? wires_.legacy : wires_.io_apic)(line, level);
}

void Hpet::pulse(u32 index) {
  const Channel& channel = channels_[index];
  if (!(channel.configuration & kInterruptEnable)) return;
  const bool legacy = (configuration_ & kLegacyReplacement) && index < 2;
  const u8 line = legacy ? static_cast<u8>(index * 8) : route(channel.configuration);
  if (asserted_ >> (legacy ? kLegacyLine0 + line : line) & 1) return;  // held high by a level: no edge
  drive(legacy, line, true);
  drive(legacy, line, false);
}

void Hpet::snapshot(core::SnapshotIo& io) {
  io.field("channels", channels_);
  io.field("configuration", configuration_);
  io.field("status", status_);
  io.field("counter_base", counter_base_);
  io.field("epoch", epoch_ns_);
  io.field("asserted", asserted_);
  io.field("due", due_);
  if (!io.loading()) return;
  configuration_ &= kEnable | kLegacyReplacement;
  asserted_ &= kDrivenLines;
  wires_.legacy_replacement(configuration_ & kLegacyReplacement);
  for (u32 i = 0; i < kTimers; ++i) {
    timers_[i]->cancel();
    if (due_[i] != core::kNever) timers_[i]->arm(due_[i]);
  }
}

}  // namespace doppel::devices
