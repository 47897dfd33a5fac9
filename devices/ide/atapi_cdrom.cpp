#include "devices/ide/atapi_cdrom.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/log.hpp"
#include "devices/ide/ata_identify.hpp"

namespace doppel::devices {

namespace {

enum Command : u8 {
  kNop = 0x00,
  kDeviceReset = 0x08,
  kDiagnose = 0x90,
  kPacketCommand = 0xa0,
  kIdentifyPacket = 0xa1,
  kStandbyImmediate = 0xe0,
  kIdleImmediate = 0xe1,
  kCheckPower = 0xe5,
  kIdentify = 0xec,
  kSetFeatures = 0xef,
};

// Interrupt reason, in the count register.
constexpr u8 kCommandOrStatus = 1, kToHost = 2;
constexpr u8 kWantsDma = 1;  // feature register
constexpr u16 kPacketSize = 12, kIdentifySize = 512;

}  // namespace

AtapiCdrom::AtapiCdrom(BlockBackend& disc, std::string serial)
    : disc_(disc),
      serial_(std::move(serial)),
      blocks_(static_cast<u32>(std::min<u64>(disc.size() / Cdrom::kBlock, ~u32{0}))),
      cdrom_(blocks_) {
  set_signature();
}

void AtapiCdrom::set_signature() {
  task_.count[0] = task_.lba_low[0] = 1;
  task_.lba_mid[0] = 0x14;
  task_.lba_high[0] = 0xeb;
  task_.error = 1;
  task_.status = 0;  // not ready until the first command for it (Vol. 2, 9.12)
}

void AtapiCdrom::reset(bool hard) {
  stage_ = Stage::kIdle;
  filled_ = sent_ = block_ = blocks_left_ = 0;
  IdeDrive::reset(hard);
  if (!hard) return;
  cdrom_.reset();
  dma_mode_ = 0x42;
}

void AtapiCdrom::command(u8 code) {
  task_.error = 0;
  switch (code) {
    case kPacketCommand:
      dma_ = task_.feature[0] & kWantsDma;
      chunk_limit_ = static_cast<u16>(task_.lba_high[0] << 8 | task_.lba_mid[0]);
      stage_ = Stage::kPacket;
      task_.count[0] = kCommandOrStatus;
      return start_pio_out(0, kPacketSize, false);
    case kIdentifyPacket:
      identify_atapi_cdrom(serial_, dma_mode_, std::span(buffer_).first(kIdentifySize));
      stage_ = Stage::kIdentify;
      return start_pio_in(0, kIdentifySize);
    case kDeviceReset:
      return reset(false);
    case kDiagnose:
      set_signature();
      return interrupt();
    case kIdentify:  // how a program finds out that this is a packet device
      set_signature();
      return fail(kIdeAborted);
    case kCheckPower:
      task_.count[0] = 0xff;
      return complete();
    case kStandbyImmediate:
    case kIdleImmediate:
      return complete();
    case kSetFeatures: {
      constexpr u8 kTransferMode = 3;
      const u8 mode = task_.count[0];
      if (task_.feature[0] == kTransferMode && mode >= 0x20) dma_mode_ = mode;
      return complete();
    }
    default:
      core::log(core::LogCategory::kStorage, "atapi_cdrom: unknown command {:#x}", code);
      [[fallthrough]];
    case kNop:
      return fail(kIdeAborted);
  }
}

void AtapiCdrom::pio_out_done() {
  execute();
}

void AtapiCdrom::execute() {
  Cdrom::Packet packet;
  std::copy_n(buffer_.begin(), packet.size(), packet.begin());
  stage_ = Stage::kSend;
  answer(cdrom_.execute(packet));
}

void AtapiCdrom::answer(const Cdrom::Answer& answer) {
  using Kind = Cdrom::Answer::Kind;
  filled_ = sent_ = blocks_left_ = 0;
  switch (answer.kind) {
    case Kind::kGood:
      return end_well();
    case Kind::kCheck:
      return end_with_sense();
    case Kind::kData:
      std::copy(answer.data.begin(), answer.data.end(), buffer_.begin());
      filled_ = static_cast<u32>(answer.data.size());
      return dma_ ? start_dma(filled_, true) : send_chunk();
    case Kind::kBlocks:
      block_ = answer.first;
      blocks_left_ = answer.count;
      return dma_ ? start_dma(u64{blocks_left_} * Cdrom::kBlock, true) : read_ahead();
  }
}

void AtapiCdrom::end_well() {
  stage_ = Stage::kIdle;
  task_.count[0] = kCommandOrStatus | kToHost;
  complete();
}

void AtapiCdrom::end_with_sense() {
  stage_ = Stage::kIdle;
  task_.count[0] = kCommandOrStatus | kToHost;
  fail(static_cast<u8>(cdrom_.sense_key() << 4 | kIdeAborted));
}

// --- By program: pieces no larger than the program asked for, an even number of bytes but for the last.

void AtapiCdrom::send_chunk() {
  u32 size = filled_ - sent_;
  const u32 limit = chunk_limit_ == 0 || chunk_limit_ == 0xffff ? 0xfffe : chunk_limit_;
  if (size > limit) size = std::max<u32>(limit & ~1u, 2);
  task_.lba_mid[0] = static_cast<u8>(size);
  task_.lba_high[0] = static_cast<u8>(size >> 8);
  task_.count[0] = kToHost;
  const u32 from = std::exchange(sent_, sent_ + size);
  start_pio_in(from, size);
}

void AtapiCdrom::pio_in_done() {
  if (std::exchange(stage_, Stage::kSend) == Stage::kIdentify) {
    stage_ = Stage::kIdle;
    task_.status = kIdeReady | kIdeSeekComplete;
    return;
  }
  if (sent_ < filled_) return send_chunk();
  if (blocks_left_ != 0) return read_ahead();
  end_well();
}

void AtapiCdrom::read_ahead() {
  busy();
  const u32 count = std::min(blocks_left_, kBufferSize / Cdrom::kBlock);
  BlockRequest request;
  request.kind = BlockRequest::Kind::kRead;
  request.offset = u64{block_} * Cdrom::kBlock;
  request.memory.push_back({buffer_.data(), count * Cdrom::kBlock});
  request.done = guarded([this, count](int error) {
    if (error) return answer(cdrom_.read_failed());
    block_ += count;
    blocks_left_ -= count;
    filled_ = count * Cdrom::kBlock;
    sent_ = 0;
    send_chunk();
  });
  disc_.submit(std::move(request));
}

// --- By DMA. Memory that is too short leaves the drive waiting for more.

void AtapiCdrom::transfer(const IdeDmaMemory& memory) {
  if (blocks_left_ == 0) {
    u32 copied = 0;
    for (const iovec& vector : memory.vectors) {
      const u32 part = static_cast<u32>(std::min<u64>(vector.iov_len, filled_ - copied));
      std::memcpy(vector.iov_base, buffer_.data() + copied, part);
      copied += part;
    }
    transferred(copied);
    if (copied == filled_) end_well();
    return;
  }
  const u64 wanted = u64{blocks_left_} * Cdrom::kBlock;
  BlockRequest request;
  request.kind = BlockRequest::Kind::kRead;
  request.offset = u64{block_} * Cdrom::kBlock;
  request.memory.assign(memory.vectors.begin(), memory.vectors.end());
  request.done = guarded([this, size = memory.size, wanted](int error) {
    transferred(size);
    if (error) return answer(cdrom_.read_failed());
    if (size == wanted) end_well();
  });
  disc_.submit(std::move(request));
}

void AtapiCdrom::snapshot(core::SnapshotIo& io) {
  IdeDrive::snapshot(io);
  cdrom_.snapshot(io);
  io.field("stage", stage_);
  io.field("dma", dma_);
  io.field("chunk_limit", chunk_limit_);
  io.field("filled", filled_);
  io.field("sent", sent_);
  io.field("block", block_);
  io.field("blocks_left", blocks_left_);
  io.field("dma_mode", dma_mode_);
  if (filled_ > kBufferSize || sent_ > filled_ || block_ > blocks_ || blocks_left_ > blocks_ - block_ ||
      stage_ > Stage::kSend || dma_size() > std::max<u64>(filled_, u64{blocks_left_} * Cdrom::kBlock))
    throw core::SnapshotError("snapshot: a CD-ROM drive's transfer is out of range");
}

}  // namespace doppel::devices
