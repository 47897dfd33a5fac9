#include <doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "bios/bytes.hpp"
#include "bios/e820.hpp"
#include "bios/kernel_image.hpp"

using namespace doppel;
using namespace doppel::bios;

namespace {

// $DOPPEL_TEST_KERNEL, and whatever distribution kernels are installed here.
std::vector<std::filesystem::path> installed_kernels() {
  std::vector<std::filesystem::path> found;
  if (const char* named = std::getenv("DOPPEL_TEST_KERNEL")) found.emplace_back(named);
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/boot", none))
    if (entry.path().filename().string().starts_with("vmlinuz-")) found.push_back(entry.path());
  return found;
}

}  // namespace

TEST_CASE("distribution kernels boot up to their 64-bit entry") {
  for (const auto& path : installed_kernels()) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) continue;  // not readable for this user
    const Bytes kernel{std::istreambuf_iterator<char>(stream), {}};
    CAPTURE(path.string());
    core::GuestRam ram(512 * kOneMiB);
    core::CpuState state;
    CHECK(kernel_kind(kernel) == KernelKind::kLinux);
    const Error error = boot({.kernel = kernel, .command_line = "quiet"}, ram, state);
    REQUIRE_MESSAGE(!error, *error);
    CHECK(state.code_bits == 64);
    CHECK(ram.host(state.rip) != nullptr);
    core::GuestRam small(16 * kOneMiB);
    CHECK(boot({.kernel = kernel}, small, state));
  }
}
