#include "devices/io_apic.hpp"

#include "core/log.hpp"

namespace doppel::devices {

namespace {

// The memory-mapped registers; the rest is behind the index.
constexpr u64 kIndex = 0x00, kWindow = 0x10, kEoi = 0x40;
constexpr u8 kIndexId = 0x00, kIndexVersion = 0x01, kIndexArbitration = 0x02, kIndexEntries = 0x10;
constexpr u32 kVersionValue = 0x20 | (IoApic::kPins - 1) << 16;

// Redirection entries (82093AA, "I/O Redirection Table Registers").
constexpr u64 kLogical = 1u << 11, kDeliveryStatus = 1u << 12, kRemoteIrr = 1u << 14, kLevel = 1u << 15,
              kMasked = 1u << 16;
constexpr u64 kReadOnly = kDeliveryStatus | kRemoteIrr;
constexpr u64 kImplemented = 0xff00'0000'0001'ffff;

}  // namespace

IoApic::IoApic(core::Counters& counters, ApicBus& bus) : unknown_(counters["io_apic.unknown"]), bus_(bus) {
  bus_.on_eoi([this](u8 vector) { end_of_interrupt(vector); });
  bus_.on_targets_changed([this] { service_all(); });
  IoApic::reset();
}

void IoApic::reset() {
  entries_.fill(kMasked);
  edge_pending_ = 0;
  index_ = id_ = 0;
}

u64 IoApic::read(u64 offset, u32 width) {
  const u64 within = offset & 0xf;
  if (within + width <= 4) {
    if (offset - within == kIndex) return u64{index_} >> within * 8;
    if (offset - within == kWindow) return read_indirect() >> within * 8;
  }
  ++unknown_;
  core::log(core::LogCategory::kInterrupt, "io_apic: read of {} bytes at {:#x}", width, offset);
  return ~u64{0};
}

void IoApic::write(u64 offset, u32 width, u64 value) {
  if (offset == kIndex) {
    index_ = static_cast<u8>(value);
  } else if (offset == kWindow && width == 4) {
    write_indirect(static_cast<u32>(value));
  } else if (offset == kEoi) {
    end_of_interrupt(static_cast<u8>(value));
  } else {
    ++unknown_;
    core::log(core::LogCategory::kInterrupt, "io_apic: write of {} bytes at {:#x}", width, offset);
  }
}

u32 IoApic::read_indirect() const {
  switch (index_) {
    case kIndexId:
    case kIndexArbitration:
      return u32{id_} << 24;
    case kIndexVersion:
      return kVersionValue;
    default:
      break;
  }
  const u32 pin = u32{index_} / 2 - kIndexEntries / 2;
  if (pin >= kPins) {
    ++unknown_;
    core::log(core::LogCategory::kInterrupt, "io_apic: read of register {:#x}", index_);
    return ~u32{0};
  }
  const u64 entry = entries_[pin] | (edge_pending_ >> pin & 1 ? kDeliveryStatus : 0);
  return static_cast<u32>(entry >> (index_ & 1) * 32);
}

void IoApic::write_indirect(u32 value) {
  if (index_ == kIndexId) {
    id_ = value >> 24 & 0xf;
    return;
  }
  const u32 pin = u32{index_} / 2 - kIndexEntries / 2;
  if (pin >= kPins) {
    ++unknown_;
    core::log(core::LogCategory::kInterrupt, "io_apic: write of {:#x} to register {:#x}", value, index_);
    return;
  }
  const u32 shift = (index_ & 1) * 32;
  const u64 writable = (u64{0xffff'ffff} << shift) & kImplemented & ~kReadOnly;
  u64& entry = entries_[pin];
  entry = (entry & ~writable) | (u64{value} << shift & writable);
  if (!(entry & kLevel)) entry &= ~kRemoteIrr;  // "undefined for edge-triggered interrupts": clear
  service(pin);
}

// An edge on a masked pin is lost, as the data sheet says; a level is seen when the mask goes away.
void IoApic::set_irq(u8 pin, bool asserted) {
  if (pin >= kPins) return;
  const u32 bit = 1u << pin;
  if (asserted == ((asserted_ & bit) != 0)) return;
  asserted_ ^= bit;
  if (!asserted) return;
  if (!(entries_[pin] & (kLevel | kMasked))) edge_pending_ |= bit;
  service(pin);
}

void IoApic::service(u32 pin) {
  u64& entry = entries_[pin];
  const u32 bit = 1u << pin;
  if (entry & kMasked) return;
  const bool level = entry & kLevel;
  const bool wanted = level ? (asserted_ & bit) && !(entry & kRemoteIrr) : (edge_pending_ & bit) != 0;
  if (!wanted) return;
  const auto mode = static_cast<DeliveryMode>(entry >> 8 & 7);
  // Taken before it is sent: whatever the message sets off may come back here.
  edge_pending_ &= ~bit;
  const bool waits_for_eoi = level && (mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority);
  if (waits_for_eoi) entry |= kRemoteIrr;
  const bool taken = bus_.send({.destination = widen_destination(static_cast<u8>(entry >> 56)),
                                .logical = (entry & kLogical) != 0,
                                .level = waits_for_eoi,
                                .mode = mode,
                                .vector = static_cast<u8>(entry)});
  if (taken) return;
  if (waits_for_eoi)
    entry &= ~kRemoteIrr;
  else if (!level)
    edge_pending_ |= bit;
}

void IoApic::service_all() {
  for (u32 pin = 0; pin < kPins; ++pin) service(pin);
}

void IoApic::end_of_interrupt(u8 vector) {
  for (u32 pin = 0; pin < kPins; ++pin) {
    if (!(entries_[pin] & kRemoteIrr) || static_cast<u8>(entries_[pin]) != vector) continue;
    entries_[pin] &= ~kRemoteIrr;
    service(pin);
  }
}

void IoApic::snapshot(core::SnapshotIo& io) {
  io.field("entries", entries_);
  io.field("asserted", asserted_);
  io.field("edge_pending", edge_pending_);
  io.field("index", index_);
  io.field("id", id_);
}

}  // namespace doppel::devices
