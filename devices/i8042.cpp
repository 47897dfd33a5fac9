#include "devices/i8042.hpp"

#include <utility>

#include "devices/snapshot_flag.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kData = 0;
constexpr u64 kCommand = 4;

constexpr u8 kStatusFull = 0x01;
constexpr u8 kStatusSystem = 0x04;
constexpr u8 kStatusCommand = 0x08;
constexpr u8 kStatusUnlocked = 0x10;
constexpr u8 kStatusMouse = 0x20;

constexpr u8 kControlKeyboardIrq = 0x01;
constexpr u8 kControlMouseIrq = 0x02;
constexpr u8 kControlSystem = 0x04;
constexpr u8 kControlKeyboardOff = 0x10;
constexpr u8 kControlMouseOff = 0x20;
constexpr u8 kControlTranslate = 0x40;
constexpr u8 kControlAtReset =
    kControlKeyboardIrq | kControlSystem | kControlMouseOff | kControlTranslate;  // as firmware leaves it

enum Command : u8 {
  kReadRam = 0x20,   // 0x20-0x3f
  kWriteRam = 0x60,  // 0x60-0x7f
  kPasswordInstalled = 0xa4,
  kMouseOff = 0xa7,
  kMouseOn = 0xa8,
  kTestMouseLine = 0xa9,
  kSelfTest = 0xaa,
  kTestKeyboardLine = 0xab,
  kKeyboardOff = 0xad,
  kKeyboardOn = 0xae,
  kReadInputPort = 0xc0,
  kReadOutputPort = 0xd0,
  kWriteOutputPort = 0xd1,
  kWriteOutput = 0xd2,
  kWriteMouseOutput = 0xd3,
  kWriteMouse = 0xd4,
  kReadTestInputs = 0xe0,
  kPulse = 0xf0,  // 0xf0-0xff: pulses the output port bits that are 0
};

constexpr u8 kSelfTestPassed = 0x55;
constexpr u8 kNoPassword = 0xf1;
constexpr u8 kInputPort = 0xa0;  // not locked, colour display
constexpr u8 kOutputNotReset = 0x01;
constexpr u8 kOutputA20 = 0x02;
constexpr u8 kOutputKeyboardFull = 0x10;
constexpr u8 kOutputMouseFull = 0x20;
constexpr u8 kOutputPortAtReset = 0xc0 | kOutputNotReset | kOutputA20;

constexpr u64 kTransferGap = 250'000;  // ns

}  // namespace

I8042::I8042(core::IrqLine keyboard_irq, core::IrqLine mouse_irq, core::Clock& clock,
             core::Counters& counters, Outputs outputs)
    : ByteDevice(counters, "i8042"),
      keyboard_irq_(std::move(keyboard_irq)),
      mouse_irq_(std::move(mouse_irq)),
      clock_(clock),
      outputs_(std::move(outputs)),
      transfer_timer_(clock.make_timer([this] { transfer(); })) {
  reset();
}

void I8042::reset() {
  keyboard_.reset();
  mouse_.reset();
  translator_ = {};
  ram_.fill(0);
  control() = kControlAtReset;
  output_ = awaits_parameter_ = 0;
  output_port_ = kOutputPortAtReset;
  full_ = from_mouse_ = last_was_command_ = false;
  next_transfer_ = clock_.now();
  transfer_timer_->cancel();
  publish();
}

bool I8042::key(std::span<const u8> set2) {
  const bool taken = keyboard_.key(set2);
  transfer();
  return taken;
}

void I8042::move_mouse(int dx, int dy, int wheel, u8 buttons) {
  mouse_.move(dx, dy, wheel, buttons);
  transfer();
}

// --- The output buffer.

void I8042::publish() {
  keyboard_irq_.set(full_ && !from_mouse_ && (control() & kControlKeyboardIrq));
  mouse_irq_.set(full_ && from_mouse_ && (control() & kControlMouseIrq));
}

void I8042::deliver(u8 value, bool from_mouse) {
  full_ = false;
  publish();  // every byte is an edge, also one that replaces another
  output_ = value;
  full_ = true;
  from_mouse_ = from_mouse;
  publish();
}

// Moves the next byte of keyboard or mouse into the free output buffer, now or when its time has come.
void I8042::transfer() {
  const auto keyboard_ready = [&] { return !(control() & kControlKeyboardOff) && keyboard_.has_data(); };
  const auto mouse_ready = [&] { return !(control() & kControlMouseOff) && mouse_.has_data(); };
  if (full_ || (!keyboard_ready() && !mouse_ready())) return;
  if (clock_.now() < next_transfer_) return transfer_timer_->arm(next_transfer_);

  while (!full_ && keyboard_ready()) {
    const u8 byte = keyboard_.take();
    if (!(control() & kControlTranslate))
      deliver(byte, false);
    else if (const auto code = translator_.feed(byte))
      deliver(*code, false);
  }
  if (!full_ && mouse_ready()) deliver(mouse_.take(), true);
}

