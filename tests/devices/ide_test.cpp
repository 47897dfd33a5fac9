#include <doctest.h>

#include <memory>
#include <string>

#include "core/bus.hpp"
#include "devices/ide/ata_disk.hpp"
#include "devices/ide/atapi_cdrom.hpp"
#include "devices/ide/piix3_ide.hpp"
#include "tests/devices/guest_mischief.hpp"
#include "tests/devices/memory_disk.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using devices::testing::MemoryDisk;

namespace {

constexpr u64 kRam = u64{4} << 20, kDiskSize = u64{4} << 20, kDiscSize = u64{1} << 20;
constexpr u64 kTable = 0x1000, kBuffer = 0x1'0000;
constexpr u8 kBsy = 0x80, kDrdy = 0x40, kDrq = 0x08, kErr = 0x01;

// A disk as master and a CD-ROM drive as slave of the first channel, driven through the ports.
struct Ide {
  Ide() {
    function.channel(0).connect(0, std::make_unique<AtaDisk>(disk, "DP00001"));
    function.channel(0).connect(1, std::make_unique<AtapiCdrom>(disc, "DP00002"));
    ports.attach(0x1f0, 8, function.channel(0));
    ports.attach(0x3f6, 1, function.channel(0), IdeChannel::kControlBlock);
    ports.attach(0xc000, 16, function);
    function.reset();
    function.config_write(4, 2, 7);  // bus master
  }

  void out(u16 port, u64 value, u32 width = 1) { ports.write(port, width, value); }
  u64 in(u16 port, u32 width = 1) { return ports.read(port, width); }
  u8 status() { return static_cast<u8>(in(0x3f6)); }
  bool take_irq() {
    const bool was = irq;
    (void)in(0x1f7);
    CHECK_FALSE(irq);
    return was;
  }

  void address28(u32 sector, u8 count, u8 drive = 0) {
    out(0x1f6, 0xe0 | drive << 4 | (sector >> 24 & 15));
    out(0x1f2, count);
    for (u16 i = 0; i < 3; ++i) out(static_cast<u16>(0x1f3 + i), sector >> i * 8 & 0xff);
  }
  void address48(u64 sector, u16 count) {
    out(0x1f6, 0xe0);
    out(0x1f2, count >> 8);
    out(0x1f2, count & 0xff);
    for (u16 i = 0; i < 3; ++i) {
      out(static_cast<u16>(0x1f3 + i), sector >> (i + 3) * 8 & 0xff);
      out(static_cast<u16>(0x1f3 + i), sector >> i * 8 & 0xff);
    }
  }
  std::string read_words(std::size_t bytes) {
    std::string data;
    for (std::size_t i = 0; i < bytes; i += 2) {
      const u64 word = in(0x1f0, 2);
      data += static_cast<char>(word);
      data += static_cast<char>(word >> 8);
    }
    return data;
  }
  // Bytes of the disk image as text, for comparisons.
  static std::string slice(const MemoryDisk& image, u64 offset, u64 size) {
    return {reinterpret_cast<const char*>(image.bytes.data()) + offset, size};
  }

  void prd(u32 index, u32 address, u16 count, bool last) {
    const std::array<u32, 2> words = {address, u32{count} | (last ? 1u << 31 : 0)};
    CHECK(ram.write(kTable + index * 8, {reinterpret_cast<const u8*>(words.data()), 8}));
  }
  void start_master(bool to_memory) {
    out(0xc004, kTable, 4);
    out(0xc002, 6);
    out(0xc000, to_memory ? 9 : 1);
  }

  void packet(std::array<u8, 12> bytes, bool dma = false, u16 limit = 0xfffe) {
    out(0x1f6, 0xb0);
    out(0x1f1, dma);
    out(0x1f4, limit & 0xff);
    out(0x1f5, limit >> 8);
    out(0x1f7, 0xa0);
    CHECK(status() == (kDrdy | 0x10 | kDrq));
    CHECK(in(0x1f2) == 1);
    for (u32 i = 0; i < 12; i += 2) out(0x1f0, bytes[i] | bytes[i + 1] << 8, 2);
    disc.work();
  }
  // All data of a packet command by program; the sizes of its pieces go to `pieces`.
  std::string packet_data(std::vector<u32>* pieces = nullptr) {
    std::string data;
    while (status() & kDrq) {
      CHECK(take_irq());
      CHECK(in(0x1f2) == 2);
      const u32 size = static_cast<u32>(in(0x1f4) | in(0x1f5) << 8);
      if (pieces) pieces->push_back(size);
      std::string part = read_words(size);
      part.resize(size);
      data += part;
      disc.work();
    }
    CHECK(in(0x1f2) == 3);
    return data;
  }
  std::array<u8, 3> sense() {
    packet({0x03, 0, 0, 0, 18});
    const std::string data = packet_data();
    return {static_cast<u8>(data[2]), static_cast<u8>(data[12]), static_cast<u8>(data[13])};
  }

