#include "devices/vga/text_mode.hpp"

#include <algorithm>

namespace doppel::devices::vga {

namespace {

// IBM, "VGA Hardware Reference", "Video Modes": mode 3+, 720x400.
constexpr u8 kMisc = 0x67;
constexpr u8 kSequencer[] = {0x03, 0x00, 0x03, 0x00, 0x02};
constexpr u8 kCrtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                        0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
constexpr u8 kGraphics[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff};
constexpr u8 kAttribute[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                             0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

}  // namespace

void apply_text_mode(Registers& registers) {
  registers.misc = kMisc;
  std::ranges::copy(kSequencer, registers.sequencer.begin());
  std::ranges::copy(kCrtc, registers.crtc.begin());
  std::ranges::copy(kGraphics, registers.graphics.begin());
  std::ranges::copy(kAttribute, registers.attribute.begin());
  registers.attribute_index = 0x20;
  // The first 64 colours are those of an EGA: two bits for each primary, the lower weighing twice the upper.
  for (u32 i = 0; i < 64; ++i)
    for (u32 primary = 0; primary < 3; ++primary) {
      const u32 shift = 2 - primary;
      registers.dac[i * 3 + primary] =
          static_cast<u8>((i >> shift & 1) * 0x2a + (i >> (shift + 3) & 1) * 0x15);
    }
}

}  // namespace doppel::devices::vga
