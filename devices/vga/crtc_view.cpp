#include "devices/vga/crtc_view.hpp"

namespace doppel::devices::vga {

namespace {

constexpr u8 kScan0IsBit13 = 0x01, kScan1IsBit14 = 0x02, kCountByTwo = 0x08, kWrapBit15 = 0x20, kBytes = 0x40;

constexpr u32 bit(u8 value, u32 from, u32 to) {
  return (u32{value} >> from & 1) << to;
}

}  // namespace

CrtcView::CrtcView(const Registers& r) {
  const auto& c = r.crtc;
  columns = c[0x01] + 1u;
  lines = (c[0x12] | bit(c[0x07], 1, 8) | bit(c[0x07], 6, 9)) + 1;
  row_height = (c[0x09] & 31u) + 1;
  repeat = c[0x09] & 0x80 ? 2 : 1;
  row_step = c[0x13] * 2u;
  start = (c[0x0c] << 8 | c[0x0d]) + (c[0x08] >> 5 & 3u);
  first_scan = c[0x08] & 31;
  line_compare = c[0x18] | bit(c[0x07], 4, 8) | bit(c[0x09], 6, 9);
  cursor = (c[0x0e] << 8 | c[0x0f]) + (c[0x0b] >> 5 & 3u);
  cursor_first = c[0x0a] & 31;
  cursor_last = c[0x0b] & 31;
  cursor_on = !(c[0x0a] & 0x20);
  underline = c[0x14] & 31;
  mode = c[0x17];
  doublewords = c[0x14] & 0x40;
  count_shift = c[0x14] & 0x20 ? 2 : mode & kCountByTwo ? 1 : 0;
}

u32 CrtcView::plane_offset(u32 unit, u32 scan) const {
  u32 address = unit;
  if (doublewords)
    address = unit << 2 | (unit >> 12 & 3);
  else if (!(mode & kBytes))
    address = unit << 1 | (unit >> (mode & kWrapBit15 ? 15 : 13) & 1);
  if (!(mode & kScan0IsBit13)) address = (address & ~0x2000u) | (scan & 1) << 13;
  if (!(mode & kScan1IsBit14)) address = (address & ~0x4000u) | (scan & 2) << 13;
  return address & 0xffff;
}

}  // namespace doppel::devices::vga
