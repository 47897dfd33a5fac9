#include "devices/pci_msi.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

constexpr u8 kMsiId = 0x05, kMsixId = 0x11;

// Offsets in the MSI capability, 64-bit form with masks.
constexpr u8 kControl = 2, kAddress = 4, kAddressHigh = 8, kData = 12, kMask = 16, kPending = 20;
constexpr u32 kMsiSize = 24;
constexpr u16 kMsiEnable = 1u << 0, kMsiEnabledVectors = 7u << 4, kMsi64 = 1u << 7, kMsiMasks = 1u << 8;

constexpr u16 kMsixEnable = 1u << 15, kMsixMaskAll = 1u << 14;
constexpr u32 kMsixSize = 12, kMsixMasked = 1, kEntrySize = 16, kMostVectors = 2048;
constexpr u64 kSmallestBar = 4096;

}  // namespace

MsiCapability::MsiCapability(PciFunction& function, u32 vectors, MsiSink sink)
    : function_(function), sink_(std::move(sink)), vectors_(vectors) {
  DOPPEL_CHECK(std::has_single_bit(vectors) && vectors <= 32, "{} MSI vectors", vectors);
  offset_ = function.add_capability(kMsiId, kMsiSize);
  const auto at = [&](u32 field) { return static_cast<u8>(offset_ + field); };
  function.define(at(kControl), 2, static_cast<u32>(std::countr_zero(vectors)) << 1 | kMsi64 | kMsiMasks,
                  kMsiEnable | kMsiEnabledVectors);
  function.define(at(kAddress), 4, 0, 0xffff'fffc);
  function.define(at(kAddressHigh), 4, 0, 0xffff'ffff);
  function.define(at(kData), 2, 0, 0xffff);
  function.define(at(kMask), 4, 0, static_cast<u32>((u64{1} << vectors) - 1));
}

bool MsiCapability::enabled() const {
  return function_.config_read(static_cast<u8>(offset_ + kControl), 2) & kMsiEnable;
}

void MsiCapability::signal(u32 vector) {
  const u32 log = function_.config_read(static_cast<u8>(offset_ + kControl), 2) >> 4 & 7;
  const u32 given = std::min(vectors_, 1u << std::min(log, 5u));
  pending_ |= 1u << std::min(vector, given - 1);
  send_pending();
}

void MsiCapability::config_written() {
  send_pending();
}

void MsiCapability::reset() {
  pending_ = 0;
  publish_pending();
}

// Read-only for the guest, so not a matter of config_write().
void MsiCapability::publish_pending() {
  function_.define(static_cast<u8>(offset_ + kPending), 4, pending_, 0);
}

void MsiCapability::send_pending() {
  const auto get = [this](u32 field, u32 width) {
    return function_.config_read(static_cast<u8>(offset_ + field), width);
  };
  u32 ready = enabled() && function_.bus_master() ? pending_ & ~get(kMask, 4) : 0;
  pending_ &= ~ready;
  publish_pending();
  const u64 address = u64{get(kAddressHigh, 4)} << 32 | get(kAddress, 4);
  const u32 log = get(kControl, 2) >> 4 & 7;
  const u32 low_bits = std::min(vectors_, 1u << std::min(log, 5u)) - 1;  // of the data, the vector's number
  for (; ready != 0; ready &= ready - 1)
    sink_(address, (get(kData, 2) & ~low_bits) | static_cast<u32>(std::countr_zero(ready)));
}

void MsiCapability::snapshot(core::SnapshotIo& io) {
  io.field("pending", pending_);
  publish_pending();
}

MsixCapability::MsixCapability(PciFunction& function, u32 vectors, u32 bar, MsiSink sink,
                               core::Counters& counters)
    : function_(function),
      sink_(std::move(sink)),
      unknown_(counters["msix.unknown"]),
      table_(vectors),
      pending_((vectors + 63) / 64),
      size_(std::max(kSmallestBar, std::bit_ceil(u64{2} * kEntrySize * vectors))) {
  DOPPEL_CHECK(vectors >= 1 && vectors <= kMostVectors && bar < 6, "{} MSI-X vectors", vectors);
  offset_ = function.add_capability(kMsixId, kMsixSize);
  const auto at = [&](u32 field) { return static_cast<u8>(offset_ + field); };
  function.define(at(2), 2, vectors - 1, kMsixEnable | kMsixMaskAll);
  function.define(at(4), 4, bar, 0);                                // the table: BAR and offset
  function.define(at(8), 4, static_cast<u32>(size_ / 2) | bar, 0);  // the pending bits
}

bool MsixCapability::enabled() const {
  return function_.config_read(static_cast<u8>(offset_ + 2), 2) & kMsixEnable;
}

bool MsixCapability::can_send(const Entry& entry) const {
  const u32 control = function_.config_read(static_cast<u8>(offset_ + 2), 2);
  return (control & (kMsixEnable | kMsixMaskAll)) == kMsixEnable && !(entry.control & kMsixMasked) &&
         function_.bus_master();
}

void MsixCapability::signal(u32 vector) {
  if (vector >= table_.size()) return;
  const Entry& entry = table_[vector];
  if (can_send(entry))
    sink_(entry.address, entry.data);
  else
    pending_[vector / 64] |= u64{1} << vector % 64;
}

void MsixCapability::config_written() {
  send_pending();
}

void MsixCapability::send_pending() {
  for (u32 word = 0; word < pending_.size(); ++word)
    for (u64 bits = pending_[word]; bits != 0; bits &= bits - 1) {
      const u32 vector = word * 64 + static_cast<u32>(std::countr_zero(bits));
      if (vector >= table_.size() || !can_send(table_[vector])) continue;
      pending_[word] &= ~(u64{1} << vector % 64);
      sink_(table_[vector].address, table_[vector].data);
    }
}

void MsixCapability::reset() {
  std::fill(table_.begin(), table_.end(), Entry{});
  std::fill(pending_.begin(), pending_.end(), 0);
}

// The table takes aligned dwords and quadwords only (PCI 3.0, 6.8.2); so do the pending bits.
u64 MsixCapability::read(u64 offset, u32 width) {
  const bool in_table = offset < table_.size() * kEntrySize;
  const u64 in_pending = offset - size_ / 2;
  if ((width == 4 || width == 8) && offset % width == 0) {
    u64 value = 0;
    if (in_table) {
      std::memcpy(&value, reinterpret_cast<const u8*>(table_.data()) + offset, width);
      return value;
    }
    if (in_pending < pending_.size() * 8) return pending_[in_pending / 8] >> in_pending % 8 * 8;
    if (offset < size_) return 0;  // reserved
  }
  ++unknown_;
  core::log(core::LogCategory::kPci, "msix: read of {} bytes at {:#x}", width, offset);
  return ~u64{0};
}

void MsixCapability::write(u64 offset, u32 width, u64 value) {
  static_assert(sizeof(Entry) == kEntrySize && std::is_trivially_copyable_v<Entry>);
  if ((width != 4 && width != 8) || offset % width != 0 || offset >= table_.size() * kEntrySize) {
    ++unknown_;
    core::log(core::LogCategory::kPci, "msix: write of {} bytes at {:#x}", width, offset);
    return;
  }
  std::memcpy(reinterpret_cast<u8*>(table_.data()) + offset, &value, width);
  Entry& entry = table_[offset / kEntrySize];
  entry.address &= ~u64{3};
  entry.control &= kMsixMasked;
  send_pending();
}

void MsixCapability::snapshot(core::SnapshotIo& io) {
  for (Entry& entry : table_) {
    io.field("entry", entry);
    entry.address &= ~u64{3};
    entry.control &= kMsixMasked;
  }
  for (u64& word : pending_) io.field("pending", word);
}

}  // namespace doppel::devices
