#include "core/machine/png_file.hpp"

#include <png.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace doppel::machine {

std::string write_png(const devices::vga::Surface& surface, const std::string& path) {
  std::vector<u8> pixels;
  pixels.reserve(surface.pixels().size() * 3);
  for (const u32 pixel : surface.pixels())
    pixels.insert(pixels.end(),
                  {static_cast<u8>(pixel >> 16), static_cast<u8>(pixel >> 8), static_cast<u8>(pixel)});

  const auto close = [](std::FILE* open) { std::fclose(open); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "wbe"), close);
  if (!file) return std::strerror(errno);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = surface.width();
  image.height = surface.height();
  image.format = PNG_FORMAT_RGB;
  if (!png_image_write_to_stdio(&image, file.get(), 0, pixels.data(), 0, nullptr)) return image.message;
  return std::fflush(file.get()) == 0 ? "" : std::strerror(errno);
}

}  // namespace doppel::machine
