#include "devices/smbus_piix4.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kHostStatus = 0, kSlaveStatus = 1, kHostControl = 2;
constexpr u8 kDeviceError = 1u << 2;  // no acknowledge, or a command that does not exist
constexpr u8 kHostStatusBits = 0x1e;  // written as 1 to clear; bit 0, busy, is never seen
constexpr u8 kStart = 1u << 6;        // reads as 0

}  // namespace

u8 SmbusPiix4::read_byte(u64 offset) {
  return offset < registers_.size() ? registers_[offset] : unknown_read(offset);
}

void SmbusPiix4::write_byte(u64 offset, u8 value) {
  if (offset >= registers_.size()) return unknown_write(offset, value);
  switch (offset) {
    case kHostStatus:
      registers_[kHostStatus] &= static_cast<u8>(~(value & kHostStatusBits));
      break;
    case kSlaveStatus:
      break;  // nothing ever happens on the bus
    case kHostControl:
      registers_[kHostControl] = static_cast<u8>(value & ~kStart);
      if (value & kStart) registers_[kHostStatus] |= kDeviceError;
      break;
    default:
      registers_[offset] = value;
  }
}

}  // namespace doppel::devices
