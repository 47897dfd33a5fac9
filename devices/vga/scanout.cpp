#include "devices/vga/scanout.hpp"

#include <array>
#include <cstring>

#include "devices/vga/crtc_view.hpp"

namespace doppel::devices::vga {

namespace {

constexpr u8 kScreenOff = 0x20;     // sequencer 1
constexpr u8 kHalfDotClock = 0x08;  // sequencer 1
constexpr u8 kEightDots = 0x01;     // sequencer 1

// Bits of the attribute controller's mode control.
constexpr u8 kLineGraphics = 0x04, kBlinks = 0x08, kPanEndsAtSplit = 0x20, kColourSelectHigh = 0x80;

using Palette = std::array<u32, 256>;

// The DAC's colours as pixels.
Palette dac_palette(const Registers& r) {
  const bool wide = r.dispi.value[Dispi::kEnable] & Dispi::kDac8;
  const auto full = [wide](u8 value) -> u32 { return wide ? value : (value << 2 | value >> 4) & 0xff; };
  Palette colours;
  for (u32 i = 0; i < colours.size(); ++i) {
    const u8* entry = &r.dac[(i & r.dac_mask) * 3];
    colours[i] = full(entry[0]) << 16 | full(entry[1]) << 8 | full(entry[2]);
  }
  return colours;
}

// What the attribute controller makes of the sixteen values of four planes.
std::array<u32, 16> attribute_palette(const Registers& r) {
  const Palette dac = dac_palette(r);
  const u8 select = r.attribute[Registers::kColourSelect];
  std::array<u32, 16> colours;
  for (u32 i = 0; i < colours.size(); ++i) {
    u32 index = r.attribute[i & r.attribute[Registers::kPlaneEnable] & 15] & 0x3f;
    if (r.attribute[Registers::kModeControl] & kColourSelectHigh) index = (index & 15) | (select & 3) << 4;
    colours[i] = dac[index | (select >> 2 & 3) << 6];
  }
  return colours;
}

class Planes {
 public:
  explicit Planes(std::span<const u8> memory) : memory_(memory) {}
  // One byte of each plane, plane 0 lowest.
  [[nodiscard]] u32 at(u32 plane_offset) const {
    u32 quad;
    std::memcpy(&quad, &memory_[(std::size_t{plane_offset} * 4) & (memory_.size() - 1)], 4);
    return quad;
  }

 private:
  std::span<const u8> memory_;
};

// Eight dots from the bits of four planes.
void planar_dots(u32 quad, u8* dots) {
  for (u32 i = 0; i < 8; ++i) {
    const u32 bits = quad >> (7 - i);
    dots[i] = static_cast<u8>((bits & 1) | (bits >> 7 & 2) | (bits >> 14 & 4) | (bits >> 21 & 8));
  }
}

// Eight dots of two bits as the CGA packed them; planes 2 and 3 add two more.
void packed_dots(u32 quad, u8* dots) {
  for (u32 i = 0; i < 8; ++i) {
    const u32 pair = quad >> (i / 4 * 8) >> (6 - i % 4 * 2);
    dots[i] = static_cast<u8>((pair & 3) | (pair >> 14 & 12));
  }
}

// A legacy mode, line by line as the CRT controller goes.
class Scan {
 public:
  Scan(const Registers& r, std::span<const u8> memory, Blink blink)
      : r_(r), crtc_(r), planes_(memory), blink_(blink), deep_(r.graphics_mode() && (r.graphics[5] & 0x40)) {
    dots_per_column_ = r.graphics_mode() || (r.sequencer[1] & kEightDots) ? 8 : 9;
    if (deep_) {
      palette_ = dac_palette(r);
    } else {
      const auto colours = attribute_palette(r);
      std::ranges::copy(colours, palette_.begin());
    }
  }

