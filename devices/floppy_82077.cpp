#include "devices/floppy_82077.hpp"

#include <algorithm>
#include <utility>

namespace doppel::devices {

namespace {

enum Register : u64 {
  kStatusA = 0,
  kStatusB = 1,
  kDigitalOutput = 2,
  kTapeDrive = 3,
  kMainStatus = 4,  // writes: data rate select
  kFifo = 5,
  kDigitalInput = 7,  // writes: configuration control
};

// Main status.
constexpr u8 kRequest = 0x80, kToProcessor = 0x40, kNoDma = 0x20, kCommandBusy = 0x10;
// Digital output.
constexpr u8 kDriveSelect = 0x03, kNotReset = 0x04, kDmaGate = 0x08, kMotor0 = 0x10;
constexpr u8 kDiskChanged = 0x80;    // digital input
constexpr u8 kSoftwareReset = 0x80;  // data rate select
constexpr u8 kRateBits = 3;

// Status registers in results.
constexpr u8 kAbnormal = 0x40, kInvalidCommand = 0x80, kSeekEnd = 0x20;                    // ST0
constexpr u8 kEndOfCylinder = 0x80, kOverrun = 0x10, kNoData = 0x04, kNotWritable = 0x02;  // ST1
constexpr u8 kMissingAddressMark = 0x01, kDataError = 0x20;
constexpr u8 kWrongCylinder = 0x10;                                                        // ST2
constexpr u8 kWriteProtected = 0x40, kTrack0 = 0x10, kTwoSides = 0x08, kAlwaysOne = 0x20;  // ST3

// First command byte.
constexpr u8 kMultiTrack = 0x80;

constexpr u32 kSector = 512;
constexpr u8 kSizeCode = 2;  // 128 << 2
constexpr u32 kMostSectors = 2 * 36;
constexpr u8 kVersion = 0x90;

constexpr FloppyFormat kFormats[] = {
    {160, 40, 1, 8, 2, 1},   {180, 40, 1, 9, 2, 1},   {320, 40, 2, 8, 2, 1},   {360, 40, 2, 9, 2, 1},
    {720, 80, 2, 9, 2, 4},   {1200, 80, 2, 15, 0, 2}, {1440, 80, 2, 18, 0, 4}, {1680, 80, 2, 21, 0, 4},
    {1722, 82, 2, 21, 0, 4}, {2880, 80, 2, 36, 3, 5},
};

}  // namespace

std::optional<FloppyFormat> floppy_format(u64 bytes) {
  for (const FloppyFormat& format : kFormats)
    if (u64{format.kib} * 1024 == bytes) return format;
  return std::nullopt;
}

u64 floppy_size(u64 bytes) {
  if (floppy_format(bytes)) return bytes;
  for (const FloppyFormat& format : kFormats)
    if (format.kib >= 1440 && u64{format.kib} * 1024 >= bytes) return u64{format.kib} * 1024;
  return bytes;
}

const Floppy82077::Row Floppy82077::kCommands[] = {
    {0x03, 0xff, 3, &Floppy82077::specify},
    {0x04, 0xff, 2, &Floppy82077::sense_drive},
    {0x05, 0x3f, 9, &Floppy82077::write_data},
    {0x09, 0x3f, 9, &Floppy82077::write_data},
    {0x06, 0x1f, 9, &Floppy82077::read_data},
    {0x0c, 0x1f, 9, &Floppy82077::read_data},
    {0x16, 0x1f, 9, &Floppy82077::verify},
    {0x07, 0xff, 2, &Floppy82077::recalibrate},
    {0x08, 0xff, 1, &Floppy82077::sense_interrupt},
    {0x0a, 0xbf, 2, &Floppy82077::read_id},
    {0x0d, 0xbf, 6, &Floppy82077::format_track},
    {0x0e, 0xff, 1, &Floppy82077::dump_registers},
    {0x0f, 0xff, 3, &Floppy82077::seek},
    {0x10, 0xff, 1, &Floppy82077::version},
    {0x12, 0xff, 2, &Floppy82077::perpendicular},
    {0x13, 0xff, 4, &Floppy82077::configure},
    {0x14, 0x7f, 1, &Floppy82077::lock},
    {0x00, 0x00, 1, &Floppy82077::invalid},
};

Floppy82077::Floppy82077(BlockBackend& disk, core::IrqLine irq, Dma dma, core::Counters& counters)
    : ByteDevice(counters, "floppy_82077"),
      disk_(disk),
      format_(floppy_format(disk.size()).value_or(kFormats[0])),
      irq_(std::move(irq)),
      dma_(std::move(dma)),
      buffer_(kMostSectors * kSector) {}

void Floppy82077::reset() {
  digital_output_ = tape_ = cylinder_ = perpendicular_ = 0;
  rate_ = 2;
  disk_changed_ = true;
  no_dma_ = locked_ = false;
  specified_ = {};
  configured_ = {};
  soft_reset();
  after_reset_ = false;
  sense_pending_ = 0;
}

// After it, the controller has polled four drives and says so in as many interrupts ("Polling").
void Floppy82077::soft_reset() {
  ++epoch_;
  disk_.drain();
  phase_ = Phase::kCommand;
  fifo_position_ = fifo_end_ = 0;
  position_ = 0;
  sense_pending_ = 4;
  after_reset_ = true;
  if (!locked_) configured_ = {};
  irq_.set(false);
}

// --- Registers.

u8 Floppy82077::read_byte(u64 offset) {
  switch (offset) {
    case kStatusA:
      return static_cast<u8>(irq_.level() << 7 | 0x40 | (cylinder_ == 0 ? 0x10 : 0));
    case kStatusB:
      return 0xc0;
    case kDigitalOutput:
      return digital_output_;
    case kTapeDrive:
      return tape_;
    case kMainStatus:
      return main_status();
    case kFifo:
      return read_fifo();
    case kDigitalInput: {
      const bool selected = (digital_output_ & (kDriveSelect | kMotor0)) == kMotor0;
      return selected && disk_changed_ ? kDiskChanged : 0;
    }
    default:
      return unknown_read(offset);
  }
}

void Floppy82077::write_byte(u64 offset, u8 value) {
  switch (offset) {
    case kDigitalOutput:
      return write_output(value);
    case kTapeDrive:
      tape_ = value & 3;
      return;
    case kMainStatus:
      rate_ = value & kRateBits;
      if (value & kSoftwareReset) {
        soft_reset();
        irq_.set(true);
      }
      return;
    case kFifo:
      return write_fifo(value);
    case kDigitalInput:
      rate_ = value & kRateBits;
      return;
    default:
      return unknown_write(offset, value);
  }
}

void Floppy82077::write_output(u8 value) {
  const u8 before = std::exchange(digital_output_, value);
  if (!(value & kNotReset)) {
    soft_reset();
  } else if (!(before & kNotReset)) {
    irq_.set(true);
  }
}

u8 Floppy82077::main_status() const {
  if (!(digital_output_ & kNotReset)) return 0;
  switch (phase_) {
    case Phase::kCommand:
      return static_cast<u8>(kRequest | (fifo_position_ ? kCommandBusy : 0));
    case Phase::kExecution:
      return kCommandBusy;
    case Phase::kDataIn:
      return kRequest | kToProcessor | kNoDma | kCommandBusy;
    case Phase::kDataOut:
      return kRequest | kNoDma | kCommandBusy;
    case Phase::kResult:
      return kRequest | kToProcessor | kCommandBusy;
  }
  return 0;
}

u8 Floppy82077::read_fifo() {
  if (phase_ == Phase::kDataIn) {
    const u8 value = buffer_[position_++];
    if (position_ == fifo_end_ * kSector) finish_transfer(fifo_end_, false);
    return value;
  }
  if (phase_ != Phase::kResult) return 0xff;
  irq_.set(false);
  const u8 value = fifo_[fifo_position_++];
  if (fifo_position_ == fifo_end_) {
    phase_ = Phase::kCommand;
    fifo_position_ = 0;
  }
  return value;
}

void Floppy82077::write_fifo(u8 value) {
  if (!(digital_output_ & kNotReset)) return;
  if (phase_ == Phase::kDataOut) {
    buffer_[position_++] = value;
    if (position_ == fifo_end_ * kSector) write_buffer(fifo_end_, false);
    return;
  }
  if (phase_ != Phase::kCommand) return;
  fifo_[fifo_position_++] = value;
  const Row* row = kCommands;
  while ((fifo_[0] & row->mask) != row->code) ++row;
  if (fifo_position_ < row->length) return;
  fifo_position_ = 0;
  phase_ = Phase::kExecution;
  (this->*row->run)();
}

// --- Results.

void Floppy82077::result(std::initializer_list<u8> bytes, bool interrupt) {
  std::copy(bytes.begin(), bytes.end(), fifo_.begin());
  fifo_position_ = 0;
  fifo_end_ = static_cast<u8>(bytes.size());
  phase_ = fifo_end_ ? Phase::kResult : Phase::kCommand;
  if (interrupt) irq_.set(true);
}

void Floppy82077::transfer_result(u8 st0, u8 st1, u8 st2) {
  const u8 drive = digital_output_ & kDriveSelect;
  result({static_cast<u8>(st0 | (place_.head & 1) << 2 | drive), st1, st2, place_.cylinder, place_.head,
          place_.sector, kSizeCode},
         true);
}

void Floppy82077::invalid() {
  result({kInvalidCommand}, false);
}

void Floppy82077::version() {
  result({kVersion}, false);
}

void Floppy82077::specify() {
  specified_ = {fifo_[1], fifo_[2]};
  no_dma_ = fifo_[2] & 1;
  result({}, false);
}

void Floppy82077::configure() {
  configured_ = {fifo_[1], fifo_[2], fifo_[3]};
  result({}, false);
}

void Floppy82077::perpendicular() {
  perpendicular_ = fifo_[1];
  result({}, false);
}

void Floppy82077::lock() {
  locked_ = fifo_[0] & 0x80;
  result({static_cast<u8>(locked_ << 4)}, false);
}

void Floppy82077::dump_registers() {
  result({cylinder_, 0, 0, 0, specified_[0], specified_[1], last_sector_,
          static_cast<u8>(locked_ << 7 | (perpendicular_ & 0x7f)), configured_[1], configured_[2]},
         false);
}

void Floppy82077::sense_drive() {
  const u8 select = fifo_[1] & 7, drive = select & 3;
  u8 st3 = static_cast<u8>(kAlwaysOne | kTwoSides | select);
  if (drive == 0 && cylinder_ == 0) st3 |= kTrack0;
  if (drive == 0 && disk_.read_only()) st3 |= kWriteProtected;
  result({st3}, false);
}

void Floppy82077::sense_interrupt() {
  irq_.set(false);
  if (sense_pending_ == 0) return invalid();
  const u8 st0 = after_reset_ ? static_cast<u8>(0xc0 | (4 - sense_pending_)) : seek_status_;
  if (--sense_pending_ == 0) after_reset_ = false;
  result({st0, cylinder_}, false);
}

// --- Moving the head.

void Floppy82077::head_moved(u8 cylinder) {
  const u8 drive = fifo_[1] & 3;
  seek_status_ = static_cast<u8>(kSeekEnd | (fifo_[1] & 7));
  if (drive == 0) {
    cylinder_ = std::min<u8>(cylinder, 83);
    disk_changed_ = false;  // a step clears it while a disk is in
  } else {
    seek_status_ |= kAbnormal;  // no drive: track 0 is never seen
  }
  after_reset_ = false;
  sense_pending_ = 1;
  result({}, true);
}

void Floppy82077::recalibrate() {
  head_moved(0);
}
void Floppy82077::seek() {
  head_moved(fifo_[2]);
}

// --- Transfers.

std::optional<u8> Floppy82077::obstacle() const {
  const bool rate_fits = rate_ == format_.rate || (format_.rate == 2 && rate_ == 1);
  if ((digital_output_ & (kDriveSelect | kMotor0)) != kMotor0 || !rate_fits ||
      cylinder_ >= format_.cylinders || place_.head >= format_.heads)
    return kMissingAddressMark;
  return std::nullopt;
}

u64 Floppy82077::disk_offset(const Place& place) const {
  const u32 track = u32{place.cylinder} * format_.heads + place.head;
  return (u64{track} * format_.sectors + place.sector - 1) * kSector;
}

// Up to EOT, on the second side too if the command says so and EOT is the track's end.
u32 Floppy82077::sectors_to_end() const {
  const u32 last = std::min(last_sector_, format_.sectors);
  u32 count = place_.sector <= last ? last - place_.sector + 1u : 0;
  const bool on_both = both_heads_ && place_.head == 0 && format_.heads == 2 && last == format_.sectors;
  if (on_both) count += last;
  return count;
}

// False: it has ended with an error.
bool Floppy82077::start_transfer(bool writes) {
  both_heads_ = fifo_[0] & kMultiTrack;
  place_ = {fifo_[2], fifo_[3], fifo_[4]};
  last_sector_ = fifo_[6];
  writing_ = writes;
  const u8 drive = fifo_[1] & 3;
  const bool head_matches = (fifo_[1] >> 2 & 1) == place_.head;
  digital_output_ = static_cast<u8>((digital_output_ & ~kDriveSelect) | drive);
  if (const auto st1 = obstacle()) {
    transfer_result(kAbnormal, *st1, 0);
  } else if (place_.cylinder != cylinder_) {
    transfer_result(kAbnormal, kNoData, kWrongCylinder);
  } else if (!head_matches || fifo_[5] != kSizeCode || place_.sector == 0 || sectors_to_end() == 0) {
    transfer_result(kAbnormal, kNoData, 0);
  } else if (writes && disk_.read_only()) {
    transfer_result(kAbnormal, kNotWritable, 0);
  } else {
    return true;
  }
  return false;
}

void Floppy82077::verify() {
  if (!start_transfer(false)) return;
  finish_transfer(sectors_to_end(), true);
}

// Reads all that the command can reach; how much is wanted shows when it is sent.
void Floppy82077::read_data() {
  if (!start_transfer(false)) return;
  BlockRequest request;
  request.kind = BlockRequest::Kind::kRead;
  request.offset = disk_offset(place_);
  request.memory.push_back({buffer_.data(), sectors_to_end() * kSector});
  request.done = guarded([this](int error) {
    if (error) return transfer_result(kAbnormal, kDataError, 0);
    data_arrived();
  });
  disk_.submit(std::move(request));
}

void Floppy82077::data_arrived() {
  const u32 sectors = sectors_to_end();
  if (no_dma_ || !(digital_output_ & kDmaGate)) {
    phase_ = Phase::kDataIn;
    position_ = 0;
    fifo_end_ = static_cast<u8>(sectors);
    irq_.set(true);
    return;
  }
  const auto moved = dma_(std::span(buffer_).first(sectors * kSector), DmaDirection::kToMemory);
  if (moved.bytes == 0) return transfer_result(kAbnormal, kOverrun, 0);
  finish_transfer(static_cast<u32>((moved.bytes + kSector - 1) / kSector), moved.terminal_count);
}

void Floppy82077::write_data() {
  if (!start_transfer(true)) return;
  const u32 sectors = sectors_to_end();
  if (no_dma_ || !(digital_output_ & kDmaGate)) {
    phase_ = Phase::kDataOut;
    position_ = 0;
    fifo_end_ = static_cast<u8>(sectors);
    irq_.set(true);
    return;
  }
  const std::span room = std::span(buffer_).first(sectors * kSector);
  const auto moved = dma_(room, DmaDirection::kFromMemory);
  if (moved.bytes == 0) return transfer_result(kAbnormal, kOverrun, 0);
  // A sector that the count ends in is filled up with zeroes ("Write Data").
  const u32 whole = static_cast<u32>((moved.bytes + kSector - 1) / kSector);
  std::fill(room.begin() + static_cast<std::ptrdiff_t>(moved.bytes), room.end(), u8{0});
  write_buffer(whole, moved.terminal_count);
}

void Floppy82077::write_buffer(u32 sectors, bool terminal_count) {
  phase_ = Phase::kExecution;
  BlockRequest request;
  request.kind = BlockRequest::Kind::kWrite;
  request.offset = disk_offset(place_);
  request.memory.push_back({buffer_.data(), sectors * kSector});
  request.done = guarded([this, sectors, terminal_count](int error) {
    if (error) return transfer_result(kAbnormal, kDataError, 0);
    finish_transfer(sectors, terminal_count);
  });
  disk_.submit(std::move(request));
}

// Without a terminal count the controller runs past EOT, which is how programmed transfers end.
void Floppy82077::finish_transfer(u32 sectors, bool terminal_count) {
  const bool to_the_end = sectors == sectors_to_end();
  advance(sectors);
  if (terminal_count || !to_the_end) return transfer_result(0, 0, 0);
  transfer_result(kAbnormal, kEndOfCylinder, 0);
}

// To the sector after the last one moved ("Result Phase Table").
void Floppy82077::advance(u32 sectors) {
  for (; sectors != 0; --sectors) {
    if (place_.sector < last_sector_) {
      ++place_.sector;
      continue;
    }
    place_.sector = 1;
    if (!both_heads_) {
      ++place_.cylinder;
    } else {
      place_.head ^= 1;
      if (place_.head == 0) ++place_.cylinder;
    }
  }
}

void Floppy82077::read_id() {
  place_ = {cylinder_, static_cast<u8>(fifo_[1] >> 2 & 1), 1};
  digital_output_ = static_cast<u8>((digital_output_ & ~kDriveSelect) | (fifo_[1] & 3));
  const auto st1 = obstacle();
  transfer_result(st1 ? kAbnormal : 0, st1.value_or(0), 0);
}

// The processor names the sectors of the track, four bytes each; only a layout that the image can hold works.
void Floppy82077::format_track() {
  const u8 size_code = fifo_[2], count = fifo_[3], filler = fifo_[5];
  place_ = {cylinder_, static_cast<u8>(fifo_[1] >> 2 & 1), 1};
  digital_output_ = static_cast<u8>((digital_output_ & ~kDriveSelect) | (fifo_[1] & 3));
  if (const auto st1 = obstacle()) return transfer_result(kAbnormal, *st1, 0);
  if (disk_.read_only()) return transfer_result(kAbnormal, kNotWritable, 0);
  if (size_code != kSizeCode || count != format_.sectors) return transfer_result(kAbnormal, kNoData, 0);
  std::array<u8, 4 * 36> names;
  const auto moved = dma_(std::span(names).first(count * 4u), DmaDirection::kFromMemory);
  if (moved.bytes != count * 4u) return transfer_result(kAbnormal, kOverrun, 0);
  std::fill_n(buffer_.begin(), count * kSector, filler);
  both_heads_ = false;
  last_sector_ = count;
  write_buffer(count, true);
}

std::function<void(int)> Floppy82077::guarded(std::function<void(int)> done) {
  return [this, epoch = epoch_, done = std::move(done)](int error) {
    if (epoch == epoch_) done(error);
  };
}

void Floppy82077::snapshot(core::SnapshotIo& io) {
  disk_.drain();
  io.field("phase", phase_);
  io.field("fifo", fifo_);
  io.field("fifo_position", fifo_position_);
  io.field("fifo_end", fifo_end_);
  io.field("digital_output", digital_output_);
  io.field("tape", tape_);
  io.field("rate", rate_);
  io.field("cylinder", cylinder_);
  io.field("sense_pending", sense_pending_);
  io.field("seek_status", seek_status_);
  io.field("after_reset", after_reset_);
  io.field("disk_changed", disk_changed_);
  io.field("no_dma", no_dma_);
  io.field("locked", locked_);
  io.field("specified", specified_);
  io.field("configured", configured_);
  io.field("perpendicular", perpendicular_);
  io.field("place", place_);
  io.field("last_sector", last_sector_);
  io.field("both_heads", both_heads_);
  io.field("writing", writing_);
  io.field("position", position_);
  io.bytes("buffer", buffer_);
  const bool data = phase_ == Phase::kDataIn || phase_ == Phase::kDataOut;
  const bool good = data ? fifo_end_ <= kMostSectors && position_ < fifo_end_ * kSector
                         : fifo_end_ <= fifo_.size() && fifo_position_ <= 9 &&
                               (phase_ != Phase::kResult || fifo_position_ < fifo_end_);
  if (!good || phase_ > Phase::kResult || sense_pending_ > 4)
    throw core::SnapshotError("snapshot: the floppy controller's state is out of range");
}

}  // namespace doppel::devices
