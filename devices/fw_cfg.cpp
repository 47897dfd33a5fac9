#include "devices/fw_cfg.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kSelector = 0, kData = 1, kDma = 4;
constexpr u16 kFirstFile = 0x20;
constexpr std::size_t kLongestName = 55;

constexpr u32 kHasTraditional = 1, kHasDma = 2;
constexpr std::string_view kDmaSignature = "QEMU CFG";

// The DMA descriptor's control field.
constexpr u32 kError = 1u << 0, kRead = 1u << 1, kSkip = 1u << 2, kSelect = 1u << 3, kWrite = 1u << 4;

constexpr u32 swapped(u32 value) {
  return __builtin_bswap32(value);
}

u64 big_endian(std::span<const u8> bytes) {
  u64 value = 0;
  for (const u8 byte : bytes) value = value << 8 | byte;
  return value;
}

void append_big_endian(std::vector<u8>& out, u64 value, u32 width) {
  for (u32 i = width; i-- > 0;) out.push_back(static_cast<u8>(value >> i * 8));
}

}  // namespace

FwCfg::FwCfg(core::GuestRam& ram, core::Counters& counters)
    : ram_(ram), unknown_(counters["fw_cfg.unknown"]), bad_dma_(counters["fw_cfg.bad dma"]) {
  set_item(kFwCfgSignature, {'Q', 'E', 'M', 'U'});
  set_item(kFwCfgId, {kHasTraditional | kHasDma, 0, 0, 0});
  rebuild_directory();
}

void FwCfg::set_item(u16 key, std::vector<u8> bytes) {
  items_[key] = std::move(bytes);
}

void FwCfg::set_file(std::string_view file, std::vector<u8> bytes) {
  DOPPEL_CHECK(file.size() <= kLongestName, "fw_cfg file {}", file);
  auto at = std::find(file_names_.begin(), file_names_.end(), file);
  if (at == file_names_.end()) at = file_names_.emplace(at, file);
  set_item(static_cast<u16>(kFirstFile + (at - file_names_.begin())), std::move(bytes));
  rebuild_directory();
}

std::span<const u8> FwCfg::item(u16 key) const {
  const auto it = items_.find(key);
  return it == items_.end() ? std::span<const u8>{} : std::span<const u8>(it->second);
}

std::span<const u8> FwCfg::file(std::string_view file) const {
  const auto at = std::find(file_names_.begin(), file_names_.end(), file);
  if (at == file_names_.end()) return {};
  return item(static_cast<u16>(kFirstFile + (at - file_names_.begin())));
}

// Count, then size, key, two reserved bytes and the name of each file.
void FwCfg::rebuild_directory() {
  std::vector<u8> directory;
  append_big_endian(directory, file_names_.size(), 4);
  u16 key = kFirstFile;
  for (const std::string& file : file_names_) {
    append_big_endian(directory, item(key).size(), 4);
    append_big_endian(directory, key++, 2);
    append_big_endian(directory, 0, 2);
    directory.insert(directory.end(), file.begin(), file.end());
    directory.resize(directory.size() + kLongestName + 1 - file.size());
  }
  set_item(kFwCfgDirectory, std::move(directory));
}

void FwCfg::reset() {
  select(kFwCfgSignature);
  dma_address_ = 0;
}

void FwCfg::select(u16 key) {
  key_ = key;
  position_ = 0;
}

u8 FwCfg::next_byte() {
  const auto bytes = item(key_);
  return position_ < bytes.size() ? bytes[position_++] : 0;
}

u64 FwCfg::read(u64 offset, u32 width) {
  if (offset == kData && width == 1) return next_byte();
  if (offset >= kDma && offset < kPorts && width <= kPorts - offset) {
    u64 value = 0;
    for (u32 i = 0; i < width; ++i) value |= u64{static_cast<u8>(kDmaSignature[offset - kDma + i])} << i * 8;
    return value;
  }
  unknown("read", offset, width);
  return ~u64{0};
}

// The low half of the DMA address starts the transfer; either half may be written alone.
void FwCfg::write(u64 offset, u32 width, u64 value) {
  const auto half = static_cast<u32>(value);
  if (offset == kSelector && width == 2) {
    select(static_cast<u16>(value));
  } else if (offset == kDma && width == 4) {
    dma_address_ = u64{swapped(half)} << 32;
  } else if (offset == kDma + 4 && width == 4) {
    dma_address_ |= swapped(half);
    run_dma();
  } else {
    unknown("write", offset, width);
  }
}

void FwCfg::run_dma() {
  const u64 descriptor = std::exchange(dma_address_, 0);
  std::array<u8, 16> fields;
  if (!ram_.read(descriptor, fields)) {
    ++bad_dma_;
    core::log(core::LogCategory::kPort, "fw_cfg: no DMA descriptor at {:#x}", descriptor);
    return;
  }
  const std::span<const u8> view(fields);
  const auto control = static_cast<u32>(big_endian(view.first(4)));
  const auto length = static_cast<u32>(big_endian(view.subspan(4, 4)));
  const u64 address = big_endian(view.subspan(8, 8));

  if (control & kSelect) select(static_cast<u16>(control >> 16));
  bool failed = false;
  if (control & kRead) {
    failed = !copy_to_ram(address, length);
  } else if (control & kWrite) {
    failed = true;  // no item may be written
  } else if (control & kSkip) {
    position_ += static_cast<u32>(std::min<u64>(length, item(key_).size() - position_));
  }
  if (failed) {
    ++bad_dma_;
    core::log(core::LogCategory::kPort, "fw_cfg: DMA of {} bytes at {:#x} failed (control {:#x})", length,
              address, control);
  }
  const std::array<u8, 4> result = {0, 0, 0, static_cast<u8>(failed ? kError : 0)};
  failed = !ram_.write(descriptor, result);
  DOPPEL_CHECK(!failed, "a descriptor that was read can be written");
}

bool FwCfg::copy_to_ram(u64 address, u32 size) {
  std::array<u8, core::kPageSize> chunk;
  for (u32 done = 0; done < size;) {
    const u32 part = std::min<u32>(size - done, chunk.size());
    std::generate_n(chunk.begin(), part, [this] { return next_byte(); });
    if (address + done < address || !ram_.write(address + done, std::span(chunk).first(part))) return false;
    done += part;
  }
  return true;
}

void FwCfg::unknown(const char* what, u64 offset, u32 width) {
  ++unknown_;
  core::log(core::LogCategory::kPort, "fw_cfg: {} of {} bytes at {:#x}", what, width, offset);
}

void FwCfg::snapshot(core::SnapshotIo& io) {
  io.field("key", key_);
  io.field("position", position_);
  io.field("dma_address", dma_address_);
  if (io.loading()) position_ = static_cast<u32>(std::min<u64>(position_, item(key_).size()));
}

}  // namespace doppel::devices
