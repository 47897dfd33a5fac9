#include "devices/i8042.hpp"

#include <vector>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

using Bytes = std::vector<u8>;

constexpr u64 kData = 0;
constexpr u64 kCommand = 4;

struct Controller {
  core::ManualClock clock;
  core::Counters counters;
  int keyboard_irqs = 0;
  int mouse_irqs = 0;
  int resets = 0;
  Bytes a20;
  I8042 i8042{core::IrqLine([this](bool level) { keyboard_irqs += level; }),
              core::IrqLine([this](bool level) { mouse_irqs += level; }),
              clock,
              counters,
              {.reset = [this] { ++resets; }, .a20 = [this](bool on) { a20.push_back(on); }}};

  u8 status() { return static_cast<u8>(i8042.read(kCommand, 1)); }
  u8 data() { return static_cast<u8>(i8042.read(kData, 1)); }
  void command(u8 value) { i8042.write(kCommand, 1, value); }
  void command(u8 value, u8 parameter) {
    command(value);
    i8042.write(kData, 1, parameter);
  }
  u8 ask(u8 value) {
    command(value);
    REQUIRE((status() & 1) == 1);
    return data();
  }
  // Everything that arrives within the next milliseconds.
  Bytes drain() {
    Bytes bytes;
    for (int i = 0; i < 100; ++i) {
      if (status() & 1) bytes.push_back(data());
      clock.advance(100'000);
    }
    return bytes;
  }
  Bytes keyboard(const Bytes& bytes) {
    Bytes replies;
    for (const u8 byte : bytes) {
      i8042.write(kData, 1, byte);
      for (const u8 reply : drain()) replies.push_back(reply);
    }
    return replies;
  }
  Bytes mouse(const Bytes& bytes) {
    Bytes replies;
    for (const u8 byte : bytes) {
      command(0xd4, byte);
      for (const u8 reply : drain()) replies.push_back(reply);
    }
    return replies;
  }
  bool key(const Bytes& set2) { return i8042.key(set2); }
  void untranslated() { command(0x60, 0x03); }
};

}  // namespace

TEST_CASE("i8042: self test, line tests, ports, RAM") {
  Controller c;
  CHECK(c.status() == 0x14);
  CHECK(c.ask(0xaa) == 0x55);
  CHECK(c.status() == 0x1c);
  CHECK(c.ask(0xa9) == 0x00);
  CHECK(c.ask(0xab) == 0x00);
  CHECK(c.ask(0xa4) == 0xf1);
  CHECK(c.ask(0xc0) == 0xa0);
  CHECK((c.ask(0xd0) & 0x03) == 0x03);
  c.command(0x60, 0x47);
  CHECK(c.ask(0x20) == 0x47);
  c.command(0x7f, 0x99);
  CHECK(c.ask(0x3f) == 0x99);
  c.command(0xbb);
  CHECK(c.counters["i8042.unknown.write"] == 1);
}

TEST_CASE("i8042: disabling and enabling show in the command byte") {
  Controller c;
  c.command(0x60, 0x47);
  for (const auto& [command, expected] :
       {std::pair<u8, u8>{0xa7, 0x67}, {0xa8, 0x47}, {0xad, 0x57}, {0xae, 0x47}}) {
    c.command(command);
    CHECK(c.ask(0x20) == expected);
  }
}

TEST_CASE("i8042: Linux's probe of the mouse port: loop back with its interrupt") {
  Controller c;
  c.command(0x60, 0x47);
  c.command(0xd3, 0x5a);
  CHECK((c.status() & 0x21) == 0x21);
  CHECK(c.mouse_irqs == 1);
  CHECK(c.keyboard_irqs == 0);
  CHECK(c.data() == 0x5a);
  CHECK((c.status() & 0x21) == 0);
  c.command(0xd2, 0xa5);
  CHECK((c.status() & 0x21) == 0x01);
  CHECK(c.keyboard_irqs == 1);
  CHECK(c.data() == 0xa5);
  CHECK(c.data() == 0xa5);  // the buffer keeps its last byte
}

