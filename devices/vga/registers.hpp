// All registers of the VGA and its Bochs extensions, as plain data: the chip (vga.hpp) changes them, the
// scanout (scanout.hpp) reads a copy of them without holding any lock. Sources: IBM, "VGA Hardware
// Reference"; the Bochs project's description of the VBE display interface.
#pragma once

#include <array>
#include <type_traits>

#include "core/types.hpp"

namespace doppel::devices::vga {

// The display interface of Bochs' VBE extensions: sixteen-bit registers behind an index.
struct Dispi {
  enum Index : u8 {
    kId,
    kWidth,
    kHeight,
    kBitsPerPixel,
    kEnable,
    kBank,
    kVirtualWidth,
    kVirtualHeight,
    kOffsetX,
    kOffsetY,
    kMemory64K,
    kCount,
  };
  // Bits of kEnable.
  static constexpr u16 kEnabled = 0x01, kGetCapabilities = 0x02, kDac8 = 0x20, kLinear = 0x40,
                       kKeepMemory = 0x80;
  static constexpr u16 kOldestId = 0xb0c0, kNewestId = 0xb0c5;
  static constexpr u16 kMaxWidth = 2560, kMaxHeight = 1600, kMaxBits = 32;

  std::array<u16, kCount> value{};
  u16 index = 0;

  [[nodiscard]] bool enabled() const { return value[kEnable] & kEnabled; }
  // Whether memory is bytes of pixels one after the other, not planes.
  [[nodiscard]] bool packed() const { return enabled() && value[kBitsPerPixel] > 4; }
  // Bytes of video memory from one line to the next; planes count as four times their bytes.
  [[nodiscard]] u32 pitch() const { return value[kVirtualWidth] * bits_stored() / 8; }
  [[nodiscard]] u32 bits_stored() const { return value[kBitsPerPixel] == 15 ? 16 : value[kBitsPerPixel]; }
};

struct Registers {
  // Index of the attribute controller's register that holds it.
  static constexpr u8 kModeControl = 0x10, kPlaneEnable = 0x12, kPelPan = 0x13, kColourSelect = 0x14;

  u8 misc = 0;
  u8 feature = 0;
  u8 sequencer_index = 0, graphics_index = 0, crtc_index = 0;
  u8 attribute_index = 0;       // bit 5: the palette is shown, not accessed
  u8 attribute_takes_data = 0;  // the flip-flop: the next write at 3c0 is data
  std::array<u8, 8> sequencer{};
  std::array<u8, 16> graphics{};
  std::array<u8, 32> crtc{};
  std::array<u8, 32> attribute{};

  std::array<u8, 768> dac{};  // red, green, blue; 6 or 8 bits each
  u8 dac_mask = 0xff;
  u8 dac_read = 0, dac_write = 0;  // indices
  u8 dac_component = 0;            // 0 red, 1 green, 2 blue
  u8 dac_reading = 0;

  Dispi dispi;

  [[nodiscard]] bool colour() const { return misc & 1; }  // CRTC at 3d4, not at 3b4
  [[nodiscard]] bool graphics_mode() const { return graphics[6] & 1; }
};
static_assert(std::has_unique_object_representations_v<Registers>, "snapshots save it as bytes");

}  // namespace doppel::devices::vga
