#include "devices/virtio/virtio_balloon.hpp"

#include "tests/devices/virtio_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

constexpr u64 kPageReporting = u64{1} << 5, kDeflateOnOom = u64{1} << 2;
constexpr u16 kInflate = 0, kDeflate = 1, kReporting = 2;
constexpr u64 kList = 0x8'0000, kPages = 0x20'0000;

struct BalloonHost : VirtioHost {
  BalloonHost() { attach(function); }

  void start_all(u64 features = kPageReporting) {
    REQUIRE(negotiate(kFeatureVersion1 | features));
    for (const u16 queue : {kInflate, kDeflate, kReporting}) DriverQueue::enable(*this, queue, 8);
    driver_ok();
  }
  void fill() {
    for (u64 pa = kPages; pa < kPages + 0x4'0000; pa += 8) store<u64>(pa, pa);
  }
  // Whether the page reads as zeroes; anything between is wrong.
  bool empty(u64 page) {
    u64 zeroes = 0;
    for (u64 at = 0; at < 4096; at += 8) zeroes += load<u64>(page + at) == 0;
    CHECK((zeroes == 0 || zeroes == 512));
    return zeroes == 512;
  }
  u64 returned() { return counters["virtio_balloon.returned"]; }

  VirtioBalloon model{ram, counters};
  VirtioPci function{model, ram, mmio, msi(), counters};
};
const Mischief<BalloonHost> kMischief{.queues = 3, .features = kPageReporting};

}  // namespace

