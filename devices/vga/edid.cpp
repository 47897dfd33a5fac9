#include "devices/vga/edid.hpp"

#include <algorithm>
#include <string_view>

namespace doppel::devices::vga {

namespace {

// VESA E-EDID Standard, release A, revision 1; offsets of the base block.
constexpr u32 kHeader = 0, kVendor = 8, kProduct = 10, kYear = 17, kVersion = 18, kInput = 20, kWidthCm = 21,
              kHeightCm = 22, kGamma = 23, kFeatures = 24, kChromaticity = 25, kEstablished = 35,
              kStandard = 38, kDescriptors = 54, kChecksum = 127;
constexpr u32 kDescriptorSize = 18;
constexpr u8 kDescriptorName = 0xfc, kDescriptorRange = 0xfd, kDescriptorUnused = 0x10;

using Edid = std::array<u8, kEdidSize>;

void put(Edid& edid, u32 at, std::initializer_list<u8> bytes) {
  std::ranges::copy(bytes, edid.begin() + at);
}

// 1024x768 at 60 Hz: the VESA DMT timing, sizes in pixels and lines.
void put_preferred_timing(Edid& edid, u32 at) {
  constexpr u32 kClock10kHz = 6500, kWidth = 1024, kHeight = 768, kBlankX = 320, kBlankY = 38, kSyncX = 24,
                kSyncXWidth = 136, kSyncY = 3, kSyncYWidth = 6, kWidthMm = 320, kHeightMm = 240;
  put(edid, at,
      {kClock10kHz & 0xff, kClock10kHz >> 8, kWidth & 0xff, kBlankX & 0xff, (kWidth >> 8) << 4 | kBlankX >> 8,
       kHeight & 0xff, kBlankY, (kHeight >> 8) << 4, kSyncX, kSyncXWidth, kSyncY << 4 | kSyncYWidth, 0,
       kWidthMm & 0xff, kHeightMm & 0xff, (kWidthMm >> 8) << 4, 0, 0, 0x18 /* digital separate sync */});
}

void put_text(Edid& edid, u32 at, u8 kind, std::string_view text) {
  edid[at + 3] = kind;
  std::fill_n(edid.begin() + at + 5, 13, u8{' '});
  std::ranges::copy(text, edid.begin() + at + 5);
  edid[at + 5 + text.size()] = '\n';
}

Edid make() {
  Edid edid{};
  put(edid, kHeader, {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0});
  constexpr u16 kVendorLetters = ('D' - '@') << 10 | ('P' - '@') << 5 | ('L' - '@');
  put(edid, kVendor, {kVendorLetters >> 8, kVendorLetters & 0xff});
  put(edid, kProduct, {1, 0});
  edid[kYear] = 2024 - 1990;
  put(edid, kVersion, {1, 3});
  edid[kInput] = 0x80;  // digital
  edid[kWidthCm] = 32;
  edid[kHeightCm] = 24;
  edid[kGamma] = 120;      // 2.2
  edid[kFeatures] = 0x06;  // sRGB, the first timing is preferred
  put(edid, kChromaticity, {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54});
  put(edid, kEstablished, {0x21, 0x08});  // 640x480, 800x600, 1024x768 at 60 Hz
  // Standard timings at 60 Hz: width / 8 - 31, aspect ratio in the top bits (1: 4:3, 2: 5:4, 3: 16:9, 0:
  // 16:10).
  const auto aspect = [](u8 ratio) { return static_cast<u8>(ratio << 6); };
  put(edid, kStandard,
      {1280 / 8 - 31, aspect(2), 1280 / 8 - 31, aspect(3), 1280 / 8 - 31, aspect(0), 1400 / 8 - 31, aspect(1),
       1600 / 8 - 31, aspect(1), 1680 / 8 - 31, aspect(0), 1920 / 8 - 31, aspect(3), 1920 / 8 - 31,
       aspect(0)});
  put_preferred_timing(edid, kDescriptors);
  put_text(edid, kDescriptors + kDescriptorSize, kDescriptorName, "Doppel");
  const u32 range = kDescriptors + 2 * kDescriptorSize;
  put(edid, range,
      {0, 0, 0, kDescriptorRange, 0, 50, 125, 30, 160, 30, 0, '\n', ' ', ' ', ' ', ' ', ' ', ' '});
  edid[kDescriptors + 3 * kDescriptorSize + 3] = kDescriptorUnused;
  u8 sum = 0;
  for (const u8 byte : edid) sum = static_cast<u8>(sum + byte);
  edid[kChecksum] = static_cast<u8>(-sum);
  return edid;
}

}  // namespace

const std::array<u8, kEdidSize>& edid() {
  static const Edid bytes = make();
  return bytes;
}

}  // namespace doppel::devices::vga
