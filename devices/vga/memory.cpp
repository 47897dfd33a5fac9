// The graphics controller's data path between the processor's window and the four planes: latches, write and
// read modes, odd/even and chain-4 addressing. Source: IBM, "VGA Hardware Reference", "Graphics Controller".
#include <bit>

#include "devices/vga/vga.hpp"

namespace doppel::devices::vga {

namespace {

constexpr u32 kPlaneSize = 0x1'0000;

// A byte for each plane.
constexpr u32 everywhere(u8 byte) {
  return byte * 0x0101'0101u;
}
// 0xff in the byte of each plane whose bit is set.
constexpr u32 planes(u32 bits) {
  return ((bits & 1) | (bits & 2) << 7 | (bits & 4) << 14 | (bits & 8) << 21) * 0xff;
}
static_assert(planes(0b1010) == 0xff00'ff00);

// Fields of the registers.
struct Path {
  explicit Path(const Registers& r)
      : map_mask(r.sequencer[2] & 15),
        chain4(r.sequencer[4] & 8),
        odd_even_write(!(r.sequencer[4] & 4)),
        odd_even_read(r.graphics[5] & 0x10),
        set_reset(r.graphics[0] & 15),
        enable_set_reset(r.graphics[1] & 15),
        compare(r.graphics[2] & 15),
        rotate(r.graphics[3] & 7),
        function(r.graphics[3] >> 3 & 3),
        read_plane(r.graphics[4] & 3),
        write_mode(r.graphics[5] & 3),
        compares(r.graphics[5] & 8),
        care(r.graphics[7] & 15),
        bit_mask(r.graphics[8]) {}

  u8 map_mask;
  bool chain4, odd_even_write, odd_even_read;
  u8 set_reset, enable_set_reset, compare, rotate, function, read_plane, write_mode;
  bool compares;
  u8 care, bit_mask;
};

// The plane offset of an address in chain-4 mode: its two low bits select the plane, bits 14 and 15 take
// their place, as the CRT controller's do in doubleword mode.
constexpr u32 chained(u32 address) {
  return (address & 0xfffc) | (address >> 14 & 3);
}

u32 combine(u8 function, u32 data, u32 latch) {
  switch (function) {
    case 1:
      return data & latch;
    case 2:
      return data | latch;
    case 3:
      return data ^ latch;
    default:
      return data;
  }
}

u32 written(const Path& path, u8 value, u32 latch) {
  const u8 rotated = std::rotr(value, path.rotate);
  u8 mask = path.bit_mask;
  u32 data = 0;
  switch (path.write_mode) {
    case 0: {
      const u32 fixed = planes(path.enable_set_reset);
      data = (everywhere(rotated) & ~fixed) | (planes(path.set_reset) & fixed);
      break;
    }
    case 1:
      return latch;
    case 2:
      data = planes(value);
      break;
    default:
      data = planes(path.set_reset);
      mask &= rotated;
  }
  const u32 bits = everywhere(mask);
  return (combine(path.function, data, latch) & bits) | (latch & ~bits);
}

}  // namespace

u32& Vga::quad(u32 plane_offset) {
  return reinterpret_cast<u32*>(memory_)[plane_offset & (memory_size_ / 4 - 1)];
}

// Where in the selected map the window's byte lies; empty: outside.
std::optional<u32> Vga::decode_window(u32 offset) const {
  struct Map {
    u32 base, size;
  };
  static constexpr Map kMaps[] = {{0, 0x2'0000}, {0, 0x1'0000}, {0x1'0000, 0x8000}, {0x1'8000, 0x8000}};
  if (!(r_.misc & 2) && !r_.dispi.enabled()) return std::nullopt;
  const Map& map = kMaps[r_.dispi.enabled() ? 1 : r_.graphics[6] >> 2 & 3];
  if (offset - map.base >= map.size) return std::nullopt;
  return offset - map.base;
}

u8 Vga::read_window(u32 offset) {
  const auto decoded = decode_window(offset);
  if (!decoded) return unknown_read(kWindow + offset);
  u32 at = *decoded;
  const u32 bank = r_.dispi.enabled() ? r_.dispi.value[Dispi::kBank] * kPlaneSize : 0;
  if (r_.dispi.packed()) return memory_[(bank + at) & (memory_size_ - 1)];

  const Path path(r_);
  u32 plane = path.read_plane;
  if (path.chain4) {
    plane = at & 3;
    at = chained(at);
  } else if (path.odd_even_read) {
    plane = (plane & 2) | (at & 1);
    at &= ~1u;
  }
  latch_ = quad(bank + at % kPlaneSize);
  if (!path.compares || path.chain4) return static_cast<u8>(latch_ >> plane * 8);
  const u32 differs = (latch_ ^ planes(path.compare)) & planes(path.care);
  return static_cast<u8>(~(differs | differs >> 8 | differs >> 16 | differs >> 24));
}

void Vga::write_window(u32 offset, u8 value) {
  const auto decoded = decode_window(offset);
  if (!decoded) return unknown_write(kWindow + offset, value);
  u32 at = *decoded;
  const u32 bank = r_.dispi.enabled() ? r_.dispi.value[Dispi::kBank] * kPlaneSize : 0;
  if (r_.dispi.packed()) {
    memory_[(bank + at) & (memory_size_ - 1)] = value;
    return;
  }
  const Path path(r_);
  u32 selected = path.map_mask;
  if (path.chain4) {
    selected &= 1u << (at & 3);
    at = chained(at);
  } else if (path.odd_even_write) {
    selected &= at & 1 ? 0b1010 : 0b0101;
    at &= ~1u;
  }
  u32& cell = quad(bank + at % kPlaneSize);
  const u32 changed = planes(selected);
  cell = (cell & ~changed) | (written(path, value, latch_) & changed);
}

}  // namespace doppel::devices::vga
