#include "devices/pic_8259.hpp"

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

constexpr u64 kMaster = 0;
constexpr u64 kSlave = 2;
constexpr u64 kElcr = 4;

struct Pair {
  core::Counters counters;
  bool intr = false;
  int edges = 0;
  Pic8259Pair pic{core::IrqLine([this](bool level) {
                    intr = level;
                    edges += level;
                  }),
                  counters};

  // As Linux and BIOSes do: vectors 0x20 and 0x28, everything unmasked.
  explicit Pair(u8 icw4 = 0x01) {
    init(kMaster, 0x20, 0x04, icw4);
    init(kSlave, 0x28, 0x02, icw4);
  }
  void init(u64 chip, u8 base, u8 icw3, u8 icw4) {
    for (const auto& [offset, value] : {std::pair<u64, u8>{chip, 0x11},
                                        {chip + 1, base},
                                        {chip + 1, icw3},
                                        {chip + 1, icw4},
                                        {chip + 1, 0x00}})
      pic.write(offset, 1, value);
  }
  void out(u64 offset, u8 value) { pic.write(offset, 1, value); }
  u64 in(u64 offset) { return pic.read(offset, 1); }
  void edge(u8 line) {
    pic.set_irq(line, false);
    pic.set_irq(line, true);
  }
  u64 isr(u64 chip) {
    out(chip, 0x0b);
    return in(chip);
  }
  u64 irr(u64 chip) {
    out(chip, 0x0a);
    return in(chip);
  }
};

constexpr u8 kEoi = 0x20;

}  // namespace

TEST_CASE("8259: after reset nothing interrupts; the IMR reads back; bad offsets are counted") {
  Pair p;
  p.pic.reset();
  p.edge(1);
  CHECK(!p.intr);
  CHECK(p.in(1) == 0xff);
  p.out(1, 0x5a);
  CHECK(p.in(1) == 0x5a);
  CHECK(p.in(9) == 0xff);
  CHECK(p.counters["pic_8259.unknown.read"] == 1);
}

TEST_CASE("8259: every line arrives as its vector, on the right chip") {
  for (u8 line = 0; line < 16; ++line) {
    if (line == 2) continue;
    Pair p;
    p.edge(line);
    CAPTURE(line);
    CHECK(p.intr);
    CHECK(p.pic.acknowledge() == 0x20 + line);
    CHECK(!p.intr);
    CHECK(p.isr(kMaster) == (line < 8 ? 1 << line : 4));
    CHECK(p.isr(kSlave) == (line < 8 ? 0 : 1 << (line - 8)));
  }
}

TEST_CASE("8259: fully nested priority: lower waits for EOI, higher preempts") {
  Pair p;
  p.edge(4);
  CHECK(p.pic.acknowledge() == 0x24);
  p.edge(6);
  CHECK(!p.intr);
  p.edge(1);
  CHECK(p.pic.acknowledge() == 0x21);
  p.out(kMaster, kEoi);  // ends 1, the higher
  CHECK(p.isr(kMaster) == 0x10);
  CHECK(!p.intr);
  p.out(kMaster, kEoi);
  CHECK(p.pic.acknowledge() == 0x26);
  p.out(kMaster, 0x60 | 6);  // specific
  CHECK(p.isr(kMaster) == 0);
}

TEST_CASE("8259: the mask holds a request back without losing it") {
  Pair p;
  p.out(1, 0x02);
  p.edge(1);
  CHECK(!p.intr);
  CHECK(p.irr(kMaster) == 0x02);
  p.out(1, 0);
  CHECK(p.pic.acknowledge() == 0x21);
}

TEST_CASE("8259: an edge line interrupts once per edge, a level line while it is high") {
  Pair p;
  p.out(kElcr, 0xff);
  p.out(kElcr + 1, 0xff);
  CHECK(p.in(kElcr) == 0xf8);
  CHECK(p.in(kElcr + 1) == 0xde);
  p.out(kElcr, 0x20);

  p.edge(4);
  CHECK(p.pic.acknowledge() == 0x24);
  p.out(kMaster, kEoi);
  CHECK(!p.intr);

  p.pic.set_irq(5, true);
  CHECK(p.pic.acknowledge() == 0x25);
  CHECK(!p.intr);
  p.out(kMaster, kEoi);
  CHECK(p.intr);
  p.pic.set_irq(5, false);
  CHECK(!p.intr);
}

TEST_CASE("8259: spurious IRQ 7 and 15 set no ISR bit on their chip") {
  Pair p;
  p.out(kElcr, 0x20);
  p.pic.set_irq(5, true);
  p.pic.set_irq(5, false);
  CHECK(p.pic.acknowledge() == 0x27);
  CHECK(p.isr(kMaster) == 0);

  p.edge(12);
  p.out(kSlave + 1, 0xff);  // masked at the slave between request and acknowledge
  CHECK(p.pic.acknowledge() == 0x2f);
  CHECK(p.isr(kSlave) == 0);
  CHECK(p.isr(kMaster) == 0x04);  // the master does not know
}

