#include "devices/local_apic.hpp"

#include <doctest.h>

#include <memory>
#include <vector>

#include "devices/io_apic.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

constexpr u64 kIdRegister = 0x20, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0, kDfr = 0xe0,
              kSvr = 0xf0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280, kIcr = 0x300,
              kIcrHigh = 0x310, kTimer = 0x320, kLint0 = 0x350, kLint1 = 0x360, kError = 0x370,
              kInitial = 0x380, kCurrent = 0x390, kDivide = 0x3e0;
constexpr u32 kBase = 0x1b, kDeadline = 0x6e0;

// Some APICs on one bus, their registers by number, and what they told their vCPUs.
struct Fixture {
  explicit Fixture(u32 count = 1, bool x2apic = true) {
    for (u32 id = 0; id < count; ++id) {
      told.push_back(0);
      apics.push_back(std::make_unique<LocalApic>(
          LocalApic::Config{.id = id,
                            .bootstrap = id == 0,
                            .x2apic = x2apic,
                            .timer_hz = 1'000'000'000,
                            .tsc_hz = 2'000'000'000},
          clock, counters, bus,
          LocalApic::Hooks{[this, id](Pending p) { told[id] |= p; }, [this]() -> u8 { return inta(); }}));
      set(kSvr, 0x1ff, id);
    }
  }

  u32 get(u64 reg, u32 id = 0) { return static_cast<u32>(apics[id]->read(reg, 4)); }
  void set(u64 reg, u32 value, u32 id = 0) { apics[id]->write(reg, 4, value); }
  u64 msr(u32 index, u32 id = 0) {
    u64 value = 0;
    CHECK(apics[id]->read_msr(index, value));
    return value;
  }
  bool wrmsr(u32 index, u64 value, u32 id = 0) { return apics[id]->write_msr(index, value); }
  bool rdmsr(u32 index, u32 id = 0) {
    u64 value;
    return apics[id]->read_msr(index, value);
  }
  void enter_x2apic(u32 id = 0) { CHECK(wrmsr(kBase, msr(kBase, id) | 0x400, id)); }
  // The vector the vCPU takes, or -1; empties the note that told it so.
  int take(u32 id = 0) {
    told[id] &= ~kPendingIntr;
    const bool ready = apics[id]->interrupt_ready();
    const auto vector = apics[id]->acknowledge();
    CHECK(ready == vector.has_value());
    return vector ? *vector : -1;
  }
  void send(u8 vector, bool level = false) { apics[0]->accept({.level = level, .vector = vector}); }
  // Vectors taken by each APIC.
  std::vector<int> taken() {
    std::vector<int> out;
    for (u32 id = 0; id < apics.size(); ++id) out.push_back(take(id));
    return out;
  }

  std::function<u8()> inta = [] { return u8{0x21}; };
  ManualClock clock;
  Counters counters;
  std::recursive_mutex lock;
  ApicBus bus{lock};
  std::vector<u32> told;
  std::vector<std::unique_ptr<LocalApic>> apics;
};

}  // namespace