  Counters counters;
  std::recursive_mutex lock;
  Bus ports{"port", counters, lock};
  GuestRam ram{kRam};
  MemoryDisk disk{kDiskSize}, disc{kDiscSize, true};
  bool irq = false;
  Piix3Ide function{IrqLine([this](bool level) { irq = level; }), IrqLine(), ram, ports, counters};
};

}  // namespace

TEST_CASE_FIXTURE(Ide, "signatures tell a disk from a packet device and from nothing") {
  struct {
    u8 drive;
    u64 count, low, mid, high;
  } const rows[] = {{0xa0, 1, 1, 0, 0}, {0xb0, 1, 1, 0x14, 0xeb}};
  for (const auto& row : rows) {
    out(0x1f6, row.drive);
    CHECK(in(0x1f2) == row.count);
    CHECK(in(0x1f3) == row.low);
    CHECK(in(0x1f4) == row.mid);
    CHECK(in(0x1f5) == row.high);
  }
  CHECK(function.channel(1).read(7, 1) == 0);
  out(0x1f2, 0x55);
  out(0x3f6, 4);
  CHECK(status() == kBsy);
  out(0x3f6, 0);
  CHECK(in(0x1f2) == 1);
  CHECK(in(0x1f7) == (kDrdy | 0x10));
}

TEST_CASE_FIXTURE(Ide, "IDENTIFY DEVICE") {
  out(0x1f6, 0xa0);
  out(0x1f7, 0xec);
  CHECK(irq);
  CHECK(status() == (kDrdy | 0x10 | kDrq));
  const std::string data = read_words(512);
  const auto word = [&](u32 n) {
    return static_cast<u8>(data[n * 2]) | static_cast<u8>(data[n * 2 + 1]) << 8;
  };
  CHECK(data.substr(54, 16) == "ODPPLEH RADDSI K");  // two characters to a word, swapped
  CHECK(word(60) == kDiskSize / 512);
  CHECK(word(100) == kDiskSize / 512);
  CHECK((word(83) & 0x0400) != 0);
  CHECK((word(49) & 0x0300) == 0x0300);
  CHECK(status() == (kDrdy | 0x10));
  out(0x1f6, 0xb0);
  out(0x1f7, 0xec);  // a packet device refuses and shows its signature
  CHECK((status() & kErr) != 0);
  CHECK(in(0x1f4) == 0x14);
}

TEST_CASE_FIXTURE(Ide, "PIO reads: one interrupt for each block of sectors") {
  struct {
    u8 command;
    bool wide;
    u32 sector, count, block;
  } const rows[] = {
      {0x20, false, 5, 3, 1}, {0x24, true, 8000, 2, 1}, {0xc4, false, 1, 9, 4}, {0x29, true, 7, 256, 4}};
  out(0x1f6, 0xa0);
  out(0x1f2, 4);
  out(0x1f7, 0xc6);  // SET MULTIPLE
  CHECK(take_irq());
  for (const auto& row : rows) {
    CAPTURE(row.command);
    row.wide ? address48(row.sector, static_cast<u16>(row.count))
             : address28(row.sector, static_cast<u8>(row.count));
    out(0x1f7, row.command);
    CHECK(status() == kBsy);
    CHECK_FALSE(irq);
    disk.work();
    for (u32 done = 0; done < row.count; done += row.block) {
      const u32 size = std::min(row.block, row.count - done) * 512;
      CHECK(take_irq());
      CHECK((status() & kDrq) != 0);
      CHECK(read_words(size) == slice(disk, (row.sector + done) * u64{512}, size));
      disk.work();
    }
    CHECK(status() == (kDrdy | 0x10));
    CHECK_FALSE(irq);
  }
}

