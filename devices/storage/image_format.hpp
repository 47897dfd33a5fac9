// What kind of file an image is, by its first bytes, and the names that `format=` accepts. Used when an image
// is opened and, for a raw image whose format was guessed, before its first sector is written.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace doppel::devices {

enum class ImageFormat : u8 { kAuto, kRaw, kQcow2, kVmdk, kVdi, kVhdx };

// "auto", "raw", "qcow2", ... in the order of ImageFormat.
[[nodiscard]] const std::vector<std::string>& image_format_names();
[[nodiscard]] std::optional<ImageFormat> image_format(std::string_view name);
[[nodiscard]] const std::string& image_format_name(ImageFormat format);

// How many of an image's first bytes detect_format() looks at.
inline constexpr std::size_t kFormatBytes = 512;
// kRaw for everything that has no other format's mark.
[[nodiscard]] ImageFormat detect_format(std::span<const u8> first_bytes);

}  // namespace doppel::devices