  void draw(Surface& surface) {
    const u32 stretch = r_.sequencer[1] & kHalfDotClock ? 2 : 1;
    surface.resize(crtc_.columns * dots_per_column_ * stretch, crtc_.lines);
    dots_.resize((crtc_.columns + 1) * dots_per_column_);
    std::vector<u32> pixels(surface.width());

    u32 row = crtc_.start, scan = crtc_.first_scan, shown = 0, pan = pan_dots();
    for (u32 y = 0; y < crtc_.lines; ++y) {
      fill_dots(row, scan);
      for (u32 x = 0; x < pixels.size(); ++x) pixels[x] = palette_[dots_[x / stretch + pan]];
      surface.set_row(y, pixels);
      if (y == crtc_.line_compare) {
        row = scan = shown = 0;
        if (r_.attribute[Registers::kModeControl] & kPanEndsAtSplit) pan = 0;
      } else if (++shown >= crtc_.repeat) {
        shown = 0;
        const bool row_ends = scan == crtc_.row_height - 1;
        scan = row_ends ? 0 : (scan + 1) & 31;
        if (row_ends) row += crtc_.row_step;
      }
    }
  }

 private:
  // How far the picture is moved to the left (IBM, "Horizontal PEL Panning Register").
  [[nodiscard]] u32 pan_dots() const {
    const u32 pan = r_.attribute[Registers::kPelPan] & 15;
    if (dots_per_column_ == 9) return pan >= 8 ? 0 : pan + 1;
    return deep_ ? pan & 6 : pan & 7;
  }

  void fill_dots(u32 row, u32 scan) {
    for (u32 column = 0; column <= crtc_.columns; ++column) {
      const u32 unit = crtc_.unit(row, column);
      const u32 quad = planes_.at(crtc_.plane_offset(unit, scan));
      u8* dots = &dots_[column * dots_per_column_];
      if (!r_.graphics_mode())
        character_dots(quad, unit, scan, dots);
      else if (deep_)
        for (u32 i = 0; i < 8; ++i) dots[i] = static_cast<u8>(quad >> i / 2 * 8);
      else if (r_.graphics[5] & 0x20)
        packed_dots(quad, dots);
      else
        planar_dots(quad, dots);
    }
  }

  void character_dots(u32 quad, u32 unit, u32 scan, u8* dots) {
    const u8 character = static_cast<u8>(quad), attribute = static_cast<u8>(quad >> 8);
    const u8 control = r_.attribute[Registers::kModeControl];
    u8 foreground = attribute & 15, background = attribute >> 4;
    if (control & kBlinks) {
      background &= 7;
      if ((attribute & 0x80) && !blink_.text) foreground = background;
    }
    u32 bits = planes_.at(font(attribute) + character * 32u + scan) >> 16 & 0xff;
    bits = bits << 1 | ((control & kLineGraphics) && (character & 0xe0) == 0xc0 ? bits & 1 : 0);
    if (scan == crtc_.underline && (attribute & 0x77) == 1) bits = 0x1ff;
    if (crtc_.cursor_on && blink_.cursor && unit == crtc_.cursor && scan >= crtc_.cursor_first &&
        scan <= crtc_.cursor_last)
      bits = 0x1ff;
    for (u32 i = 0; i < dots_per_column_; ++i) dots[i] = bits >> (8 - i) & 1 ? foreground : background;
  }

  // Offset in plane 2 of the font that the character uses (IBM, "Character Map Select Register").
  [[nodiscard]] u32 font(u8 attribute) const {
    const u8 select = r_.sequencer[3];
    const u32 map = attribute & 8 ? (select >> 2 & 3) | (select >> 3 & 4) : (select & 3) | (select >> 2 & 4);
    return (map & 3) * 0x4000 + (map >> 2) * 0x2000;
  }

