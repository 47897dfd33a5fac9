#include <doctest.h>

#include <vector>

#include "bios/e820.hpp"
#include "bios/entry_state.hpp"
#include "bios/ram_planner.hpp"

using namespace doppel;
using namespace doppel::bios;

namespace {
constexpr u64 kGiB = u64{1} << 30;

u64 usable(const std::vector<E820Entry>& map) {
  u64 sum = 0;
  for (const E820Entry& entry : map)
    if (entry.type == E820Type::kRam) sum += entry.size;
  return sum;
}
}  // namespace

TEST_CASE("the memory map is sorted, does not overlap, and its RAM is the machine's") {
  for (const u64 size : {kOneMiB, 2 * kOneMiB, 3 * kGiB, 3 * kGiB + kOneMiB, 9 * kGiB}) {
    const core::GuestRam ram(size);
    const auto map = memory_map(ram);
    CAPTURE(size);
    for (std::size_t i = 0; i + 1 < map.size(); ++i) CHECK(map[i].base + map[i].size <= map[i + 1].base);
    for (const E820Entry& entry : map) {
      CHECK(entry.size != 0);
      if (entry.type != E820Type::kRam) continue;
      CHECK(ram.host(entry.base) != nullptr);
      CHECK(ram.offset_of(entry.base + entry.size - 1) == ram.offset_of(entry.base) + entry.size - 1);
    }
    CHECK(usable(map) == size - (kOneMiB - kEbda));
  }
  CHECK(memory_map(core::GuestRam(9 * kGiB)).back() == E820Entry{4 * kGiB, 6 * kGiB, E820Type::kRam});
}

TEST_CASE("claims stay in usable RAM and never overlap") {
  core::GuestRam ram(16 * kOneMiB);
  RamPlanner planner(ram);
  struct Case {
    u64 base, size;
    bool taken;
  };
  for (const Case& c : {Case{0, 16, false},
                        {0x1000, 0x1000, true},
                        {0x1fff, 2, false},
                        {0x9'f000, 0xc00, true},
                        {0x9'fc00, 1, false},
                        {0xe'0000, 1, false},
                        {kOneMiB - 1, 2, false},
                        {kOneMiB, 0x1000, true},
                        {kOneMiB + 0xfff, 1, false},
                        {kOneMiB + 0x1000, 1, true},
                        {16 * kOneMiB - 1, 1, true},
                        {16 * kOneMiB - 2, 2, false},
                        {16 * kOneMiB, 1, false},
                        {2 * kOneMiB, ~u64{0}, false},
                        {~u64{0}, 2, false},
                        {2 * kOneMiB, 0, true}}) {
    CAPTURE(c.base);
    CAPTURE(c.size);
    CHECK(planner.claim(c.base, c.size) == c.taken);
  }
}

TEST_CASE("the lowest and the highest free place are found, aligned") {
  core::GuestRam ram(16 * kOneMiB);
  RamPlanner planner(ram);
  CHECK(planner.claim_lowest(0x100, 0x1000, 0) == 0x1000);
  CHECK(planner.claim_lowest(0x100, 0x1000, 0) == 0x2000);
  CHECK(planner.claim_lowest(0x100, 16, 0x1'0004) == 0x1'0010);
  CHECK(planner.claim_lowest(kOneMiB, 0x1000, 0) == kOneMiB);
  CHECK(planner.claim_highest(0x1001, 0x1000, ~u64{0}) == 16 * kOneMiB - 0x2000);
  CHECK(planner.claim_highest(0x1000, 0x1000, 8 * kOneMiB) == 8 * kOneMiB - 0x1000);
  CHECK(planner.claim_highest(0x1000, 0x1000, 8 * kOneMiB) == 8 * kOneMiB - 0x2000);
  CHECK(planner.claim_highest(0x100, 0x1000, 0x9'ffff) == 0x9'f000);
  CHECK_FALSE(planner.claim_lowest(16 * kOneMiB, 1, 0));
  CHECK_FALSE(planner.claim_highest(16 * kOneMiB, 1, ~u64{0}));
  CHECK_FALSE(planner.claim_highest(0x1000, 1, 0x1000));
}

TEST_CASE("identity page tables map every 2 MiB to itself") {
  for (const u64 end : {u64{0}, 4 * kGiB, 5 * kGiB + 1}) {
    core::GuestRam ram(16 * kOneMiB);
    RamPlanner planner(ram);
    const auto root = identity_page_tables(planner, end);
    REQUIRE(root);
    const auto entry = [&](u64 table, u64 index) {
      u64 value = 0;
      CHECK(ram.read(table + index * 8, {reinterpret_cast<u8*>(&value), 8}));
      return value;
    };
    constexpr u64 kAddress = ~u64{0xfff};
    const u64 mapped = std::max(4 * kGiB, (end + kGiB - 1) / kGiB * kGiB);
    for (u64 pa = 0; pa < mapped; pa += 0x3fe0'0000) {
      const u64 pdpte = entry(entry(*root, 0) & kAddress, pa / kGiB);
      const u64 pde = entry(pdpte & kAddress, pa / 0x20'0000 % 512);
      CHECK(pde == ((pa & ~u64{0x1f'ffff}) | 0x83));
    }
    CHECK(entry(entry(*root, 0) & kAddress, mapped / kGiB) == 0);
  }
}
