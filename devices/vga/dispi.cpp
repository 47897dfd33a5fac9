// Bochs' VBE extensions ("DISPI") and the register block of QEMU's stdvga, which shows the ports and the
// DISPI registers in memory. Sources: Bochs' VBE documentation; QEMU, docs/specs/standard-vga.
#include <algorithm>
#include <cstring>

#include "devices/vga/edid.hpp"
#include "devices/vga/vga.hpp"

namespace doppel::devices::vga {

namespace {

// Offsets in the register block.
constexpr u64 kEdid = 0, kVgaPorts = 0x400, kVgaPortsEnd = 0x420, kDispi = 0x500, kDispiEnd = 0x516,
              kExtension = 0x600, kByteOrder = 0x604;
constexpr u16 kFirstPort = 0x3c0;
constexpr u32 kExtensionSize = 8, kLittleEndian = 0x1e1e'1e1e;

constexpr u16 kDepths[] = {4, 8, 15, 16, 24, 32};

}  // namespace

u16 Vga::read_dispi(u16 index) const {
  const auto& value = r_.dispi.value;
  if (value[Dispi::kEnable] & Dispi::kGetCapabilities) {
    if (index == Dispi::kWidth) return Dispi::kMaxWidth;
    if (index == Dispi::kHeight) return Dispi::kMaxHeight;
    if (index == Dispi::kBitsPerPixel) return Dispi::kMaxBits;
  }
  if (index == Dispi::kMemory64K) return static_cast<u16>(memory_size_ >> 16);
  return index < Dispi::kCount ? value[index] : 0;
}

void Vga::write_dispi(u16 index, u16 value) {
  auto& v = r_.dispi.value;
  switch (index) {
    case Dispi::kId:
      if (value >= Dispi::kOldestId && value <= Dispi::kNewestId) v[index] = value;
      break;
    case Dispi::kEnable:
      enable_dispi(value);
      break;
    case Dispi::kBank:
      v[index] = static_cast<u16>(value & ((memory_size_ >> 16) - 1));
      break;
    case Dispi::kWidth:
    case Dispi::kHeight:
    case Dispi::kBitsPerPixel:
    case Dispi::kVirtualWidth:
    case Dispi::kOffsetX:
    case Dispi::kOffsetY:
      v[index] = value;
      fit_dispi();
      break;
    case Dispi::kVirtualHeight:  // follows from the memory; drivers write it all the same
      break;
    default:
      unknown_write(kDispiPorts + 1, value);
  }
}

void Vga::enable_dispi(u16 value) {
  auto& v = r_.dispi.value;
  const bool was = r_.dispi.enabled();
  const u16 changed = v[Dispi::kEnable] ^ value;
  v[Dispi::kEnable] = value;
  if (changed & Dispi::kDac8)  // the same colours in the other width
    for (u8& c : r_.dac)
      c = value & Dispi::kDac8 ? static_cast<u8>(c << 2 | c >> 4) : static_cast<u8>(c >> 2);
  if (was || !r_.dispi.enabled()) return;
  v[Dispi::kBank] = v[Dispi::kOffsetX] = v[Dispi::kOffsetY] = 0;
  v[Dispi::kVirtualWidth] = v[Dispi::kWidth];
  fit_dispi();
  if (!(value & Dispi::kKeepMemory))
    std::memset(memory_, 0, std::min(memory_size_, v[Dispi::kHeight] * r_.dispi.pitch()));
}

// While the extensions are on, their registers always describe a picture that lies within video memory.
void Vga::fit_dispi() {
  auto& v = r_.dispi.value;
  v[Dispi::kBank] &= static_cast<u16>((memory_size_ >> 16) - 1);
  if (!r_.dispi.enabled()) return;
  if (std::ranges::find(kDepths, v[Dispi::kBitsPerPixel]) == std::end(kDepths)) v[Dispi::kBitsPerPixel] = 8;
  const auto clamped = [](u32 value, u32 low, u32 high) {
    return static_cast<u16>(std::clamp(value, low, high));
  };
  v[Dispi::kWidth] = clamped(v[Dispi::kWidth] & ~7u, 8, Dispi::kMaxWidth);
  // A line of the picture fits, and so does at least one line.
  const u32 longest = std::min(memory_size_ * 8 / r_.dispi.bits_stored(), 0xfff8u);
  v[Dispi::kVirtualWidth] = clamped(v[Dispi::kVirtualWidth] & ~7u, v[Dispi::kWidth], longest);
  const u32 lines = memory_size_ / r_.dispi.pitch();
  v[Dispi::kVirtualHeight] = static_cast<u16>(std::min(lines, 0xffffu));
  v[Dispi::kHeight] = clamped(v[Dispi::kHeight], 1, std::min<u32>(lines, Dispi::kMaxHeight));
  v[Dispi::kOffsetX] = clamped(v[Dispi::kOffsetX], 0, v[Dispi::kVirtualWidth] - v[Dispi::kWidth]);
  v[Dispi::kOffsetY] = clamped(v[Dispi::kOffsetY], 0, lines - v[Dispi::kHeight]);
}

u64 Vga::read_block(u64 offset, u32 width) {
  if (offset < kEdid + kEdidSize) {
    u64 value = 0;
    for (u32 i = 0; i < width; ++i)
      value |= u64{offset + i < kEdidSize ? edid()[offset + i] : u8{0}} << 8 * i;
    return value;
  }
  if (offset >= kVgaPorts && offset + width <= kVgaPortsEnd) {
    u64 value = 0;
    for (u32 i = 0; i < width; ++i)
      value |= u64{read_port(static_cast<u16>(kFirstPort + offset - kVgaPorts + i))} << 8 * i;
    return value;
  }
  if (offset >= kDispi && offset + width <= kDispiEnd && width == 2 && offset % 2 == 0)
    return read_dispi(static_cast<u16>((offset - kDispi) / 2));
  if (offset == kExtension && width == 4) return kExtensionSize;
  if (offset == kByteOrder && width == 4) return kLittleEndian;
  if (offset < kVgaPorts) return 0;  // the rest of the EDID's space
  (void)unknown_read(kRegisterBlock + offset);
  return ~u64{0};
}

void Vga::write_block(u64 offset, u32 width, u64 value) {
  if (offset >= kVgaPorts && offset + width <= kVgaPortsEnd) {
    for (u32 i = 0; i < width; ++i)
      write_port(static_cast<u16>(kFirstPort + offset - kVgaPorts + i), static_cast<u8>(value >> 8 * i));
  } else if (offset >= kDispi && offset + width <= kDispiEnd && width == 2 && offset % 2 == 0) {
    write_dispi(static_cast<u16>((offset - kDispi) / 2), static_cast<u16>(value));
  } else if (offset != kByteOrder || width != 4 || value != kLittleEndian) {
    unknown_write(kRegisterBlock + offset, value);
  }
}

}  // namespace doppel::devices::vga
