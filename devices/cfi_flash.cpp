#include "devices/cfi_flash.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

enum Command : u8 {
  kLockConfirm = 0x01,
  kProgramAlternate = 0x10,
  kEraseBlock = 0x20,
  kProgramByte = 0x40,
  kClearStatus = 0x50,
  kLockSetUp = 0x60,
  kReadStatus = 0x70,
  kReadIdentity = 0x90,
  kReadQuery = 0x98,
  kConfirm = 0xd0,
  kWriteBuffer = 0xe8,
  kReadArray = 0xff,
};

// --- Status register. No operation takes time: it is ready after each.
constexpr u8 kReady = 0x80, kEraseError = 0x20, kProgramError = 0x10;

constexpr u8 kIntel = 0x89, kDevice = 0x18;

// --- CFI query (JESD68.01), from offset 0x10.
constexpr u64 kQueryStart = 0x10, kQuerySize = 0x27, kQueryBlocks = 0x2d, kQueryBlockSize = 0x2f;
constexpr std::array<u8, 0x30> kQueryTable = {
    'Q',
    'R',
    'Y',
    0x01,
    0x00,
    0x31,
    0x00,  // Intel's command set; its own table is at 0x31
    0x00,
    0x00,
    0x00,
    0x00,  // no other command set
    0x45,
    0x55,
    0x00,
    0x00,  // 4.5 to 5.5 V, no voltage for programming
    0x07,
    0x07,
    0x0a,
    0x00,  // typical times, 2^n: byte, buffer (us), block (ms)
    0x04,
    0x04,
    0x04,
    0x00,  // the longest, 2^n times these
    0x00,
    0x00,
    0x00,  // size (below); eight bits wide
    std::countr_zero(CfiFlash::kBuffer),
    0x00,  // bytes of a buffered write, 2^n
    0x01,
    0x00,
    0x00,
    0x00,
    0x00,  // one region: blocks - 1, block size / 256 (below)
    'P',
    'R',
    'I',
    '1',
    '0',  // Intel's table, version 1.0, with no options
};

}  // namespace

CfiFlash::CfiFlash(FlashStore& store, core::Counters& counters, std::function<void(bool)> reads_as_memory)
    : store_(store),
      bytes_(store.bytes()),
      unknown_(counters["cfi_flash.unknown"]),
      failed_(counters["cfi_flash.failed"]),
      reads_as_memory_(std::move(reads_as_memory)),
      status_(kReady) {}

void CfiFlash::reset() {
  expect_ = Expect::kCommand;
  status_ = kReady;
  forget_buffer();
  set_reads(Reads::kArray);
}

void CfiFlash::set_reads(Reads reads) {
  const bool before = reads_ == Reads::kArray, now = reads == Reads::kArray;
  reads_ = reads;
  if (before == now) return;
  if (now && std::exchange(dirty_, false)) store_.flush();
  if (reads_as_memory_) reads_as_memory_(now);
}

u64 CfiFlash::read(u64 offset, u32 width) {
  u64 value = 0;
  for (u32 i = 0; i < width; ++i) value |= u64{read_byte(offset + i)} << i * 8;
  return value;
}

u8 CfiFlash::read_byte(u64 offset) const {
  if (offset >= bytes_.size()) return 0xff;
  switch (reads_) {
    case Reads::kArray:
      return bytes_[offset];
    case Reads::kStatus:
      return status_;
    case Reads::kIdentity:  // of the chip, then for each block whether it is locked
      return offset % kBlock == 0 ? kIntel : offset % kBlock == 1 ? kDevice : u8{0};
    case Reads::kQuery:
      return query(offset % 256);
  }
  return 0xff;
}

u8 CfiFlash::query(u64 offset) const {
  const auto byte_of = [](u64 value, u64 index) { return static_cast<u8>(value >> index * 8); };
  if (offset == kQuerySize) return static_cast<u8>(std::bit_width(bytes_.size() - 1));
  if (offset - kQueryBlocks < 2) return byte_of(bytes_.size() / kBlock - 1, offset - kQueryBlocks);
  if (offset - kQueryBlockSize < 2) return byte_of(kBlock / 256, offset - kQueryBlockSize);
  return offset - kQueryStart < kQueryTable.size() ? kQueryTable[offset - kQueryStart] : u8{0};
}

