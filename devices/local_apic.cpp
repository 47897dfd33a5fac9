#include "devices/local_apic.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

// Registers: offset / 16 in the xAPIC page, MSR - 0x800 in x2APIC mode (SDM Vol. 3A, "Local APIC Register
// Address Map").
constexpr u32 kId = 0x02, kVersion = 0x03, kTaskPriority = 0x08, kProcessorPriority = 0x0a, kEoi = 0x0b,
              kLogicalDestination = 0x0d, kDestinationFormat = 0x0e, kSpurious = 0x0f, kIsr = 0x10,
              kTmr = 0x18, kIrr = 0x20, kErrorStatus = 0x28, kCommandLow = 0x30, kCommandHigh = 0x31,
              kLvtFirst = 0x32, kLvtLast = 0x37, kInitialCount = 0x38, kCurrentCount = 0x39, kDivide = 0x3e,
              kSelfIpi = 0x3f;

enum Access : u8 { kXr = 1, kXw = 2, kMr = 4, kMw = 8 };  // read/write, in xAPIC mode and by MSR

struct Register {
  u8 first, last;
  u8 access;
  u64 writable;  // other bits are reserved: ignored in xAPIC mode, #GP by MSR
};

// Version: integrated APIC, six LVT entries, no directed EOI.
constexpr u32 kVersionValue = 0x14 | (6 - 1) << 16;

constexpr u32 kLvtTimerModeShift = 17;
constexpr u64 kDeliveryStatus = 1u << 12;
// Reserved in the x2APIC ICR are bits 13, 17:16 and 31:20; the delivery status is ignored.
constexpr u64 kCommandWritable = 0xffff'ffff'000c'dfff;

