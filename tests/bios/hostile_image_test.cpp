#include <doctest.h>

#include <random>
#include <string>

#include "bios/e820.hpp"
#include "bios/kernel_image.hpp"
#include "core/cpu_state.hpp"
#include "tests/bios/synthetic_images.hpp"

using namespace doppel;
using namespace doppel::bios;
using namespace doppel::bios::test;

namespace {

constexpr u64 kRamSize = 64 * kOneMiB;

// Either a sentence, or an entry in RAM.
void check_survives(const Bytes& kernel, core::GuestRam& ram) {
  core::CpuState state;
  const Bytes module(100);
  const Error error = boot(
      {.kernel = kernel, .modules = {{module, "m"}}, .command_line = "x", .rng_seed = Bytes(32)}, ram, state);
  if (error)
    CHECK(error->back() == '.');
  else
    CHECK(ram.host(state.rip) != nullptr);
}

const std::vector<Bytes>& images() {
  static const std::vector<Bytes> all = {BzImage{}.build(), BzImage{.relocatable = 0}.build(), pvh_kernel(),
                                         multiboot_kernel(), multiboot_flat_kernel()};
  return all;
}

}  // namespace

TEST_CASE("a kernel file cut anywhere gives a sentence or an entry in RAM") {
  core::GuestRam ram(kRamSize);
  for (const Bytes& image : images())
    for (std::size_t size = 0; size < image.size(); size += size < 0x700 ? 5 : 97)
      check_survives(Bytes(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size)), ram);
}

TEST_CASE("a kernel file with random damage gives a sentence or an entry in RAM") {
  constexpr u32 kSeed = 0x5eed;
  constexpr int kRounds = 400;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  core::GuestRam ram(kRamSize);
  for (const Bytes& image : images())
    for (int round = 0; round < kRounds; ++round) {
      Bytes damaged = image;
      // Most damage goes where the headers are.
      const std::size_t reach = std::min<std::size_t>(image.size(), round % 4 == 0 ? image.size() : 0x280);
      const std::size_t from = image.size() > 0x600 && round % 2 ? 0x1f0 : 0;
      for (u32 flips = random() % 4 + 1; flips > 0; --flips) {
        const std::size_t at = from + random() % (reach - from);
        damaged[at] = random() % 3 == 0 ? 0xff : static_cast<u8>(damaged[at] ^ 1u << random() % 8);
      }
      check_survives(damaged, ram);
    }
}
