#include <doctest.h>

#include <map>
#include <vector>

#include "core/bus.hpp"
#include "devices/host_bridge.hpp"
#include "devices/pci_bus.hpp"
#include "devices/piix3_isa.hpp"
#include "devices/reset_control.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

class Registers final : public Device {
 public:
  [[nodiscard]] std::string_view name() const override { return "registers"; }
  void reset() override {}
  u64 read(u64 offset, u32) override { return 0x50 + offset; }
  void write(u64, u32, u64) override {}
  void snapshot(SnapshotIo&) override {}
};

// A board: both bridges and two network cards in slots 2 and 3, with a port, a 32-bit and a 64-bit BAR each.
struct Fixture {
  Fixture() {
    pci.insert(0, 0, host_bridge);
    pci.insert(1, 0, isa_bridge);
    u32 slot = 2;
    for (PciFunction* card : {&card2, &card3}) {
      card->add_bar(0, BarKind::kPort, 0x20, PciFunction::attach_to(ports, registers, 0x20));
      card->add_bar(1, BarKind::kMemory32, 0x1000, PciFunction::attach_to(mmio, registers, 0x1000));
      card->add_bar(2, BarKind::kMemory64, u64{1} << 33,
                    PciFunction::attach_to(mmio, registers, u64{1} << 33));
      pci.insert(slot++, 0, *card);
    }
    pci.reset();
    ports.attach(0xcf8, 8, pci);
  }