TEST_CASE("i8042: reset line and A20") {
  Controller c;
  c.command(0xff);
  CHECK(c.resets == 0);
  c.command(0xfe);
  CHECK(c.resets == 1);
  c.command(0xd1, 0xdd);
  c.command(0xd1, 0xdf);
  CHECK(c.a20 == Bytes{0, 1});
  CHECK(c.resets == 1);
  c.command(0xd1, 0xde);
  CHECK(c.resets == 2);
}

TEST_CASE("keyboard: commands and replies, untranslated") {
  struct Case {
    Bytes sent, replies;
  };
  for (const auto& [sent, replies] : {
           Case{{0xff}, {0xfa, 0xaa}}, Case{{0xf2}, {0xfa, 0xab, 0x83}}, Case{{0xee}, {0xee}},
           Case{{0xed, 0x07}, {0xfa, 0xfa}}, Case{{0xf3, 0x00}, {0xfa, 0xfa}}, Case{{0xf5}, {0xfa}},
           Case{{0xf6}, {0xfa}}, Case{{0xf4}, {0xfa}}, Case{{0xf0, 0x00}, {0xfa, 0xfa, 0x02}},
           Case{{0xf0, 0x01, 0xf0, 0x00}, {0xfa, 0xfa, 0xfa, 0xfa, 0x01}},
           Case{{0xf0, 0x03, 0xf0, 0x00}, {0xfa, 0xfa, 0xfa, 0xfa, 0x02}}, Case{{0xfb, 0x1c}, {0xfa, 0xfa}},
           Case{{0xf8}, {0xfa}}, Case{{0xef}, {0xfe}}, Case{{0x12}, {0xfe}}, Case{{0xee, 0xfe}, {0xee, 0xee}},
           Case{{0xed, 0xf4}, {0xfa, 0xfa}},  // a command in place of the argument
       }) {
    Controller c;
    c.untranslated();
    CAPTURE(int{sent.front()});
    CHECK(c.keyboard(sent) == replies);
  }
  Controller c;
  c.keyboard({0xed, 0x02});
  CHECK(c.i8042.keyboard().leds() == 2);
}

TEST_CASE("keyboard: scan codes, translated to set 1 or not") {
  struct Case {
    Bytes set2, set1;
  };
  for (const auto& [set2, set1] : {
           Case{{0x1c}, {0x1e}},                    // A
           Case{{0xf0, 0x1c}, {0x9e}},              // A released
           Case{{0xe0, 0x75}, {0xe0, 0x48}},        // up
           Case{{0xe0, 0xf0, 0x75}, {0xe0, 0xc8}},  //
           Case{{0x83}, {0x41}},                    // F7
           Case{{0x5a, 0xf0, 0x5a}, {0x1c, 0x9c}},  // Enter
           Case{{0x76}, {0x01}},                    // Escape
           Case{{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77},
                {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}},  // Pause
       }) {
    Controller c;
    CHECK(c.key(set2));
    CHECK(c.drain() == set1);
    CHECK(c.keyboard_irqs == static_cast<int>(set1.size()));

    c.untranslated();
    CHECK(c.key(set2));
    CHECK(c.drain() == set2);

    c.keyboard({0xf0, 0x01});  // the keyboard itself speaks set 1
    CHECK(c.key(set2));
    CHECK(c.drain() == set1);
  }
}

TEST_CASE(
    "keyboard: disabled scanning ignores keys, a disabled line delays them, a full buffer refuses them") {
  Controller c;
  c.keyboard({0xf5});
  CHECK(c.key({0x1c}));
  CHECK(c.drain().empty());
  c.keyboard({0xf4});
  c.command(0xad);
  CHECK(c.key({0x1c}));
  CHECK(c.drain().empty());
  c.command(0xae);
  CHECK(c.drain() == Bytes{0x1e});

  c.command(0xad);
  for (int i = 0; i < 8; ++i) CHECK(c.key({0xf0, 0x1c}));
  CHECK(!c.key({0x1c}));
  c.command(0xae);
  CHECK(c.drain() == Bytes(8, 0x9e));
}