TEST_CASE_FIXTURE(Ide, "PIO writes, CHS addresses, and a 32-bit data port") {
  out(0x1f6, 0xa1);  // CHS, head 1
  out(0x1f2, 2);
  out(0x1f3, 3);  // sector 3
  out(0x1f4, 0);
  out(0x1f5, 0);
  const u64 sector = (0 * 16 + 1) * 63 + 2;
  out(0x1f7, 0x30);
  CHECK((status() & kDrq) != 0);
  CHECK_FALSE(irq);  // not before the first block
  for (u32 i = 0; i < 128; ++i) out(0x1f0, 0x0403'0201, 4);
  CHECK(irq);
  CHECK((status() & kDrq) != 0);
  for (u32 i = 0; i < 256; ++i) out(0x1f0, 0xbbaa, 2);
  CHECK(status() == kBsy);
  disk.work();
  CHECK(take_irq());
  CHECK(slice(disk, sector * 512, 8) == std::string("\1\2\3\4\1\2\3\4"));
  CHECK(slice(disk, (sector + 1) * 512, 2) == "\xaa\xbb");
  CHECK(disk.bytes[(sector + 2) * 512] == MemoryDisk::expected((sector + 2) * 512));
  out(0x1f7, 0xe7);  // FLUSH CACHE
  disk.work();
  CHECK(take_irq());
  CHECK(disk.flushes == 1);
}

TEST_CASE_FIXTURE(Ide, "DMA both ways, through a scattered table") {
  prd(0, kBuffer, 512, false);
  prd(1, kBuffer + 0x2000, 1536, true);
  address48(100, 4);
  out(0x1f7, 0x25);
  CHECK(disk.waiting() == 0);  // until the bus master starts
  start_master(true);
  CHECK(in(0xc002) == 1);
  disk.work();
  CHECK(irq);
  CHECK(in(0xc002) == 4);
  CHECK(take_irq());
  std::string got(512, 0);
  CHECK(ram.read(kBuffer, {reinterpret_cast<u8*>(got.data()), 512}));
  CHECK(got == slice(disk, 100 * 512, 512));
  CHECK(ram.read(kBuffer + 0x2000 + 1024, {reinterpret_cast<u8*>(got.data()), 512}));
  CHECK(got == slice(disk, 103 * 512, 512));
  out(0xc000, 0);

  address28(200, 4);
  out(0x1f7, 0xca);
  start_master(false);
  disk.work();
  CHECK(take_irq());
  CHECK(slice(disk, 200 * 512, 512) == slice(disk, 100 * 512, 512));
  CHECK(slice(disk, 203 * 512, 512) == slice(disk, 103 * 512, 512));

  out(0xc000, 0);
  prd(1, kBuffer + 0x2000, 4096, true);  // longer than the transfer: still active
  address28(0, 4);
  out(0x1f7, 0xc8);
  start_master(true);
  disk.work();
  CHECK(in(0xc002) == 5);
}

TEST_CASE_FIXTURE(Ide, "a bad or short table stops the transfer and nothing else") {
  struct {
    u32 address;
    u16 count;
    u8 master;  // its status afterwards
  } const rows[] = {{0xe000'0000, 512, 2}, {kRam - 512, 1024, 2}, {0xffff'fffe, 0, 2}, {kBuffer, 512, 0}};
  for (const auto& row : rows) {
    CAPTURE(row.address);
    prd(0, row.address, row.count, true);
    address28(0, 4);
    out(0x1f7, 0xc8);
    start_master(true);
    disk.work();
    CHECK(in(0xc002) == row.master);
    CHECK_FALSE(irq);
    out(0xc000, 0);
    out(0x3f6, 4);
    out(0x3f6, 0);
    CHECK(status() == (kDrdy | 0x10));
  }
  out(0xc004, kRam - 4, 4);  // the table itself leaves RAM
  address28(0, 1);
  out(0x1f7, 0xc8);
  out(0xc002, 6);
  out(0xc000, 9);
  CHECK(in(0xc002) == 2);
}

TEST_CASE_FIXTURE(Ide, "errors a guest sees") {
  struct {
    u8 command;
    u32 sector;
    u8 count;
    int fail_with;
    u8 error;
  } const rows[] = {
      {0x20, 8192, 1, 0, 0x10},
      {0x20, 8191, 2, 0, 0x10},
      {0x30, 0x0fff'ffff, 1, 0, 0x10},
      {0x20, 0, 1, EIO, 0x40},
      {0xe7, 0, 0, EIO, 0x04},
      {0x06, 0, 1, 0, 0x04},
      {0xc4, 0, 1, 0, 0x04} /* multiple mode not set */,
      {0xef, 0, 0x77, 0, 0x04},
  };
  for (const auto& row : rows) {
    CAPTURE(row.command);
    disk.fail_with = row.fail_with;
    address28(row.sector, row.count);
    out(0x1f1, 3);
    out(0x1f7, row.command);
    disk.work();
    CHECK((in(0x3f6) & kErr) != 0);
    CHECK(in(0x1f1) == row.error);
    CHECK(take_irq());
  }
  disk.fail_with = ENOSPC;
  address28(0, 1);
  out(0x1f7, 0x30);
  for (u32 i = 0; i < 256; ++i) out(0x1f0, 0, 2);
  disk.work();
  CHECK((status() & kErr) != 0);
}

TEST_CASE_FIXTURE(Ide, "a reset in the middle of a command: nothing of it arrives") {
  address28(0, 1);
  out(0x1f7, 0x20);
  CHECK(disk.waiting() == 1);
  out(0x3f6, 4);
  out(0x3f6, 0);
  disk.work();
  CHECK(status() == (kDrdy | 0x10));
  CHECK_FALSE(irq);
}

TEST_CASE_FIXTURE(Ide, "the write cache, transfer modes, sizes") {
  out(0x1f6, 0xe0);
  out(0x1f1, 0x82);
  out(0x1f7, 0xef);
  disk.work();
  CHECK(take_irq());
  CHECK_FALSE(disk.write_cache());
  CHECK(disk.flushes == 1);
  out(0x1f1, 0x02);
  out(0x1f7, 0xef);
  CHECK(disk.write_cache());
  out(0x1f1, 0x03);
  out(0x1f2, 0x22);
  out(0x1f7, 0xef);
  CHECK((status() & kErr) == 0);
  out(0x1f7, 0x27);
  const u64 last = in(0x1f3) | in(0x1f4) << 8;
  CHECK(last == kDiskSize / 512 - 1);
  out(0x3f6, 0x80);
  CHECK(in(0x1f3) == 0);
  out(0x1f6, 0xe0);  // any write ends the look at the high bytes
  CHECK(in(0x1f3) == 0xff);
}

TEST_CASE_FIXTURE(Ide, "packets: small answers, their length limits") {
  packet({0x12, 0, 0, 0, 36});
  std::string data = packet_data();
  CHECK(data.size() == 36);
  CHECK(data.substr(8, 14) == "DOPPEL  DVD-RO");
  packet({0x12, 0, 0, 0, 5});
  CHECK(packet_data().size() == 5);
  packet({0x12, 0, 0, 0, 0});
  CHECK(packet_data().empty());
  packet({0x25});
  data = packet_data();
  CHECK(data == std::string("\0\0\x01\xff\0\0\x08\0", 8));
  packet({0x43, 0, 0, 0, 0, 0, 0, 0, 64});
  data = packet_data();
  CHECK(data == std::string("\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x14\xaa\0\0\0\x02\0", 20));
  packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  CHECK(packet_data() == std::string("\0\6\4\x10\0\2\0\0", 8));
  packet({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 200});
  data = packet_data();
  CHECK(data.size() == 28);
  CHECK(static_cast<u8>(data[1]) == 26);
  packet({0x46, 0, 0, 0, 0, 0, 0, 0, 200});
  CHECK(packet_data()[7] == 8);  // CD-ROM profile
  packet({0x51, 0, 0, 0, 0, 0, 0, 0, 64});
  CHECK(packet_data().size() == 34);
  packet({0x52, 1, 0, 0, 0, 1, 0, 0, 64});
  data = packet_data();
  CHECK(data.size() == 36);
  CHECK(data.substr(24, 4) == std::string("\0\0\x02\0", 4));
  packet({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8});
  CHECK(packet_data().size() == 8);
}

TEST_CASE_FIXTURE(Ide, "packets: reads by program in pieces, and by DMA") {
  std::vector<u32> pieces;
  packet({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, false, 1500);
  CHECK(packet_data(&pieces) == slice(disc, 3 * 2048, 4096));
  CHECK(pieces == std::vector<u32>{1500, 1500, 1096});
  packet({0xa8, 0, 0, 0, 0, 0, 0, 0, 1, 0}, false, 0x8000);  // 256 blocks: more than the buffer
  CHECK(packet_data() == slice(disc, 0, 256 * 2048));
  packet({0xbe, 0, 0, 0, 0, 9, 0, 0, 1, 0x10});
  CHECK(packet_data() == slice(disc, 9 * 2048, 2048));

  prd(0, kBuffer, 4096, true);
  packet({0x28, 0, 0, 0, 0, 5, 0, 0, 2}, true);
  start_master(true);
  disc.work();
  CHECK(in(0xc002) == 4);
  CHECK(in(0x1f2) == 3);
  CHECK(take_irq());
  std::string got(4096, 0);
  CHECK(ram.read(kBuffer, {reinterpret_cast<u8*>(got.data()), 4096}));
  CHECK(got == slice(disc, 5 * 2048, 4096));
}

TEST_CASE_FIXTURE(Ide, "packets: what is wrong, in sense data") {
  struct {
    std::array<u8, 12> bytes;
    std::array<u8, 3> sense;
  } const rows[] = {
      {{0xff}, {5, 0x20, 0}},
      {{0x28, 0, 0, 0, 2, 0, 0, 0, 1}, {5, 0x21, 0}},  // block 512 of 512
      {{0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff}, {5, 0x21, 0}},
      {{0x43, 0, 5}, {5, 0x24, 0}},
      {{0x5a, 0, 0x05}, {5, 0x24, 0}},
      {{0x4a, 0}, {5, 0x24, 0}},
      {{0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8}, {5, 0x64, 0}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.bytes[0]);
    packet(row.bytes);
    CHECK((status() & kErr) != 0);
    CHECK((in(0x1f1) >> 4) == row.sense[0]);
    CHECK(sense() == row.sense);
    CHECK(sense() == std::array<u8, 3>{});
  }
  disc.fail_with = EIO;
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK((status() & kErr) != 0);
  CHECK(sense() == std::array<u8, 3>{3, 0x11, 0});
}

TEST_CASE_FIXTURE(Ide, "the tray: locked, open, closed with a changed disc") {
  packet({0x1e, 0, 0, 0, 1});
  packet({0x1b, 0, 0, 0, 2});
  CHECK(sense() == std::array<u8, 3>{5, 0x53, 2});
  packet({0x1e, 0, 0, 0, 0});
  packet({0x1b, 0, 0, 0, 2});
  packet({0x00});
  CHECK(sense() == std::array<u8, 3>{2, 0x3a, 2});
  packet({0x1b, 0, 0, 0, 3});
  packet({0x00});
  CHECK(sense() == std::array<u8, 3>{6, 0x28, 0});
  packet({0x00});
  CHECK((status() & kErr) == 0);
  packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  CHECK(packet_data()[4] == 2);  // new media
}

TEST_CASE("IDE state survives a snapshot in the middle of a command") {
  Ide from, to;
  from.address28(5, 3);
  from.out(0x1f7, 0x20);
  from.disk.work();
  CHECK(from.read_words(100) == Ide::slice(from.disk, 5 * 512, 100));
  devices::testing::copy_by_snapshot(from.function, to.function);
  CHECK(to.irq);
  CHECK(to.read_words(412) == Ide::slice(to.disk, 5 * 512 + 100, 412));
  CHECK(to.read_words(1024) == Ide::slice(to.disk, 6 * 512, 1024));
  CHECK(to.status() == (kDrdy | 0x10));
}

TEST_CASE_FIXTURE(Ide, "random accesses and damaged snapshots of IDE are survived") {
  devices::testing::Hostile random(11);
  for (int i = 0; i < 200'000; ++i) {
    random.access(function.channel(0), 9);
    if (random.below(4) == 0) random.access(function, 16);
    if (random.below(3) == 0) disk.work(), disc.work();
  }
  ManualClock clock;
  for (int i = 0; i < 300; ++i) {
    SnapshotIo saved;
    function.snapshot(saved);
    auto stream = saved.stream();
    for (int damage = 0; damage < 20; ++damage)
      stream[random.below(stream.size())] = static_cast<u8>(random.below(256));
    SnapshotIo loading(stream);
    try {
      function.snapshot(loading);
    } catch (const SnapshotError&) {
      function.reset();
      continue;
    }
    for (int n = 0; n < 300; ++n) random.access(function.channel(0), 9);
    disk.work();
    disc.work();
  }
}
