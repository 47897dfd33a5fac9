#include "core/guest_ram.hpp"

#include <doctest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>
#include <vector>

using namespace doppel;
using namespace doppel::core;

namespace {
constexpr u64 kMiB = u64{1} << 20, kGiB = u64{1} << 30;
}

TEST_CASE("RAM splits at the PCI hole and continues at 4 GiB") {
  struct Case {
    u64 size, below, above, pa, offset;
  };
  for (const Case& c : {Case{kMiB, kMiB, 0, kMiB - 1, kMiB - 1},
                        Case{kMiB, kMiB, 0, kMiB, ~u64{0}},
                        {3 * kGiB, 3 * kGiB, 0, kPciHoleStart, ~u64{0}},
                        {3 * kGiB, 3 * kGiB, 0, kFourGiB, ~u64{0}},
                        {5 * kGiB, 3 * kGiB, 2 * kGiB, kFourGiB, 3 * kGiB},
                        {5 * kGiB, 3 * kGiB, 2 * kGiB, 6 * kGiB - 1, 5 * kGiB - 1},
                        {5 * kGiB, 3 * kGiB, 2 * kGiB, 6 * kGiB, ~u64{0}},
                        {5 * kGiB, 3 * kGiB, 2 * kGiB, kFourGiB - 1, ~u64{0}},
                        {5 * kGiB, 3 * kGiB, 2 * kGiB, ~u64{0}, ~u64{0}}}) {
    const GuestRam ram(c.size);
    CAPTURE(c.size);
    CAPTURE(c.pa);
    CHECK(ram.below_4g() == c.below);
    CHECK(ram.above_4g() == c.above);
    CHECK(ram.offset_of(c.pa) == c.offset);
    CHECK((ram.host(c.pa) == nullptr) == (c.offset == ~u64{0}));
  }
}

TEST_CASE("a size that cannot be RAM is refused") {
  for (const u64 size : {u64{0}, kMiB - kPageSize, kMiB + 1, u64{1} << 62})
    CHECK_THROWS_AS(GuestRam{size}, std::system_error);
}

TEST_CASE("fresh RAM is zero, and copies move all of a range or nothing") {
  GuestRam ram(5 * kGiB);
  std::array<u8, 4> in{1, 2, 3, 4}, out{9, 9, 9, 9};
  CHECK(ram.read(kMiB, out));
  CHECK(out == std::array<u8, 4>{});

  for (const u64 pa : {u64{0}, kPageSize - 2, kPciHoleStart - 4, kFourGiB, 6 * kGiB - 4}) {
    CAPTURE(pa);
    CHECK(ram.write(pa, in));
    CHECK(ram.read(pa, out));
    CHECK(out == in);
  }
  for (const u64 pa : {kPciHoleStart - 3, kPciHoleStart, kFourGiB - 1, 6 * kGiB - 3, 6 * kGiB, ~u64{0} - 1}) {
    CAPTURE(pa);
    out = {7, 7, 7, 7};
    CHECK_FALSE(ram.write(pa, in));
    CHECK_FALSE(ram.read(pa, out));
    CHECK(out == std::array<u8, 4>{7, 7, 7, 7});
  }
}

TEST_CASE("a second mapping of the memfd shows the same bytes") {
  GuestRam ram(kMiB);
  void* mapping = mmap(nullptr, kMiB, PROT_READ, MAP_SHARED, ram.fd(), 0);
  REQUIRE(mapping != MAP_FAILED);
  const u8 byte = 0x5a;
  CHECK(ram.write(0x1234, {&byte, 1}));
  CHECK(static_cast<const u8*>(mapping)[0x1234] == 0x5a);
  munmap(mapping, kMiB);
}

TEST_CASE("writes to code pages are reported page by page, after the bytes changed") {
  GuestRam ram(kMiB);
  std::vector<std::pair<u64, u64>> reports;
  ram.on_code_write([&](u64 pa, u64 size) {
    reports.emplace_back(pa, size);
    CHECK(*ram.host(pa) == 0xff);
  });
  ram.claim_code_page(0x1000);
  ram.claim_code_page(0x3fff);
  CHECK(ram.is_code_page(0x1fff));
  CHECK_FALSE(ram.is_code_page(0x2000));
  CHECK_FALSE(ram.is_code_page(kFourGiB));

  const std::vector<u8> data(0x3000, 0xff);
  CHECK(ram.write(0x1800, data));
  CHECK(reports == std::vector<std::pair<u64, u64>>{{0x1800, 0x800}, {0x3000, 0x1000}});
  reports.clear();
  ram.claim_code_page(0x1000);
  ram.release_code_page(0x1000);
  CHECK(ram.is_code_page(0x1000));  // of two that claimed it, one is left
  ram.release_code_page(0x1000);
  CHECK(ram.write(0x1800, {data.data(), 4}));
  CHECK(reports.empty());
}

TEST_CASE("memory comes with what lies around it, to the end of RAM") {
  GuestRam ram(4 * kGiB + 3 * kPageSize);
  const auto resident = [&](u64 first, u64 pages) {
    std::vector<u8> there(pages);
    CHECK(::mincore(ram.host(first), pages * kPageSize, there.data()) == 0);
    return std::ranges::count(there, 1);
  };
  CHECK(resident(0, 64) == 0);
  ram.prepare(17 * kPageSize);
  CHECK(resident(0, 64) == 16);
  CHECK(resident(16 * kPageSize, 16) == 16);
  const u64 last = 5 * kGiB + 2 * kPageSize;
  ram.prepare(last);
  CHECK(resident(5 * kGiB, 3) == 3);
  // What was given back is not there until it is used.
  CHECK(ram.give_to_host(5 * kGiB, kPageSize));
  ram.prepare(5 * kGiB);
  CHECK(resident(5 * kGiB, 3) == 2);
  CHECK(*ram.host(5 * kGiB) == 0);
}
