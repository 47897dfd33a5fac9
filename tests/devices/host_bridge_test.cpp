#include "devices/host_bridge.hpp"

#include <doctest.h>

#include <map>

using namespace doppel;
using namespace doppel::devices;

namespace {

struct Route {
  u64 size;
  bool reads, writes;
  bool operator==(const Route&) const = default;
};

struct Fixture {
  Fixture() { bridge.reset(); }
  std::map<u64, Route> routes;
  u32 calls = 0;
  HostBridge bridge{[this](u64 base, u64 size, bool reads, bool writes) {
    routes[base] = {size, reads, writes};
    ++calls;
  }};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "after reset nothing below 1 MiB is shadowed, and all segments are known") {
  CHECK(routes.size() == 14);
  u64 covered = 0;
  for (const auto& [base, route] : routes) {
    CHECK_FALSE((route.reads || route.writes));
    covered += route.size;
  }
  CHECK(covered == 0x6'0000);  // 0xa0000-0xfffff
  CHECK(routes.contains(0xa'0000));
}

TEST_CASE_FIXTURE(Fixture, "each PAM nibble routes its segment, reads and writes apart") {
  struct Case {
    u8 offset, value;
    u64 base, size;
    bool reads, writes;
  };
  for (const Case& c :
       {Case{0x59, 0x10, 0xf'0000, 0x1'0000, true, false}, Case{0x59, 0x20, 0xf'0000, 0x1'0000, false, true},
        Case{0x59, 0x30, 0xf'0000, 0x1'0000, true, true}, Case{0x59, 0x03, 0xf'0000, 0x1'0000, false, false},
        Case{0x5a, 0x01, 0xc'0000, 0x4000, true, false}, Case{0x5a, 0x10, 0xc'4000, 0x4000, true, false},
        Case{0x5b, 0x02, 0xc'8000, 0x4000, false, true}, Case{0x5c, 0x30, 0xd'4000, 0x4000, true, true},
        Case{0x5d, 0x03, 0xd'8000, 0x4000, true, true}, Case{0x5e, 0x30, 0xe'4000, 0x4000, true, true},
        Case{0x5f, 0x03, 0xe'8000, 0x4000, true, true}, Case{0x5f, 0x30, 0xe'c000, 0x4000, true, true}}) {
    bridge.reset();
    const u32 before = calls;
    bridge.config_write(c.offset, 1, c.value);
    CAPTURE(c.offset);
    CAPTURE(c.value);
    CHECK(routes[c.base] == Route{c.size, c.reads, c.writes});
    CHECK(calls - before == (c.reads || c.writes ? 1 : 0));
    bridge.config_write(c.offset, 1, c.value);
    CHECK(calls - before == (c.reads || c.writes ? 1 : 0));  // no change, no call
  }
  bridge.shadow_everything();
  for (const auto& [base, route] : routes) CHECK((route.reads && route.writes) == (base >= 0xc'0000));
}

TEST_CASE_FIXTURE(Fixture, "SMRAM: open, closed, locked until reset") {
  const auto open = [this] { return routes[0xa'0000].reads && routes[0xa'0000].writes; };
  bridge.config_write(0x72, 1, 0x40);
  CHECK(open());
  CHECK(bridge.config_read(0x72, 1) == 0x42);
  bridge.config_write(0x72, 1, 0x60);
  CHECK_FALSE(open());
  bridge.config_write(0x72, 1, 0x58);  // open and locked: the lock wins
  CHECK_FALSE(open());
  CHECK(bridge.config_read(0x72, 1) == 0x1a);
  bridge.config_write(0x70, 4, 0x0040'0000);
  CHECK_FALSE(open());
  CHECK(bridge.config_read(0x72, 1) == 0x1a);
  bridge.reset();
  bridge.config_write(0x72, 1, 0x40);
  CHECK(open());
}

TEST_CASE("a snapshot of the host bridge routes RAM as it was") {
  Fixture f, g;
  f.bridge.config_write(0x59, 1, 0x30);
  core::SnapshotIo saved;
  f.bridge.snapshot(saved);
  core::SnapshotIo loading(saved.stream());
  g.bridge.snapshot(loading);
  CHECK(g.routes == f.routes);
}