TEST_CASE("the balloon's identity, features and configuration") {
  BalloonHost m;
  CHECK(m.function.config_read(0, 4) == 0x1045'1af4);
  CHECK(m.get(kCommonAt + 0x12, 2) == 3);
  m.set(kCommonAt, 4, 0);
  CHECK((m.get(kCommonAt + 4, 4) & 0xff) == (kPageReporting | kDeflateOnOom));
  m.start_all();
  CHECK(m.get(kConfigAt, 8) == 0);
  const u64 generation = m.get(kCommonAt + 0x15, 1);
  m.model.set_target(u64{1} << 20);
  CHECK(m.intx);
  CHECK(m.get(kIsrAt, 1) == 2);
  CHECK(m.get(kCommonAt + 0x15, 1) != generation);
  CHECK(m.get(kConfigAt, 4) == 256);
  m.set(kConfigAt + 4, 4, 200);
  CHECK(m.model.inflated() == 200 * 4096);
  CHECK(m.get(kConfigAt + 4, 4) == 200);
  // What the host asks for is not the driver's to change, and there is nothing behind.
  m.set(kConfigAt, 4, 7);
  m.set(kConfigAt + 8, 4, ~u32{0});
  CHECK(m.get(kConfigAt, 4) == 256);
  CHECK(m.get(kConfigAt + 8, 4) == 0);
  m.model.set_target(u64{1} << 40);  // never more than there is
  CHECK(m.get(kConfigAt, 4) == 1024);
  // A reset empties the balloon; what the host wants stays.
  m.set(kCommonAt + 0x14, 1, 0);
  CHECK(m.model.inflated() == 0);
  CHECK(m.get(kConfigAt, 4) == 1024);
}

TEST_CASE("pages put into the balloon go to the host, in any order, each once") {
  for (const bool packed : {false, true}) {
    BalloonHost m;
    m.start_all(packed ? kFeaturePacked : 0);
    DriverQueue inflate(m, packed, 8, false, kInflate), deflate(m, packed, 8, false, kDeflate);
    m.fill();
    u32 at = 0;
    for (const u32 page : {0x20au, 0x203u, 0x204u, 0x202u, 0x203u}) m.store<u32>(kList + at++ * 4, page);
    inflate.add({{kList, 20, false}});
    m.notify(kInflate);
    CHECK(inflate.used() == std::vector<u32>{0});
    CHECK(m.intx);
    for (u64 page = 0x200; page < 0x20c; ++page) {
      CAPTURE(page);
      CHECK(m.empty(page << 12) == ((page >= 0x202 && page <= 0x204) || page == 0x20a));
    }
    CHECK(m.returned() == 4 * 4096);
    // Out again: nothing to do, and the memory works.
    deflate.add({{kList, 20, false}});
    m.notify(kDeflate);
    CHECK(deflate.used() == std::vector<u32>{0});
    m.store<u64>(0x20'3000, 1);
    CHECK(m.load<u64>(0x20'3000) == 1);
    CHECK(m.returned() == 4 * 4096);
  }
}

TEST_CASE("a list with pages that are none: those that are count") {
  BalloonHost m;
  m.start_all();
  DriverQueue inflate(m, false, 8, false, kInflate);
  m.fill();
  u32 at = 0;
  for (const u32 page : {0xffff'ffffu, 0xffff'fffeu, 0u - 1, 0x10'0000u, 0x400u, 0x201u, 0xc'0000u})
    m.store<u32>(kList + at++ * 4, page);
  inflate.add({{kList, 4 * at + 3, false}});  // and three bytes of a number
  m.notify(kInflate);
  CHECK(m.status() == 15);
  CHECK(m.empty(0x20'1000));
  CHECK_FALSE(m.empty(0x20'0000));
  CHECK_FALSE(m.empty(0x20'2000));
  CHECK(m.returned() == 4096);
  // The last page of RAM and what would be the next.
  m.store<u64>(0x3f'f000, 1);
  m.store<u32>(kList, 0x3ff);
  m.store<u32>(kList + 4, 0x400);
  inflate.add({{kList, 8, false}});
  m.notify(kInflate);
  CHECK(m.load<u64>(0x3f'f000) == 0);
}

TEST_CASE("free pages are reported: whole pages of each piece, only if that was agreed") {
  for (const bool agreed : {true, false}) {
    CAPTURE(agreed);
    BalloonHost m;
    m.start_all(agreed ? kPageReporting : 0);
    DriverQueue reporting(m, false, 8, false, kReporting);
    m.fill();
    reporting.add({{kPages + 0x1000, 0x2000, true}, {kPages + 0x5800, 0x1c00, true}});
    m.notify(kReporting);
    CHECK(reporting.used() == std::vector<u32>{0});
    for (u64 page = 0; page < 9; ++page) {
      CAPTURE(page);
      CHECK(m.empty(kPages + page * 4096) == (agreed && (page == 1 || page == 2 || page == 6)));
    }
    // Readable pieces are no report.
    m.fill();
    reporting.add({{kPages, 0x1000, false}});
    m.notify(kReporting);
    CHECK_FALSE(m.empty(kPages));
    // Inside one page there is no whole one.
    reporting.add({{kPages + 8, 0xff0, true}});
    m.notify(kReporting);
    CHECK_FALSE(m.empty(kPages));
  }
}

TEST_CASE("a guest that gives its own rings away finds them empty, no more") {
  BalloonHost m;
  m.start_all();
  DriverQueue reporting(m, false, 8, false, kReporting);
  reporting.add({{0, 4u << 20, true}});
  m.notify(kReporting);
  CHECK(m.load<u16>(0x2'4002) == 0);
  CHECK(m.returned() == 4u << 20);
  m.start_all();
  CHECK(m.status() == 15);
}

TEST_CASE("code in a page that is given away is dropped") {
  BalloonHost m;
  m.start_all();
  std::vector<std::pair<u64, u64>> dropped;
  m.ram.claim_code_page(kPages);
  m.ram.on_code_write([&](u64 pa, u64 size) { dropped.emplace_back(pa, size); });
  DriverQueue inflate(m, false, 8, false, kInflate);
  m.store<u32>(kList, kPages >> 12);
  dropped.clear();
  inflate.add({{kList, 4, false}});
  m.notify(kInflate);
  CHECK(dropped == std::vector<std::pair<u64, u64>>{{kPages, 4096}});
  m.ram.release_code_page(kPages);
}

TEST_CASE("balloon and hostile rings") {
  for (const u16 queue : {kInflate, kDeflate, kReporting}) {
    CAPTURE(queue);
    kMischief.descriptors(queue);
    kMischief.rings(queue);
  }
  kMischief.noise(2, [](BalloonHost& host, Hostile& random) {
    if (random.below(8) == 0) host.model.set_target(random.value());
    if (random.below(8) == 0) host.set(kConfigAt + random.below(16), 1u << random.below(4), random.value());
  });
}

TEST_CASE("the balloon's state survives a snapshot") {
  BalloonHost from, to;
  from.start_all();
  from.model.set_target(u64{1} << 20);
  from.set(kConfigAt + 4, 4, 77);
  core::SnapshotIo saved;
  from.function.snapshot(saved);
  core::SnapshotIo loading(saved.stream());
  to.function.snapshot(loading);
  CHECK(to.model.inflated() == 77 * 4096);
  CHECK(to.get(kConfigAt, 4) == 256);
  CHECK(to.status() == 15);
}
