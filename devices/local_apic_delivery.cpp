// The half of LocalApic that moves interrupts: the messages it sends and takes, IRR to ISR, EOI, the LINT
// pins. The registers are in local_apic.cpp.
#include <mutex>

#include "core/log.hpp"
#include "devices/local_apic.hpp"

namespace doppel::devices {

namespace {

constexpr u8 priority_class(u8 value) {
  return value >> 4;
}

DeliveryMode delivery_mode(u64 bits) {
  return static_cast<DeliveryMode>(bits >> 8 & 7);
}

}  // namespace

// --- Destinations.

u32 LocalApic::logical_id() const {
  if (mode() != Mode::kX2apic) return logical_id_;
  return (config_.id >> 4) << 16 | 1u << (config_.id & 0xf);
}

bool LocalApic::matches(const ApicMessage& message) const {
  if (mode() == Mode::kDisabled) return false;
  const u32 destination = message.destination;
  if (destination == kApicBroadcast) return true;
  if (!message.logical) return destination == config_.id;
  if (mode() == Mode::kX2apic)
    return destination >> 16 == logical_id() >> 16 && (destination & logical_id() & 0xffff) != 0;
  if (destination > 0xff) return false;
  const u32 own = logical_id_ >> 24;
  switch (destination_format_ >> 28) {
    case 0xf:  // flat: one bit per APIC
      return (own & destination) != 0;
    case 0x0:  // cluster: four bits of cluster, one bit per APIC in it
      return own >> 4 == destination >> 4 && (own & destination & 0xf) != 0;
    default:
      return false;
  }
}

// The trigger mode of an IPI is edge, except that a level-triggered INIT with level 0 is the de-assert
// message, which current processors ignore (SDM Vol. 3A, "Interrupt Command Register (ICR)").
void LocalApic::send_ipi(u64 command) {
  enum Shorthand : u8 { kNone, kSelf, kAll, kOthers };
  ApicMessage message{
      .destination = kApicBroadcast, .mode = delivery_mode(command), .vector = static_cast<u8>(command)};
  const bool fixed = message.mode == DeliveryMode::kFixed || message.mode == DeliveryMode::kLowestPriority;
  if (fixed && message.vector < kFirstLegalVector) {
    raise_error(kErrorSendVector);
    return;
  }
  const bool deassert = (command >> 14 & 3) == 2;
  if (message.mode == DeliveryMode::kInit && deassert) return;
  switch (static_cast<Shorthand>(command >> 18 & 3)) {
    case kNone:
      message.logical = (command >> 11 & 1) != 0;
      message.destination = mode() == Mode::kX2apic ? static_cast<u32>(command >> 32)
                                                    : widen_destination(static_cast<u8>(command >> 56));
      bus_.send(message);
      break;
    case kSelf:
      accept(message);
      break;
    case kAll:
      bus_.send(message);
      break;
    case kOthers:
      bus_.send(message, this);
      break;
  }
}

// --- Arrival.

bool LocalApic::takes_fixed() const {
  return mode() != Mode::kDisabled && (spurious_ & kSpuriousEnable);
}

bool LocalApic::accept(const ApicMessage& message) {
  if (mode() == Mode::kDisabled) return false;
  switch (message.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      if (!takes_fixed()) return false;
      if (message.vector < kFirstLegalVector)
        raise_error(kErrorReceiveVector);
      else
        request(message.vector, message.level);
      return true;
    case DeliveryMode::kExtInt:
      if (!takes_fixed()) return false;
      external_pending_ = true;
      update();
      return true;
    case DeliveryMode::kSmi:
      hooks_.notify(core::kPendingSmi);
      return true;
    case DeliveryMode::kNmi:
      hooks_.notify(core::kPendingNmi);
      return true;
    case DeliveryMode::kInit:
      init();
      return true;
    case DeliveryMode::kStartup:
      startup_vector_ = message.vector;
      hooks_.notify(core::kPendingSipi);
      return true;
    case DeliveryMode::kReserved:
      break;
  }
  ++unknown_;
  core::log(core::LogCategory::kInterrupt, "{}: message with the reserved delivery mode", name_);
  return true;
}

void LocalApic::init() {
  reset_registers();
  hooks_.notify(core::kPendingInit);
}

void LocalApic::request(u8 vector, bool level) {
  irr_.set(vector);
  tmr_.set(vector, level);
  update();
}

// What an LVT entry does when its source fires. The timer and error entries have no delivery mode: always
// fixed. ExtINT on LINT0 is a level, seen by lint0_is_intr().
void LocalApic::deliver_local(Lvt entry) {
  const u32 lvt = lvt_[entry];
  if (mode() == Mode::kDisabled || (lvt & kLvtMasked)) return;
  const bool fixed_only = entry == kLvtTimer || entry == kLvtError;
  switch (fixed_only ? DeliveryMode::kFixed : delivery_mode(lvt)) {
    case DeliveryMode::kFixed:
      if ((lvt & 0xff) < kFirstLegalVector)
        raise_error(kErrorReceiveVector);
      else
        request(static_cast<u8>(lvt), entry == kLvtLint0 && (lvt & kLvtLevel));
      break;
    case DeliveryMode::kSmi:
      hooks_.notify(core::kPendingSmi);
      break;
    case DeliveryMode::kNmi:
      hooks_.notify(core::kPendingNmi);
      break;
    case DeliveryMode::kInit:
      init();
      break;
    default:
      break;
  }
}

// "This write also rearms the APIC error interrupt triggering mechanism": after one error interrupt, the next
// needs a write of ESR. It also ends the recursion of an error entry whose own vector is illegal.
void LocalApic::raise_error(u32 bit) {
  const bool armed = new_errors_ == 0;
  new_errors_ |= bit;
  if (armed) deliver_local(kLvtError);
}

// --- Pins.

bool LocalApic::lint0_is_intr() const {
  if (!lint0_) return false;
  if (mode() == Mode::kDisabled) return true;
  return !(lvt_[kLvtLint0] & kLvtMasked) && delivery_mode(lvt_[kLvtLint0]) == DeliveryMode::kExtInt;
}

void LocalApic::set_lint0(bool asserted) {
  if (asserted == lint0_) return;
  lint0_ = asserted;
  if (lvt_[kLvtLint0] & kLvtLevel)
    retrigger_lint0();
  else if (asserted)
    deliver_local(kLvtLint0);
  update();
}

// A level-triggered LINT0 asks again after each EOI, as long as it is asserted.
void LocalApic::retrigger_lint0() {
  u32& lvt = lvt_[kLvtLint0];
  if (!lint0_ || !(lvt & kLvtLevel) || (lvt & (kLvtMasked | kLvtRemoteIrr))) return;
  if (delivery_mode(lvt) == DeliveryMode::kFixed) lvt |= kLvtRemoteIrr;
  deliver_local(kLvtLint0);
}

void LocalApic::set_lint1(bool asserted) {
  const bool rises = asserted && !lint1_;
  lint1_ = asserted;
  if (!rises) return;
  if (mode() == Mode::kDisabled)
    hooks_.notify(core::kPendingNmi);
  else
    deliver_local(kLvtLint1);
}

// --- Priorities.

u8 LocalApic::processor_priority() const {
  const u8 task = task_priority_;
  const int in_service = isr_.highest();
  if (in_service < 0 || priority_class(task) >= in_service >> 4) return task;
  return static_cast<u8>(in_service & 0xf0);
}

void LocalApic::set_cr8(u8 value) {
  const u8 priority = static_cast<u8>((value & 0xf) << 4);
  if (priority == task_priority_) return;
  std::lock_guard hold(bus_.lock());
  task_priority_ = priority;
  update();
}

std::optional<u8> LocalApic::acknowledge() {
  std::lock_guard hold(bus_.lock());
  if (!ready_) return std::nullopt;
  if (external_pending_ || lint0_is_intr()) {
    external_pending_ = false;
    const u8 vector = hooks_.inta();
    update();
    return vector;
  }
  const u8 vector = static_cast<u8>(irr_.highest());
  irr_.set(vector, false);
  isr_.set(vector);
  update();
  return vector;
}

void LocalApic::end_of_interrupt() {
  const int highest = isr_.highest();
  if (highest < 0) return;
  const u8 vector = static_cast<u8>(highest);
  isr_.set(vector, false);
  if (tmr_.test(vector)) {
    u32& lint0 = lvt_[kLvtLint0];
    if ((lint0 & kLvtRemoteIrr) && (lint0 & 0xff) == vector) {
      lint0 &= ~kLvtRemoteIrr;
      retrigger_lint0();
    }
    bus_.broadcast_eoi(vector);
  }
  update();
}

// Every change of state ends here: works out whether something is deliverable and says so.
void LocalApic::update() {
  const int requested = irr_.highest();
  const bool in_order =
      mode() != Mode::kDisabled && requested >= 0 && requested >> 4 > priority_class(processor_priority());
  const bool ready = in_order || external_pending_ || lint0_is_intr();
  ready_.store(ready, std::memory_order_release);
  if (ready) hooks_.notify(core::kPendingIntr);
}

}  // namespace doppel::devices