// --- Ports.

u8 I8042::status() const {
  return static_cast<u8>(kStatusUnlocked | (full_ ? kStatusFull : 0) | (ram_[0] & kControlSystem) |
                         (last_was_command_ ? kStatusCommand : 0) |
                         (full_ && from_mouse_ ? kStatusMouse : 0));
}
static_assert(kControlSystem == kStatusSystem);

u8 I8042::read_byte(u64 offset) {
  if (offset == kData) return read_data();
  if (offset == kCommand) return status();
  return unknown_read(offset);
}

u8 I8042::read_data() {
  if (!full_) return output_;
  const u8 value = output_;
  full_ = false;
  next_transfer_ = clock_.now() + kTransferGap;
  publish();
  transfer();
  return value;
}

void I8042::write_byte(u64 offset, u8 value) {
  if (offset != kData && offset != kCommand) return unknown_write(offset, value);
  last_was_command_ = offset == kCommand;
  if (offset == kCommand)
    write_command(value);
  else
    write_data(value);
  publish();
  transfer();
}

void I8042::write_data(u8 value) {
  if (const u8 command = std::exchange(awaits_parameter_, u8{0})) return write_parameter(command, value);
  control() &= static_cast<u8>(~kControlKeyboardOff);  // sending turns the line on again
  keyboard_.command(value);
}

void I8042::write_parameter(u8 command, u8 value) {
  switch (command) {
    case kWriteOutputPort:
      return write_output_port(value);
    case kWriteOutput:
      return deliver(value, false);
    case kWriteMouseOutput:
      return deliver(value, true);
    case kWriteMouse:
      control() &= static_cast<u8>(~kControlMouseOff);
      return mouse_.command(value);
    default:
      ram_[command & 31] = value;
  }
}

void I8042::write_output_port(u8 value) {
  output_port_ = static_cast<u8>(value | kOutputNotReset);
  if (outputs_.a20) outputs_.a20(value & kOutputA20);
  if (!(value & kOutputNotReset) && outputs_.reset) outputs_.reset();
}

void I8042::write_command(u8 value) {
  awaits_parameter_ = 0;
  if (value >= kReadRam && value < kReadRam + 32) return deliver(ram_[value & 31], false);
  if (value >= kPulse) {
    if (!(value & kOutputNotReset) && outputs_.reset) outputs_.reset();
    return;
  }
  if (value >= kWriteRam && value < kWriteRam + 32) {
    awaits_parameter_ = value;
    return;
  }
  switch (value) {
    case kPasswordInstalled:
      return deliver(kNoPassword, false);
    case kMouseOff:
      control() |= kControlMouseOff;
      break;
    case kMouseOn:
      control() &= static_cast<u8>(~kControlMouseOff);
      break;
    case kTestMouseLine:
    case kTestKeyboardLine:
      return deliver(0, false);
    case kSelfTest:
      control() |= kControlSystem;
      return deliver(kSelfTestPassed, false);
    case kKeyboardOff:
      control() |= kControlKeyboardOff;
      break;
    case kKeyboardOn:
      control() &= static_cast<u8>(~kControlKeyboardOff);
      break;
    case kReadInputPort:
      return deliver(kInputPort, false);
    case kReadOutputPort: {
      const u8 buffer = !full_ ? 0 : from_mouse_ ? kOutputMouseFull : kOutputKeyboardFull;
      return deliver(static_cast<u8>((output_port_ & ~(kOutputKeyboardFull | kOutputMouseFull)) | buffer),
                     false);
    }
    case kWriteOutputPort:
    case kWriteOutput:
    case kWriteMouseOutput:
    case kWriteMouse:
      awaits_parameter_ = value;
      break;
    case kReadTestInputs:
      return deliver(0, false);
    default:
      unknown_write(kCommand, value);
  }
}

void I8042::snapshot(core::SnapshotIo& io) {
  keyboard_.snapshot(io);
  mouse_.snapshot(io);
  snapshot_flag(io, "breaking", translator_.breaking);
  io.field("ram", ram_);
  io.field("output", output_);
  io.field("output_port", output_port_);
  io.field("awaits_parameter", awaits_parameter_);
  snapshot_flag(io, "full", full_);
  snapshot_flag(io, "from_mouse", from_mouse_);
  snapshot_flag(io, "last_was_command", last_was_command_);
  io.field("next_transfer", next_transfer_);
  if (!io.loading()) return;
  transfer_timer_->cancel();
  publish();
  transfer();
}

}  // namespace doppel::devices
