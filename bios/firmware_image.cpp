#include "bios/firmware_image.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bios/e820.hpp"

namespace doppel::bios {

namespace {

constexpr u64 kGranule = u64{64} << 10, kLegacyWindow = u64{128} << 10;

}  // namespace

std::optional<std::string> check_firmware(std::span<const u8> image) {
  if (!image.empty() && image.size() % kGranule == 0 && image.size() <= kMaxFirmwareSize) return std::nullopt;
  return fmt::format("it has {} bytes; a firmware image has a multiple of 64 KiB, up to {} MiB", image.size(),
                     kMaxFirmwareSize >> 20);
}

std::vector<RomPart> place_firmware(std::span<const u8> image) {
  const auto low = image.last(std::min<u64>(image.size(), kLegacyWindow));
  return {{core::kFourGiB - image.size(), image}, {kOneMiB - low.size(), low}};
}

}  // namespace doppel::bios