constexpr Register kRegisters[] = {
    {kId, kId, kXr | kXw | kMr, 0},  // read-only; writes in xAPIC mode do nothing, as on current processors
    {kVersion, kVersion, kXr | kMr, 0},
    {kTaskPriority, kTaskPriority, kXr | kXw | kMr | kMw, 0xff},
    {kProcessorPriority, kProcessorPriority, kXr | kMr, 0},
    {kEoi, kEoi, kXw | kMw, 0},
    {kLogicalDestination, kLogicalDestination, kXr | kXw | kMr, 0xff00'0000},
    {kDestinationFormat, kDestinationFormat, kXr | kXw, 0xf000'0000},
    {kSpurious, kSpurious, kXr | kXw | kMr | kMw, 0x3ff},
    {kIsr, kIrr + 7, kXr | kMr, 0},
    {kErrorStatus, kErrorStatus, kXr | kXw | kMr | kMw, 0},
    {kCommandLow, kCommandLow, kXr | kXw | kMr | kMw, kCommandWritable},
    {kCommandHigh, kCommandHigh, kXr | kXw, 0xff00'0000},
    {kLvtFirst + 0, kLvtFirst + 0, kXr | kXw | kMr | kMw, 0x7'00ff},  // timer
    {kLvtFirst + 1, kLvtFirst + 2, kXr | kXw | kMr | kMw, 0x1'07ff},  // thermal, performance
    {kLvtFirst + 3, kLvtFirst + 4, kXr | kXw | kMr | kMw, 0x1'a7ff},  // LINT0, LINT1
    {kLvtLast, kLvtLast, kXr | kXw | kMr | kMw, 0x1'00ff},            // error
    {kInitialCount, kInitialCount, kXr | kXw | kMr | kMw, 0xffff'ffff},
    {kCurrentCount, kCurrentCount, kXr | kMr, 0},
    {kDivide, kDivide, kXr | kXw | kMr | kMw, 0xb},
    {kSelfIpi, kSelfIpi, kMw, 0xff},
};

const Register* find_register(u64 index, Access access) {
  const auto* it = std::find_if(std::begin(kRegisters), std::end(kRegisters),
                                [&](const Register& r) { return index >= r.first && index <= r.last; });
  return it != std::end(kRegisters) && (it->access & access) ? it : nullptr;
}

// IA32_APIC_BASE.
constexpr u32 kMsrApicBase = 0x1b, kMsrTscDeadline = 0x6e0, kMsrX2apic = 0x800, kMsrX2apicEnd = 0x900;
constexpr u64 kBaseBootstrap = 1u << 8, kBaseX2apic = 1u << 10, kBaseEnable = 1u << 11;
constexpr u64 kBaseAddress = 0xfee0'0000;

}  // namespace

LocalApic::LocalApic(Config config, core::Clock& clock, core::Counters& counters, ApicBus& bus, Hooks hooks)
    : config_(config),
      bus_(bus),
      unknown_(counters["local_apic.unknown"]),
      hooks_(std::move(hooks)),
      name_(fmt::format("local_apic.{}", config.id)),
      timer_(clock, config.timer_hz, config.tsc_hz, [this] { deliver_local(kLvtTimer); }) {
  bus_.join(*this);
  LocalApic::reset();
}

LocalApic::~LocalApic() {
  bus_.leave(*this);
}

void LocalApic::reset() {
  apic_base_ = kBaseAddress | kBaseEnable | (config_.bootstrap ? kBaseBootstrap : 0);
  timer_.set_tsc_offset(0);
  reset_registers();
}

// State after reset and after INIT, which leaves IA32_APIC_BASE alone. The manual has all LVT entries masked;
// here the BSP's LINT0 and LINT1 are as a PC's firmware leaves them, so that a directly booted kernel gets
// its first interrupts from the 8259.
void LocalApic::reset_registers() {
  task_priority_ = 0;
  irr_ = isr_ = tmr_ = {};
  command_ = 0;
  logical_id_ = 0;
  destination_format_ = 0xffff'ffff;
  spurious_ = 0xff;
  error_status_ = new_errors_ = 0;
  lvt_.fill(kLvtMasked);
  if (config_.bootstrap) {
    lvt_[kLvtLint0] = static_cast<u32>(DeliveryMode::kExtInt) << kDeliveryModeShift;
    lvt_[kLvtLint1] = static_cast<u32>(DeliveryMode::kNmi) << kDeliveryModeShift;
  }
  external_pending_ = false;
  timer_.reset();
  update();
}

LocalApic::Mode LocalApic::mode() const {
  if (!(apic_base_ & kBaseEnable)) return Mode::kDisabled;
  return apic_base_ & kBaseX2apic ? Mode::kX2apic : Mode::kXapic;
}

// --- Registers.

u64 LocalApic::read(u64 offset, u32 width) {
  const u64 within = offset & 0xf;
  if (mode() != Mode::kXapic || within + width > 4 || !find_register(offset >> 4, kXr)) {
    illegal_register(offset, width);
    return ~u64{0};
  }
  return (read_register(static_cast<u32>(offset >> 4)) & 0xffff'ffff) >> within * 8;
}

void LocalApic::write(u64 offset, u32 width, u64 value) {
  const Register* reg = find_register(offset >> 4, kXw);
  if (mode() != Mode::kXapic || (offset & 0xf) != 0 || width != 4 || !reg) {
    illegal_register(offset, width);
    return;
  }
  write_register(static_cast<u32>(offset >> 4), value & reg->writable);
}

void LocalApic::illegal_register(u64 offset, u32 width) {
  ++unknown_;
  core::log(core::LogCategory::kInterrupt, "{}: access of {} bytes at {:#x}", name_, width, offset);
  if (mode() == Mode::kXapic) raise_error(kErrorRegister);
}

u64 LocalApic::read_register(u32 index) {
  if (index >= kIsr && index < kErrorStatus) {
    const VectorSet& set = index < kTmr ? isr_ : index < kIrr ? tmr_ : irr_;
    return set.register_value(index & 7);
  }
  if (index >= kLvtFirst && index <= kLvtLast) return lvt_[index - kLvtFirst];
  const bool x2apic = mode() == Mode::kX2apic;
  switch (index) {
    case kId:
      return x2apic ? config_.id : config_.id << 24;
    case kVersion:
      return kVersionValue;
    case kTaskPriority:
      return task_priority_;
    case kProcessorPriority:
      return processor_priority();
    case kLogicalDestination:
      return logical_id();
    case kDestinationFormat:
      return destination_format_;
    case kSpurious:
      return spurious_;
    case kErrorStatus:
      return error_status_;
    case kCommandLow:
      return command_;
    case kCommandHigh:
      return command_ >> 32;
    case kInitialCount:
      return timer_.initial_count();
    case kCurrentCount:
      return timer_.current_count();
    default:  // kDivide: the table has no other readable register
      return timer_.divide();
  }
}

void LocalApic::write_register(u32 index, u64 value) {
  const u32 low = static_cast<u32>(value);
  if (index >= kLvtFirst && index <= kLvtLast) {
    write_lvt(static_cast<Lvt>(index - kLvtFirst), low);
    return;
  }
  switch (index) {
    case kTaskPriority:
      task_priority_ = static_cast<u8>(value);
      update();
      break;
    case kEoi:
      end_of_interrupt();
      break;
    case kLogicalDestination:
      logical_id_ = low;
      bus_.targets_changed();
      break;
    case kDestinationFormat:
      destination_format_ = low | 0x0fff'ffff;
      bus_.targets_changed();
      break;
    case kSpurious:
      write_spurious(low);
      break;
    case kErrorStatus:
      error_status_ = std::exchange(new_errors_, 0);
      break;
    case kCommandLow:
      command_ = (mode() == Mode::kX2apic ? value : (command_ & ~u64{0xffff'ffff}) | low) & ~kDeliveryStatus;
      send_ipi(command_);
      break;
    case kCommandHigh:
      command_ = (command_ & 0xffff'ffff) | value << 32;
      break;
    case kInitialCount:
      timer_.set_initial_count(low);
      break;
    case kDivide:
      timer_.set_divide(low);
      break;
    case kSelfIpi:
      send_ipi(low | u64{1} << 18);
      break;
    default:  // kId
      break;
  }
}

// Disabling by software masks every LVT entry ("Local APIC State After It Has Been Software Disabled").
void LocalApic::write_spurious(u32 value) {
  const u32 before = std::exchange(spurious_, value);
  if ((before & ~value) & kSpuriousEnable)
    for (u8 entry = 0; entry < kLvtCount; ++entry) write_lvt(static_cast<Lvt>(entry), lvt_[entry]);
  if ((value & ~before) & kSpuriousEnable) bus_.targets_changed();
}

void LocalApic::write_lvt(Lvt entry, u32 value) {
  if (!(spurious_ & kSpuriousEnable)) value |= kLvtMasked;
  lvt_[entry] = (value & ~kLvtRemoteIrr) | (value & kLvtLevel ? lvt_[entry] & kLvtRemoteIrr : 0);
  if (entry == kLvtTimer)
    timer_.configure(static_cast<ApicTimer::Mode>(value >> kLvtTimerModeShift & 3), value & kLvtMasked);
  if (entry == kLvtLint0) {
    retrigger_lint0();
    update();
  }
}

// --- MSRs.

bool LocalApic::read_msr(u32 index, u64& value) {
  std::lock_guard hold(bus_.lock());
  if (index == kMsrApicBase) {
    value = apic_base_;
    return true;
  }
  if (index == kMsrTscDeadline) {
    value = timer_.tsc_deadline();
    return true;
  }
  if (index < kMsrX2apic || index >= kMsrX2apicEnd || mode() != Mode::kX2apic ||
      !find_register(index - kMsrX2apic, kMr))
    return false;
  value = read_register(index - kMsrX2apic);
  return true;
}

bool LocalApic::write_msr(u32 index, u64 value) {
  std::lock_guard hold(bus_.lock());
  if (index == kMsrApicBase) return write_apic_base(value);
  if (index == kMsrTscDeadline) {
    timer_.set_tsc_deadline(value);
    return true;
  }
  if (index < kMsrX2apic || index >= kMsrX2apicEnd || mode() != Mode::kX2apic) return false;
  const Register* reg = find_register(index - kMsrX2apic, kMw);
  if (!reg || (value & ~reg->writable) != 0) return false;
  write_register(index - kMsrX2apic, value);
  return true;
}

// "x2APIC State Transitions": to x2APIC only from xAPIC, from x2APIC only to disabled. Leaving and entering
// the disabled state loses the registers.
bool LocalApic::write_apic_base(u64 value) {
  const u64 address = ((u64{1} << config_.physical_address_bits) - 1) & ~u64{0xfff};
  const u64 known = address | kBaseEnable | kBaseBootstrap | (config_.x2apic ? kBaseX2apic : 0);
  if (value & ~known) return false;
  const bool enable = value & kBaseEnable, x2apic = value & kBaseX2apic;
  if (x2apic && (!enable || mode() == Mode::kDisabled)) return false;
  if (!x2apic && enable && mode() == Mode::kX2apic) return false;

  const bool toggles = enable != (mode() != Mode::kDisabled);
  if ((value & address) != kBaseAddress) {
    ++unknown_;
    core::log(core::LogCategory::kInterrupt, "{}: the register page stays where it is ({:#x})", name_, value);
  }
  apic_base_ = value;
  if (toggles) reset_registers();
  update();
  bus_.targets_changed();
  return true;
}

u8 LocalApic::startup_vector() const {
  std::lock_guard hold(bus_.lock());
  return startup_vector_;
}

void LocalApic::set_tsc_offset(u64 offset) {
  std::lock_guard hold(bus_.lock());
  timer_.set_tsc_offset(offset);
}

void LocalApic::snapshot(core::SnapshotIo& io) {
  u8 task_priority = task_priority_;
  io.field("task_priority", task_priority);
  task_priority_ = task_priority;
  io.field("irr", irr_);
  io.field("isr", isr_);
  io.field("tmr", tmr_);
  io.field("apic_base", apic_base_);
  io.field("command", command_);
  io.field("logical_id", logical_id_);
  io.field("destination_format", destination_format_);
  io.field("spurious", spurious_);
  io.field("error_status", error_status_);
  io.field("new_errors", new_errors_);
  io.field("lvt", lvt_);
  io.field("startup_vector", startup_vector_);
  io.field("external_pending", external_pending_);
  io.field("lint0", lint0_);
  io.field("lint1", lint1_);
  timer_.snapshot(io);
  if (io.loading()) update();
}

}  // namespace doppel::devices
