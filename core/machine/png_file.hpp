// Pictures of the screen as PNG files, by libpng.
#pragma once

#include <string>

#include "devices/vga/surface.hpp"

namespace doppel::machine {

// Writes or replaces the file. Returns why not, or "".
[[nodiscard]] std::string write_png(const devices::vga::Surface& surface, const std::string& path);

}  // namespace doppel::machine
