#include <doctest.h>

#include <string>

#include "devices/floppy_82077.hpp"
#include "tests/devices/guest_mischief.hpp"
#include "tests/devices/memory_disk.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using devices::testing::MemoryDisk;

namespace {

// A 1.44 MiB disk in the drive, motor on, head moved once; DMA goes to and from `memory` until it is full.
struct Floppy {
  explicit Floppy(bool read_only = false, u64 size = 1440 * 1024) : disk(size, read_only) {
    chip.reset();
    chip.write(2, 1, 0x1c);
    chip.write(7, 1, floppy_format(size)->rate);
    for (int i = 0; i < 4; ++i) command({0x08});
    command({0x07, 0});
    command({0x08});
  }

  void send(u8 byte) {
    CHECK((chip.read(4, 1) & 0xc0) == 0x80);
    chip.write(5, 1, byte);
  }
  // Result bytes.
  std::vector<u8> command(std::initializer_list<u8> bytes) {
    for (const u8 byte : bytes) send(byte);
    disk.work();
    std::vector<u8> result;
    while ((chip.read(4, 1) & 0xf0) == 0xd0) result.push_back(static_cast<u8>(chip.read(5, 1)));
    return result;
  }

  Counters counters;
  ManualClock clock;
  MemoryDisk disk;
  bool irq = false;
  std::vector<u8> memory;
  std::size_t moved = 0;
  Floppy82077 chip{disk, IrqLine([this](bool level) { irq = level; }),
                   [this](std::span<u8> bytes, DmaDirection direction) {
                     const std::size_t size = std::min(bytes.size(), memory.size() - moved);
                     u8* at = memory.data() + moved;
                     if (direction == DmaDirection::kToMemory)
                       std::copy_n(bytes.begin(), size, at);
                     else
                       std::copy_n(at, size, bytes.begin());
                     moved += size;
                     return Dma8237::Moved{size, size != 0 && moved == memory.size()};
                   },
                   counters};
};

using Bytes = std::vector<u8>;

}  // namespace

TEST_CASE("the disk of an image that ends early is a 3.5-inch one that holds it") {
  struct {
    u64 image, disk;
  } const rows[] = {{1, 1440 << 10},
                    {512, 1440 << 10},
                    {1'000'000, 1440 << 10},
                    {1440 << 10, 1440 << 10},
                    {(1440 << 10) + 1, 1680 << 10},
                    {2880 << 10, 2880 << 10},
                    {160 << 10, 160 << 10},
                    {720 << 10, 720 << 10},
                    {1200 << 10, 1200 << 10},
                    {(720 << 10) - 512, 1440 << 10}};
  for (const auto& row : rows) {
    CAPTURE(row.image);
    CHECK(floppy_size(row.image) == row.disk);
    CHECK(floppy_format(row.disk).has_value());
  }
  CHECK_FALSE(floppy_format(floppy_size((2880 << 10) + 1)));
}

TEST_CASE("floppy sizes") {
  CHECK(floppy_format(1440 * 1024)->sectors == 18);
  CHECK(floppy_format(2880 * 1024)->rate == 3);
  CHECK_FALSE(floppy_format(1000).has_value());
}

TEST_CASE_FIXTURE(Floppy, "a reset is explained by four interrupts, once") {
  chip.write(2, 1, 0x18);
  CHECK_FALSE(irq);
  chip.write(2, 1, 0x1c);
  CHECK(irq);
  for (u8 drive = 0; drive < 4; ++drive) CHECK(command({0x08}) == Bytes{static_cast<u8>(0xc0 | drive), 0});
  CHECK_FALSE(irq);
  CHECK(command({0x08}) == Bytes{0x80});
}

TEST_CASE_FIXTURE(Floppy, "seeks, drive status, version, unknown commands") {
  CHECK(command({0x0f, 0, 40}).empty());
  CHECK(irq);
  CHECK(command({0x08}) == Bytes{0x20, 40});
  CHECK(command({0x04, 0}) == Bytes{0x28});
  command({0x07, 0});
  CHECK(command({0x08}) == Bytes{0x20, 0});
  CHECK(command({0x04, 0}) == Bytes{0x38});
  command({0x07, 1});  // no such drive
  CHECK(command({0x08}) == Bytes{0x61, 0});
  CHECK(command({0x10}) == Bytes{0x90});
  CHECK(command({0x1f}) == Bytes{0x80});
  CHECK(command({0x94}) == Bytes{0x10});
  CHECK(command({0x0e}).size() == 10);
}

TEST_CASE_FIXTURE(Floppy, "the disk-changed line falls with the first seek") {
  chip.reset();
  chip.write(2, 1, 0x1c);
  CHECK((chip.read(7, 1) & 0x80) != 0);
  for (int i = 0; i < 4; ++i) command({0x08});
  command({0x0f, 0, 1});
  CHECK((chip.read(7, 1) & 0x80) == 0);
}

