#include "devices/parallel_port.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kData = 0, kStatus = 1, kControl = 2;
// Not busy, not acknowledging, paper there, selected, no error; the bits below read as ones.
constexpr u8 kReady = 0xdf;
constexpr u8 kStrobe = 1u << 0, kIrqEnable = 1u << 4;
constexpr u8 kControlBits = 0x3f, kControlReadsAsOne = 0xc0, kControlAfterReset = 0x0c;

}  // namespace

void ParallelPort::reset() {
  data_ = 0;
  control_ = kControlAfterReset;
}

u8 ParallelPort::read_byte(u64 offset) {
  switch (offset) {
    case kData:
      return data_;
    case kStatus:
      return kReady;
    case kControl:
      return control_ | kControlReadsAsOne;
    default:
      return unknown_read(offset);
  }
}

// The printer takes the byte as the strobe starts and acknowledges it with a pulse.
void ParallelPort::write_byte(u64 offset, u8 value) {
  if (offset == kData) {
    data_ = value;
  } else if (offset == kControl) {
    const bool strobed = (value & kStrobe) && !(control_ & kStrobe);
    control_ = value & kControlBits;
    if (!strobed) return;
    backend_.write(data_);
    if (control_ & kIrqEnable) irq_.pulse();
  } else {
    unknown_write(offset, value);
  }
}

void ParallelPort::snapshot(core::SnapshotIo& io) {
  io.field("data", data_);
  io.field("control", control_);
  control_ &= kControlBits;
}

}  // namespace doppel::devices
