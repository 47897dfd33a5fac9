// A VGA with 256 KiB (or more) of memory and short names for its ports and window: shared by the tests of the
// chip and of the scanout.
#pragma once

#include <doctest.h>
#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "devices/vga/scanout.hpp"
#include "devices/vga/vga.hpp"
#include "tests/devices/guest_mischief.hpp"

namespace doppel::devices::vga::testing {

struct VgaFixture {
  explicit VgaFixture(u32 memory = 256u << 10) : vga(clock, counters, memory) { vga.reset(); }

  u8 in(u16 port) { return static_cast<u8>(vga.read(Vga::kPorts + port - 0x3b0, 1)); }
  void out(u16 port, u8 value) { vga.write(Vga::kPorts + port - 0x3b0, 1, value); }
  void indexed(u16 port, u8 index, u8 value) {
    out(port, index);
    out(static_cast<u16>(port + 1), value);
  }
  u8 get_indexed(u16 port, u8 index) {
    out(port, index);
    return in(static_cast<u16>(port + 1));
  }
  void seq(u8 index, u8 value) { indexed(0x3c4, index, value); }
  void gc(u8 index, u8 value) { indexed(0x3ce, index, value); }
  void crtc(u8 index, u8 value) { indexed(0x3d4, index, value); }
  void attr(u8 index, u8 value) {
    (void)in(0x3da);
    out(0x3c0, index);
    out(0x3c0, value);
    out(0x3c0, 0x20);  // show the palette again
  }
  void dac(u8 index, u8 red, u8 green, u8 blue) {
    out(0x3c8, index);
    for (const u8 c : {red, green, blue}) out(0x3c9, c);
  }

  u8 peek(u32 window) { return static_cast<u8>(vga.read(Vga::kWindow + window, 1)); }
  void poke(u32 window, u8 value) { vga.write(Vga::kWindow + window, 1, value); }
  // The four planes' bytes at a plane offset, plane 0 first.
  std::string planes(u32 offset) {
    std::string text;
    for (u32 p = 0; p < 4; ++p) text += fmt::format("{:02x}", vga.memory()[offset * 4 + p]);
    return text;
  }
  void set_planes(u32 offset, std::initializer_list<u8> bytes) {
    std::copy(bytes.begin(), bytes.end(), vga.memory().begin() + offset * 4);
  }

  u16 dispi(u16 index) {
    vga.write(Vga::kDispiPorts, 2, index);
    return static_cast<u16>(vga.read(Vga::kDispiPorts + 1, 2));
  }
  void dispi(u16 index, u16 value) {
    vga.write(Vga::kDispiPorts, 2, index);
    vga.write(Vga::kDispiPorts + 1, 2, value);
  }
  void packed_mode(u16 width, u16 height, u16 bits, u16 flags = Dispi::kEnabled | Dispi::kLinear) {
    dispi(Dispi::kEnable, 0);
    dispi(Dispi::kWidth, width);
    dispi(Dispi::kHeight, height);
    dispi(Dispi::kBitsPerPixel, bits);
    dispi(Dispi::kEnable, flags);
  }
  // Planar 640x480 in sixteen colours (BIOS mode 12h) as IBM's tables give it.
  void planar_mode() {
    vga.set_text_mode({});
    seq(1, 1);
    seq(2, 15);
    seq(4, 6);
    gc(5, 0);
    gc(6, 5);
    crtc(0x11, 0);
    static constexpr u8 kTiming[] = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0,    0x40, 0,    0,   0,
                                     0,    0,    0,    0xea, 0x8c, 0xdf, 0x28, 0,    0xe7, 4,    0xe3, 0xff};
    for (u8 i = 0; i < sizeof kTiming; ++i)
      if (i != 0x11) crtc(i, kTiming[i]);
    attr(0x10, 1);
    attr(0x13, 0);
    out(0x3c2, 0xe3);
    std::ranges::fill(vga.memory(), u8{0});
  }
  // 320x200 in 256 colours (BIOS mode 13h).
  void mode_13h() {
    planar_mode();
    seq(4, 14);
    gc(5, 0x40);
    static constexpr u8 kTiming[] = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0,    0x41, 0,    0,   0,
                                     0,    0,    0,    0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff};
    for (u8 i = 0; i < sizeof kTiming; ++i)
      if (i != 0x11) crtc(i, kTiming[i]);
    attr(0x10, 0x41);
  }
  Surface picture(Blink blink = {}) {
    Surface surface;
    draw(vga.registers(), vga.memory(), blink, surface);
    return surface;
  }

  core::ManualClock clock;
  core::Counters counters;
  Vga vga;
};

}  // namespace doppel::devices::vga::testing
