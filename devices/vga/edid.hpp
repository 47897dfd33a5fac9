// What the monitor says about itself: 128 bytes of EDID 1.3, shown by the VGA's register block. Drivers take
// their preferred mode from it.
#pragma once

#include <array>

#include "core/types.hpp"

namespace doppel::devices::vga {

inline constexpr u32 kEdidSize = 128;

[[nodiscard]] const std::array<u8, kEdidSize>& edid();

}  // namespace doppel::devices::vga