TEST_CASE("keyboard: the next byte comes a while after the last was read, each with its interrupt") {
  Controller c;
  CHECK(c.key({0x1c, 0x1b}));
  CHECK(c.data() == 0x1e);
  CHECK((c.status() & 1) == 0);
  CHECK(c.data() == 0x1e);  // a chained handler reads the same key
  c.clock.advance(250'000);
  CHECK(c.keyboard_irqs == 2);
  CHECK(c.data() == 0x1f);
}

TEST_CASE("mouse: commands and replies") {
  struct Case {
    Bytes sent, replies;
  };
  for (const auto& [sent, replies] : {
           Case{{0xff}, {0xfa, 0xaa, 0x00}},
           Case{{0xf2}, {0xfa, 0x00}},
           Case{{0xe9}, {0xfa, 0x00, 0x02, 0x64}},
           Case{{0xe8, 0x03, 0xf3, 0x28, 0xe7, 0xf4, 0xe9},
                {0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0x30, 0x03, 0x28}},
           Case{{0xeb}, {0xfa, 0x08, 0x00, 0x00}},
           Case{{0xee, 0x42, 0xec, 0xf6}, {0xfa, 0x42, 0xfa, 0xfa}},
           Case{{0xf0, 0xea, 0xe6}, {0xfa, 0xfa, 0xfa}},
           Case{{0x42}, {0xfe}},
           Case{{0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2}, {0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0x03}},
           Case{{0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2}, {0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0x04}},
       }) {
    Controller c;
    CAPTURE(int{sent.front()});
    CHECK(c.mouse(sent) == replies);
  }
}

TEST_CASE("mouse: motion adds up into packets of the protocol in use") {
  Controller c;
  c.i8042.move_mouse(5, 5, 0, 0);
  CHECK(c.drain().empty());  // not reporting yet
  c.mouse({0xf6, 0xf4});
  c.i8042.move_mouse(10, -3, 0, 0x01);
  CHECK(c.drain() == Bytes{0x29, 10, 0xfd});
  c.i8042.move_mouse(300, 0, 0, 0x01);
  CHECK(c.drain() == Bytes{0x09, 255, 0, 0x09, 45, 0});
  c.i8042.move_mouse(0, 0, 0, 0x06);
  CHECK(c.drain() == Bytes{0x0e, 0, 0});

  c.mouse({0xf3, 200, 0xf3, 100, 0xf3, 80});
  c.i8042.move_mouse(0, 0, -1, 0x06);
  CHECK(c.drain() == Bytes{0x0e, 0, 0, 0xff});
  c.mouse({0xf3, 200, 0xf3, 200, 0xf3, 80});
  c.i8042.move_mouse(0, 0, 1, 0x18);
  CHECK(c.drain() == Bytes{0x08, 0, 0, 0x31});
}

TEST_CASE("i8042: snapshot, hostile guest, hostile snapshots") {
  Controller c;
  c.command(0xa8);
  c.mouse({0xf4});
  CHECK(c.key({0xf0, 0x1c, 0x1b}));
  c.i8042.move_mouse(1, 2, 0, 0);
  Controller copy;
  copy.clock.advance(c.clock.now());
  testing::copy_by_snapshot(c.i8042, copy.i8042);
  CHECK(copy.drain() == Bytes{0x9e, 0x1f, 0x08, 1, 2});

  testing::hostile_guest(c.i8042, 5, c.clock, [&](u32 random) {
    const Bytes bytes(random & 3, static_cast<u8>(random >> 8));
    if (random & 4) (void)c.key(bytes);
    if (random & 8)
      c.i8042.move_mouse(static_cast<int>(random), -static_cast<int>(random >> 9), 3,
                         static_cast<u8>(random));
  });
  testing::flipped_snapshots(copy.i8042, 5, copy.clock);
  testing::hostile_snapshots(copy.i8042, 5, copy.clock);
}