  const Registers& r_;
  CrtcView crtc_;
  Planes planes_;
  Blink blink_;
  bool deep_;  // 256 colours
  u32 dots_per_column_;
  Palette palette_{};
  std::vector<u8> dots_;
};

// One row of a VBE mode of more than four bits.
void packed_row(const u8* in, u32 bits, const Palette& palette, std::span<u32> out) {
  const auto spread = [](u32 value, u32 width) {
    return (value << (8 - width) | value >> (2 * width - 8)) & 0xff;
  };
  switch (bits) {
    case 8:
      for (u32& pixel : out) pixel = palette[*in++];
      return;
    case 15:
    case 16:
      for (u32& pixel : out) {
        const u32 v = in[0] | in[1] << 8;
        in += 2;
        pixel = bits == 15 ? spread(v >> 10 & 31, 5) << 16 | spread(v >> 5 & 31, 5) << 8 | spread(v & 31, 5)
                           : spread(v >> 11, 5) << 16 | spread(v >> 5 & 63, 6) << 8 | spread(v & 31, 5);
      }
      return;
    case 24:
      for (u32& pixel : out) {
        pixel = in[0] | in[1] << 8 | in[2] << 16;
        in += 3;
      }
      return;
    default:
      std::memcpy(out.data(), in, out.size_bytes());
      for (u32& pixel : out) pixel &= 0xff'ffff;
  }
}

void draw_dispi(const Registers& r, std::span<const u8> memory, Surface& surface) {
  const auto& v = r.dispi.value;
  surface.resize(v[Dispi::kWidth], v[Dispi::kHeight]);
  std::vector<u32> pixels(surface.width());
  const u32 bits = r.dispi.bits_stored();
  if (r.dispi.packed()) {
    const Palette palette = dac_palette(r);
    for (u32 y = 0; y < surface.height(); ++y) {
      const std::size_t at =
          std::size_t{v[Dispi::kOffsetY] + y} * r.dispi.pitch() + v[Dispi::kOffsetX] * bits / 8;
      packed_row(&memory[at], v[Dispi::kBitsPerPixel], palette, pixels);
      surface.set_row(y, pixels);
    }
    return;
  }
  const auto palette = attribute_palette(r);
  const Planes planes(memory);
  const u32 shift = v[Dispi::kOffsetX] & 7;
  std::vector<u8> dots(surface.width() + 8);
  for (u32 y = 0; y < surface.height(); ++y) {
    const u32 row = (v[Dispi::kOffsetY] + y) * (v[Dispi::kVirtualWidth] / 8u) + v[Dispi::kOffsetX] / 8;
    for (u32 i = 0; i < dots.size() / 8; ++i) planar_dots(planes.at(row + i), &dots[i * 8]);
    for (u32 x = 0; x < pixels.size(); ++x) pixels[x] = palette[dots[x + shift]];
    surface.set_row(y, pixels);
  }
}

}  // namespace

Mode mode(const Registers& r) {
  if (r.dispi.enabled())
    return {r.dispi.packed() ? Mode::Kind::kPacked : Mode::Kind::kGraphics, r.dispi.value[Dispi::kWidth],
            r.dispi.value[Dispi::kHeight]};
  const CrtcView crtc(r);
  const u32 dots = r.graphics_mode() || (r.sequencer[1] & kEightDots) ? 8 : 9;
  const bool blank = !(r.attribute_index & 0x20) || (r.sequencer[1] & kScreenOff) ||
                     (r.sequencer[0] & 3) != 3 || !(crtc.mode & 0x80);
  return {blank               ? Mode::Kind::kBlank
          : r.graphics_mode() ? Mode::Kind::kGraphics
                              : Mode::Kind::kText,
          crtc.columns * dots * (r.sequencer[1] & kHalfDotClock ? 2 : 1), crtc.lines};
}

void draw(const Registers& r, std::span<const u8> memory, Blink blink, Surface& surface) {
  if (mode(r).kind == Mode::Kind::kBlank) {
    // A mode is being set: the old size stays until the new picture is there.
    if (surface.width() == 0) surface.resize(640, 480);
    const std::vector<u32> black(surface.width());
    for (u32 y = 0; y < surface.height(); ++y) surface.set_row(y, black);
  } else if (r.dispi.enabled()) {
    draw_dispi(r, memory, surface);
  } else {
    Scan(r, memory, blink).draw(surface);
  }
}

}  // namespace doppel::devices::vga
