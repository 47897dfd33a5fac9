// Firmware images: where they are found, which files can be one, and how they lie in the address space. The
// machine makes ROMs of what this says. It knows nothing of the firmware's inside.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace doppel::bios {

// The image that is used when the user names none: SeaBIOS as Debian's package "seabios" installs it.
inline constexpr const char* kDefaultFirmware = "/usr/share/seabios/bios-256k.bin";
// The one for machines that keep UEFI variables: OVMF as Debian's package "ovmf" installs it.
inline constexpr const char* kUefiFirmware = "/usr/share/OVMF/OVMF_CODE_4M.fd";
inline constexpr u64 kMaxFirmwareSize = u64{16} << 20;

// A sentence that says why `image` is none, or nothing.
[[nodiscard]] std::optional<std::string> check_firmware(std::span<const u8> image);

// The same for an image together with a store of `size` bytes for its variables.
[[nodiscard]] std::optional<std::string> check_variable_store(std::span<const u8> image, u64 size);
// Where the image of a new store is found, by the firmware's name: OVMF_CODE_4M.fd has OVMF_VARS_4M.fd beside
// it. Empty: nobody knows.
[[nodiscard]] std::string original_variable_store(std::string_view firmware);

// A part of the image as ROM at a physical address.
struct RomPart {
  u64 base;
  std::span<const u8> bytes;
};
// All of it ends at 4 GiB, where the reset vector is; its last 128 KiB (or less) appear below 1 MiB too.
[[nodiscard]] std::vector<RomPart> place_firmware(std::span<const u8> image);
// The store of variables is a flash chip right below the image.
[[nodiscard]] u64 variable_store_base(std::span<const u8> image, u64 size);

}  // namespace doppel::bios
