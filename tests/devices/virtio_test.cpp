#include <doctest.h>

#include "tests/devices/guest_mischief.hpp"
#include "tests/devices/virtio_driver.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

constexpr u64 kHeader = 0x2'0000, kStatusByte = 0x2'1000, kData = 0x3'0000;
constexpr u64 kFlushFeature = u64{1} << 9;

// The descriptors of a request: header, data in two pieces, status.
std::vector<Segment> request(VirtioMachine& m, u32 type, u64 sector, u32 size, bool device_writes) {
  m.store<u32>(kHeader, type);
  m.store<u64>(kHeader + 8, sector);
  m.store<u8>(kStatusByte, 0xee);
  std::vector<Segment> segments = {{kHeader, 16, false}};
  if (size != 0) {
    segments.push_back({kData, 512, device_writes});
    if (size > 512) segments.push_back({kData + 0x1000, size - 512, device_writes});
  }
  segments.push_back({kStatusByte, 1, true});
  return segments;
}

u8 byte_at(VirtioMachine& m, u64 pa) {
  return m.load<u8>(pa);
}

}  // namespace

TEST_CASE("the modern transport is found through its capabilities") {
  VirtioMachine m;
  CHECK(m.function.config_read(0, 4) == 0x1042'1af4);
  CHECK(m.function.config_read(8, 4) == 0x0100'0001);
  std::vector<u32> types;
  bool msix = false;
  for (u8 at = static_cast<u8>(m.function.config_read(0x34, 1)); at != 0;
       at = static_cast<u8>(m.function.config_read(static_cast<u8>(at + 1), 1))) {
    if (m.function.config_read(at, 1) == 0x11) msix = true;
    if (m.function.config_read(at, 1) == 0x09)
      types.push_back(m.function.config_read(static_cast<u8>(at + 3), 1));
  }
  CHECK(msix);
  CHECK(types == std::vector<u32>{1, 3, 4, 2, 5});
}

TEST_CASE("the handshake: offered features only, version 1 always") {
  VirtioMachine m;
  CHECK_FALSE(m.start(0, 8));
  CHECK_FALSE(m.start(kFeatureVersion1 | u64{1} << 40, 8));
  CHECK(m.start(kFeatureVersion1, 8));
  CHECK(m.status() == 15);
  m.set(kCommonAt + 0x14, 1, 0);
  CHECK(m.status() == 0);
  CHECK(m.get(kCommonAt + 0x1c, 2) == 0);
  CHECK(m.get(kConfigAt, 8) == 2048);  // capacity
  CHECK(m.get(kConfigAt + 34, 2) == m.get(kCommonAt + 0x12, 2));
}

TEST_CASE("reads and writes, in every layout") {
  struct {
    bool packed, indirect, event_index;
  } const rows[] = {{false, false, false}, {false, true, false}, {false, false, true}, {false, true, true},
                    {true, false, false},  {true, true, false},  {true, false, true},  {true, true, true}};
  for (const auto& row : rows) {
    CAPTURE(row.packed);
    CAPTURE(row.indirect);
    CAPTURE(row.event_index);
    VirtioMachine m;
    REQUIRE(m.start(kFeatureVersion1 | kFlushFeature | (row.packed ? kFeaturePacked : 0) |
                        (row.indirect ? kFeatureIndirect : 0) | (row.event_index ? kFeatureEventIndex : 0),
                    8));
    DriverQueue queue(m, row.packed, 8, row.indirect);
    for (u32 turn = 0; turn < 20; ++turn) {  // more than the ring holds, so that it wraps
      if (row.event_index) {                 // interrupt for the next one
        if (row.packed) {
          m.store<u16>(DriverQueue::kDriver, 0);
          m.store<u16>(DriverQueue::kDriver + 2, 0);
        } else {
          m.store<u16>(DriverQueue::kDriver + 4 + 8 * 2, static_cast<u16>(turn));
        }
      }
      const u64 sector = turn * 3;
      queue.add(request(m, 0, sector, 1024, true));
      m.notify();
      CHECK(queue.used().empty());
      CHECK_FALSE(m.intx);
      m.disk.work();
      CHECK(m.intx);
      CHECK(m.get(kIsrAt, 1) == 1);
      CHECK_FALSE(m.intx);
      CHECK(queue.used() == std::vector<u32>{1025});
      CHECK(byte_at(m, kStatusByte) == 0);
      CHECK(byte_at(m, kData + 7) == MemoryDisk::expected(sector * 512 + 7));
      CHECK(byte_at(m, kData + 0x1000 + 7) == MemoryDisk::expected((sector + 1) * 512 + 7));
    }
    m.store<u8>(kData + 5, 0x77);
    queue.add(request(m, 1, 9, 512, false));
    m.notify();
    m.disk.work();
    CHECK(queue.used() == std::vector<u32>{1});
    CHECK(m.disk.bytes[9 * 512 + 5] == 0x77);
  }
}

TEST_CASE("a driver that wants no interrupts gets none") {
  for (const bool packed : {false, true}) {
    VirtioMachine m;
    REQUIRE(m.start(kFeatureVersion1 | (packed ? kFeaturePacked : 0), 8));
    DriverQueue queue(m, packed, 8);
    m.store<u16>(DriverQueue::kDriver + (packed ? 2 : 0), 1);
    queue.add(request(m, 0, 0, 512, true));
    m.notify();
    m.disk.work();
    CHECK(queue.used().size() == 1);
    CHECK_FALSE(m.intx);
  }
}

TEST_CASE("event index: an interrupt only when the named entry is passed") {
  VirtioMachine m;
  REQUIRE(m.start(kFeatureVersion1 | kFeatureEventIndex, 8));
  DriverQueue queue(m, false, 8);
  m.store<u16>(DriverQueue::kDriver + 4 + 8 * 2, 1);  // the second
  for (const bool interrupt : {false, true, false}) {
    queue.add(request(m, 0, 0, 512, true));
    m.notify();
    m.disk.work();
    CHECK(m.intx == interrupt);
    (void)m.get(kIsrAt, 1);
  }
}

TEST_CASE("MSI-X: a message for the queue's vector, none without one") {
  VirtioMachine m;
  m.set(kMsixBar + 16, 8, 0xfee0'0000);
  m.set(kMsixBar + 24, 8, 0x41);
  u8 msix = static_cast<u8>(m.function.config_read(0x34, 1));
  while (m.function.config_read(msix, 1) != 0x11)
    msix = static_cast<u8>(m.function.config_read(static_cast<u8>(msix + 1), 1));
  m.function.config_write(static_cast<u8>(msix + 2), 2, 0x8000);
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  for (const u16 vector : {1, 99}) {
    m.set(kCommonAt + 0x1a, 2, vector);
    CHECK(m.get(kCommonAt + 0x1a, 2) == (vector == 1 ? 1 : 0xffff));
    queue.add(request(m, 0, 0, 512, true));
    m.notify();
    m.disk.work();
  }
  CHECK(m.messages == std::vector<std::pair<u64, u32>>{{0xfee0'0000, 0x41}});
  CHECK_FALSE(m.intx);
}

TEST_CASE("requests other than reads and writes") {
  VirtioMachine m;
  REQUIRE(m.start(kFeatureVersion1 | kFlushFeature, 8));
  DriverQueue queue(m, false, 8);
  const auto go = [&](const std::vector<Segment>& segments) {
    queue.add(segments);
    m.notify();
    m.disk.work();
    CHECK(queue.used().size() == 1);
    return byte_at(m, kStatusByte);
  };
  CHECK(go(request(m, 4, 0, 0, false)) == 0);
  CHECK(m.disk.flushes == 1);
  CHECK(go(request(m, 8, 0, 512, true)) == 0);
  CHECK(byte_at(m, kData) == 'd');
  CHECK(go(request(m, 99, 0, 0, false)) == 2);
  const auto range = [&](u32 type, u64 sector, u32 count, u32 flags) {
    auto segments = request(m, type, 0, 512, false);
    segments[1].length = 16;
    m.store<u64>(kData, sector);
    m.store<u32>(kData + 8, count);
    m.store<u32>(kData + 12, flags);
    return segments;
  };
  CHECK(go(range(11, 8, 8, 0)) == 0);
  CHECK(m.disk.discards == 1);
  CHECK(go(range(11, 8, 8, 1)) == 2);  // a discard has no flags
  CHECK(go(range(13, 16, 2, 1)) == 0);
  CHECK(m.disk.bytes[16 * 512] == 0);
  CHECK(m.disk.bytes[18 * 512 + 1] == MemoryDisk::expected(18 * 512 + 1));
  CHECK(go(range(13, 2047, 2, 0)) == 1);
  CHECK(go(range(13, ~u64{0}, 2, 0)) == 1);
  auto odd = range(11, 0, 1, 0);
  odd[1].length = 17;
  CHECK(go(odd) == 2);
}

TEST_CASE(
    "what a virtio disk refuses: beyond its end, half sectors, writes to a read-only disk, host errors") {
  struct {
    u32 type;
    u64 sector;
    u32 size;
    bool read_only;
    int fail_with;
  } const rows[] = {{0, 2048, 512, false, 0},     {0, 2047, 1024, false, 0},  {0, ~u64{0}, 512, false, 0},
                    {1, 1u << 31, 512, false, 0}, {0, 0, 700, false, 0},      {1, 0, 512, true, 0},
                    {0, 0, 512, false, EIO},      {1, 0, 512, false, ENOSPC}, {4, 0, 0, false, EIO}};
  for (const auto& row : rows) {
    CAPTURE(row.sector);
    VirtioMachine m(u64{1} << 20, row.read_only);
    REQUIRE(m.start(kFeatureVersion1, 8));
    m.disk.fail_with = row.fail_with;
    DriverQueue queue(m, false, 8);
    queue.add(request(m, row.type, row.sector, row.size, row.type == 0));
    m.notify();
    m.disk.work();
    CHECK(queue.used() == std::vector<u32>{1});
    CHECK(byte_at(m, kStatusByte) == 1);
    CHECK(m.status() == 15);
  }
}

TEST_CASE("a driver that breaks the rules must reset the device") {
  struct {
    const char* what;
    std::vector<Segment> segments;
  } const rows[] = {
      {"no status", {{kHeader, 16, false}}},
      {"short header", {{kHeader, 15, false}, {kStatusByte, 1, true}}},
      {"not RAM", {{kHeader, 16, false}, {0x9000'0000, 512, true}, {kStatusByte, 1, true}}},
      {"across the end of RAM",
       {{kHeader, 16, false}, {(4u << 20) - 256, 512, true}, {kStatusByte, 1, true}}},
      {"wraps", {{kHeader, 16, false}, {~u64{0} - 100, 512, true}, {kStatusByte, 1, true}}},
      {"empty", {{kHeader, 16, false}, {kData, 0, true}, {kStatusByte, 1, true}}},
      {"writable before readable", {{kStatusByte, 1, true}, {kHeader, 16, false}}},
  };
  for (const bool packed : {false, true})
    for (const bool indirect : {false, true})
      for (const auto& row : rows) {
        CAPTURE(row.what);
        VirtioMachine m;
        REQUIRE(m.start(kFeatureVersion1 | kFeatureIndirect | (packed ? kFeaturePacked : 0), 8));
        DriverQueue queue(m, packed, 8, indirect);
        queue.add(row.segments);
        m.notify();
        m.disk.work();
        CHECK((m.status() & 0x40) != 0);
        CHECK(m.intx);
        CHECK((m.get(kIsrAt, 1) & 2) != 0);
        m.notify();
        CHECK(m.start(kFeatureVersion1, 8));
        CHECK(m.status() == 15);
      }
}

TEST_CASE("rings that make no sense") {
  VirtioMachine m;
  struct {
    u64 descriptors, driver, device;
    u16 size;
  } const places[] = {{0x1008, 0x4000, 0x6000, 8},         {0x1000, 0x4001, 0x6000, 8},
                      {0x1000, 0x4000, 0x6002, 8},         {0x8000'0000, 0x4000, 0x6000, 8},
                      {0x1000, (4u << 20) - 8, 0x6000, 8}, {0x1000, 0x4000, ~u64{0} - 3, 8},
                      {0x1000, 0x4000, 0x6000, 7}};
  for (const auto& place : places) {
    CHECK(m.start(kFeatureVersion1, place.size, place.descriptors, place.driver, place.device));
    CHECK((m.status() & 0x40) != 0);
    m.notify();
  }
  // A loop of descriptors, a head that is not there, more requests than the ring holds.
  const auto broken = [&](auto prepare) {
    CHECK(m.start(kFeatureVersion1, 8));
    prepare();
    m.notify();
    CHECK((m.status() & 0x40) != 0);
  };
  broken([&] {
    for (u16 i = 0; i < 8; ++i) {
      m.store<u64>(0x1000 + i * 16, kHeader);
      m.store<u32>(0x1000 + i * 16 + 8, 16);
      m.store<u16>(0x1000 + i * 16 + 12, 1);
      m.store<u16>(0x1000 + i * 16 + 14, static_cast<u16>((i + 1) % 8));
    }
    m.store<u16>(0x4004, 0);
    m.store<u16>(0x4002, 1);
  });
  broken([&] {
    m.store<u16>(0x4004, 8);
    m.store<u16>(0x4002, 1);
  });
  broken([&] { m.store<u16>(0x4002, 9); });
}

TEST_CASE("a reset at any moment: what was in flight does not come back") {
  VirtioMachine m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  queue.add(request(m, 0, 0, 512, true));
  m.notify();
  CHECK(m.disk.waiting() == 1);
  m.set(kCommonAt + 0x14, 1, 0);
  CHECK(m.disk.waiting() == 0);  // it was waited for
  CHECK(queue.used().empty());
  CHECK_FALSE(m.intx);
}

TEST_CASE("without flushes a driver finds its writes on stable storage") {
  VirtioMachine m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  CHECK_FALSE(m.disk.write_cache());
  REQUIRE(m.start(kFeatureVersion1 | kFlushFeature, 8));
  CHECK(m.disk.write_cache());
  REQUIRE(m.start(kFeatureVersion1 | u64{1} << 11, 8));
  CHECK(m.disk.write_cache());
  m.set(kConfigAt + 32, 1, 0);
  CHECK_FALSE(m.disk.write_cache());
}

TEST_CASE("the window in configuration space reaches the registers") {
  VirtioMachine m;
  u8 window = static_cast<u8>(m.function.config_read(0x34, 1));
  while (m.function.config_read(window, 1) != 9 ||
         m.function.config_read(static_cast<u8>(window + 3), 1) != 5)
    window = static_cast<u8>(m.function.config_read(static_cast<u8>(window + 1), 1));
  const auto at = [window](u8 field) { return static_cast<u8>(window + field); };
  m.function.config_write(at(4), 1, 4);
  m.function.config_write(at(8), 4, 0x14);
  m.function.config_write(at(12), 4, 1);
  m.function.config_write(at(16), 4, 3);
  CHECK(m.status() == 3);
  CHECK(m.function.config_read(at(16), 4) == 3);
  m.function.config_write(at(8), 4, 0xffff'fff0);
  m.function.config_write(at(16), 4, 0);
  CHECK(m.status() == 3);
}

TEST_CASE("a virtio disk's state survives a snapshot between requests") {
  VirtioMachine from, to;
  REQUIRE(from.start(kFeatureVersion1 | kFeaturePacked, 8));
  DriverQueue queue(from, true, 8);
  for (int i = 0; i < 5; ++i) {
    queue.add(request(from, 0, 0, 512, true));
    from.notify();
    from.disk.work();
    (void)queue.used();
  }
  SnapshotIo saved;
  from.function.snapshot(saved);
  SnapshotIo loading(saved.stream());
  to.function.snapshot(loading);
  SnapshotIo again;
  to.function.snapshot(again);
  CHECK(saved.stream() == again.stream());
  CHECK(to.status() == 15);
}

TEST_CASE("a driver that does not wait for what it is owed has only so much in flight") {
  VirtioMachine m;
  REQUIRE(m.start(kFeatureVersion1, 128));
  // A read of the first sector, again and again.
  const auto descriptor = [&](u64 at, u64 address, u32 length, u16 flags, u16 next) {
    m.store(at, address);
    m.store(at + 8, length);
    m.store(at + 12, flags);
    m.store(at + 14, next);
  };
  descriptor(0x1000, 0x10'0000, 16, 1, 1);
  descriptor(0x1010, 0x11'0000, 513, 2, 0);
  for (u16 round = 1; round <= 9; ++round) {
    m.store<u16>(0x4002, static_cast<u16>(round * 128));
    m.notify();
  }
  CHECK(m.disk.waiting() == 1024);
  m.disk.work();
  CHECK(m.load<u16>(0x6002) == 1024 + 128);
  CHECK(m.disk.waiting() == 0);
}
