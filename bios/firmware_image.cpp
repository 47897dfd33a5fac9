#include "bios/firmware_image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "bios/e820.hpp"

namespace doppel::bios {

namespace {

constexpr u64 kGranule = u64{4} << 10, kLegacyWindow = u64{128} << 10;

// How a firmware volume begins that holds variables: 16 bytes of zeroes, then EFI_SYSTEM_NV_DATA_FV_GUID
// (UEFI PI Specification, Volume 3, "Firmware Volume Format").
constexpr std::array<u8, 32> kVariableVolume = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};

}  // namespace

std::optional<std::string> check_firmware(std::span<const u8> image) {
  if (!image.empty() && image.size() % kGranule == 0 && image.size() <= kMaxFirmwareSize) return std::nullopt;
  return fmt::format("it has {} bytes; a firmware image has a multiple of 4 KiB, up to {} MiB", image.size(),
                     kMaxFirmwareSize >> 20);
}

std::optional<std::string> check_variable_store(std::span<const u8> image, u64 size) {
  if (std::ranges::equal(image.first(std::min(image.size(), kVariableVolume.size())), kVariableVolume))
    return "this firmware image has a store of variables in itself, which is not kept; name the one without "
           "it, such as OVMF_CODE_4M.fd";
  // Built as one image and then cut in two.
  if (!std::has_single_bit(image.size() + size))
    return fmt::format(
        "a store of {} KiB does not belong to firmware of {} KiB; name the two that were built together, "
        "such as OVMF_CODE_4M.fd and a copy of OVMF_VARS_4M.fd",
        size >> 10, image.size() >> 10);
  return std::nullopt;
}

std::string original_variable_store(std::string_view firmware) {
  constexpr std::string_view kCode = "CODE";
  const std::size_t at = firmware.rfind(kCode);
  if (at == std::string_view::npos || firmware.find('/', at) != std::string_view::npos) return "";
  return std::string(firmware).replace(at, kCode.size(), "VARS");
}

u64 variable_store_base(std::span<const u8> image, u64 size) {
  return core::kFourGiB - image.size() - size;
}

std::vector<RomPart> place_firmware(std::span<const u8> image) {
  const auto low = image.last(std::min<u64>(image.size(), kLegacyWindow));
  return {{core::kFourGiB - image.size(), image}, {kOneMiB - low.size(), low}};
}

}  // namespace doppel::bios