void CfiFlash::write(u64 offset, u32 width, u64 value) {
  if (offset >= bytes_.size()) return;
  std::array<u8, 8> data;
  std::memcpy(data.data(), &value, sizeof value);
  const std::span<const u8> all(data.data(), std::min<u64>(width, bytes_.size() - offset));
  const u8 low = data[0];
  switch (std::exchange(expect_, Expect::kCommand)) {
    case Expect::kCommand:
      return command(offset, low);
    case Expect::kProgram:
      return program(offset, all);
    case Expect::kErase:
      return low == kConfirm ? erase(offset) : sequence_error();
    case Expect::kLock:  // no block is ever locked
      if (low != kConfirm && low != kLockConfirm) return sequence_error();
      status_ |= kReady;
      return;
    case Expect::kBufferCount:
      buffer_.assign(low + std::size_t{1}, 0xff);
      expect_ = Expect::kBufferData;
      return;
    case Expect::kBufferData:
      return buffer_data(offset, all);
    case Expect::kBufferConfirm:
      if (low != kConfirm) return sequence_error();
      program(buffer_start_, buffer_);
      return forget_buffer();
  }
}

void CfiFlash::command(u64 offset, u8 value) {
  const auto then = [this](Expect next) {
    expect_ = next;
    set_reads(Reads::kStatus);
  };
  switch (value) {
    case kProgramByte:
    case kProgramAlternate:
      return then(Expect::kProgram);
    case kEraseBlock:
      return then(Expect::kErase);
    case kLockSetUp:
      return then(Expect::kLock);
    case kWriteBuffer:
      status_ |= kReady;  // a buffer is free
      return then(Expect::kBufferCount);
    case kClearStatus:
      status_ = 0;  // the ready bit, too: this is how OVMF tells flash from ROM
      return;
    case kReadStatus:
      return set_reads(Reads::kStatus);
    case kReadIdentity:
      return set_reads(Reads::kIdentity);
    case kReadQuery:
      return set_reads(Reads::kQuery);
    case kReadArray:
      return set_reads(Reads::kArray);
    default:
      ++unknown_;
      core::log(core::LogCategory::kStorage, "cfi_flash: command {:#x} at {:#x}", value, offset);
  }
}

void CfiFlash::sequence_error() {
  status_ |= kReady | kEraseError | kProgramError;
  forget_buffer();
}

void CfiFlash::forget_buffer() {
  buffer_.clear();
  buffer_start_ = 0;
  buffer_taken_ = 0;
}

// The first byte says where the buffer goes; the others come in any order.
void CfiFlash::buffer_data(u64 offset, std::span<const u8> data) {
  if (buffer_taken_ == 0) buffer_start_ = offset;
  const u64 at = offset - buffer_start_;
  if (at > buffer_.size() || data.size() > buffer_.size() - at ||
      buffer_.size() > bytes_.size() - buffer_start_)
    return sequence_error();
  std::copy(data.begin(), data.end(), buffer_.begin() + static_cast<std::ptrdiff_t>(at));
  buffer_taken_ += static_cast<u32>(data.size());
  expect_ = buffer_taken_ < buffer_.size() ? Expect::kBufferData : Expect::kBufferConfirm;
}

// Bits go from one to zero only.
void CfiFlash::program(u64 offset, std::span<const u8> data) {
  const auto target = bytes_.subspan(offset, data.size());
  const std::vector<u8> before(target.begin(), target.end());
  std::transform(data.begin(), data.end(), target.begin(), target.begin(),
                 [](u8 given, u8 held) { return static_cast<u8>(given & held); });
  keep(offset, before, kProgramError);
}

void CfiFlash::erase(u64 offset) {
  const auto target = bytes_.subspan(offset / kBlock * kBlock, kBlock);
  const std::vector<u8> before(target.begin(), target.end());
  std::ranges::fill(target, u8{0xff});
  keep(offset / kBlock * kBlock, before, kEraseError);
}

void CfiFlash::keep(u64 offset, std::span<const u8> before, u8 error) {
  status_ |= kReady;
  const auto target = bytes_.subspan(offset, before.size());
  if (std::ranges::equal(target, before)) return;
  if (const int reason = store_.write(offset, before.size())) {
    ++failed_;
    core::log(core::LogCategory::kStorage, "cfi_flash: {}", std::strerror(reason));
    std::ranges::copy(before, target.begin());
    status_ |= error;
    return;
  }
  dirty_ = true;
}

void CfiFlash::snapshot(core::SnapshotIo& io) {
  Reads reads = reads_;
  io.field("reads", reads);
  io.field("expect", expect_);
  io.field("status", status_);
  io.sequence("buffer", buffer_, kBuffer);
  io.field("buffer_start", buffer_start_);
  io.field("buffer_taken", buffer_taken_);
  const bool buffering = expect_ == Expect::kBufferData || expect_ == Expect::kBufferConfirm;
  const bool fits = buffer_start_ <= bytes_.size() && buffer_.size() <= bytes_.size() - buffer_start_;
  if (!io.loading()) return;
  if (reads > Reads::kQuery || expect_ > Expect::kBufferConfirm || buffering == buffer_.empty() || !fits)
    throw core::SnapshotError("snapshot: a flash command makes no sense");
  set_reads(reads);
}

}  // namespace doppel::devices
