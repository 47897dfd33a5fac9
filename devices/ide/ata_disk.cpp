#include "devices/ide/ata_disk.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "devices/ide/ata_identify.hpp"

namespace doppel::devices {

namespace {

constexpr u32 kSector = 512;
constexpr u8 kLargestMultiple = 128;
constexpr u8 kUltraDma = 0x40, kMultiwordDma = 0x20;

// Commands (ATA/ATAPI-7 Vol. 1, chapter 6; obsolete ones: ATA-3).
enum Command : u8 {
  kNop = 0x00,
  kRecalibrate = 0x10,
  kReadSectors = 0x20,
  kReadSectorsNoRetry = 0x21,
  kReadSectorsExt = 0x24,
  kReadDmaExt = 0x25,
  kReadNativeMaxExt = 0x27,
  kReadMultipleExt = 0x29,
  kWriteSectors = 0x30,
  kWriteSectorsNoRetry = 0x31,
  kWriteSectorsExt = 0x34,
  kWriteDmaExt = 0x35,
  kWriteMultipleExt = 0x39,
  kWriteDmaFuaExt = 0x3d,
  kVerify = 0x40,
  kVerifyNoRetry = 0x41,
  kVerifyExt = 0x42,
  kSeek = 0x70,
  kDiagnose = 0x90,
  kSetGeometry = 0x91,
  kSmart = 0xb0,
  kReadMultiple = 0xc4,
  kWriteMultiple = 0xc5,
  kSetMultiple = 0xc6,
  kReadDma = 0xc8,
  kReadDmaNoRetry = 0xc9,
  kWriteDma = 0xca,
  kWriteDmaNoRetry = 0xcb,
  kWriteMultipleFuaExt = 0xce,
  kStandbyImmediate = 0xe0,
  kIdleImmediate = 0xe1,
  kStandby = 0xe2,
  kIdle = 0xe3,
  kCheckPower = 0xe5,
  kSleep = 0xe6,
  kFlush = 0xe7,
  kFlushExt = 0xea,
  kIdentify = 0xec,
  kSetFeatures = 0xef,
  kReadNativeMax = 0xf8,
};

}  // namespace

AtaDisk::AtaDisk(BlockBackend& disk, std::string serial)
    : disk_(disk), serial_(std::move(serial)), sectors_(disk.size() / kSector) {
  set_signature();
}

void AtaDisk::set_signature() {
  task_.count[0] = task_.lba_low[0] = 1;
  task_.lba_mid[0] = task_.lba_high[0] = 0;
  task_.error = 1;  // diagnostics passed
}

void AtaDisk::reset(bool hard) {
  IdeDrive::reset(hard);
  transfer_ = {};
  identifying_ = writing_ = false;
  if (!hard) return;
  multiple_ = 0;
  heads_ = 16;
  sectors_per_track_ = 63;
  dma_mode_ = kUltraDma | 5;
  smart_enabled_ = true;
  disk_.set_write_cache(disk_.initial_write_cache());
}

void AtaDisk::command(u8 code) {
  task_.error = 0;
  const u32 multiple = multiple_;
  // The low four bits of these two were once the step rate.
  if ((code & 0xf0) == kRecalibrate || (code & 0xf0) == kSeek) return complete();
  switch (code) {
    case kReadSectors:
    case kReadSectorsNoRetry:
      return read_or_write(Move::kPioIn, Address::k28, 1);
    case kReadSectorsExt:
      return read_or_write(Move::kPioIn, Address::k48, 1);
    case kReadMultiple:
      return read_or_write(Move::kPioIn, Address::k28, multiple);
    case kReadMultipleExt:
      return read_or_write(Move::kPioIn, Address::k48, multiple);
    case kWriteSectors:
    case kWriteSectorsNoRetry:
      return read_or_write(Move::kPioOut, Address::k28, 1);
    case kWriteSectorsExt:
      return read_or_write(Move::kPioOut, Address::k48, 1);
    case kWriteMultiple:
      return read_or_write(Move::kPioOut, Address::k28, multiple);
    case kWriteMultipleExt:
      return read_or_write(Move::kPioOut, Address::k48, multiple);
    case kWriteMultipleFuaExt:
      return read_or_write(Move::kPioOut, Address::k48, multiple, true);
    case kReadDma:
    case kReadDmaNoRetry:
      return read_or_write(Move::kDmaIn, Address::k28, 1);
    case kReadDmaExt:
      return read_or_write(Move::kDmaIn, Address::k48, 1);
    case kWriteDma:
    case kWriteDmaNoRetry:
      return read_or_write(Move::kDmaOut, Address::k28, 1);
    case kWriteDmaExt:
      return read_or_write(Move::kDmaOut, Address::k48, 1);
    case kWriteDmaFuaExt:
      return read_or_write(Move::kDmaOut, Address::k48, 1, true);
    case kVerify:
    case kVerifyNoRetry:
      return read_or_write(Move::kVerify, Address::k28, 1);
    case kVerifyExt:
      return read_or_write(Move::kVerify, Address::k48, 1);
    case kFlush:
    case kFlushExt:
      return flush();
    case kIdentify:
      return identify();
    case kSetFeatures:
      return set_features();
    case kSetMultiple:
      return set_multiple();
    case kSetGeometry:
      return set_geometry();
    case kSmart:
      return smart();
    case kReadNativeMax:
      return native_size(Address::k28);
    case kReadNativeMaxExt:
      return native_size(Address::k48);
    case kDiagnose:
      set_signature();
      task_.status = kIdeReady | kIdeSeekComplete;
      return interrupt();
    case kCheckPower:
      task_.count[0] = 0xff;  // active or idle
      return complete();
    case kStandbyImmediate:
    case kIdleImmediate:
    case kStandby:
    case kIdle:
    case kSleep:
      return complete();
    default:
      core::log(core::LogCategory::kStorage, "ata_disk: unknown command {:#x}", code);
      [[fallthrough]];
    case kNop:
      return fail(kIdeAborted);
  }
}

// --- Addresses.

// False: the address is not on the disk. A count of zero stands for the largest.
bool AtaDisk::parse_address(Address address, u64& sector, u32& count) const {
  const IdeTaskFile& t = task_;
  const auto join = [](u8 low, u8 mid, u8 high) { return u64{high} << 16 | u64{mid} << 8 | low; };
  sector = join(t.lba_low[0], t.lba_mid[0], t.lba_high[0]);
  if (address == Address::k48) {
    sector |= join(t.lba_low[1], t.lba_mid[1], t.lba_high[1]) << 24;
    count = u32{t.count[1]} << 8 | t.count[0];
    if (count == 0) count = 65536;
  } else {
    count = t.count[0] ? t.count[0] : 256;
    if (t.device & kIdeLba) {
      sector |= u64{t.device & 0x0fu} << 24;
    } else {
      const u32 cylinder = static_cast<u32>(t.lba_high[0]) << 8 | t.lba_mid[0], head = t.device & 0x0f;
      if (t.lba_low[0] == 0 || t.lba_low[0] > sectors_per_track_ || head >= heads_) return false;
      sector = (u64{cylinder} * heads_ + head) * sectors_per_track_ + t.lba_low[0] - 1;
    }
  }
  return sector < sectors_ && count <= sectors_ - sector;
}

void AtaDisk::set_address(Address address, u64 sector) {
  const auto byte = [sector](u32 n) { return static_cast<u8>(sector >> n * 8); };
  task_.lba_low[0] = byte(0);
  task_.lba_mid[0] = byte(1);
  task_.lba_high[0] = byte(2);
  if (address == Address::k28) {
    task_.device = static_cast<u8>((task_.device & 0xf0) | (sector >> 24 & 0x0f));
    return;
  }
  task_.lba_low[1] = byte(3);
  task_.lba_mid[1] = byte(4);
  task_.lba_high[1] = byte(5);
}

// --- Moving data.

void AtaDisk::read_or_write(Move move, Address address, u32 block, bool durable) {
  const bool writes = move == Move::kPioOut || move == Move::kDmaOut;
  if (block == 0 || (writes && disk_.read_only())) return fail(kIdeAborted);
  transfer_ = {.block = block, .durable = durable};
  if (!parse_address(address, transfer_.sector, transfer_.left)) return fail(kIdeIdNotFound);
  switch (move) {
    case Move::kPioIn:
      return fill_buffer();
    case Move::kPioOut:
      return next_pio_out();
    case Move::kVerify:
      return complete();
    case Move::kDmaIn:
    case Move::kDmaOut:
      writing_ = writes;
      return start_dma(u64{transfer_.left} * kSector, !writes);
  }
}

// Reads ahead as much as the buffer takes, so that a command is not a request to the backend for each sector.
void AtaDisk::fill_buffer() {
  busy();
  const u32 count = std::min(transfer_.left, kBufferSize / kSector);
  BlockRequest request;
  request.kind = BlockRequest::Kind::kRead;
  request.offset = transfer_.sector * kSector;
  request.memory.push_back({buffer_.data(), count * kSector});
  request.done = guarded([this, count](int error) {
    if (error) return fail(kIdeUncorrectable);
    transfer_.sector += count;
    transfer_.left -= count;
    transfer_.buffered = count;
    transfer_.passed = 0;
    next_pio_in();
  });
  disk_.submit(std::move(request));
}

void AtaDisk::next_pio_in() {
  const u32 count = std::min(transfer_.block, transfer_.buffered - transfer_.passed);
  start_pio_in(transfer_.passed * kSector, count * kSector);
  transfer_.passed += count;
}

// The last block ends the command without another interrupt (ATA/ATAPI-7 Vol. 2, "PIO data-in").
void AtaDisk::pio_in_done() {
  if (!identifying_ && transfer_.passed < transfer_.buffered) return next_pio_in();
  if (!identifying_ && transfer_.left != 0) return fill_buffer();
  identifying_ = false;
  task_.status = kIdeReady | kIdeSeekComplete;
}

// The first block is asked for without an interrupt (Vol. 2, "PIO data-out").
void AtaDisk::next_pio_out() {
  const bool first = transfer_.buffered == 0 && transfer_.passed == 0;
  const u32 room = kBufferSize / kSector - transfer_.buffered;
  const u32 count = std::min({transfer_.block, room, transfer_.left});
  transfer_.passed = 1;
  start_pio_out(transfer_.buffered * kSector, count * kSector, !first);
  transfer_.buffered += count;
  transfer_.left -= count;
}

void AtaDisk::pio_out_done() {
  const bool full = transfer_.buffered == kBufferSize / kSector;
  if (transfer_.left != 0 && !full) return next_pio_out();
  write_buffer();
}

void AtaDisk::write_buffer() {
  busy();
  BlockRequest request;
  request.kind = BlockRequest::Kind::kWrite;
  request.offset = transfer_.sector * kSector;
  request.memory.push_back({buffer_.data(), transfer_.buffered * kSector});
  request.done = guarded([this](int error) {
    if (error) return fail(kIdeAborted);
    transfer_.sector += transfer_.buffered;
    transfer_.buffered = 0;
    transfer_.left != 0 ? next_pio_out() : finish_write();
  });
  disk_.submit(std::move(request));
}

void AtaDisk::finish_write() {
  transfer_.durable ? flush() : complete();
}

void AtaDisk::flush() {
  busy();
  BlockRequest request;
  request.kind = BlockRequest::Kind::kFlush;
  request.done = guarded([this](int error) { error ? fail(kIdeAborted) : complete(); });
  disk_.submit(std::move(request));
}

// Memory that is too short leaves the drive waiting for more, as on the cable: only a reset ends that.
void AtaDisk::transfer(const IdeDmaMemory& memory) {
  const u64 whole = memory.size / kSector * kSector;
  BlockRequest request;
  request.kind = writing_ ? BlockRequest::Kind::kWrite : BlockRequest::Kind::kRead;
  request.offset = transfer_.sector * kSector;
  u64 room = whole;
  for (const iovec& vector : memory.vectors) {
    const u64 part = std::min<u64>(vector.iov_len, room);
    if (part != 0) request.memory.push_back({vector.iov_base, part});
    room -= part;
  }
  if (whole == 0) return transferred(memory.size);
  request.done = guarded([this, whole, size = memory.size](int error) {
    transferred(size);
    if (error) return fail(writing_ ? kIdeAborted : kIdeUncorrectable);
    transfer_.left -= static_cast<u32>(whole / kSector);
    if (transfer_.left == 0) writing_ ? finish_write() : complete();
  });
  disk_.submit(std::move(request));
}

// --- Everything else.

void AtaDisk::identify() {
  identify_ata_disk({.serial = serial_,
                     .sectors = sectors_,
                     .heads = heads_,
                     .sectors_per_track = sectors_per_track_,
                     .multiple = multiple_,
                     .largest_multiple = kLargestMultiple,
                     .dma_mode = dma_mode_,
                     .write_cache = disk_.write_cache(),
                     .smart = smart_enabled_},
                    std::span(buffer_).first(kSector));
  identifying_ = true;
  start_pio_in(0, kSector);
}

void AtaDisk::set_features() {
  enum : u8 {
    kCacheOn = 0x02,
    kTransferMode = 0x03,
    kReadAheadOff = 0x55,
    kKeepOff = 0x66,
    kCacheOff = 0x82
  };
  enum : u8 { kReadAheadOn = 0xaa, kKeepOn = 0xcc };
  switch (task_.feature[0]) {
    case kCacheOn:
      disk_.set_write_cache(true);
      return complete();
    case kCacheOff:
      disk_.set_write_cache(false);
      return flush();
    case kTransferMode: {
      const u8 mode = task_.count[0], kind = mode & 0xf8, number = mode & 7;
      const bool good = kind == 0x00 || kind == 0x08 || (kind == kMultiwordDma && number <= 2) ||
                        (kind == kUltraDma && number <= 5);
      if (!good) return fail(kIdeAborted);
      if (kind >= kMultiwordDma) dma_mode_ = mode;
      return complete();
    }
    case kReadAheadOff:
    case kReadAheadOn:
    case kKeepOff:
    case kKeepOn:
      return complete();
    default:
      return fail(kIdeAborted);
  }
}

void AtaDisk::set_multiple() {
  const u8 count = task_.count[0];
  if (count > kLargestMultiple || (count & (count - 1))) return fail(kIdeAborted);
  multiple_ = count;
  complete();
}

void AtaDisk::set_geometry() {
  if (task_.count[0] == 0) return fail(kIdeAborted);
  sectors_per_track_ = task_.count[0];
  heads_ = static_cast<u8>((task_.device & 0x0f) + 1);
  complete();
}

// Enough for a program that asks whether the disk is healthy: it is.
void AtaDisk::smart() {
  enum : u8 { kReadData = 0xd0, kReadThresholds = 0xd1, kAutoSave = 0xd2, kEnable = 0xd8, kDisable = 0xd9 };
  enum : u8 { kReturnStatus = 0xda };
  const bool keys = task_.lba_mid[0] == 0x4f && task_.lba_high[0] == 0xc2;
  const u8 what = task_.feature[0];
  if (!keys || (!smart_enabled_ && what != kEnable)) return fail(kIdeAborted);
  switch (what) {
    case kEnable:
    case kDisable:
      smart_enabled_ = what == kEnable;
      return complete();
    case kAutoSave:
    case kReturnStatus:  // the keys stay as they are: no threshold exceeded
      return complete();
    case kReadData:
    case kReadThresholds: {
      const std::span page = std::span(buffer_).first(kSector);
      std::fill(page.begin(), page.end(), u8{0});
      page[0] = 0x01;  // structure revision; no attributes
      u8 sum = 0;
      for (const u8 byte : page) sum = static_cast<u8>(sum + byte);
      page[kSector - 1] = static_cast<u8>(-sum);
      identifying_ = true;
      return start_pio_in(0, kSector);
    }
    default:
      return fail(kIdeAborted);
  }
}

void AtaDisk::native_size(Address address) {
  const u64 last = sectors_ - 1;
  set_address(address, address == Address::k28 ? std::min<u64>(last, 0x0fff'ffff) : last);
  complete();
}

void AtaDisk::snapshot(core::SnapshotIo& io) {
  IdeDrive::snapshot(io);
  io.field("sector", transfer_.sector);
  io.field("left", transfer_.left);
  io.field("buffered", transfer_.buffered);
  io.field("passed", transfer_.passed);
  io.field("block", transfer_.block);
  io.field("durable", transfer_.durable);
  io.field("identifying", identifying_);
  io.field("writing", writing_);
  io.field("multiple", multiple_);
  io.field("heads", heads_);
  io.field("sectors_per_track", sectors_per_track_);
  io.field("dma_mode", dma_mode_);
  io.field("smart_enabled", smart_enabled_);
  bool cache = disk_.write_cache();
  io.field("write_cache", cache);
  if (!io.loading()) return;
  disk_.set_write_cache(cache);
  const Transfer& t = transfer_;
  const u64 before = std::max(t.buffered, t.passed);
  if (t.sector > sectors_ || t.left > sectors_ - t.sector || before > kBufferSize / kSector || t.block == 0 ||
      t.block > kLargestMultiple || heads_ == 0 || heads_ > 16 || sectors_per_track_ == 0 ||
      dma_size() > u64{t.left} * kSector)
    throw core::SnapshotError("snapshot: an ATA disk's transfer is out of range");
}

}  // namespace doppel::devices
