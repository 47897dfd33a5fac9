// A disk behind an NBD connection to qemu-nbd, which reads and writes qcow2, VMDK, VDI and VHDX. libnbd
// speaks the protocol. Made by open_image().
#pragma once

#include <memory>
#include <string>

#include "devices/storage/block_image.hpp"

namespace doppel::devices {

struct ServedImage {
  std::string path;
  std::string format;  // as qemu-nbd calls it
  bool read_only = false;
  bool unsafe = false;  // flushes do nothing
};

// Starts the server and connects. Throws ImageError.
[[nodiscard]] std::unique_ptr<BlockImage> open_with_server(const ServedImage& image);

}  // namespace doppel::devices
