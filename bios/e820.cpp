#include "bios/e820.hpp"

#include "devices/pc_layout.hpp"

namespace doppel::bios {

namespace {
constexpr u64 kFirmwareRom = 0xfffc'0000;  // the ROM below 4 GiB that holds the reset vector
}

std::vector<E820Entry> memory_map(const core::GuestRam& ram) {
  std::vector<E820Entry> map = {
      {0, kEbda, E820Type::kRam},
      {kEbda, kEndOfBaseRam - kEbda, E820Type::kReserved},
      {devices::kFirmwareTables, kOneMiB - devices::kFirmwareTables, E820Type::kReserved},
      {kOneMiB, ram.below_4g() - kOneMiB, E820Type::kRam},
      {devices::kIoApicBase, core::kPageSize, E820Type::kReserved},
      {devices::kHpetBase, core::kPageSize, E820Type::kReserved},
      {devices::kLocalApicBase, core::kPageSize, E820Type::kReserved},
      {kFirmwareRom, core::kFourGiB - kFirmwareRom, E820Type::kReserved},
      {core::kFourGiB, ram.above_4g(), E820Type::kRam},
  };
  std::erase_if(map, [](const E820Entry& entry) { return entry.size == 0; });
  return map;
}

}  // namespace doppel::bios