TEST_CASE_FIXTURE(Floppy, "reads by DMA: a track and on to the other side, until the terminal count") {
  memory.resize(20 * 512);
  CHECK(command({0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x04, 0, 0, 0, 1, 3, 2});
  CHECK(std::equal(memory.begin(), memory.end(), disk.bytes.begin()));
  CHECK_FALSE(irq);  // reading the result took it back
  moved = 0;
  memory.resize(512);
  command({0x0f, 0, 79});
  command({0x08});
  CHECK(command({0x46, 4, 79, 1, 18, 2, 18, 0x1b, 0xff}) == Bytes{0x04, 0, 0, 80, 1, 1, 2});
  CHECK(std::equal(memory.begin(), memory.end(), disk.bytes.end() - 512));
}

TEST_CASE_FIXTURE(Floppy, "writes by DMA, and formatting") {
  memory.assign(1024, 0x5a);
  CHECK(command({0xc5, 4, 0, 1, 17, 2, 18, 0x1b, 0xff}) == Bytes{0, 0, 0, 1, 0, 1, 2});
  const u64 at = (18 + 16) * 512;
  CHECK(disk.bytes[at - 1] == MemoryDisk::expected(at - 1));
  CHECK(disk.bytes[at] == 0x5a);
  CHECK(disk.bytes[at + 1023] == 0x5a);
  memory.assign(18 * 4, 1);
  moved = 0;
  CHECK(command({0x4d, 0, 2, 18, 0x54, 0xf6})[0] == 0);
  CHECK(disk.bytes[0] == 0xf6);
  CHECK(disk.bytes[18 * 512 - 1] == 0xf6);
  CHECK(disk.bytes[18 * 512] == MemoryDisk::expected(18 * 512));
}

TEST_CASE_FIXTURE(Floppy, "programmed transfers end at the end of the track") {
  command({0x03, 0xaf, 0x03});
  for (const u8 byte : {0x46, 0, 0, 0, 17, 2, 18, 0x1b, 0xff}) send(byte);
  disk.work();
  CHECK(irq);
  for (u32 i = 0; i < 1024; ++i) {
    CHECK((chip.read(4, 1) & 0xf0) == 0xf0);
    CHECK(chip.read(5, 1) == disk.bytes[16 * 512 + i]);
  }
  CHECK(chip.read(4, 1) == 0xd0);
  CHECK(chip.read(5, 1) == 0x40);
  CHECK(chip.read(5, 1) == 0x80);
}

TEST_CASE("what a floppy drive refuses") {
  struct {
    bool read_only;
    Bytes command;
    u8 rate;
    int fail_with;
    u8 st1, st2;
  } const rows[] = {
      {false, {0x46, 0, 0, 0, 19, 2, 19, 0, 0}, 0, 0, 0x04, 0},    // no such sector
      {false, {0x46, 0, 1, 0, 1, 2, 18, 0, 0}, 0, 0, 0x04, 0x10},  // the head is elsewhere
      {false, {0x46, 0, 0, 0, 1, 3, 18, 0, 0}, 0, 0, 0x04, 0},     // 1024-byte sectors
      {false, {0x46, 0, 0, 0, 1, 2, 18, 0, 0}, 2, 0, 0x01, 0},     // wrong data rate
      {false, {0x46, 1, 0, 0, 1, 2, 18, 0, 0}, 0, 0, 0x01, 0},     // no such drive
      {true, {0x45, 0, 0, 0, 1, 2, 18, 0, 0}, 0, 0, 0x02, 0},
      {false, {0x46, 0, 0, 0, 1, 2, 18, 0, 0}, 0, EIO, 0x20, 0},
      {false, {0x46, 0, 0, 0, 1, 2, 18, 0, 0}, 0, 0, 0x10, 0},  // nobody serves the DMA request
  };
  for (const auto& row : rows) {
    CAPTURE(row.st1);
    Floppy f(row.read_only);
    f.chip.write(7, 1, row.rate);
    f.disk.fail_with = row.fail_with;
    if (row.st1 != 0x10) f.memory.resize(512);
    for (const u8 byte : row.command) f.send(byte);
    f.disk.work();
    CHECK((f.chip.read(5, 1) & 0xc0) == 0x40);
    CHECK(f.chip.read(5, 1) == row.st1);
    CHECK(f.chip.read(5, 1) == row.st2);
  }
}

TEST_CASE_FIXTURE(Floppy, "random accesses and damaged snapshots of the floppy controller are survived") {
  memory.resize(3000);
  devices::testing::hostile_guest(chip, 8, clock, [&](u32 random) {
    if (random % 3 == 0) disk.work();
    if (random % 64 == 0) moved = 0;
  });
  devices::testing::hostile_snapshots(chip, 8, clock);
}
