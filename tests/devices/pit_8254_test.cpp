#include "devices/pit_8254.hpp"

#include <string>
#include <vector>

#include "devices/debug_ports.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

constexpr u64 kSecond = core::kNanosecondsPerSecond;

// OUT after each of `pulses` pulses, one at a time: '1' or '0'.
std::string trace(PitCounter& counter, int pulses) {
  std::string out;
  for (int i = 0; i < pulses; ++i) {
    counter.clock(1);
    out += counter.output() ? '1' : '0';
  }
  return out;
}

// Counter programmed for low-byte counts.
PitCounter programmed(u8 mode, u8 count, bool gate = true) {
  PitCounter counter(gate);
  counter.write_control(static_cast<u8>(0x10 | mode << 1));
  counter.write(count);
  return counter;
}

struct Pit {
  core::ManualClock clock;
  core::Counters counters;
  std::vector<u64> rises;  // when IRQ 0 rose
  bool irq = false;
  PitDevice pit{core::IrqLine([this](bool level) {
                  irq = level;
                  if (level) rises.push_back(clock.now());
                }),
                clock, counters};
  void out(u64 port, u8 value) { pit.write(port, 1, value); }
  u8 in(u64 port) { return static_cast<u8>(pit.read(port, 1)); }
  void start(u8 control, u16 count) {
    out(3, control);
    out(control >> 6, static_cast<u8>(count));
    out(control >> 6, static_cast<u8>(count >> 8));
  }
  u16 count(u64 port) {
    const u8 low = in(port);
    return static_cast<u16>(low | in(port) << 8);
  }
};

}  // namespace

// The wave forms of the 82C54 datasheet, figures 15 to 20. The first pulse loads the count.
TEST_CASE("8254: output of each mode") {
  struct Case {
    u8 mode, count;
    const char* expected;
  };
  for (const auto& [mode, count, expected] : {
           Case{0, 4, "000011111"},
           Case{2, 3, "1101101101"},
           Case{3, 4, "1100110011"},
           Case{3, 5, "1110011100"},
           Case{4, 3, "11101111"},
       }) {
    auto counter = programmed(mode, count);
    CAPTURE(int{mode});
    CHECK(trace(counter, static_cast<int>(std::string(expected).size())) == expected);
  }
  for (const auto& [mode, count, expected] : {Case{1, 3, "0001111"}, Case{5, 3, "1110111"}}) {
    auto counter = programmed(mode, count, false);
    CAPTURE(int{mode});
    CHECK(trace(counter, 4) == "1111");  // waits for its trigger
    counter.set_gate(true);
    CHECK(trace(counter, 7) == expected);
    counter.set_gate(false);  // no effect but to trigger again
    counter.set_gate(true);
    CHECK(trace(counter, 7) == expected);
  }
}

TEST_CASE("8254: the don't-care bit of modes 2 and 3; initial OUT of every mode") {
  for (u8 mode = 0; mode < 8; ++mode) {
    auto counter = programmed(mode, 4);
    CAPTURE(int{mode});
    CHECK(counter.output() == (mode != 0));
    counter.latch_status();
    CHECK((counter.read() >> 1 & 7) == (mode > 5 ? mode - 4 : mode));
  }
}

TEST_CASE("8254: a closed gate stops modes 0 and 4, forces modes 2 and 3 high and restarts them") {
  auto zero = programmed(0, 4);
  zero.clock(3);  // count 2
  zero.set_gate(false);
  zero.clock(100);
  CHECK(zero.read() == 2);
  zero.set_gate(true);
  CHECK(trace(zero, 3) == "011");

  auto rate = programmed(2, 3);
  rate.clock(3);
  CHECK(!rate.output());
  rate.set_gate(false);
  CHECK(rate.output());
  CHECK(trace(rate, 5) == "11111");
  rate.set_gate(true);
  CHECK(trace(rate, 4) == "1101");
}

TEST_CASE("8254: a new count: at once in modes 0 and 4, at the end of the period in 2, of the half in 3") {
  auto zero = programmed(0, 3);
  zero.clock(10);
  CHECK(zero.output());
  zero.write(2);
  CHECK(!zero.output());
  CHECK(trace(zero, 3) == "001");

  auto rate = programmed(2, 4);
  rate.clock(2);
  rate.write(2);
  CHECK(trace(rate, 7) == "1010101");

  auto square = programmed(3, 6);
  square.clock(2);  // one pulse into the high half
  square.write(2);
  CHECK(trace(square, 6) == "101010");

  // In mode 0 the first byte of two stops the count.
  PitCounter both(true);
  both.write_control(0x30);
  both.write(4);
  both.write(0);
  both.clock(2);
  both.write(9);
  both.clock(50);
  both.write(0);
  both.clock(9);
  CHECK(!both.output());
  both.clock(1);
  CHECK(both.output());
}

TEST_CASE("8254: clocking many pulses at once equals clocking them singly") {
  for (u8 mode = 0; mode < 6; ++mode)
    for (const u8 count : {1, 2, 3, 7, 0})
      for (const u64 pulses : {1, 2, 5, 9, 100, 257, 300}) {
        auto once = programmed(mode, count);
        auto singly = programmed(mode, count);
        for (auto* counter : {&once, &singly}) {
          counter->set_gate(false);
          counter->set_gate(true);
          counter->clock(3);
          counter->write(5);  // a pending count
          (void)counter->take_rise();
        }
        once.clock(pulses);
        for (u64 i = 0; i < pulses; ++i) singly.clock(1);
        CAPTURE(int{mode});
        CAPTURE(int{count});
        CAPTURE(pulses);
        CHECK(once.output() == singly.output());
        CHECK(once.read() == singly.read());
        CHECK(once.take_rise() == singly.take_rise());
      }
}

