#include "devices/ide/ide_drive.hpp"

#include <utility>

namespace doppel::devices {

void IdeDrive::start(u8 code) {
  pio_ = Pio::kNone;
  dma_size_ = 0;
  command(code);
}

u16 IdeDrive::read_data() {
  if (pio_ != Pio::kIn) return 0xffff;
  const u16 value =
      static_cast<u16>(buffer_[position_] | (position_ + 1 < end_ ? buffer_[position_ + 1] : 0) << 8);
  position_ += 2;
  if (position_ >= end_) {
    pio_ = Pio::kNone;
    pio_in_done();
  }
  return value;
}

void IdeDrive::write_data(u16 value) {
  if (pio_ != Pio::kOut) return;
  buffer_[position_] = static_cast<u8>(value);
  if (position_ + 1 < end_) buffer_[position_ + 1] = static_cast<u8>(value >> 8);
  position_ += 2;
  if (position_ >= end_) {
    pio_ = Pio::kNone;
    pio_out_done();
  }
}

void IdeDrive::reset(bool) {
  ++epoch_;
  pio_ = Pio::kNone;
  dma_size_ = 0;
  quiesce();
  cable_.interrupt(false);
  task_ = {};
  task_.status = kIdeReady | kIdeSeekComplete;
  set_signature();
}

void IdeDrive::start_pio_in(u32 from, u32 size, bool announce) {
  pio_ = Pio::kIn;
  position_ = from;
  end_ = from + size;
  task_.status = kIdeReady | kIdeSeekComplete | kIdeDataRequest;
  if (announce) interrupt();
}

void IdeDrive::start_pio_out(u32 from, u32 size, bool announce) {
  start_pio_in(from, size, announce);
  pio_ = Pio::kOut;
}

void IdeDrive::start_dma(u64 size, bool to_memory) {
  dma_size_ = size;
  dma_to_memory_ = to_memory;
  task_.status = kIdeReady | kIdeSeekComplete | kIdeDataRequest;
  cable_.dma_wanted();
}

void IdeDrive::run_dma(IdeDmaMemory memory) {
  dma_size_ = 0;
  busy();
  transfer(memory);
}

void IdeDrive::transferred(u64 used) {
  cable_.dma_done(used);
}

void IdeDrive::complete() {
  task_.error = 0;
  task_.status = kIdeReady | kIdeSeekComplete;
  interrupt();
}

void IdeDrive::fail(u8 error) {
  task_.error = error;
  task_.status = kIdeReady | kIdeSeekComplete | kIdeError;
  interrupt();
}

std::function<void(int)> IdeDrive::guarded(std::function<void(int)> done) {
  return [this, epoch = epoch_, done = std::move(done)](int error) {
    if (epoch == epoch_) done(error);
  };
}

void IdeDrive::snapshot(core::SnapshotIo& io) {
  io.field("feature", task_.feature);
  io.field("count", task_.count);
  io.field("lba_low", task_.lba_low);
  io.field("lba_mid", task_.lba_mid);
  io.field("lba_high", task_.lba_high);
  io.field("device", task_.device);
  io.field("error", task_.error);
  io.field("status", task_.status);
  io.field("pio", pio_);
  io.field("position", position_);
  io.field("end", end_);
  io.field("dma_size", dma_size_);
  io.field("dma_to_memory", dma_to_memory_);
  io.bytes("buffer", buffer_);
  if (end_ > buffer_.size() || (pio_ != Pio::kNone && position_ >= end_) || pio_ > Pio::kOut)
    throw core::SnapshotError("snapshot: an IDE drive's buffer position is out of range");
}

}  // namespace doppel::devices
