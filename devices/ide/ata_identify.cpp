#include "devices/ide/ata_identify.hpp"

#include <algorithm>
#include <cstring>

namespace doppel::devices {

namespace {

constexpr u64 kLargestLba28 = 0x0fff'ffff;
constexpr u16 kMultiwordModes = 0x07, kUltraModes = 0x3f;  // 0 to 2, 0 to 5
constexpr u16 kPioModes = 0x03;                            // 3 and 4

class Words {
 public:
  explicit Words(std::span<u8> bytes) : bytes_(bytes) { std::fill(bytes.begin(), bytes.end(), u8{0}); }
  void set(u32 word, u64 value, u32 words = 1) { std::memcpy(&bytes_[word * 2], &value, words * 2); }
  // ATA strings: padded with spaces, the two characters of a word swapped.
  void text(u32 word, u32 words, const std::string& value) {
    for (u32 i = 0; i < words * 2; ++i)
      bytes_[word * 2 + (i ^ 1)] = i < value.size() ? static_cast<u8>(value[i]) : ' ';
  }

 private:
  std::span<u8> bytes_;
};

void names(Words& words, const std::string& serial, const char* model) {
  words.text(10, 10, serial);
  words.text(23, 4, "1.0");
  words.text(27, 20, model);
}

// Words 62-68 and 88: what can be done, and (high byte) what was chosen.
void transfer_modes(Words& words, u8 mode) {
  const u16 chosen = static_cast<u16>(1u << (mode & 7) << 8);
  words.set(53, 0x0006);  // words 64-70 and 88 are valid
  words.set(63, kMultiwordModes | (mode >> 3 == 4 ? chosen : 0));
  words.set(64, kPioModes);
  for (const u32 word : {65, 66, 67, 68}) words.set(word, 120);  // nanoseconds for a cycle
  words.set(88, kUltraModes | (mode >> 3 == 8 ? chosen : 0));
}

}  // namespace

void identify_ata_disk(const AtaIdentity& identity, std::span<u8> out) {
  Words words(out);
  const u64 lba28 = std::min(identity.sectors, kLargestLba28);
  const u64 native_cylinders = std::min<u64>(identity.sectors / (16 * 63), 16383);
  const u32 track = u32{identity.heads} * identity.sectors_per_track;
  const u64 cylinders = std::min<u64>(std::min<u64>(identity.sectors, u64{16383} * 16 * 63) / track, 65535);
  words.set(0, 0x0040);  // not removable
  words.set(1, native_cylinders);
  words.set(3, 16);
  words.set(6, 63);
  names(words, identity.serial, "DOPPEL HARDDISK");
  words.set(47, 0x8000 | identity.largest_multiple);
  words.set(49, 0x0f00);  // IORDY, LBA, DMA
  words.set(50, 0x4000);
  transfer_modes(words, identity.dma_mode);
  words.set(53, 0x0007);  // 54-58 too
  words.set(54, cylinders);
  words.set(55, identity.heads);
  words.set(56, identity.sectors_per_track);
  words.set(57, cylinders * track, 2);
  words.set(59, identity.multiple ? 0x0100 | identity.multiple : 0);
  words.set(60, lba28, 2);
  words.set(80, 0x00f0);  // ATA/ATAPI-4 to -7
  words.set(81, 0x001a);  // T13 1532D version 4b
  // Supported and (85-87) enabled: NOP, write cache, SMART; 48-bit addresses, both flushes; FUA.
  words.set(82, 0x4021);
  words.set(83, 0x7400);
  words.set(84, 0x4040);
  words.set(85, 0x4000 | (identity.write_cache ? 0x20 : 0) | (identity.smart ? 1 : 0));
  words.set(86, 0x3400);
  words.set(87, 0x4040);
  words.set(93, 0x6001);  // 80-conductor cable, device 0 passed its diagnostics
  words.set(100, identity.sectors, 4);
  words.set(106, 0x6003);  // eight logical sectors in a physical one
}

void identify_atapi_cdrom(const std::string& serial, u8 dma_mode, std::span<u8> out) {
  Words words(out);
  words.set(0, 0x85c0);  // CD-ROM, removable, 50 us to the packet DRQ, 12-byte packets
  names(words, serial, "DOPPEL DVD-ROM");
  words.set(49, 0x0f00);
  transfer_modes(words, dma_mode);
  words.set(80, 0x00f0);
  words.set(82, 0x4210);  // NOP, DEVICE RESET, PACKET
  words.set(83, 0x4000);
  words.set(84, 0x4000);
  words.set(85, 0x4210);
  words.set(87, 0x4000);
  words.set(93, 0x6001);
}

}  // namespace doppel::devices