TEST_CASE("8259: two slave requests, one after the other, both arrive") {
  for (const u8 icw4 : {u8{0x01}, u8{0x03}}) {  // with EOI; with auto-EOI
    Pair p(icw4);
    p.edge(12);
    p.edge(8);
    CHECK(p.pic.acknowledge() == 0x28);
    p.out(kSlave, kEoi);
    p.out(kMaster, kEoi);
    CHECK(p.intr);
    CHECK(p.pic.acknowledge() == 0x2c);
  }
}

TEST_CASE("8259: special fully nested lets the slave preempt itself; otherwise it waits") {
  for (const bool nested : {false, true}) {
    Pair p(nested ? 0x11 : 0x01);
    p.edge(12);
    CHECK(p.pic.acknowledge() == 0x2c);
    p.edge(8);
    CHECK(p.intr == nested);
  }
}

TEST_CASE("8259: auto-EOI leaves nothing in service; with rotation the served line becomes the lowest") {
  Pair p(0x03);
  p.edge(0);
  p.edge(1);
  CHECK(p.pic.acknowledge() == 0x20);
  CHECK(p.isr(kMaster) == 0);
  CHECK(p.pic.acknowledge() == 0x21);

  p.out(kMaster, 0x80);
  p.edge(3);
  CHECK(p.pic.acknowledge() == 0x23);
  p.edge(3);
  p.edge(4);
  CHECK(p.pic.acknowledge() == 0x24);
  p.out(kMaster, 0x00);  // rotation off
  CHECK(p.pic.acknowledge() == 0x23);
}

TEST_CASE("8259: rotating EOIs and set priority move the lowest line") {
  struct Case {
    u8 ocw2;
    u8 first;  // which of lines 1, 4, 6 comes first afterwards
  };
  for (const auto& [ocw2, first] : {Case{0xa0, 6}, Case{0xe0 | 4, 6}, Case{0xc0 | 0, 1}, Case{0xc0 | 3, 4},
                                    Case{0xc0 | 5, 6}, Case{0xc0 | 7, 1}}) {
    Pair p;
    p.edge(4);
    CHECK(p.pic.acknowledge() == 0x24);
    p.out(kMaster, ocw2);
    p.out(kMaster, 0x60 | 4);  // for those that set priority only
    for (const u8 line : {u8{1}, u8{4}, u8{6}}) p.edge(line);
    CAPTURE(ocw2);
    CHECK(p.pic.acknowledge() == 0x20 + first);
  }
}

TEST_CASE("8259: special mask mode lets lower lines through a masked one in service") {
  Pair p;
  p.edge(3);
  CHECK(p.pic.acknowledge() == 0x23);
  p.edge(5);
  p.out(1, 0x08);
  CHECK(!p.intr);
  p.out(kMaster, 0x68);
  CHECK(p.pic.acknowledge() == 0x25);
  p.out(kMaster, kEoi);  // non-specific: 5, since 3 is masked
  CHECK(p.isr(kMaster) == 0x08);
  p.out(kMaster, kEoi);
  CHECK(p.isr(kMaster) == 0x08);
  p.out(kMaster, 0x48);
  p.edge(6);
  CHECK(!p.intr);
}

TEST_CASE("8259: a poll acknowledges through a read") {
  Pair p;
  p.out(kMaster, 0x0c);
  CHECK(p.in(kMaster) == 0x07);
  p.edge(3);
  p.out(kMaster, 0x0c);
  CHECK(p.in(kMaster) == 0x83);
  CHECK(!p.intr);
  CHECK(p.isr(kMaster) == 0x08);
}

TEST_CASE("8259: ICW1 forgets edges, masks and service; without ICW4 auto-EOI is off") {
  Pair p(0x03);
  p.edge(3);
  p.out(1, 0xff);
  p.out(kMaster, 0x12);  // single, no ICW4
  CHECK(!p.intr);
  CHECK(p.irr(kMaster) == 0);
  p.out(1, 0x40);
  p.out(1, 0x01);  // OCW1 already
  CHECK(p.in(1) == 0x01);
  p.edge(5);
  CHECK(p.pic.acknowledge() == 0x45);
  CHECK(p.isr(kMaster) == 0x20);
}

TEST_CASE("8259: INTR falls at every acknowledge, so an edge-triggered listener hears the next one") {
  Pair p(0x03);
  p.edge(3);
  p.edge(4);
  CHECK(p.edges == 1);
  CHECK(p.pic.acknowledge() == 0x23);
  CHECK(p.edges == 2);
}

TEST_CASE("8259: snapshot, hostile guest, hostile snapshots") {
  Pair p;
  p.edge(9);
  p.edge(3);
  CHECK(p.pic.acknowledge() == 0x29);
  Pair q;
  testing::copy_by_snapshot(p.pic, q.pic);
  q.out(kSlave, kEoi);
  q.out(kMaster, kEoi);
  CHECK(q.intr);
  CHECK(q.pic.acknowledge() == 0x23);

  core::ManualClock clock;
  testing::hostile_guest(p.pic, 6, clock, [&](u32 random) {
    p.pic.set_irq(random & 31, random & 32);
    if (random & 64) (void)p.pic.acknowledge();
  });
  testing::flipped_snapshots(p.pic, 6, clock);
  testing::hostile_snapshots(p.pic, 6, clock);
}
