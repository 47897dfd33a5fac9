#include "devices/virtio/virtio_rng.hpp"

#include <set>

#include "tests/devices/virtio_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

struct RngHost : VirtioHost {
  explicit RngHost(u64 ram_size = u64{4} << 20) : VirtioHost(ram_size) { attach(function); }
  VirtioRng model;
  VirtioPci function{model, ram, mmio, msi(), counters};
};
const Mischief<RngHost> kMischief{.queues = 1};

constexpr u64 kData = 0x10'0000;

}  // namespace

TEST_CASE("the entropy source's identity: one queue, no features of its own, no configuration") {
  RngHost m;
  CHECK(m.function.config_read(0, 4) == 0x1044'1af4);
  CHECK(m.get(kCommonAt + 0x12, 2) == 1);
  m.set(kCommonAt, 4, 0);
  CHECK(m.get(kCommonAt + 4, 4) == (kFeatureIndirect | kFeatureEventIndex));
  CHECK(m.get(kConfigAt, 4) == 0);
  CHECK_FALSE(m.start(kFeatureVersion1 | 1, 8));
}

TEST_CASE("entropy fills what was offered, all of it and nothing else") {
  for (const bool packed : {false, true}) {
    RngHost m;
    REQUIRE(m.start(kFeatureVersion1 | (packed ? kFeaturePacked : 0), 8));
    DriverQueue queue(m, packed, 8);
    std::set<u64> seen;
    for (int turn = 0; turn < 20; ++turn) {
      for (u64 pa = kData - 8; pa < kData + 0x3000; pa += 8) m.store<u64>(pa, 0);
      queue.add({{kData, 64, true}, {kData + 0x1000, 24, true}});
      m.notify();
      CHECK(queue.used() == std::vector<u32>{88});
      CHECK(m.intx);
      (void)m.get(kIsrAt, 1);
      for (u64 at = 0; at < 64; at += 8) seen.insert(m.load<u64>(kData + at));
      for (u64 at = 0; at < 24; at += 8) seen.insert(m.load<u64>(kData + 0x1000 + at));
      for (const u64 outside : {kData - 8, kData + 64, kData + 0x1018}) CHECK(m.load<u64>(outside) == 0);
    }
    CHECK(seen.size() == 20 * 11);  // never the same number twice, none zero
    CHECK(seen.count(0) == 0);
  }
}

TEST_CASE("a request for much gets a bounded answer, one for nothing an empty one") {
  RngHost m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  queue.add({{kData, 1u << 20, true}});
  queue.add({{kData, 16, false}});
  m.notify();
  CHECK(queue.used() == std::vector<u32>{4096, 0});
  CHECK(m.load<u64>(kData + 4096) == 0);
  CHECK(m.status() == 15);
  queue.add({{kData, 4000, true}, {kData + 0x1000, 4000, true}});
  m.notify();
  CHECK(queue.used() == std::vector<u32>{4096});
}

TEST_CASE("entropy source and hostile rings") {
  kMischief.descriptors(0);
  kMischief.rings(0);
  kMischief.noise(1);
}

TEST_CASE("a request of more than 4 GiB breaks the rules") {  // VIRTIO 1.2, 2.7.5
  for (const bool packed : {false, true})
    for (const u32 pieces : {256u, 257u}) {
      CAPTURE(pieces);
      RngHost m(u64{16} << 20);
      REQUIRE(m.start(kFeatureVersion1 | kFeatureIndirect | (packed ? kFeaturePacked : 0), 8));
      DriverQueue queue(m, packed, 8, true);
      // The table would be overwritten with random numbers: it must have been read by then.
      queue.add(std::vector<Segment>(pieces, {0, 16u << 20, true}));
      m.notify();
      CHECK((m.status() & 0x40) == (pieces > 256 ? 0x40 : 0));
    }
}
