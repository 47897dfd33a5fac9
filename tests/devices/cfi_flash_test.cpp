#include "devices/cfi_flash.hpp"

#include <doctest.h>

#include <algorithm>

#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

struct MemoryStore final : FlashStore {
  explicit MemoryStore(u64 size) : memory(size, 0xff), kept(size, 0xff) {}
  std::span<u8> bytes() override { return memory; }
  int write(u64 offset, u64 size) override {
    REQUIRE(offset + size <= memory.size());
    if (fail_with) return fail_with;
    ++writes;
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(offset), size,
                kept.begin() + static_cast<std::ptrdiff_t>(offset));
    return 0;
  }
  void flush() override { ++flushes; }

  std::vector<u8> memory, kept;
  int fail_with = 0, writes = 0, flushes = 0;
};

struct Flash {
  explicit Flash(u64 size = u64{16} * 4096) : store(size) {
    for (u64 i = 0; i < 256; ++i) store.memory[i] = static_cast<u8>(i);
    store.kept = store.memory;
  }
  u8 get(u64 offset) { return static_cast<u8>(chip.read(offset, 1)); }
  void put(u64 offset, u64 value, u32 width = 1) { chip.write(offset, width, value); }
  u8 program(u64 offset, u64 value, u32 width = 1) {
    put(offset, 0x40);
    put(offset, value, width);
    return get(offset);
  }

  MemoryStore store;
  Counters counters;
  ManualClock clock;
  std::vector<bool> modes;
  CfiFlash chip{store, counters, [this](bool memory) { modes.push_back(memory); }};
};

constexpr u8 kReady = 0x80, kErase = 0x20, kProgram = 0x10;

}  // namespace

