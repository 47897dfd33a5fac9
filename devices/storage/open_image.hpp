// From a file's name to a BlockImage: finds out its format, opens and locks it, starts a storage server for
// formats other than raw, puts an overlay on top. Every mistake that a user can make ends in an ImageError
// that says what to do.
#pragma once

#include <memory>
#include <string>

#include "devices/storage/block_image.hpp"
#include "devices/storage/image_format.hpp"

namespace doppel::devices {

struct ImageOptions {
  std::string path;
  ImageFormat format = ImageFormat::kAuto;
  bool read_only = false;
  bool snapshot = false;  // writes go to a temporary overlay
  bool unsafe = false;    // flushes do nothing
  u32 sector = 512;       // the disk's size is a multiple of it
  // The disk's size for a raw file of `bytes`; null: rounded up to `sector`. What the file lacks reads as
  // zeroes.
  u64 (*disk_size)(u64 bytes) = nullptr;
};

[[nodiscard]] std::unique_ptr<BlockImage> open_image(const ImageOptions& options);

}  // namespace doppel::devices
