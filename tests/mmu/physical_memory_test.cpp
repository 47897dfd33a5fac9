#include "mmu/physical_memory.hpp"

#include <atomic>
#include <thread>

#include "tests/mmu/fixture.hpp"

using namespace doppel;
using namespace doppel::mmu;
using namespace doppel::mmu::test;

using Events = std::vector<Recorder::Event>;

TEST_CASE("RAM reads back, across pages too") {
  Machine m;
  for (const u32 width : {1u, 2u, 4u, 8u}) {
    for (const u64 pa : {u64{0x1000}, u64{0x1001}, u64{0x1fff}, u64{0x1ffd}, u64{0x1ff9}}) {
      CAPTURE(width);
      CAPTURE(pa);
      const u64 value = 0x8877'6655'4433'2211 >> (64 - 8 * width);
      m.memory.write(pa - 1, 1, 0xaa);
      m.memory.write(pa + width, 1, 0xbb);
      m.memory.write(pa, width, value);
      CHECK(m.memory.read(pa, width) == value);
      CHECK(m.memory.read(pa - 1, 1) == 0xaa);
      CHECK(m.memory.read(pa + width, 1) == 0xbb);
    }
  }
}

TEST_CASE("MMIO is one access where a processor makes one") {
  Machine m;
  m.device.answer = 0x1122'3344'5566'7788;
  CHECK(m.memory.read(kMmio + 8, 8) == 0x1122'3344'5566'7788);
  m.memory.write(kMmio + 0x12, 2, 0xabcd);
  CHECK(m.device.events == Events{{false, 8, 8, 0}, {true, 0x12, 2, 0xabcd}});
  m.device.events.clear();
  m.memory.write(kMmio + 0xffd, 8, 0x8877'6655'4433'2211);  // three bytes on one page, five on the next
  CHECK(m.device.events == Events{{true, 0xffd, 2, 0x2211},
                                  {true, 0xfff, 1, 0x33},
                                  {true, 0x1000, 4, 0x7766'5544},
                                  {true, 0x1004, 1, 0x88}});
  CHECK(m.memory.read(0xd000'0000, 4) == 0xffff'ffff);
}

TEST_CASE("a ROM reads as its bytes and passes writes to the bus, which counts them") {
  Machine m;
  m.memory.write(0xf'0000, 4, 0x1111'1111);
  m.memory.add_rom(0xf'0000, std::vector<u8>(0x2000, 0x5a));
  m.memory.write(0xf'0000, 4, 0);
  m.memory.write(0xf'2000, 1, 0x77);
  CHECK(m.memory.read(0xf'0000, 4) == 0x5a5a'5a5a);
  CHECK(m.memory.read(0xf'1fff, 2) == 0x775a);
  CHECK_FALSE(m.memory.backing(0xf'1000).writable);
  CHECK(m.memory.backing(0xf'2000).writable);
  CHECK(m.memory.compare_exchange(0xf'0000, 8, 0, 1));
  CHECK(m.memory.read(0xf'0000, 4) == 0x5a5a'5a5a);
  CHECK(m.counters["mmio.unassigned.write 0xf0000"] == 1);
  CHECK(m.ram.host(0xf'0000)[0] == 0x11);
}

TEST_CASE("a hole shows the bus instead of RAM, and a later overlay wins") {
  Machine m;
  m.memory.add_hole(0xa'0000, 0x2'0000);
  CHECK(m.memory.read(0xa'0000, 2) == 0xffff);
  CHECK(m.memory.backing(0xb'f000).host == nullptr);
  CHECK(m.memory.backing(0x9'f000).host != nullptr);
  CHECK(m.memory.backing(0xc'0000).host != nullptr);
  m.memory.add_rom(0xa'1000, std::vector<u8>(0x1000, 7));
  CHECK(m.memory.read(0xa'1000, 1) == 7);
  CHECK(m.memory.read(0xa'2000, 1) == 0xff);
  m.memory.add_rom(0xffff'f000, std::vector<u8>(0x1000, 9));
  CHECK(m.memory.read(0xffff'fff0, 1) == 9);
}

TEST_CASE("the A20 gate folds odd megabytes onto even ones, by page") {
  Machine m;
  m.memory.write(0x10'0000, 1, 0x22);
  m.memory.write(0, 1, 0x11);
  m.memory.set_a20(false);
  CHECK(m.memory.a20(0x12'3456) == 0x2'3456);
  CHECK(m.memory.read(0x10'0000, 1) == 0x11);
  CHECK(m.memory.read(0xf'ffff, 2) == 0x1100);
  m.memory.set_a20(true);
  CHECK(m.memory.read(0x10'0000, 1) == 0x22);
}

TEST_CASE("compare and exchange, 4 and 8 bytes") {
  Machine m;
  m.memory.write(0x1000, 8, 0x1111'1111'2222'2222);
  CHECK_FALSE(m.memory.compare_exchange(0x1000, 4, 0x3333'3333, 5));
  CHECK(m.memory.compare_exchange(0x1000, 4, 0x2222'2222, 5));
  CHECK(m.memory.read(0x1000, 8) == 0x1111'1111'0000'0005);
  CHECK_FALSE(m.memory.compare_exchange(0x1000, 8, 5, 6));
  CHECK(m.memory.compare_exchange(0x1000, 8, 0x1111'1111'0000'0005, 6));
  CHECK(m.memory.read(0x1000, 8) == 6);
}

TEST_CASE("writes to code pages are reported after the bytes changed") {
  Machine m;
  std::vector<std::pair<u64, u64>> reports;
  m.ram.on_code_write([&](u64 pa, u64 size) {
    reports.emplace_back(pa, size);
    CHECK(*m.ram.host(pa) != 0);
  });
  m.ram.claim_code_page(0x2000);
  m.memory.write(0x1ffe, 4, 0xffff'ffff);
  CHECK(m.memory.compare_exchange(0x2008, 8, 0, 1));
  CHECK(reports == std::vector<std::pair<u64, u64>>{{0x2000, 2}, {0x2008, 8}});
}

TEST_CASE("shadowing: reads and writes of a range go to RAM or to what overlays it, each on its own") {
  struct Case {
    bool reads, writes;
    u8 seen, in_ram;  // after a write of 0x77 over RAM 0x11 under ROM 0x5a
  };
  for (const Case& c : {Case{false, false, 0x5a, 0x11}, Case{false, true, 0x5a, 0x77},
                        Case{true, false, 0x11, 0x11}, Case{true, true, 0x77, 0x77}}) {
    CAPTURE(c.reads);
    CAPTURE(c.writes);
    Machine m;
    m.memory.write(0xf'0000, 1, 0x11);
    m.memory.add_rom(0xf'0000, std::vector<u8>(0x2000, 0x5a));
    m.memory.route_ram(0xf'0000, 0x1000, !c.reads, !c.writes);
    m.memory.route_ram(0xf'0000, 0x1000, c.reads, c.writes);
    m.memory.write(0xf'0000, 1, 0x77);
    CHECK(m.memory.read(0xf'0000, 1) == c.seen);
    CHECK(m.ram.host(0xf'0000)[0] == c.in_ram);
    const PhysicalMemory::Backing page = m.memory.backing(0xf'0000);
    CHECK(page.writable == (c.reads && c.writes));
    CHECK(m.memory.read(0xf'1000, 1) == 0x5a);  // the next page is not part of it
  }
}

TEST_CASE("RAM that is routed away and overlaid by nothing is the bus") {
  Machine m;
  m.memory.write(0xc'0000, 4, 0x1234'5678);
  m.memory.route_ram(0xc'0000, 0x4000, false, true);
  CHECK(m.memory.read(0xc'0000, 4) == 0xffff'ffff);
  CHECK(m.memory.compare_exchange(0xc'0000, 4, 0xffff'ffff, 1));
  m.memory.route_ram(0xc'0000, 0x4000, true, true);
  CHECK(m.memory.read(0xc'0000, 4) == 0x1234'5678);
}

TEST_CASE("a device's memory comes and goes; RAM and overlays win over it, it wins over MMIO") {
  Machine m;
  std::vector<u8> pixels(0x3000, 0x11), rom(0x1000, 0x22);
  CHECK(m.memory.map_device(kMmio + 0x1000, pixels, true));
  CHECK_FALSE(m.memory.map_device(kMmio + 0x3000, rom, false));  // taken
  CHECK(m.memory.map_device(kMmio + 0x4000, rom, false));
  m.memory.write(kMmio + 0xffe, 4, 0xaabb'ccdd);  // half to the bus, half to the device's memory
  CHECK(m.device.events == Events{{true, 0xffe, 2, 0xccdd}});
  CHECK(pixels[0] == 0xbb);
  CHECK(pixels[1] == 0xaa);
  CHECK(m.memory.read(kMmio + 0x3ffe, 4) == 0x2222'1111);
  m.memory.write(kMmio + 0x4000, 1, 0x33);  // a ROM: on to the bus
  CHECK(rom[0] == 0x22);
  CHECK(m.memory.backing(kMmio + 0x1000).device);
  CHECK_FALSE(m.memory.backing(kMmio + 0x4000).writable);
  CHECK(m.memory.map_device(0x20'0000, pixels, true));
  CHECK(m.memory.backing(0x20'0000).host == m.ram.host(0x20'0000));
  m.memory.unmap_device(kMmio + 0x1000);
  m.memory.unmap_device(kMmio + 0x2000);  // nothing begins there
  CHECK(m.memory.backing(kMmio + 0x1000).host == nullptr);
  CHECK(m.memory.backing(kMmio + 0x4000).host != nullptr);
}

TEST_CASE("who looks while another processor changes the map sees the old one or the new one") {
  Machine m;
  constexpr u64 kBase = 0xe000'0000, kShadow = 0xc'0000, kRounds = 20'000;
  m.memory.add_rom(kShadow, std::vector<u8>(kPageSize, 0x5a));
  std::vector<u8> first(kPageSize), second(kPageSize);
  std::atomic<bool> done = false;
  std::atomic<u64> looked = 0;
  u64 wrong = 0;
  std::thread reader([&] {
    for (; !done; ++looked) {
      const u8* device = m.memory.backing(kBase).host;
      const u8* next = m.memory.backing(kBase + kPageSize).host;
      const u8* shadowed = m.memory.backing(kShadow).host;
      if (device && device != first.data()) ++wrong;
      if (next && next != second.data()) ++wrong;
      if (shadowed != m.ram.host(kShadow) && *shadowed != 0x5a) ++wrong;
    }
  });
  while (looked == 0) std::this_thread::yield();
  bool placed = true;
  for (u64 i = 0; i < kRounds; ++i) {
    placed = m.memory.map_device(kBase, first, true) && placed;
    placed = m.memory.map_device(kBase + kPageSize, second, true) && placed;
    m.memory.route_ram(kShadow, kPageSize, i % 2 == 0, false);
    m.memory.route_ram(kShadow + kPageSize, kPageSize, true, true);
    m.memory.unmap_device(kBase);
    m.memory.unmap_device(kBase + kPageSize);
  }
  done = true;
  reader.join();
  CHECK(placed);
  CHECK(wrong == 0);
  CHECK(looked > 1);
}