TEST_CASE("registers after reset") {
  Fixture f;
  f.apics[0]->reset();
  for (const auto& [reg, value] : std::vector<std::pair<u64, u32>>{{kIdRegister, 0},
                                                                   {0x30, 0x5'0014},
                                                                   {kTpr, 0},
                                                                   {kPpr, 0},
                                                                   {kLdr, 0},
                                                                   {kDfr, ~0u},
                                                                   {kSvr, 0xff},
                                                                   {kEsr, 0},
                                                                   {kIcr, 0},
                                                                   {kTimer, 0x1'0000},
                                                                   {kLint0, 0x700},
                                                                   {kLint1, 0x400},
                                                                   {kError, 0x1'0000},
                                                                   {kInitial, 0},
                                                                   {kCurrent, 0},
                                                                   {kDivide, 0}})
    CHECK_MESSAGE(f.get(reg) == value, reg);
  CHECK(f.msr(kBase) == 0xfee0'0900);
  CHECK(Fixture(2).msr(kBase, 1) == 0xfee0'0800);
}

TEST_CASE("the highest vector is taken first, and its class masks lower ones until EOI") {
  Fixture f;
  f.send(0x31);
  CHECK(f.told[0] == kPendingIntr);
  f.send(0x52);
  CHECK(f.get(kIrr + 0x10) == 1u << 0x11);
  CHECK(f.take() == 0x52);
  CHECK(f.get(kIsr + 0x20) == 1u << 0x12);
  CHECK(f.get(kPpr) == 0x50);
  CHECK(f.told[0] == 0);
  CHECK(f.take() == -1);
  f.send(0x5f);  // same class: waits
  CHECK(f.take() == -1);
  f.send(0x60);  // higher class: nests
  CHECK(f.take() == 0x60);
  f.set(kEoi, 0);
  CHECK(f.get(kPpr) == 0x50);
  CHECK(f.take() == -1);
  f.set(kEoi, 0);
  CHECK(f.told[0] == kPendingIntr);
  CHECK(f.take() == 0x5f);
  f.set(kEoi, 0);
  CHECK(f.take() == 0x31);
  f.set(kEoi, 0);
  f.set(kEoi, 0);
  CHECK(f.take() == -1);
}

TEST_CASE("EOI is told to the I/O APICs for level-triggered vectors only") {
  Fixture f;
  std::vector<u8> told;
  f.bus.on_eoi([&](u8 vector) { told.push_back(vector); });
  for (const bool level : {false, true, false}) {
    f.send(0x61, level);
    CHECK(f.get(kTmr + 0x30) == (level ? 2 : 0));
    CHECK(f.take() == 0x61);
    f.set(kEoi, 0);
  }
  CHECK(told == std::vector<u8>{0x61});
}

TEST_CASE("the task priority holds back its class and below, by register and by CR8") {
  Fixture f;
  f.set(kTpr, 0x4f);
  CHECK(f.apics[0]->cr8() == 4);
  CHECK(f.get(kPpr) == 0x4f);
  f.send(0x4f);
  CHECK(f.told[0] == 0);
  CHECK_FALSE(f.apics[0]->interrupt_ready());
  f.apics[0]->set_cr8(3);
  CHECK(f.get(kTpr) == 0x30);
  CHECK(f.told[0] == kPendingIntr);
  CHECK(f.take() == 0x4f);
}

TEST_CASE("software disable refuses fixed interrupts and masks every LVT entry") {
  Fixture f;
  f.set(kTimer, 0x40);
  f.set(kSvr, 0xff);
  CHECK(f.get(kTimer) == 0x1'0040);
  f.set(kTimer, 0x40);
  CHECK(f.get(kTimer) == 0x1'0040);
  CHECK_FALSE(f.apics[0]->accept({.vector = 0x40}));
  CHECK(f.apics[0]->accept({.mode = DeliveryMode::kNmi}));
  CHECK(f.told[0] == kPendingNmi);
}

TEST_CASE("illegal vectors and registers are errors, latched by a write of ESR") {
  Fixture f;
  f.set(kError, 0xfe);
  f.set(kIcr, 0x4'000f);  // send to self, vector 15
  CHECK(f.get(kEsr) == 0);
  CHECK(f.take() == 0xfe);
  f.set(kEoi, 0);
  f.send(3);
  CHECK(f.take() == -1);  // not again before ESR is written
  f.set(kEsr, 0);
  CHECK(f.get(kEsr) == 0x60);
  (void)f.get(0x40);
  f.set(kEsr, 0);
  CHECK(f.get(kEsr) == 0x80);
  f.set(kEsr, 0);
  CHECK(f.get(kEsr) == 0);
  f.set(kError, 0x05);  // an illegal vector for the error itself
  f.send(3);
  f.set(kEsr, 0);
  CHECK(f.get(kEsr) == 0x40);
}

TEST_CASE("LINT0: ExtINT passes the 8259 through, also while the APIC is disabled") {
  Fixture f;
  auto& apic = *f.apics[0];
  apic.reset();
  const auto check_passes = [&](bool expected) {
    f.told[0] = 0;
    apic.set_lint0(true);
    CHECK((f.told[0] == kPendingIntr) == expected);
    CHECK(f.take() == (expected ? 0x21 : -1));
    apic.set_lint0(false);
    CHECK(f.take() == -1);
  };
  check_passes(true);  // virtual wire after reset
  f.set(kSvr, 0x1ff);
  f.set(kLint0, 0x1'0700);
  check_passes(false);
  f.set(kLint0, 0x700);
  check_passes(true);
  f.set(kTpr, 0xff);  // ExtINT has no priority
  check_passes(true);
  CHECK(f.wrmsr(kBase, 0xfee0'0100));
  check_passes(true);
  f.inta = [&] {
    apic.set_lint0(false);
    return u8{8};
  };
  apic.set_lint0(true);
  CHECK(f.take() == 8);
  CHECK_FALSE(apic.interrupt_ready());
}

TEST_CASE("LINT pins as fixed and NMI") {
  Fixture f;
  auto& apic = *f.apics[0];
  f.set(kLint0, 0x45);
  apic.set_lint0(true);
  CHECK(f.take() == 0x45);
  f.set(kEoi, 0);
  CHECK(f.take() == -1);
  apic.set_lint0(false);
  f.set(kLint0, 0x8045);  // level
  apic.set_lint0(true);
  CHECK(f.get(kLint0) == 0xc045);
  CHECK(f.take() == 0x45);
  f.set(kEoi, 0);
  CHECK(f.take() == 0x45);
  apic.set_lint0(false);
  f.set(kEoi, 0);
  CHECK(f.get(kLint0) == 0x8045);
  CHECK(f.take() == -1);

  f.set(kLint1, 0x400);
  f.told[0] = 0;
  apic.set_lint1(true);
  CHECK(f.told[0] == kPendingNmi);
  f.told[0] = 0;
  apic.set_lint1(true);
  CHECK(f.told[0] == 0);
}

TEST_CASE("timer: one-shot and periodic counts, divided") {
  struct {
    u32 divide, divisor;
  } const rows[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};
  for (const auto& [divide, divisor] : rows) {
    Fixture f;
    f.set(kDivide, divide);
    f.set(kTimer, 0x40);
    f.set(kInitial, 100'000);
    f.clock.advance(10 * divisor);
    CHECK(f.get(kCurrent) == 99'990);
    f.clock.advance(99'990 * divisor - 1);
    CHECK(f.take() == -1);
    f.clock.advance(1);
    CHECK(f.take() == 0x40);
    CHECK(f.get(kCurrent) == 0);
    f.set(kEoi, 0);
    f.clock.advance(1'000'000'000);
    CHECK(f.take() == -1);

    f.set(kTimer, 0x2'0041);
    CHECK(f.get(kCurrent) == 0);  // an expired counter does not start by itself
    f.set(kInitial, 100'000);
    for (int i = 0; i < 3; ++i) {
      f.clock.advance(100'000 * divisor);
      CHECK(f.take() == 0x41);
      CHECK(f.get(kCurrent) == 100'000);
      f.set(kEoi, 0);
    }
    f.set(kInitial, 0);
    f.clock.advance(1'000'000'000);
    CHECK(f.take() == -1);
  }
}

TEST_CASE("timer: a masked one counts, unmasking lets the next lap through; changing the divider goes on") {
  Fixture f;
  f.set(kDivide, 11);
  f.set(kTimer, 0x3'0041);
  f.set(kInitial, 1'000'000);
  f.clock.advance(1'500'000);
  CHECK(f.take() == -1);
  CHECK(f.get(kCurrent) == 500'000);
  f.set(kTimer, 0x2'0041);
  f.set(kDivide, 0);
  CHECK(f.get(kCurrent) == 500'000);
  f.clock.advance(999'999);
  CHECK(f.take() == -1);
  f.clock.advance(1);
  CHECK(f.take() == 0x41);
}

TEST_CASE("timer: periods of nanoseconds are merged") {
  Fixture f;
  f.set(kDivide, 11);
  f.set(kTimer, 0x2'0041);
  f.set(kInitial, 1);
  int count = 0;
  for (int i = 0; i < 1000; ++i) {
    f.clock.advance(1'000);
    if (f.take() == 0x41) ++count, f.set(kEoi, 0);
  }
  CHECK(count > 10);
  CHECK(count <= 21);
}

TEST_CASE("timer: TSC deadline") {
  Fixture f;
  CHECK(f.wrmsr(kDeadline, 1000));
  CHECK(f.msr(kDeadline) == 0);  // ignored in other modes
  f.set(kTimer, 0x4'0042);
  f.set(kInitial, 5);
  CHECK(f.get(kInitial) == 0);
  CHECK(f.wrmsr(kDeadline, 2'001));  // 2 GHz: due at 1000.5 ns
  CHECK(f.msr(kDeadline) == 2'001);
  f.clock.advance(1'000);
  CHECK(f.take() == -1);
  f.clock.advance(1);
  CHECK(f.take() == 0x42);
  CHECK(f.msr(kDeadline) == 0);
  f.set(kEoi, 0);
  CHECK(f.wrmsr(kDeadline, 1));  // past
  CHECK(f.take() == 0x42);
  f.set(kEoi, 0);
  f.apics[0]->set_tsc_offset(~u64{0} - 2'002 - 999);  // TSC is now -1000
  CHECK(f.wrmsr(kDeadline, ~u64{0} - 499));
  f.clock.advance(249);
  CHECK(f.take() == -1);
  f.clock.advance(1);
  CHECK(f.take() == 0x42);
  f.set(kEoi, 0);
  CHECK(f.wrmsr(kDeadline, ~u64{0}));
  f.set(kTimer, 0x42);  // leaving the mode disarms
  f.clock.advance(10'000);
  CHECK(f.take() == -1);
  CHECK(f.msr(kDeadline) == 0);
}

TEST_CASE("IPIs reach who they name") {
  struct {
    u32 high, low;
    std::vector<int> expected;
  } const rows[] = {
      {0x0200'0000, 0x40, {-1, -1, 0x40, -1}},         // physical
      {0x0900'0000, 0x40, {-1, -1, -1, -1}},           // nobody
      {0xff00'0000, 0x40, {0x40, 0x40, 0x40, 0x40}},   // physical broadcast
      {0, 0x4'0040, {0x40, -1, -1, -1}},               // self
      {0, 0x8'0040, {0x40, 0x40, 0x40, 0x40}},         // all
      {0, 0xc'0040, {-1, 0x40, 0x40, 0x40}},           // all others
      {0x0a00'0000, 0x840, {-1, 0x40, -1, 0x40}},      // logical flat
      {0xff00'0000, 0x840, {0x40, 0x40, 0x40, 0x40}},  // logical broadcast
      {0x0600'0000, 0x940, {-1, 0x40, -1, -1}},        // lowest priority of 1 and 2
      {0x0200'0000, 0x8040, {-1, -1, 0x40, -1}},       // trigger mode is ignored
  };
  for (const auto& row : rows) {
    Fixture f(4);
    for (u32 id = 0; id < 4; ++id) f.set(kLdr, 0x0100'0000u << id, id);
    f.set(kTpr, 0x20, 2);
    f.set(kIcrHigh, row.high);
    f.set(kIcr, row.low);
    CHECK_MESSAGE(f.taken() == row.expected, row.high, " ", row.low);
    CHECK(f.get(kIcr) == row.low);
    CHECK(f.get(kTmr + 0x20, 2) == 0);
  }
}

TEST_CASE("lowest priority takes turns among equals") {
  Fixture f(3);
  std::vector<int> count(3);
  for (int i = 0; i < 9; ++i) {
    CHECK(f.bus.send({.destination = kApicBroadcast, .mode = DeliveryMode::kLowestPriority, .vector = 0x40}));
    for (u32 id = 0; id < 3; ++id)
      if (f.take(id) == 0x40) ++count[id], f.set(kEoi, 0, id);
  }
  CHECK(count == std::vector<int>{3, 3, 3});
}

TEST_CASE("logical destinations in cluster mode") {
  Fixture f(4);
  const u32 ldr[] = {0x1100'0000, 0x1200'0000, 0x2100'0000, 0x2800'0000};
  for (u32 id = 0; id < 4; ++id) {
    f.set(kDfr, 0x0fff'ffff, id);
    f.set(kLdr, ldr[id], id);
  }
  f.set(kIcrHigh, 0x1300'0000);
  f.set(kIcr, 0x840);
  CHECK(f.taken() == std::vector<int>{0x40, 0x40, -1, -1});
  f.set(kIcrHigh, 0x2800'0000);
  f.set(kIcr, 0x841);
  CHECK(f.taken() == std::vector<int>{-1, -1, -1, 0x41});
}

TEST_CASE("INIT, SIPI, NMI and SMI go to the vCPU; INIT resets all but the base") {
  Fixture f(2);
  f.set(kTpr, 0x55, 1);
  f.set(kIcrHigh, 0x0100'0000);
  f.set(kIcr, 0x8500);  // INIT de-assert: nothing
  CHECK(f.told[1] == 0);
  CHECK(f.get(kTpr, 1) == 0x55);
  f.set(kIcr, 0xc500);
  CHECK(f.told[1] == kPendingInit);
  CHECK(f.get(kTpr, 1) == 0);
  CHECK(f.get(kLint0, 1) == 0x1'0000);
  CHECK(f.get(kSvr, 1) == 0xff);
  f.set(kIcr, 0x4699);
  CHECK(f.told[1] == (kPendingInit | kPendingSipi));
  CHECK(f.apics[1]->startup_vector() == 0x99);
  f.set(kIcr, 0x4400);
  f.set(kIcr, 0x4200);
  CHECK(f.told[1] == (kPendingInit | kPendingSipi | kPendingNmi | kPendingSmi));
  CHECK(f.told[0] == 0);
}

TEST_CASE("IA32_APIC_BASE allows only the transitions of the manual") {
  constexpr u64 kOff = 0xfee0'0100, kXapic = 0xfee0'0900, kX2apic = 0xfee0'0d00, kBad = 0xfee0'0500;
  struct {
    std::vector<u64> way;
    u64 to;
    bool allowed;
  } const rows[] = {
      {{}, kXapic, true},
      {{}, kOff, true},
      {{}, kX2apic, true},
      {{}, kBad, false},
      {{kOff}, kXapic, true},
      {{kOff}, kOff, true},
      {{kOff}, kX2apic, false},
      {{kOff}, kBad, false},
      {{kX2apic}, kXapic, false},
      {{kX2apic}, kOff, true},
      {{kX2apic}, kX2apic, true},
      {{kX2apic}, kBad, false},
      {{}, kXapic | 1, false},
      {{}, kXapic | 1 << 9, false},
      {{}, kXapic | u64{1} << 40, false},
      {{}, kXapic | u64{1} << 39, true},
  };
  for (const auto& row : rows) {
    Fixture f;
    for (const u64 value : row.way) CHECK(f.wrmsr(kBase, value));
    const u64 before = f.msr(kBase);
    CHECK_MESSAGE(f.wrmsr(kBase, row.to) == row.allowed, row.to);
    CHECK(f.msr(kBase) == (row.allowed ? row.to : before));
  }
  CHECK_FALSE(Fixture(1, false).wrmsr(kBase, kX2apic));
}

TEST_CASE("disabled: nothing arrives, the page is open bus, enabling again starts from reset") {
  Fixture f;
  f.set(kTpr, 0x30);
  CHECK(f.wrmsr(kBase, 0xfee0'0100));
  CHECK(f.get(kTpr) == ~0u);
  CHECK_FALSE(f.apics[0]->accept({.mode = DeliveryMode::kNmi}));
  CHECK_FALSE(f.bus.send({.destination = kApicBroadcast, .mode = DeliveryMode::kInit}));
  CHECK(f.wrmsr(kBase, 0xfee0'0900));
  CHECK(f.get(kTpr) == 0);
  CHECK(f.get(kSvr) == 0xff);
}

TEST_CASE("x2APIC registers raise #GP where the manual says so") {
  struct {
    u32 index;
    bool readable;
    u64 good, bad;  // equal: no write is good
  } const rows[] = {
      {0x802, true, 0, 0},
      {0x803, true, 0, 0},
      {0x808, true, 0xff, 0x100},
      {0x80a, true, 0, 0},
      {0x80b, false, 0, 1},
      {0x80d, true, 0, 0},
      {0x80e, false, 0, 0},
      {0x80f, true, 0x1ff, 0x400},
      {0x810, true, 0, 0},
      {0x827, true, 0, 0},
      {0x828, true, 0, 1},
      {0x82f, false, 0, 0},
      {0x830, true, u64{9} << 32 | 0x40, 0x2000},
      {0x831, false, 0, 0},
      {0x832, true, 0x7'00ff, 0x100},
      {0x833, true, 0x1'00ff, 0x2'0000},
      {0x835, true, 0x1'a7ff, 0x4000},
      {0x837, true, 0x1'00ff, 0x700},
      {0x838, true, 0xffff'ffff, u64{1} << 32},
      {0x839, true, 0, 0},
      {0x83e, true, 0xb, 4},
      {0x83f, false, 0x40, 0x140},
      {0x840, false, 0, 0},
      {0x800, false, 0, 0},
      {0x8ff, false, 0, 0},
  };
  for (const auto& row : rows) {
    Fixture f;
    CHECK_FALSE(f.rdmsr(row.index));
    CHECK_FALSE(f.wrmsr(row.index, 0));
    f.enter_x2apic();
    CHECK_MESSAGE(f.rdmsr(row.index) == row.readable, row.index);
    CHECK_MESSAGE(f.wrmsr(row.index, row.good) == (row.good != row.bad), row.index);
    CHECK_FALSE_MESSAGE(f.wrmsr(row.index, row.bad), row.index);
    CHECK(f.get(kIdRegister) == ~0u);
  }
}

TEST_CASE("x2APIC: 32-bit identities, derived logical IDs, self IPI, EOI by MSR") {
  Fixture f(20);
  for (u32 id = 0; id < 20; ++id) f.enter_x2apic(id);
  CHECK(f.msr(0x802, 18) == 18);
  CHECK(f.msr(0x80d, 18) == 0x1'0004);
  CHECK(f.wrmsr(0x830, u64{0x1'000c} << 32 | 0x840));  // cluster 1, members 2 and 3
  for (u32 id = 0; id < 20; ++id) CHECK(f.take(id) == (id == 18 || id == 19 ? 0x40 : -1));
  CHECK(f.wrmsr(0x830, u64{18} << 32 | 0x50));
  CHECK(f.take(18) == 0x50);
  CHECK(f.msr(0x830) == (u64{18} << 32 | 0x50));
  CHECK(f.wrmsr(0x83f, 0x41));
  CHECK(f.take(0) == 0x41);
  CHECK(f.wrmsr(0x80b, 0));
  CHECK(f.wrmsr(0x83f, 0x41));
  CHECK(f.take(0) == 0x41);
  CHECK(f.wrmsr(0x830, u64{0xffff'ffff} << 32 | 0x42));
  CHECK(f.take(7) == 0x42);
}

TEST_CASE("MSI") {
  Fixture f(2);
  CHECK(f.bus.send_msi(0xfee0'1000, 0x0041));
  CHECK(f.taken() == std::vector<int>{-1, 0x41});
  f.set(kLdr, 0x0100'0000);
  CHECK(f.bus.send_msi(0xfee0'100c, 0xc142));  // logical, lowest priority, level
  CHECK(f.taken() == std::vector<int>{0x42, -1});
  CHECK(f.get(kTmr + 0x20) == 4);
  CHECK_FALSE(f.bus.send_msi(0xfee0'9000, 0x0041));
}

TEST_CASE("a snapshot carries everything on, the running timer too") {
  Fixture f, g;
  f.set(kTpr, 0x20);
  f.send(0x31);
  f.send(0x62, true);
  CHECK(f.take() == 0x62);
  f.set(kDivide, 11);
  f.set(kTimer, 0x2'0071);
  f.set(kInitial, 1'000'000);
  f.clock.advance(300'000);
  g.clock.advance(300'000);
  devices::testing::copy_by_snapshot(*f.apics[0], *g.apics[0]);
  g.clock.advance(700'000);
  CHECK(g.take() == 0x71);
  g.set(kEoi, 0);
  g.set(kEoi, 0);
  CHECK(g.take() == 0x31);
}

TEST_CASE("random accesses neither crash nor hang") {
  Fixture f(2);
  IoApic io_apic(f.counters, f.bus);
  devices::testing::Hostile random(1);
  for (int i = 0; i < 100'000; ++i) {
    random.access(*f.apics[i & 1], 0x1000);
    const u32 index = random.below(4) ? 0x800 + random.below(0x40) : random.below(2) ? kBase : kDeadline;
    (void)f.wrmsr(index, random.value() & (random.below(2) ? 0xfee0'0fff : ~u64{0}), i & 1);
    (void)f.rdmsr(index, i & 1);
    io_apic.set_irq(static_cast<u8>(random.below(32)), random.below(2));
    f.apics[0]->set_lint0(random.below(2));
    f.apics[0]->set_lint1(random.below(2));
    f.apics[0]->set_cr8(static_cast<u8>(random.value()));
    if (random.below(50) == 0) (void)f.wrmsr(kBase, 0xfee0'0900), f.set(kSvr, 0x1ff);
    (void)f.take(i & 1);
    f.clock.advance(random.below(100'000));
  }
  CHECK(f.counters.values().size() < 20);
}

TEST_CASE("damaged local APIC snapshots are survived") {
  Fixture f;
  f.set(kDivide, 11);
  f.set(kTimer, 0x2'0071);
  f.set(kInitial, 1'000'000);
  devices::testing::hostile_snapshots(*f.apics[0], 0x400, f.clock);
  devices::testing::flipped_snapshots(*f.apics[0], 0x400, f.clock);
}