TEST_CASE("8254: pulses_to_rise never passes a rise and finds every one") {
  for (u8 mode = 0; mode < 6; ++mode)
    for (const u8 count : {1, 2, 3, 8}) {
      auto counter = programmed(mode, count);
      counter.set_gate(false);
      counter.set_gate(true);
      (void)counter.take_rise();
      for (int step = 0; step < 40; ++step) {
        const u64 predicted = counter.pulses_to_rise();
        CAPTURE(int{mode});
        CAPTURE(int{count});
        CAPTURE(step);
        counter.clock(1);
        const bool rose = counter.take_rise();
        if (rose) CHECK(predicted == 1);
        if (step <= 20) CHECK(rose == (predicted == 1));
        if (step == 20) counter.write(count);
        (void)counter.take_rise();
      }
    }
}

TEST_CASE("8254: access modes, BCD, latches and read-back") {
  Pit p;
  p.start(0x34, 0x1234);
  p.clock.advance(2000);  // 2.4 pulses: load and one count
  CHECK(p.count(0) == 0x1233);
  p.out(3, 0x00);  // latch
  p.clock.advance(kSecond / 1000);
  p.out(3, 0x00);  // ignored: still latched
  CHECK(p.count(0) == 0x1233);
  CHECK(p.count(0) < 0x1000);

  p.start(0x35, 0x1000);  // BCD 1000
  p.clock.advance(2000);
  CHECK(p.count(0) == 0x0999);

  p.out(3, 0x20);  // high byte only, mode 0
  p.out(0, 0x80);
  p.clock.advance(2000);
  CHECK(p.in(0) == 0x7f);

  p.start(0xb0, 0x4321);
  p.out(3, 0xc8);          // read back status and count of counter 2
  CHECK(p.in(2) == 0x70);  // OUT low, count not loaded yet, both bytes, mode 0
  (void)p.count(2);
  p.clock.advance(2000);
  p.out(3, 0xe8);          // status only
  CHECK(p.in(2) == 0x30);  // loaded, although its gate is closed
  CHECK(p.count(2) == 0x4321);
}

TEST_CASE("8254: IRQ 0 in mode 2 rises on every period for ten seconds without drift") {
  Pit p;
  p.start(0x34, 11932);  // 100 Hz
  p.rises.clear();
  p.clock.advance(10 * kSecond);
  REQUIRE(p.rises.size() == 999);
  for (std::size_t i = 0; i < p.rises.size(); ++i) {
    const u64 pulse = (i + 1) * 11932 + 1;
    CHECK(p.rises[i] == (pulse * kSecond + 1'193'181) / 1'193'182);
  }
}

TEST_CASE("8254: IRQ 0 in modes 3 (18.2 Hz), 0 and 4 (one shot)") {
  Pit p;
  p.start(0x36, 0);
  p.rises.clear();
  p.clock.advance(kSecond);
  CHECK(p.rises.size() == 18);

  p.start(0x30, 1193);
  CHECK(!p.irq);
  p.rises.clear();
  const u64 start = p.clock.now();
  p.clock.advance(kSecond);
  REQUIRE(p.rises.size() == 1);
  CHECK(p.rises[0] - start > 999'000);
  CHECK(p.rises[0] - start < 1'002'000);
  CHECK(p.irq);

  p.start(0x38, 1193);
  p.rises.clear();
  p.clock.advance(kSecond);
  CHECK(p.rises.size() == 1);
}

TEST_CASE("8254: Linux's TSC calibration through port 0x61 and counter 2") {
  Pit p;
  SystemControlB control({[&](bool level) { p.pit.set_gate2(level); }, [&] { return p.pit.output2(); }},
                         p.clock, p.counters);
  control.write(0, 1, (control.read(0, 1) & ~u64{2}) | 1);
  p.start(0xb0, 59659);  // 50 ms
  u64 elapsed = 0;
  while (!(control.read(0, 1) & 0x20)) {
    p.clock.advance(1000);
    elapsed += 1000;
    REQUIRE(elapsed < kSecond);
  }
  CHECK(elapsed > 49'990'000);
  CHECK(elapsed < 50'010'000);
}

TEST_CASE("8254: snapshot, hostile guest, hostile snapshots") {
  Pit p;
  p.start(0x34, 1193);
  p.clock.advance(123'456);
  Pit q;
  q.clock.advance(123'456);
  testing::copy_by_snapshot(p.pit, q.pit);
  p.rises.clear();
  q.rises.clear();
  p.clock.advance(kSecond / 100);
  q.clock.advance(kSecond / 100);
  CHECK(p.rises == q.rises);
  CHECK(p.rises.size() == 10);

  testing::hostile_guest(p.pit, 4, p.clock, [&](u32 random) { p.pit.set_gate2(random & 1); });
  testing::flipped_snapshots(q.pit, 4, q.clock);
  testing::hostile_snapshots(q.pit, 4, q.clock);
}
