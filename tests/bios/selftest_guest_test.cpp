#include "bios/selftest_guest.hpp"

#include <doctest.h>

#include <algorithm>
#include <string>
#include <string_view>

using namespace doppel;
using namespace doppel::bios;

TEST_CASE("the self-test guest lies at 0x7c00 and starts there in real mode") {
  core::GuestRam ram(0x10'0000);
  core::CpuState state;
  state.cr0 |= core::kCr0Pe;
  load_selftest(ram, state);
  CHECK(core::real_mode(state));
  CHECK(state.code_bits == 16);
  CHECK(state.segment[core::kCs].base + state.rip == 0x7c00);
  CHECK(*ram.host(0x7c00) == 0xfa);  // CLI
  CHECK(0x7c00 + selftest_image().size() < 0x10000);
  CHECK(std::equal(selftest_image().begin(), selftest_image().end(), ram.host(0x7c00)));
}

TEST_CASE("the self-test guest names every step on its console") {
  const auto image = selftest_image();
  const std::string_view text(reinterpret_cast<const char*>(image.data()), image.size());
  for (const char* step : kSelftestSteps) CHECK(text.find(std::string(step) + ": ok\n") != text.npos);
}
