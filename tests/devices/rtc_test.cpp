#include "devices/rtc_mc146818.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

constexpr u64 kSecond = core::kNanosecondsPerSecond;
constexpr i64 kLeapEve = 1'709'251'198;  // Thursday 2024-02-29 23:59:58 UTC

struct Rtc {
  explicit Rtc(i64 date = kLeapEve)
      : rtc(core::IrqLine([this](bool level) {
              irq = level;
              rises += level;
            }),
            clock, counters, date) {}
  core::ManualClock clock;
  core::Counters counters;
  bool irq = false;
  int rises = 0;
  RtcMc146818 rtc;

  void out(u8 index, u8 value) {
    rtc.write(0, 1, index);
    rtc.write(1, 1, value);
  }
  u8 in(u8 index) {
    rtc.write(0, 1, index | 0x80);  // with NMI masked
    return static_cast<u8>(rtc.read(1, 1));
  }
  // century year month day weekday hour minute second, two hexadecimal digits each
  u64 date() {
    u64 value = 0;
    for (const u8 index : {0x32, 9, 8, 7, 6, 4, 2, 0}) value = value << 8 | in(index);
    return value;
  }
};

}  // namespace

TEST_CASE("RTC: the date at power-on and how it passes, leap day and weekday included") {
  Rtc r;
  CHECK(r.date() == 0x20'24'02'29'05'23'59'58);
  r.clock.advance(2 * kSecond);
  CHECK(r.date() == 0x20'24'03'01'06'00'00'00);
  r.clock.advance(306 * 86'400 * kSecond);
  CHECK(r.date() == 0x20'25'01'01'04'00'00'00);
  CHECK(Rtc(0).date() == 0x19'70'01'01'05'00'00'00);
}

TEST_CASE("RTC: binary and 12-hour formats") {
  struct Case {
    u8 b;
    u8 hours;
    u8 expected;  // an hour later
  };
  for (const auto& [b, hours, expected] :
       {Case{0x02, 0x09, 0x10}, Case{0x06, 9, 10}, Case{0x00, 0x11, 0x92}, Case{0x00, 0x12, 0x01},
        Case{0x00, 0x92, 0x81}, Case{0x00, 0x91, 0x12}, Case{0x04, 0x8b, 12}, Case{0x06, 23, 0}}) {
    Rtc r;
    r.out(0x0b, b | 0x80);
    for (const u8 index : {0, 2}) r.out(index, 0);
    r.out(4, hours);
    r.out(0x0b, b);
    r.clock.advance(3600 * kSecond);
    CAPTURE(int{b});
    CAPTURE(int{hours});
    CHECK(int{r.in(4)} == int{expected});
  }
}

TEST_CASE("RTC: SET freezes the date and a written one goes on from there") {
  Rtc r;
  r.out(0x0b, 0x82);
  r.clock.advance(10 * kSecond);
  CHECK(r.in(0) == 0x58);
  const u8 date[][2] = {{0, 0x59}, {2, 0x59}, {4, 0x23},    {7, 0x31},
                        {8, 0x12}, {9, 0x99}, {0x32, 0x19}, {6, 6}};
  for (const auto& [index, value] : date) r.out(index, value);
  r.out(0x0b, 0x02);
  r.clock.advance(kSecond);
  CHECK(r.date() == 0x20'00'01'01'07'00'00'00);
}

TEST_CASE("RTC: a held divider stops time; the first update comes half a second after its release") {
  Rtc r;
  r.out(0x0a, 0x70);
  r.clock.advance(10 * kSecond + 123'456'789);
  CHECK(r.in(0) == 0x58);
  r.out(0x0a, 0x26);
  r.clock.advance(kSecond / 2 - 1);
  CHECK(r.in(0) == 0x58);
  r.clock.advance(1);
  CHECK(r.in(0) == 0x59);
}

TEST_CASE("RTC: UIP announces an update 244 us ahead, not while SET") {
  Rtc r;
  CHECK(r.in(0x0a) == 0x26);
  r.clock.advance(kSecond - 244'000);
  CHECK(r.in(0x0a) == 0xa6);
  r.out(0x0b, 0x82);
  CHECK(r.in(0x0a) == 0x26);
  r.out(0x0b, 0x02);
  r.clock.advance(244'000);
  CHECK(r.in(0x0a) == 0x26);
}

TEST_CASE("RTC: update interrupt each second, register C reads once and lowers the line") {
  Rtc r;
  r.out(0x0b, 0x12);
  r.clock.advance(kSecond - 1);
  CHECK(!r.irq);
  r.clock.advance(1);
  CHECK(r.irq);
  r.clock.advance(5 * kSecond);
  CHECK(r.rises == 1);
  CHECK((r.in(0x0c) & 0x90) == 0x90);
  CHECK(!r.irq);
  CHECK(r.in(0x0c) == 0);
  r.clock.advance(kSecond);
  CHECK(r.rises == 2);
}

TEST_CASE("RTC: periodic interrupt at every rate") {
  for (u8 rate = 0; rate < 16; ++rate) {
    Rtc r;
    r.out(0x0a, 0x20 | rate);
    r.out(0x0b, 0x42);
    const int expected = rate == 0 ? 0 : rate < 3 ? 512 >> rate : 65'536 >> rate;
    u64 seen = 0;
    while (r.clock.now() < kSecond) {
      r.clock.advance(kSecond / 100'000);
      if (r.irq) seen += (r.in(0x0c) & 0xc0) == 0xc0;
    }
    CAPTURE(int{rate});
    CHECK(seen == static_cast<u64>(expected));
  }
}

TEST_CASE("RTC: alarm at its time, with don't-cares, and never at no time") {
  struct Case {
    u8 hours, minutes, seconds;
    u64 after;  // seconds; 0: not within a day
  };
  for (const auto& [hours, minutes, seconds, after] :
       {Case{0x23, 0x59, 0x59, 1}, Case{0xff, 0xff, 0xff, 1}, Case{0x00, 0x00, 0x00, 2},
        Case{0x23, 0x59, 0x58, 86'400}, Case{0xff, 0x30, 0x05, 1807}, Case{0xff, 0xff, 0x10, 12},
        Case{0x12, 0xc0, 0xff, 43'202}, Case{0x24, 0, 0, 0}, Case{0xff, 0xff, 0x75, 0}}) {
    Rtc r;
    r.out(1, seconds);
    r.out(3, minutes);
    r.out(5, hours);
    r.out(0x0b, 0x22);
    CAPTURE(int{hours});
    CAPTURE(int{minutes});
    CAPTURE(int{seconds});
    r.clock.advance((after == 0 ? 90'000 : after) * kSecond - 1);
    CHECK(!r.irq);
    r.clock.advance(1);
    CHECK(r.irq == (after != 0));
    if (after) CHECK((r.in(0x0c) & 0xa0) == 0xa0);
  }
}

TEST_CASE("RTC: flags are set without their enables; reset clears the enables and keeps date and CMOS") {
  Rtc r;
  r.out(0x40, 0x99);
  r.clock.advance(kSecond);
  CHECK(r.in(0x0c) == 0x50);
  r.out(0x0b, 0x72);
  r.clock.advance(kSecond);
  CHECK(r.irq);
  r.rtc.reset();
  CHECK(!r.irq);
  CHECK(r.in(0x0b) == 0x02);
  CHECK(r.in(0x40) == 0x99);
  CHECK(r.date() == 0x20'24'03'01'06'00'00'00);
}

TEST_CASE("RTC: SET clears UIE; C and D are read-only; the machine sets CMOS bytes but not the date") {
  Rtc r;
  r.out(0x0b, 0x92);
  CHECK(r.in(0x0b) == 0x82);
  r.out(0x0c, 0xff);
  r.out(0x0d, 0x00);
  CHECK(r.in(0x0c) == 0);
  CHECK(r.in(0x0d) == 0x80);
  r.rtc.set_cmos(0x34, 0x12);
  r.rtc.set_cmos(0x00, 0x12);
  CHECK(r.in(0x34) == 0x12);
  CHECK(r.in(0x00) == 0x58);
}

TEST_CASE("RTC: snapshot, hostile guest, hostile snapshots") {
  Rtc r;
  r.out(0x0b, 0x12);
  r.clock.advance(kSecond / 3);
  Rtc copy(0);
  copy.clock.advance(kSecond / 3);
  testing::copy_by_snapshot(r.rtc, copy.rtc);
  copy.clock.advance(kSecond * 2 / 3 - 1);
  CHECK(!copy.irq);
  copy.clock.advance(2);
  CHECK(copy.irq);

  testing::hostile_guest(r.rtc, 2, r.clock);
  testing::flipped_snapshots(copy.rtc, 2, copy.clock);
  testing::hostile_snapshots(copy.rtc, 2, copy.clock);
}
