// The 256 words that IDENTIFY DEVICE and IDENTIFY PACKET DEVICE answer. Used by the two drives.
#pragma once

#include <span>
#include <string>

#include "core/types.hpp"

namespace doppel::devices {

struct AtaIdentity {
  std::string serial;
  u64 sectors = 0;
  u8 heads = 16, sectors_per_track = 63;  // the current translation
  u8 multiple = 0, largest_multiple = 0;
  u8 dma_mode = 0;  // 0x20 + n: multiword DMA n, 0x40 + n: Ultra DMA n, else none
  bool write_cache = false;
  bool smart = false;
};

// Fills the 512 bytes of `out`.
void identify_ata_disk(const AtaIdentity& identity, std::span<u8> out);
void identify_atapi_cdrom(const std::string& serial, u8 dma_mode, std::span<u8> out);

}  // namespace doppel::devices