TEST_CASE("a flash chip reads as memory until a command, and after read array") {
  Flash f;
  CHECK(f.get(5) == 5);
  CHECK(f.chip.read(4, 4) == 0x0706'0504);
  CHECK(f.chip.read(8, 8) == 0x0f0e'0d0c'0b0a'0908);
  CHECK(f.get(0x1'0000) == 0xff);  // past its end
  CHECK(f.modes.empty());
  for (const u8 command : {0x70, 0x90, 0x98, 0x40, 0x20, 0x60, 0xe8}) {
    CAPTURE(command);
    Flash one;
    one.put(0, command);
    CHECK(one.modes == std::vector<bool>{false});
    CHECK(one.get(5) != 5);
    if (command == 0x40 || command == 0xe8) continue;  // what comes next is data
    one.put(0, 0xff);
    one.put(0, 0xff);
    CHECK(one.modes == std::vector<bool>{false, true});
    CHECK(one.get(5) == 5);
  }
}

// What OVMF does to tell flash from RAM and from ROM.
TEST_CASE("the status register is found by the way OVMF looks for it") {
  Flash f;
  f.put(5, 0x50);
  CHECK(f.get(5) == 5);  // neither changed nor the command
  f.put(5, 0x70);
  CHECK(f.get(5) == 0);
  f.put(5, 0xff);
  CHECK(f.get(5) == 5);
  // After an operation it is ready.
  CHECK(f.program(0x1000, 0x12) == kReady);
}

TEST_CASE("programming clears bits, at once in the store") {
  Flash f;
  CHECK(f.program(0x1000, 0x5a) == kReady);
  CHECK(f.store.kept[0x1000] == 0x5a);
  CHECK(f.program(0x1000, 0x0f) == kReady);
  CHECK(f.store.kept[0x1000] == 0x0a);
  f.put(0x1001, 0x10);  // the other command for it
  f.put(0x1001, 0x77);
  f.program(0x1002, 0xddcc'bbaa, 4);  // wider than the chip: bytes in turn
  CHECK(f.store.flushes == 0);
  f.put(0, 0xff);
  CHECK(f.store.flushes == 1);
  CHECK(f.chip.read(0x1000, 8) == 0xffff'ddcc'bbaa'770a);
  const int writes = f.store.writes;
  f.program(0x1000, 0xff);  // changes nothing
  f.put(0, 0xff);
  CHECK(f.store.writes == writes);
  CHECK(f.store.flushes == 1);
}

TEST_CASE("a byte of a program command is data, whatever it is") {
  Flash f;
  for (const u8 value : {0x00, 0x20, 0x40, 0x70, 0xd0, 0xff}) {
    CHECK(f.program(0x1000 + value, value) == kReady);
    CHECK(f.store.kept[0x1000u + value] == value);
  }
}

TEST_CASE("erasing sets a whole block, and only with its confirmation") {
  Flash f;
  f.program(0xfff, 1);
  f.program(0x1000, 2);
  f.program(0x1fff, 3);
  f.program(0x2000, 4);
  f.put(0x1234, 0x20);
  f.put(0x1234, 0xd0);
  CHECK(f.get(0) == kReady);
  f.put(0, 0xff);
  CHECK(f.get(0xfff) == 1);
  CHECK(f.get(0x2000) == 4);
  for (u64 at = 0x1000; at < 0x2000; ++at) CHECK(f.get(at) == 0xff);
  CHECK(f.store.kept == f.store.memory);
  f.put(0x2000, 0x20);
  f.put(0x2000, 0xff);
  CHECK(f.get(0) == (kReady | kErase | kProgram));
  f.put(0, 0x50);
  CHECK(f.get(0) == 0);
  f.put(0, 0xff);
  CHECK(f.get(0x2000) == 4);
}

TEST_CASE("a buffered write: in any order, all or nothing") {
  Flash f;
  f.put(0x3000, 0xe8);
  CHECK(f.get(0x3000) == kReady);  // a buffer is free
  f.put(0x3000, 3);                // four bytes
  f.put(0x3010, 0x10);
  f.put(0x3013, 0x13);
  f.put(0x3011, 0x1211, 2);
  CHECK(f.store.writes == 0);
  f.put(0x3000, 0xd0);
  CHECK(f.get(0x3000) == kReady);
  f.put(0, 0xff);
  CHECK(f.chip.read(0x3010, 4) == 0x1312'1110);
  CHECK(f.store.writes == 1);
  // Without its confirmation, beyond the buffer, before its start, beyond the chip.
  const auto refused = [&](std::initializer_list<std::pair<u64, u64>> accesses) {
    f.put(0, 0x50);
    for (const auto& [offset, value] : accesses) f.put(offset, value);
    CHECK(f.get(0) == (kReady | kErase | kProgram));
    f.put(0, 0xff);
    CHECK(f.get(5) == 5);
    CHECK(f.store.writes == 1);
  };
  refused({{0, 0xe8}, {0, 0}, {0x20, 0}, {0x20, 0xff}});
  refused({{0, 0xe8}, {0, 1}, {0x20, 0}, {0x22, 0}});
  refused({{0, 0xe8}, {0, 1}, {0x20, 0}, {0x1f, 0}});
  refused({{0, 0xe8}, {0, 1}, {0xffff, 0}});
  // The largest, up to the chip's end.
  f.put(0, 0xe8);
  f.put(0, 0xff);
  for (u64 i = 0; i < 256; ++i) f.put(0xff00 + i, i);
  f.put(0, 0xd0);
  CHECK((f.get(0) & kReady) != 0);
  f.put(0, 0xff);
  CHECK(f.get(0xff00) == 0);
  CHECK(f.get(0xffff) == 0xff);
  CHECK(f.get(0xff7f) == 0x7f);
}

TEST_CASE("identity, CFI query, and locks that there are not") {
  Flash f(u64{132} * 4096);  // OVMF_VARS_4M.fd: no power of two
  f.put(0x55, 0x90);
  CHECK(f.get(0) == 0x89);
  CHECK(f.get(1) == 0x18);
  CHECK(f.get(2) == 0);
  CHECK(f.get(0x5002) == 0);
  f.put(0x55, 0x98);
  CHECK(f.chip.read(0x10, 4) == 0x01'5952'51);  // "QRY", Intel's command set
  CHECK(f.get(0x27) == 20);                     // fits into 2^20 bytes
  CHECK(f.get(0x2a) == 8);
  CHECK(f.get(0x2c) == 1);
  CHECK(f.chip.read(0x2d, 2) == 131);
  CHECK(f.chip.read(0x2f, 2) == 16);                  // of 256 bytes each
  CHECK(f.chip.read(f.get(0x15), 4) == 0x3149'5250);  // "PRI1"
  for (const u8 confirm : {0x01, 0xd0}) {
    f.put(0x1000, 0x60);
    f.put(0x1000, confirm);
    CHECK(f.get(0) == kReady);
  }
  CHECK(f.program(0x1000, 7) == kReady);
  f.put(0x1000, 0x60);
  f.put(0x1000, 0x99);
  CHECK(f.get(0) == (kReady | kErase | kProgram));
  f.put(0, 0xff);
  f.put(0, 0x33);
  CHECK(f.get(5) == 5);
  CHECK(f.counters["cfi_flash.unknown"] == 1);
}

TEST_CASE("what the host cannot keep is an error of the chip, and the bytes are as before") {
  Flash f;
  f.program(0x1000, 0x5a);
  f.store.fail_with = ENOSPC;
  CHECK(f.program(0x1000, 0x00) == (kReady | kProgram));
  f.put(0, 0x50);
  f.put(0x1000, 0x20);
  f.put(0x1000, 0xd0);
  CHECK(f.get(0) == (kReady | kErase));
  f.put(0, 0xff);
  CHECK(f.get(0x1000) == 0x5a);
  CHECK(f.store.kept == f.store.memory);
  CHECK(f.counters["cfi_flash.failed"] == 2);
}

TEST_CASE("a reset in the middle of any command reads as memory and changes nothing") {
  for (const std::initializer_list<u8> commands : std::initializer_list<std::initializer_list<u8>>{
           {0x40}, {0x20}, {0x60}, {0xe8}, {0xe8, 3}, {0xe8, 3, 0}, {0xe8, 0, 0}, {0x70}, {0x98}}) {
    Flash f;
    for (const u8 command : commands) f.put(0x20, command);
    f.chip.reset();
    CHECK(f.get(5) == 5);
    f.put(0x20, 0xd0);  // no command by itself
    CHECK(f.get(5) == 5);
    CHECK(f.modes == std::vector<bool>{false, true});
    CHECK(f.store.writes == 0);
  }
}

TEST_CASE("flash chip and hostile guests") {
  Flash f;
  devices::testing::hostile_guest(f.chip, f.store.memory.size(), f.clock, [&](u32 random) {
    static constexpr u8 kCommands[] = {0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xd0, 0xe8, 0xff};
    f.put(random % 0x1'0000, kCommands[random % sizeof kCommands]);
    f.store.fail_with = random % 64 == 0 ? EIO : 0;
  });
  CHECK(f.store.kept == f.store.memory);
  Flash other;
  f.put(0, 0xff);
  f.put(0, 0xff);
  f.put(0x100, 0xe8);
  f.put(0x100, 3);
  f.put(0x100, 0);
  devices::testing::copy_by_snapshot(f.chip, other.chip);
  CHECK(other.modes == std::vector<bool>{false});
  devices::testing::hostile_snapshots(f.chip, 4096, f.clock);
  devices::testing::flipped_snapshots(f.chip, 4096, f.clock);
}
