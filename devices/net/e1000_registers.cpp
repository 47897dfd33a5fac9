// The e1000's register file: which registers there are, what a write changes, what a read does.
#include <algorithm>
#include <iterator>
#include <utility>

#include "core/log.hpp"
#include "devices/net/e1000.hpp"

namespace doppel::devices {

using namespace e1000;

namespace {

constexpr u32 kAll = ~u32{0};

// Registers that hold what is written: `count` of them, `stride` bytes apart.
struct Row {
  u32 first, writable;
  u32 count = 1, stride = 4;
};
constexpr Row kRows[] = {
    {kCtrl, 0},
    {kCtrlExt, kAll},
    {kFcal, kAll},
    {kFcah, 0xffff},
    {kFct, 0xffff},
    {kVet, 0xffff},
    {kItr, 0xffff},
    {kIms, 0},
    {kRctl, 0x06ff'fffe},
    {kFcttv, 0xffff},
    {kTxcw, kAll},
    {kRxcw, 0},
    {kTctl, 0x03ff'fffa},
    {kTipg, 0x3fff'ffff},
    {kAit, 0xffff},
    {kLedctl, kAll},
    {kPba, 0xffff},
    {kFcrtl, 0x8000'fff8},
    {kFcrth, 0xfff8},
    {kRdfh, 0x1fff, 5, 8},
    {kRdbal, 0xffff'fff0},
    {kRdbah, kAll},
    {kRdlen, 0x000f'ff80},
    {kRdh, 0xffff},
    {kRdt, 0xffff},
    {kRdtr, 0xffff},
    {kRxdctl, kAll},
    {kRadv, 0xffff},
    {kRsrpd, 0x0fff},
    {kTxdmac, 1},
    {kTdfh, 0x1fff, 5, 8},
    {kTdbal, 0xffff'fff0},
    {kTdbah, kAll},
    {kTdlen, 0x000f'ff80},
    {kTdh, 0xffff},
    {kTdt, 0xffff},
    {kTidv, 0xffff},
    {kTxdctl, kAll},
    {kTadv, 0xffff},
    {kTspmt, kAll},
    {kStatistics, 0, (kStatisticsEnd - kStatistics) / 4},
    {kRxcsum, 0x0000'03ff},
    {kMta, kAll, 128},
    {kRal, kAll, 16, 8},
    {kRah, 0x8003'ffff, 16, 8},
    {kVfta, kAll, 128},
    {kWuc, 0x0000'000f},
    {kWufc, kAll},
    {kWus, 0},
    {kManc, kAll},
    {kIpav, kAll},
    {kIp4at, kAll, 4, 8},
    {kIp6at, kAll, 4},
    {kWupl, 0},
    {kWupm, 0, 32},
    {kFflt, 0x07ff, 4, 8},
};

// The row of each register; past the end: there is none.
constexpr auto kRowOf = [] {
  std::array<u8, kRegistersEnd / 4> rows{};
  rows.fill(static_cast<u8>(std::size(kRows)));
  for (u32 i = 0; i < std::size(kRows); ++i)
    for (u32 n = 0; n < kRows[i].count; ++n)
      rows[(kRows[i].first + n * kRows[i].stride) / 4] = static_cast<u8>(i);
  return rows;
}();

const Row* row_of(u32 offset) {
  if (offset >= kRegistersEnd) return nullptr;
  const u8 row = kRowOf[offset / 4];
  return row < std::size(kRows) ? &kRows[row] : nullptr;
}

// The counters of 64 bits are two registers; reading the upper one clears both.
constexpr u32 kWide[] = {kGorcl, kGotcl, kTorl, kTotl};

}  // namespace

void E1000::reset_mac() {
  registers_ = {};
  reg(kCtrl) = kCtrlFd | kCtrlSlu | kCtrlSpeed1000;
  reg(kVet) = 0x8100;
  reg(kTipg) = 0x0060'2008;
  reg(kLedctl) = 0x0706'8302;
  reg(kPba) = 0x0010'0030;  // of the packet buffer: 16 KiB to send, 48 KiB to receive
  reg(kRal) = eeprom_.word(0) | u32{eeprom_.word(1)} << 16;
  reg(kRah) = eeprom_.word(2) | kRahAv;
  packet_ = {};
  checksum_context_ = cut_context_ = {};
  quiet_until_ = 0;
  update_interrupt();
}

u32 E1000::unknown(std::string_view what, u64 offset, u32 width) {
  ++unknown_;
  core::log(core::LogCategory::kNet, "e1000: {} of {} bytes at {:#x}", what, width, offset);
  return 0;
}

// Registers are 32 bits wide and aligned; a narrower read gets a part of one.
u64 E1000::read(u64 offset, u32 width) {
  if (offset >= kMemorySize) return read_ports(offset, width);
  const u32 at = static_cast<u32>(offset);
  if (width == 8 && at % 4 == 0 && at + 4 < kMemorySize) {
    const u32 low = read_register(at);
    return low | u64{read_register(at + 4)} << 32;
  }
  if (width > 4 || at % width != 0) return unknown("read", offset, width);
  return (read_register(at & ~3u) >> at % 4 * 8) & (~u32{0} >> (4 - width) * 8);
}

void E1000::write(u64 offset, u32 width, u64 value) {
  if (offset >= kMemorySize) return write_ports(offset, width, static_cast<u32>(value));
  const u32 at = static_cast<u32>(offset);
  if (width < 4 || at % 4 != 0 || at + width > kMemorySize) {
    unknown("write", offset, width);
    return;
  }
  write_register(at, static_cast<u32>(value));
  if (width == 8) write_register(at + 4, static_cast<u32>(value >> 32));
}

u64 E1000::read_ports(u64 offset, u32 width) {
  if (width == 4 && offset == kIoAddr) return io_address_;
  if (width == 4 && offset == kIoData && io_address_ % 4 == 0 && io_address_ < kMemorySize)
    return read_register(io_address_);
  return unknown("read of ports", offset - kMemorySize, width);
}

void E1000::write_ports(u64 offset, u32 width, u32 value) {
  if (width == 4 && offset == kIoAddr)
    io_address_ = value;
  else if (width == 4 && offset == kIoData && io_address_ % 4 == 0 && io_address_ < kMemorySize)
    write_register(io_address_, value);
  else
    unknown("write to ports", offset - kMemorySize, width);
}

u32 E1000::read_register(u32 offset) {
  if (offset >= kStatistics && offset < kStatisticsEnd) return read_statistic(offset);
  switch (offset) {
    case kCtrlShadow:
      return reg(kCtrl);
    case kStatus:
      return kStatusFd | kStatusLu | kStatusSpeed1000 | kStatusAsdv1000;
    case kEecd:
      return eeprom_.read_eecd();
    case kEerd:
      return eeprom_.read_eerd();
    case kMdic:
      return phy_.read_mdic();
    case kIcr: {
      const u32 causes = std::exchange(reg(kIcr), 0);
      update_interrupt();
      return causes;
    }
    case kIcs:
    case kImc:
      return 0;  // can only be written
    default:
      return row_of(offset) ? reg(offset) : unknown("read", offset, 4);
  }
}

u32 E1000::read_statistic(u32 offset) {
  const u32 value = reg(offset);
  if (std::ranges::find(kWide, offset) != std::end(kWide)) return value;
  if (std::ranges::find(kWide, offset - 4) != std::end(kWide)) reg(offset - 4) = 0;
  reg(offset) = 0;
  return value;
}

void E1000::write_register(u32 offset, u32 value) {
  switch (offset) {
    case kCtrl:
    case kCtrlShadow:
      return write_ctrl(value);
    case kStatus:
      return;
    case kEecd:
      return eeprom_.write_eecd(value);
    case kEerd:
      return eeprom_.write_eerd(value);
    case kMdic: {
      constexpr u32 kInterrupt = 1u << 29;
      const bool negotiated = phy_.write_mdic(value);
      return raise((negotiated ? kIntLsc : 0) | (value & kInterrupt ? kIntMdac : 0));
    }
    case kIcr:
      reg(kIcr) &= ~value;
      return update_interrupt();
    case kIcs:
      return raise(value);
    case kIms:
      reg(kIms) |= value & kIntAll;
      return update_interrupt();
    case kImc:
      reg(kIms) &= ~value;
      return update_interrupt();
    default:
      break;
  }
  const Row* row = row_of(offset);
  if (!row) {
    unknown("write", offset, 4);
    return;
  }
  reg(offset) = (reg(offset) & ~row->writable) | (value & row->writable);
  if (offset == kTdt || offset == kTctl) transmit();
  if (offset == kRdt || offset == kRctl) receive();
}

void E1000::write_ctrl(u32 value) {
  if (value & kCtrlRst) {
    reset_mac();
    return;
  }
  const u32 before = std::exchange(reg(kCtrl), value);
  if (value & ~before & kCtrlPhyRst) phy_.reset();
  if (value & ~before & (kCtrlSlu | kCtrlPhyRst)) raise(kIntLsc);
}

// --- Statistics stay at their largest value.

void E1000::count(u32 statistic, u32 by) {
  u32& value = reg(statistic);
  value = value > ~by ? ~u32{0} : value + by;
}

void E1000::count_octets(u32 low, u64 octets) {
  const u64 before = reg(low) | u64{reg(low + 4)} << 32;
  const u64 after = before > ~octets ? ~u64{0} : before + octets;
  reg(low) = static_cast<u32>(after);
  reg(low + 4) = static_cast<u32>(after >> 32);
}

void E1000::count_frame(const Statistics& statistics, std::span<const u8> frame) {
  constexpr u32 kFrameChecksum = 4;
  constexpr u32 kSizes[] = {64, 127, 255, 511, 1023};
  const u32 size = static_cast<u32>(frame.size()) + kFrameChecksum;
  count(statistics.frames);
  count(statistics.good_frames);
  count_octets(statistics.octets, size);
  count_octets(statistics.good_octets, size);
  if (std::all_of(frame.begin(), frame.begin() + 6, [](u8 byte) { return byte == 0xff; }))
    count(statistics.broadcast);
  else if (frame[0] & 1)
    count(statistics.multicast);
  const auto bucket = std::ranges::lower_bound(kSizes, size) - std::begin(kSizes);
  count(statistics.sizes + static_cast<u32>(bucket) * 4);
}

}  // namespace doppel::devices
