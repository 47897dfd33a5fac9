// Firmware images: where they are found, which files can be one, and how they lie in the address space. The
// machine makes ROMs of what this says. It knows nothing of the firmware's inside.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::bios {

// The image that is used when the user names none: SeaBIOS as Debian's package "seabios" installs it.
inline constexpr const char* kDefaultFirmware = "/usr/share/seabios/bios-256k.bin";
inline constexpr u64 kMaxFirmwareSize = u64{16} << 20;

// A sentence that says why `image` is none, or nothing.
[[nodiscard]] std::optional<std::string> check_firmware(std::span<const u8> image);

// A part of the image as ROM at a physical address.
struct RomPart {
  u64 base;
  std::span<const u8> bytes;
};
// All of it ends at 4 GiB, where the reset vector is; its last 128 KiB (or less) appear below 1 MiB too.
[[nodiscard]] std::vector<RomPart> place_firmware(std::span<const u8> image);

}  // namespace doppel::bios
