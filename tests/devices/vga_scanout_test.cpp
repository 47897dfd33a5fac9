// What the screen shows: pixels of text, planar, 256-colour and packed modes; the text screen; what changed.
#include <atomic>
#include <thread>

#include "tests/devices/vga_fixture.hpp"

namespace doppel::devices::vga::testing {
namespace {

constexpr u32 kGrey = 0xaaaaaa, kBlue = 0x0000aa, kRed = 0xaa0000, kYellow = 0xffff55, kBlack = 0,
              kGreen = 0x00aa00, kCyan = 0x00aaaa;

// 80x25 text; character 'A' is a solid left column of dots, 0xc4 (a line) its last dot only.
struct Text : VgaFixture {
  Text() {
    std::vector<u8> font(256 * 16, 0);
    for (u32 line = 0; line < 16; ++line) {
      font['A' * 16 + line] = 0x80;
      font[0xc4 * 16 + line] = 0x01;
      font['B' * 16 + line] = 0x01;
    }
    vga.set_text_mode(font);
    crtc(0x0a, 0x20);  // no cursor
  }
  void put(u32 column, u32 row, u8 character, u8 attribute) {
    vga.write(Vga::kWindow + 0x1'8000 + (row * 80 + column) * 2, 2,
              static_cast<u64>(attribute << 8 | character));
  }
};

TEST_CASE_FIXTURE(Text, "text: nine dots a character, foreground and background, line characters join") {
  put(2, 1, 'A', 0x1e);
  put(3, 1, 'B', 0x14);
  put(4, 1, 0xc4, 0x14);
  const Surface s = picture();
  CHECK(s.width() == 720);
  CHECK(s.height() == 400);
  CHECK(s.at(0, 0) == kBlack);
  CHECK(s.at(17, 16) == kBlack);
  CHECK(s.at(18, 16) == kYellow);
  CHECK(s.at(18, 31) == kYellow);
  CHECK(s.at(18, 32) == kBlack);
  CHECK(s.at(19, 16) == kBlue);
  CHECK(s.at(27 + 7, 20) == kRed);
  CHECK(s.at(27 + 8, 20) == kBlue);  // a letter's ninth dot is background
  CHECK(s.at(36 + 7, 20) == kRed);
  CHECK(s.at(36 + 8, 20) == kRed);
}

TEST_CASE_FIXTURE(Text, "text: eight dots, forty columns, intensity instead of blinking") {
  put(0, 0, 'A', 0x9e);
  CHECK(picture({.text = false}).at(0, 0) == kBlue);
  CHECK(picture().at(0, 0) == kYellow);
  attr(0x10, 0x04);
  CHECK(picture({.text = false}).at(0, 0) == kYellow);
  CHECK(picture().at(1, 0) == 0x5555ff);
  seq(1, 1);
  CHECK(picture().width() == 640);
  seq(1, 9);
  crtc(0x11, 0x0e);
  crtc(1, 39);
  CHECK(picture().width() == 640);
  CHECK(picture().at(1, 0) == kYellow);  // every dot twice
}

TEST_CASE_FIXTURE(Text, "text: the cursor's lines, and only while it is lit") {
  crtc(0x0a, 13);
  crtc(0x0b, 14);
  crtc(0x0f, 81);
  CHECK(picture().at(9, 16 + 12) == kBlack);
  CHECK(picture().at(9, 16 + 13) == kGrey);
  CHECK(picture().at(9, 16 + 14) == kGrey);
  CHECK(picture().at(9, 16 + 15) == kBlack);
  CHECK(picture({.cursor = false}).at(9, 16 + 13) == kBlack);
}

TEST_CASE_FIXTURE(Text, "text: start address, panning, and the lower part of a split screen") {
  put(0, 2, 'A', 0x07);
  crtc(0x0d, 160);
  CHECK(picture().at(0, 0) == kGrey);
  attr(0x13, 0);  // one dot to the left in a nine-dot mode
  CHECK(picture().at(0, 0) == kBlack);
  put(1, 2, 'A', 0x07);
  CHECK(picture().at(8, 0) == kGrey);
  attr(0x13, 8);
  put(0, 0, 'A', 0x02);
  crtc(0x11, 0x0e);
  crtc(0x07, 0x0f);  // line compare 99
  crtc(0x09, 0x0f);
  crtc(0x18, 99);
  const Surface s = picture();
  CHECK(s.at(0, 99) == kBlack);
  CHECK(s.at(0, 100) == kGreen);
  CHECK(s.at(0, 116) == kBlack);
}

TEST_CASE_FIXTURE(Text, "text: a second font by bit 3 of the attribute") {
  vga.memory()[(0x4000 + 'A' * 32) * 4 + 2] = 0x40;
  put(0, 0, 'A', 0x0e);
  CHECK(picture().at(0, 0) == kYellow);
  seq(3, 0x04);  // font 1 for attribute bit 3
  CHECK(picture().at(0, 0) == kBlack);
  CHECK(picture().at(1, 0) == kYellow);
}

TEST_CASE_FIXTURE(Text, "the text screen as lines of UTF-8") {
  for (const auto& [column, character] : {std::pair<u32, u8>{0, 'H'}, {1, 0xc4}, {3, 0x81}, {4, '~'}})
    put(column, 24, character, 7);
  crtc(0x0a, 13);
  crtc(0x0e, 1920 >> 8);
  crtc(0x0f, (1920 + 5) & 0xff);
  const auto screen = read_text(vga.registers(), vga.memory());
  REQUIRE(screen);
  CHECK(screen->columns == 80);
  CHECK(screen->rows == 25);
  CHECK(screen->line(24) == "H─ ü~");
  CHECK(screen->line(0) == "");
  CHECK(screen->cursor == TextScreen::Cursor{5, 24});
  planar_mode();
  CHECK_FALSE(read_text(vga.registers(), vga.memory()));
}

TEST_CASE_FIXTURE(VgaFixture, "planar: four planes, the palette, plane enable, colour select") {
  planar_mode();
  set_planes(0, {0x80, 0xc0, 0, 0x20});
  set_planes(80, {0x01, 0, 0, 0});
  Surface s = picture();
  CHECK(s.width() == 640);
  CHECK(s.height() == 480);
  CHECK(s.at(0, 0) == kCyan);
  CHECK(s.at(1, 0) == kGreen);
  CHECK(s.at(2, 0) == 0x555555);
  CHECK(s.at(3, 0) == kBlack);
  CHECK(s.at(7, 1) == kBlue);
  attr(0x12, 0x0d);
  CHECK(picture().at(0, 0) == kBlue);
  attr(0x12, 0x0f);
  attr(0x14, 0x04);  // the DAC's second 64 colours
  dac(64 + 3, 0x3f, 0, 0);
  CHECK(picture().at(0, 0) == 0xff0000);
  attr(0x14, 0);
  attr(0x13, 1);
  CHECK(picture().at(0, 0) == kGreen);
}

TEST_CASE_FIXTURE(VgaFixture, "planar: rows wrap around the planes' 64 KiB") {
  planar_mode();
  crtc(0x0c, 0xff);
  crtc(0x0d, 0xff);
  set_planes(0xffff, {0x80, 0, 0, 0});
  set_planes(0, {0, 0x80, 0, 0});
  const Surface s = picture();
  CHECK(s.at(0, 0) == kBlue);
  CHECK(s.at(8, 0) == kGreen);
}

TEST_CASE_FIXTURE(VgaFixture, "256 colours: mode 13h through chain-4, every pixel doubled") {
  mode_13h();
  dac(200, 0x3f, 0x3f, 0);
  poke(320 * 3 + 5, 200);
  const Surface s = picture();
  CHECK(s.width() == 640);
  CHECK(s.height() == 400);
  CHECK(s.at(9, 6) == kBlack);
  CHECK(s.at(10, 6) == 0xffff00);
  CHECK(s.at(11, 7) == 0xffff00);
  CHECK(s.at(12, 7) == kBlack);
  CHECK(s.at(10, 8) == kBlack);
}

TEST_CASE_FIXTURE(VgaFixture, "256 colours: every pixel of mode 13h is where the processor put it") {
  mode_13h();
  for (u32 i = 0; i < 64; ++i) dac(static_cast<u8>(i), static_cast<u8>(i), 0, 0);
  for (u32 i = 0; i < 64'000; ++i) poke(i, static_cast<u8>(i * 7 / 5 % 64));
  for (u32 i = 0; i < 64'000; ++i) REQUIRE(peek(i) == i * 7 / 5 % 64);
  const Surface s = picture();
  for (u32 i = 0; i < 64'000; ++i) {
    const u32 level = i * 7 / 5 % 64;
    REQUIRE(s.at(i % 320 * 2, i / 320 * 2) == (level << 2 | level >> 4) << 16);
  }
}

TEST_CASE_FIXTURE(VgaFixture, "256 colours: mode X, planes by hand and pages by the start address") {
  mode_13h();
  seq(4, 6);
  crtc(0x14, 0);
  crtc(0x17, 0xe3);
  dac(9, 0, 0x3f, 0);
  seq(2, 0b0100);
  poke(80 * 200 + 80, 9);  // second page, pixel 2 of line 1
  crtc(0x0c, (80 * 200) >> 8);
  crtc(0x0d, (80 * 200) & 0xff);
  const Surface s = picture();
  CHECK(s.at(4, 2) == 0x00ff00);
  CHECK(s.at(3, 2) == kBlack);
  CHECK(s.at(6, 2) == kBlack);
  out(0x3c6, 0);  // the DAC's mask
  CHECK(picture().at(4, 2) == kBlack);
}

TEST_CASE_FIXTURE(VgaFixture, "CGA graphics: two bits a pixel, odd lines 8 KiB further") {
  // BIOS mode 4, 320x200 in four colours.
  planar_mode();
  seq(1, 9);
  seq(2, 3);
  seq(4, 2);
  gc(5, 0x30);
  gc(6, 0x0f);
  static constexpr u8 kTiming[] = {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0,    0xc1, 0,    0,   0,
                                   0,    0,    0,    0x9c, 0x8e, 0x8f, 0x14, 0,    0x96, 0xb9, 0xa2, 0xff};
  for (u8 i = 0; i < sizeof kTiming; ++i)
    if (i != 0x11) crtc(i, kTiming[i]);
  for (u8 i = 0; i < 4; ++i) attr(i, i);
  poke(0x1'8000, 0b01'10'11'00);
  poke(0x1'8001, 0b11'00'00'00);
  poke(0x1'8000 + 0x2000, 0b10'00'00'00);
  const Surface s = picture();
  CHECK(s.width() == 640);
  CHECK(s.height() == 400);
  CHECK(s.at(0, 0) == kBlue);
  CHECK(s.at(2, 1) == kGreen);
  CHECK(s.at(4, 0) == kCyan);
  CHECK(s.at(6, 0) == kBlack);
  CHECK(s.at(8, 0) == kCyan);
  CHECK(s.at(0, 2) == kGreen);
}

TEST_CASE_FIXTURE(VgaFixture, "VBE: every depth, with offsets and a virtual width") {
  struct Case {
    u16 bits;
    std::initializer_list<u8> bytes;
    u32 pixel;
  };
  for (const Case& c :
       {Case{8, {7}, 0xff0082}, Case{15, {0x1f, 0x7c}, 0xff00ff}, Case{16, {0xe0, 0x07}, 0x00ff00},
        Case{24, {1, 2, 3}, 0x030201}, Case{32, {1, 2, 3, 0xff}, 0x030201}}) {
    CAPTURE(c.bits);
    packed_mode(64, 48, c.bits);
    dac(7, 0x3f, 0, 0x20);
    dispi(Dispi::kVirtualWidth, 80);
    dispi(Dispi::kOffsetX, 5);
    dispi(Dispi::kOffsetY, 2);
    const std::size_t at = (std::size_t{2 + 3} * 80 + 5 + 4) * c.bytes.size();
    std::ranges::copy(c.bytes, vga.memory().begin() + static_cast<std::ptrdiff_t>(at));
    const Surface s = picture();
    CHECK(s.width() == 64);
    CHECK(s.height() == 48);
    CHECK(s.at(4, 3) == c.pixel);
    CHECK(s.at(5, 3) == kBlack);
  }
}

TEST_CASE_FIXTURE(VgaFixture, "VBE: sixteen colours in planes") {
  planar_mode();
  packed_mode(640, 100, 4);
  CHECK_FALSE(vga.registers().dispi.packed());
  seq(2, 0b0100);
  poke(640 / 8 * 7 + 1, 0x01);
  CHECK(picture().at(15, 7) == kRed);
  dispi(Dispi::kOffsetY, 7);
  dispi(Dispi::kVirtualWidth, 640);
  CHECK(picture().at(15, 0) == kRed);
}

TEST_CASE_FIXTURE(VgaFixture, "a blank screen is black and keeps its size") {
  planar_mode();
  set_planes(0, {0xff, 0xff, 0xff, 0xff});
  Surface s;
  draw(vga.registers(), vga.memory(), {}, s);
  CHECK(s.at(0, 0) == 0xffffff);
  seq(1, 0x21);
  CHECK(mode(vga.registers()).kind == Mode::Kind::kBlank);
  draw(vga.registers(), vga.memory(), {}, s);
  CHECK(s.width() == 640);
  CHECK(s.height() == 480);
  CHECK(s.at(0, 0) == kBlack);
}

// Viewers hold no lock while they look. For ThreadSanitizer.
TEST_CASE_FIXTURE(Text, "pictures are taken while the guest draws") {
  const Registers registers = vga.registers();
  std::atomic<bool> done = false;
  std::thread viewer([&] {
    for (Surface surface; !done;) {
      draw(registers, vga.memory(), {}, surface);
      (void)read_text(registers, vga.memory());
    }
  });
  for (u32 i = 0; i < 20'000; ++i) {
    put(i % 80, i / 80 % 25, 'A', static_cast<u8>(i));
    vga.memory()[i] = static_cast<u8>(i);  // as through the linear frame buffer
  }
  done = true;
  viewer.join();
  CHECK(peek(0x1'8000 + 2 * 1999) == 'A');
}

TEST_CASE_FIXTURE(VgaFixture, "damage is what changed, no more") {
  packed_mode(64, 48, 32);
  Surface s;
  draw(vga.registers(), vga.memory(), {}, s);
  CHECK(s.take_resized());
  CHECK_FALSE(s.take_damage().empty());
  draw(vga.registers(), vga.memory(), {}, s);
  CHECK_FALSE(s.take_resized());
  CHECK(s.take_damage().empty());
  for (const auto& [x, y] : {std::pair<u32, u32>{10, 5}, {20, 6}, {3, 40}})
    vga.memory()[(y * 64 + x) * 4] = 1;
  draw(vga.registers(), vga.memory(), {}, s);
  const auto damage = s.take_damage();
  REQUIRE(damage.size() == 2);
  CHECK(damage[0].x == 10);
  CHECK(damage[0].y == 5);
  CHECK(damage[0].width == 11);
  CHECK(damage[0].height == 2);
  CHECK(damage[1].x == 3);
  CHECK(damage[1].width == 1);
}

}  // namespace
}  // namespace doppel::devices::vga::testing
