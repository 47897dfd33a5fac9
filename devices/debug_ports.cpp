#include "devices/debug_ports.hpp"

namespace doppel::devices {

namespace {

constexpr u8 kConsolePresent = 0xe9;

constexpr u8 kFastReset = 0x01;
constexpr u8 kA20 = 0x02;
constexpr u8 kControlAKept = 0x03;

constexpr u8 kGate2 = 0x01;
constexpr u8 kControlBKept = 0x0f;  // gate 2, speaker, parity check off, channel check off
constexpr u8 kRefreshToggle = 0x10;
constexpr u8 kOutput2 = 0x20;
constexpr u64 kRefreshPeriod = 15'085;  // ns between two refresh cycles: 18 pulses of the 8254

}  // namespace

DebugConsole::DebugConsole(CharBackend& backend, core::Counters& counters)
    : ByteDevice(counters, "debug_console"), backend_(backend) {}

u8 DebugConsole::read_byte(u64 offset) {
  return offset == 0 ? kConsolePresent : unknown_read(offset);
}

void DebugConsole::write_byte(u64 offset, u8 value) {
  if (offset != 0) return unknown_write(offset, value);
  backend_.write(value);
}

u64 DebugExit::read(u64, u32) {
  return ~u64{0};
}

void DebugExit::write(u64, u32 width, u64 value) {
  if (width < 4) value &= (u64{1} << 8 * width) - 1;
  on_exit_(static_cast<u32>(value << 1 | 1));
}

PostCodePort::PostCodePort(core::Counters& counters) : ByteDevice(counters, "post_code") {}

u8 PostCodePort::read_byte(u64 offset) {
  return offset < bytes_.size() ? bytes_[offset] : unknown_read(offset);
}

void PostCodePort::write_byte(u64 offset, u8 value) {
  if (offset >= bytes_.size()) return unknown_write(offset, value);
  if (offset == 0 && value != bytes_[0]) core::log(core::LogCategory::kBoot, "POST code {:#04x}", value);
  bytes_[offset] = value;
}

SystemControlA::SystemControlA(core::Counters& counters, Outputs outputs)
    : ByteDevice(counters, "system_control_a"), outputs_(std::move(outputs)) {
  reset();
}

void SystemControlA::reset() {
  value_ = kA20;
}

u8 SystemControlA::read_byte(u64 offset) {
  return offset == 0 ? value_ : unknown_read(offset);
}

void SystemControlA::write_byte(u64 offset, u8 value) {
  if (offset != 0) return unknown_write(offset, value);
  const bool reset_rises = value & ~value_ & kFastReset;
  value_ = value & kControlAKept;
  if (outputs_.a20) outputs_.a20(value & kA20);
  if (reset_rises && outputs_.reset) outputs_.reset();
}

SystemControlB::SystemControlB(Counter2 counter2, core::Clock& clock, core::Counters& counters)
    : ByteDevice(counters, "system_control_b"), counter2_(std::move(counter2)), clock_(clock) {
  reset();
}

void SystemControlB::reset() {
  value_ = 0;
  counter2_.set_gate(false);
}

u8 SystemControlB::read_byte(u64 offset) {
  if (offset != 0) return unknown_read(offset);
  const bool toggle = clock_.now() / kRefreshPeriod & 1;
  return static_cast<u8>(value_ | (toggle ? kRefreshToggle : 0) | (counter2_.output() ? kOutput2 : 0));
}

void SystemControlB::write_byte(u64 offset, u8 value) {
  if (offset != 0) return unknown_write(offset, value);
  value_ = value & kControlBKept;
  counter2_.set_gate(value & kGate2);
}

}  // namespace doppel::devices