  static u32 address(u32 slot, u32 offset) { return 0x8000'0000 | slot << 11 | (offset & 0xfc); }
  u32 get(u32 slot, u32 offset, u32 width = 4) {
    ports.write(0xcf8, 4, address(slot, offset));
    return static_cast<u32>(ports.read(0xcfc + (offset & 3), width));
  }
  void set(u32 slot, u32 offset, u32 value, u32 width = 4) {
    ports.write(0xcf8, 4, address(slot, offset));
    ports.write(0xcfc + (offset & 3), width, value);
  }

  Counters counters;
  std::recursive_mutex lock;
  Bus ports{"port", counters, lock}, mmio{"mmio", counters, lock};
  Registers registers;
  std::vector<bool> resets;
  ResetControl reset_control{counters, [this](bool hard) { resets.push_back(hard); }};
  std::map<u8, bool> wires, irqs;
  HostBridge host_bridge{[](u64, u64, bool, bool) {}};
  IsaBridge isa_bridge{[this](u8 irq, bool level) { irqs[irq] = level; }};
  PciFunction card2{{.vendor = 0x1af4,
                     .device = 0x1000,
                     .class_code = 0x02'0000,
                     .subsystem_vendor = 0x1af4,
                     .subsystem = 1,
                     .interrupt_pin = 1}};
  PciFunction card3{{.vendor = 0x1af4, .device = 0x1000, .class_code = 0x02'0000, .interrupt_pin = 4}};
  PciBus pci{counters, reset_control, [this](u8 wire, bool level) {
               wires[wire] = level;
               isa_bridge.set_wire(wire, level);
             }};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "configuration mechanism 1 is found and finds the functions") {
  ports.write(0xcfb, 1, 0x01);  // Linux's probe
  ports.write(0xcf8, 4, 0x8000'0000);
  CHECK(ports.read(0xcf8, 4) == 0x8000'0000);
  ports.write(0xcf8, 4, 0xffff'ffff);
  CHECK(ports.read(0xcf8, 4) == 0x80ff'fffc);
  struct {
    u32 slot, offset, width, value;
  } const rows[] = {
      {0, 0, 4, 0x1237'8086}, {0, 8, 4, 0x0600'0002}, {0, 0x0a, 2, 0x0600},   {1, 0, 2, 0x8086},
      {1, 2, 2, 0x7000},      {1, 8, 4, 0x0601'0000}, {1, 0x0e, 1, 0x80},     {1, 0x60, 4, 0x8080'8080},
      {2, 0, 4, 0x1000'1af4}, {2, 0x0b, 1, 0x02},     {2, 0x2c, 4, 0x1'1af4}, {2, 0x3c, 4, 0x100},
      {4, 0, 4, ~0u},         {31, 0, 2, 0xffff},
  };
  for (const auto& row : rows) CHECK_MESSAGE(get(row.slot, row.offset, row.width) == row.value, row.offset);
  ports.write(0xcf8, 4, 0x8000'0100);  // function 1
  CHECK(ports.read(0xcfc, 4) == 0xffff'ffff);
  ports.write(0xcf8, 4, 0x8001'0000);  // bus 1
  CHECK(ports.read(0xcfc, 4) == 0xffff'ffff);
  ports.write(0xcf8, 4, 0);  // not enabled
  CHECK(ports.read(0xcfc, 4) == 0xffff'ffff);
}

TEST_CASE_FIXTURE(Fixture, "read-only bits stay") {
  set(2, 0, 0);
  set(2, 8, 0);
  CHECK(get(2, 0) == 0x1000'1af4);
  set(2, 4, 0xffff'ffff);
  CHECK(get(2, 4) == 0x0000'0407);
  set(2, 0x3c, 0xffff);
  CHECK(get(2, 0x3c) == 0x1ff);
  set(0, 0x58, 0xffff'ffff);
  CHECK(get(0, 0x58) == 0x3333'3000);
}

TEST_CASE_FIXTURE(Fixture, "a byte at 0xcf9 is the reset control register, a dword at 0xcf8 is not") {
  ports.write(0xcf8, 4, 0x8000'0600);
  CHECK(resets.empty());
  ports.write(0xcf9, 1, 6);
  CHECK(resets == std::vector<bool>{true});
  CHECK(ports.read(0xcf9, 1) == 6);
}

TEST_CASE_FIXTURE(Fixture, "BARs tell their size") {
  const u32 expected[] = {0xffff'ffe1, 0xffff'f000, 0x0000'0004, 0xffff'fffe, 0, 0};
  for (u32 i = 0; i < 6; ++i) {
    set(2, 0x10 + i * 4, 0xffff'ffff);
    CHECK(get(2, 0x10 + i * 4) == expected[i]);
  }
}

TEST_CASE_FIXTURE(Fixture, "BARs are where the guest puts them, while decoding is on") {
  set(2, 0x10, 0xc000);
  set(2, 0x14, 0xe000'0000);
  set(2, 0x1c, 0x8);
  CHECK_FALSE(ports.attached(0xc000));
  set(2, 4, 1);
  CHECK(ports.read(0xc005, 1) == 0x55);
  CHECK_FALSE(mmio.attached(0xe000'0000));
  set(2, 4, 3);
  CHECK(mmio.read(0xe000'0008, 4) == 0x58);
  CHECK(mmio.attached(0x8'0000'0000));
  CHECK(mmio.attached(0x9'ffff'ffff));
  set(2, 0x11, 0xd0, 1);
  CHECK_FALSE(ports.attached(0xc000));
  CHECK(ports.attached(0xd01f));
  set(2, 0x10, 0xffff'ffff);  // sizing with decoding on
  set(2, 0x1c, 0xffff'ffff);
  set(2, 0x10, 0xd000);
  set(2, 0x1c, 0x8);
  CHECK(ports.attached(0xd000));
  CHECK(mmio.attached(0x8'0000'0000));
  set(2, 4, 0);
  CHECK_FALSE(ports.attached(0xd000));
  CHECK_FALSE(mmio.attached(0xe000'0000));
  CHECK_FALSE(mmio.attached(0x8'0000'0000));
}

TEST_CASE_FIXTURE(Fixture, "two BARs at one place: the second appears when the first goes") {
  for (u32 slot = 2; slot < 4; ++slot) {
    set(slot, 0x10, 0xc000);
    set(slot, 4, 1);
  }
  set(3, 4, 0);
  CHECK(ports.attached(0xc000));  // still the first one
  set(3, 4, 1);
  set(2, 0x10, 0xcfe0);
  CHECK(ports.attached(0xc000));
  CHECK(ports.attached(0xcfe0));
  set(2, 0x10, 0x0cf0);  // over the configuration ports: nothing there changes
  CHECK(get(2, 0) == 0x1000'1af4);
  set(2, 4, 0);
  pci.reset();
  CHECK_FALSE(ports.attached(0xc000));
}

TEST_CASE_FIXTURE(Fixture, "INTx: the wire of its slot and pin, the disable bit, the status bit") {
  card2.set_intx(true);
  CHECK(wires[2]);
  CHECK((get(2, 6, 2) & 8) != 0);
  set(2, 4, 0x400, 2);
  CHECK_FALSE(wires[2]);
  CHECK((get(2, 6, 2) & 8) != 0);
  set(2, 4, 0, 2);
  CHECK(wires[2]);
  card3.set_intx(true);
  CHECK(wires[6]);
  card2.set_intx(false);
  CHECK_FALSE(wires[2]);
  CHECK((get(2, 6, 2) & 8) == 0);
  pci.reset();
  CHECK_FALSE(wires[6]);
}

TEST_CASE_FIXTURE(Fixture, "the ISA bridge routes PIRQs; lines that share an IRQ are ORed") {
  card2.set_intx(true);  // slot 2 INTA: PIRQB; slot 3 INTD: PIRQB
  CHECK(irqs.empty());
  set(1, 0x61, 0x0a, 1);
  CHECK(irqs == std::map<u8, bool>{{10, true}});
  card3.set_intx(true);
  card2.set_intx(false);
  CHECK(irqs[10]);
  set(1, 0x61, 0x0b, 1);
  CHECK(irqs == std::map<u8, bool>{{10, false}, {11, true}});
  card3.set_intx(false);
  CHECK_FALSE(irqs[11]);
  card3.set_intx(true);
  set(1, 0x61, 0x00, 1);  // IRQ 0 cannot be chosen
  CHECK(irqs == std::map<u8, bool>{{10, false}, {11, false}});
}

TEST_CASE("a PCI snapshot puts BARs and lines back") {
  Fixture f, g;
  f.set(2, 0x10, 0xc000);
  f.set(2, 4, 1);
  f.set(1, 0x61, 0x0a, 1);
  f.card2.set_intx(true);
  g.set(2, 0x10, 0xd000);
  g.set(2, 4, 1);
  devices::testing::copy_by_snapshot(f.pci, g.pci);
  CHECK(g.ports.attached(0xc000));
  CHECK_FALSE(g.ports.attached(0xd000));
  CHECK(g.wires[2]);
  CHECK(g.irqs[10]);
}

TEST_CASE_FIXTURE(Fixture, "random accesses to PCI neither crash nor hang") {
  devices::testing::Hostile random(6);
  for (int i = 0; i < 100'000; ++i) {
    random.access(pci, 8);
    set(static_cast<u32>(random.below(5)), static_cast<u32>(random.below(256)) & ~3u,
        static_cast<u32>(random.value()), 1u << random.below(3));
    (random.below(2) ? card2 : card3).set_intx(random.below(2));
    (void)ports.read(random.below(0x1'0000), 1u << random.below(3));
    (void)mmio.read(random.value(), 1u << random.below(4));
  }
  CHECK(counters.values().size() < 1100);
}

TEST_CASE_FIXTURE(Fixture, "damaged PCI snapshots are survived") {
  ManualClock clock;
  set(2, 0x10, 0xc000);
  set(2, 4, 1);
  devices::testing::hostile_snapshots(pci, 8, clock);
  devices::testing::flipped_snapshots(pci, 8, clock);
}
