// The VGA by its ports and its window: every write and read mode, latches, addressing, DAC, the attribute
// controller's flip-flop, Bochs' VBE registers, and a hostile guest.
#include "devices/vga/function.hpp"
#include "tests/devices/vga_fixture.hpp"

namespace doppel::devices::vga::testing {
namespace {

// Planar addressing at 0xa0000.
struct Planar : VgaFixture {
  Planar() { planar_mode(); }
};

TEST_CASE_FIXTURE(VgaFixture, "registers read back the bits that exist") {
  struct Case {
    u16 port;
    u8 index, written, read;
  };
  for (const Case& c : {Case{0x3c4, 1, 0xff, 0x3d}, Case{0x3c4, 4, 0xff, 0x0e}, Case{0x3c4, 5, 0xff, 0},
                        Case{0x3ce, 5, 0xff, 0x7b}, Case{0x3ce, 8, 0xa5, 0xa5}, Case{0x3ce, 15, 0xff, 0}}) {
    CAPTURE(c.port);
    CAPTURE(c.index);
    indexed(c.port, c.index, c.written);
    CHECK(get_indexed(c.port, c.index) == c.read);
  }
  CHECK(in(0x3c4) == 5);  // the index register itself
}

TEST_CASE_FIXTURE(VgaFixture, "a 16-bit write is index and data") {
  vga.write(Vga::kPorts + 0x3ce - 0x3b0, 2, 0x5a08);
  CHECK(get_indexed(0x3ce, 8) == 0x5a);
}

TEST_CASE_FIXTURE(VgaFixture, "the CRTC is at 3d4 with colours, at 3b4 without") {
  out(0x3c2, 1);
  CHECK(in(0x3cc) == 1);
  indexed(0x3d4, 0x0c, 0x12);
  indexed(0x3b4, 0x0c, 0x34);
  CHECK(get_indexed(0x3d4, 0x0c) == 0x12);
  CHECK(in(0x3b5) == 0xff);
  out(0x3c2, 0);
  CHECK(get_indexed(0x3b4, 0x0c) == 0x12);
  CHECK(in(0x3d5) == 0xff);
  CHECK(counters["vga.unknown.read"] == 2);
}

TEST_CASE_FIXTURE(VgaFixture, "CRTC registers 0 to 7 can be protected, but for bit 8 of the line compare") {
  out(0x3c2, 1);
  crtc(7, 0x55);
  crtc(0x11, 0x80);
  crtc(0, 0xee);
  crtc(7, 0xff);
  crtc(8, 0x11);
  CHECK(get_indexed(0x3d4, 0) == 0);
  CHECK(get_indexed(0x3d4, 7) == 0x55);
  crtc(7, 0xef);
  CHECK(get_indexed(0x3d4, 7) == 0x45);
  CHECK(get_indexed(0x3d4, 8) == 0x11);
  crtc(0x11, 0);
  crtc(0, 0xee);
  CHECK(get_indexed(0x3d4, 0) == 0xee);
}

TEST_CASE_FIXTURE(VgaFixture, "the attribute controller takes index and data at one port") {
  out(0x3c2, 1);
  (void)in(0x3da);
  out(0x3c0, 0x13);
  out(0x3c0, 0x07);
  out(0x3c0, 0x10);  // index again
  out(0x3c0, 0x41);
  CHECK(in(0x3c1) == 0x41);
  out(0x3c0, 0x13);
  CHECK(in(0x3c1) == 0x07);
  (void)in(0x3da);  // forgets that data is due
  out(0x3c0, 0x10);
  CHECK(in(0x3c0) == 0x10);
  CHECK(in(0x3c1) == 0x41);
}

TEST_CASE_FIXTURE(VgaFixture, "the DAC takes and gives three components a colour") {
  dac(254, 1, 2, 0xff);
  out(0x3c9, 4);  // the next colour
  CHECK(in(0x3c7) == 0);
  CHECK(in(0x3c8) == 255);
  out(0x3c7, 254);
  CHECK(in(0x3c7) == 3);
  for (const u8 expected : {1, 2, 0x3f, 4, 0, 0}) CHECK(in(0x3c9) == expected);
  CHECK(in(0x3c9) == 0);  // colour 0: the index wraps
  out(0x3c6, 0x0f);
  CHECK(in(0x3c6) == 0x0f);
}

TEST_CASE_FIXTURE(VgaFixture, "input status shows the beam") {
  vga.set_text_mode({});
  u32 retraces = 0, dark = 0;
  bool was = false;
  constexpr u32 kMicroseconds = 100'000;
  for (u32 i = 0; i < kMicroseconds; ++i) {
    clock.advance(1000);
    const u8 status = in(0x3da);
    const bool retrace = status & 8;
    if (retrace && !was) ++retraces;
    was = retrace;
    if (status & 1) ++dark;
  }
  CHECK(retraces == 7);  // 70 Hz
  CHECK(dark > kMicroseconds / 4);
  CHECK(dark < kMicroseconds / 2);
}

TEST_CASE_FIXTURE(Planar, "write modes") {
  struct Case {
    const char* what;
    std::initializer_list<std::pair<u8, u8>> graphics;
    u8 map_mask, value;
    const char* after;  // planes, from latches 0f 33 55 aa
  };
  for (const Case& c : {
           Case{"0: the byte in all planes", {}, 15, 0xc5, "c5c5c5c5"},
           Case{"0: map mask", {}, 0b0101, 0xc5, "c500c500"},
           Case{"0: rotated", {{3, 4}}, 15, 0xc5, "5c5c5c5c"},
           Case{"0: set/reset where enabled", {{0, 0b0110}, {1, 0b0011}}, 15, 0xc5, "00ffc5c5"},
           Case{"0: bit mask, the rest from the latches", {{8, 0xf0}}, 15, 0xc5, "cfc3c5ca"},
           Case{"0: AND", {{3, 1 << 3}}, 15, 0xc5, "05014580"},
           Case{"0: OR", {{3, 2 << 3}}, 15, 0xc5, "cff7d5ef"},
           Case{"0: XOR", {{3, 3 << 3}}, 15, 0xc5, "caf6906f"},
           Case{"0: XOR within the bit mask", {{3, 3 << 3}, {8, 0x0f}}, 15, 0xc5, "0a3650af"},
           Case{"1: the latches", {{5, 1}}, 15, 0xc5, "0f3355aa"},
           Case{"1: map mask", {{5, 1}}, 0b1000, 0xc5, "000000aa"},
           Case{"2: a colour", {{5, 2}}, 15, 0b0110, "00ffff00"},
           Case{"2: a colour within the bit mask", {{5, 2}, {8, 0x0f}}, 15, 0b0110, "003f5fa0"},
           Case{"2: XOR", {{5, 2}, {3, 3 << 3}}, 15, 0b0110, "0fccaaaa"},
           Case{"3: set/reset where the byte has bits", {{5, 3}, {0, 0b0011}}, 15, 0xc5, "cff7102a"},
           Case{"3: rotated, and with the bit mask",
                {{5, 3}, {0, 0b0011}, {3, 4}, {8, 0x0f}},
                15,
                0xc5,
                "0f3f51a2"},
       }) {
    CAPTURE(c.what);
    for (u8 i = 0; i < 9; ++i) gc(i, i == 6 ? 5 : i == 8 ? 0xff : 0);
    seq(2, 15);
    set_planes(7, {0x0f, 0x33, 0x55, 0xaa});
    set_planes(9, {0, 0, 0, 0});
    for (const auto& [index, value] : c.graphics) gc(index, value);
    seq(2, c.map_mask);
    (void)peek(7);
    poke(9, c.value);
    CHECK(planes(9) == c.after);
  }
}

TEST_CASE_FIXTURE(Planar, "read modes") {
  set_planes(3, {0x0f, 0x33, 0x55, 0xff});
  for (const auto& [plane, value] : {std::pair<u8, u8>{0, 0x0f}, {1, 0x33}, {2, 0x55}, {3, 0xff}}) {
    gc(4, plane);
    CHECK(peek(3) == value);
  }
  gc(5, 8);
  gc(7, 15);
  gc(2, 0b1000);  // plane 3 only
  CHECK(peek(3) == 0x80);
  gc(2, 0b1111);
  CHECK(peek(3) == 0x01);
  gc(7, 0b0011);  // planes 2 and 3 do not care
  CHECK(peek(3) == 0x03);
  gc(7, 0);
  CHECK(peek(3) == 0xff);
}

TEST_CASE_FIXTURE(Planar, "the window is where the map says") {
  struct Case {
    u8 map;
    u32 first, last;
  };
  for (const Case& c :
       {Case{0, 0, 0x1'ffff}, Case{1, 0, 0xffff}, Case{2, 0x1'0000, 0x1'7fff}, Case{3, 0x1'8000, 0x1'ffff}}) {
    CAPTURE(c.map);
    gc(6, static_cast<u8>(1 | c.map << 2));
    poke(c.first, 0x42);
    poke(c.last, 0x43);
    CHECK(planes(0) == "42424242");
    CHECK(peek(c.last) == 0x43);
    if (c.first > 0) CHECK(peek(c.first - 1) == 0xff);
    if (c.last < 0x1'ffff) CHECK(peek(c.last + 1) == 0xff);
  }
  out(0x3c2, 0x61);  // memory off
  CHECK(peek(0x1'8000) == 0xff);
}

TEST_CASE_FIXTURE(Planar, "chain-4: four neighbours in the four planes of one offset") {
  seq(4, 14);
  vga.write(Vga::kWindow + 8, 8, 0x8877'6655'4433'2211);
  CHECK(planes(8) == "11223344");
  CHECK(planes(12) == "55667788");
  CHECK(vga.read(Vga::kWindow + 8, 8) == 0x8877'6655'4433'2211);
  seq(2, 0b0010);
  vga.write(Vga::kWindow + 8, 4, 0xddcc'bbaa);
  CHECK(planes(8) == "11bb3344");
}

TEST_CASE_FIXTURE(VgaFixture, "odd/even: characters in plane 0, attributes in plane 1, the font apart") {
  const std::vector<u8> font(256 * 16, 0x99);
  vga.set_text_mode(font);
  vga.write(Vga::kWindow + 0x1'8000, 4, 0x1742'0741);
  CHECK(planes(0).substr(0, 4) == "4107");
  CHECK(planes(2).substr(0, 4) == "4217");
  CHECK(vga.read(Vga::kWindow + 0x1'8000, 4) == 0x1742'0741);
  CHECK(planes(1).substr(4) == "9900");
  // How a BIOS loads a font.
  seq(2, 4);
  seq(4, 7);
  gc(4, 2);
  gc(5, 0);
  gc(6, 4);
  poke(0x41 * 32 + 3, 0x7e);
  CHECK(peek(0x41 * 32 + 3) == 0x7e);
  CHECK(vga.memory()[(0x41 * 32 + 3) * 4 + 2] == 0x7e);
}

// --- Bochs' VBE extensions.

TEST_CASE_FIXTURE(VgaFixture, "the VBE interface identifies itself and tells its limits") {
  CHECK(dispi(Dispi::kId) == 0xb0c5);
  dispi(Dispi::kId, 0xb0c0);
  CHECK(dispi(Dispi::kId) == 0xb0c0);
  dispi(Dispi::kId, 0x1234);
  CHECK(dispi(Dispi::kId) == 0xb0c0);
  CHECK(dispi(Dispi::kMemory64K) == 4);
  dispi(Dispi::kEnable, Dispi::kGetCapabilities);
  CHECK(dispi(Dispi::kWidth) == 2560);
  CHECK(dispi(Dispi::kHeight) == 1600);
  CHECK(dispi(Dispi::kBitsPerPixel) == 32);
  CHECK(dispi(999) == 0);
}

TEST_CASE_FIXTURE(VgaFixture, "a VBE mode clears memory unless told not to, and shows itself in banks") {
  std::ranges::fill(vga.memory(), u8{0xee});
  packed_mode(320, 200, 8, Dispi::kEnabled | Dispi::kKeepMemory);
  CHECK(vga.memory()[0] == 0xee);
  packed_mode(320, 200, 8);
  CHECK(vga.memory()[0] == 0);
  CHECK(vga.memory()[320 * 200] == 0xee);
  dispi(Dispi::kBank, 2);
  poke(5, 0x77);
  CHECK(vga.memory()[0x2'0005] == 0x77);
  CHECK(peek(5) == 0x77);
  CHECK(peek(0x1'8000) == 0xff);
  dispi(Dispi::kBank, 0xffff);
  CHECK(dispi(Dispi::kBank) == 3);
}

TEST_CASE_FIXTURE(VgaFixture, "VBE registers always describe a picture within memory") {
  packed_mode(640, 480, 32);  // 1.2 MB in 256 KiB
  CHECK(dispi(Dispi::kHeight) == 102);
  packed_mode(320, 100, 16);
  dispi(Dispi::kVirtualWidth, 640);
  CHECK(dispi(Dispi::kVirtualHeight) == 204);
  dispi(Dispi::kOffsetX, 1000);
  dispi(Dispi::kOffsetY, 1000);
  CHECK(dispi(Dispi::kOffsetX) == 320);
  CHECK(dispi(Dispi::kOffsetY) == 104);
  dispi(Dispi::kVirtualWidth, 8);  // below the width
  CHECK(dispi(Dispi::kVirtualWidth) == 320);
  packed_mode(0, 0, 7);
  CHECK(dispi(Dispi::kWidth) == 8);
  CHECK(dispi(Dispi::kHeight) == 1);
  CHECK(dispi(Dispi::kBitsPerPixel) == 8);
}

TEST_CASE_FIXTURE(VgaFixture, "the DAC's width changes and its colours stay") {
  dac(1, 0x3f, 0x20, 0);
  dispi(Dispi::kEnable, Dispi::kDac8);
  out(0x3c7, 1);
  for (const u8 expected : {0xff, 0x82, 0}) CHECK(in(0x3c9) == expected);
  dac(2, 0xff, 0x81, 7);
  dispi(Dispi::kEnable, 0);
  out(0x3c7, 2);
  for (const u8 expected : {0x3f, 0x20, 1}) CHECK(in(0x3c9) == expected);
}

TEST_CASE_FIXTURE(VgaFixture, "the register block shows EDID, ports and VBE registers") {
  const auto block = [&](u64 offset, u32 width) { return vga.read(Vga::kRegisterBlock + offset, width); };
  CHECK(block(0, 8) == 0x00ff'ffff'ffff'ff00);
  u8 sum = 0;
  for (u64 i = 0; i < 128; ++i) sum = static_cast<u8>(sum + block(i, 1));
  CHECK(sum == 0);
  CHECK(block(128, 1) == 0);
  CHECK(block(0x500, 2) == 0xb0c5);
  vga.write(Vga::kRegisterBlock + 0x502, 2, 800);
  CHECK(dispi(Dispi::kWidth) == 800);
  vga.write(Vga::kRegisterBlock + 0x400, 1, 0x20);  // attribute index at 3c0
  CHECK(vga.registers().attribute_index == 0x20);
  CHECK(block(0x600, 4) == 8);
  CHECK(block(0x604, 4) == 0x1e1e'1e1e);
  CHECK(block(0x700, 4) == ~u64{0});
}

// --- The PCI function.

TEST_CASE_FIXTURE(VgaFixture, "the PCI function is QEMU's stdvga; the ROM shows only while enabled") {
  std::optional<u64> frame_buffer, registers, rom;
  const auto record = [](std::optional<u64>& at) {
    return [&at](std::optional<u64> base) {
      at = base;
      return true;
    };
  };
  Function function(vga, record(frame_buffer), record(registers), 0x1'0000, record(rom));
  CHECK(function.config_read(0, 4) == 0x1111'1234);
  CHECK(function.config_read(8, 4) == 0x0300'0002);
  CHECK(function.config_read(0x10, 4) == 8);
  function.config_write(0x10, 4, 0xffff'ffff);
  CHECK(function.config_read(0x10, 4) == 0xfffc'0008);  // the fixture's 256 KiB
  function.config_write(0x30, 4, 0xffff'fffe);
  CHECK(function.config_read(0x30, 4) == 0xffff'0000);
  function.config_write(0x10, 4, 0xe000'0000);
  function.config_write(0x18, 4, 0xe100'0000);
  function.config_write(0x30, 4, 0xe200'0000);
  function.config_write(4, 2, 2);
  function.update_bars();
  CHECK(frame_buffer == 0xe000'0000);
  CHECK(registers == 0xe100'0000);
  CHECK(rom == std::nullopt);
  function.config_write(0x30, 4, 0xe200'0001);
  function.update_bars();
  CHECK(rom == 0xe200'0000);
  function.config_write(0x30, 4, 0xe200'0000);
  function.update_bars();
  CHECK(rom == std::nullopt);
}

// --- Robustness.

TEST_CASE("a VGA snapshot restores everything") {
  VgaFixture a, b;
  a.planar_mode();
  a.poke(100, 0x5a);
  a.packed_mode(320, 100, 16);
  devices::testing::copy_by_snapshot(a.vga, b.vga);
  CHECK(b.dispi(Dispi::kHeight) == 100);
  CHECK(b.vga.memory()[400] == a.vga.memory()[400]);
}

TEST_CASE("damaged VGA snapshots are survived, and what they show is drawn") {
  VgaFixture f;
  f.packed_mode(320, 100, 32);
  core::SnapshotIo saved;
  f.vga.snapshot(saved);
  devices::testing::Hostile random(3);
  for (int i = 0; i < 60; ++i) {
    auto stream = saved.stream();
    for (int damage = 0; damage < 200; ++damage)  // registers come first
      stream[random.below(random.below(2) ? 1200 : 200)] = static_cast<u8>(random.value());
    core::SnapshotIo loading(stream);
    try {
      f.vga.snapshot(loading);
    } catch (const core::SnapshotError&) {
      continue;
    }
    (void)f.in(0x3c9);
    f.out(0x3c9, 1);
    f.poke(0x1000, 1);
    (void)f.picture();
  }
}

}  // namespace
}  // namespace doppel::devices::vga::testing
