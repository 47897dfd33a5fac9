#include "core/machine/option_rom.hpp"

#include <algorithm>
#include <bit>
#include <fstream>
#include <iterator>
#include <optional>

namespace doppel::machine {

std::vector<u8> read_option_rom(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  std::vector<u8> rom{std::istreambuf_iterator<char>(file), {}};
  if (rom.empty() || rom.size() > limit) return {};
  rom.resize(std::bit_ceil(std::max<std::size_t>(rom.size(), core::kPageSize)));
  return rom;
}

devices::PciFunction::Mapper map_device_memory(mmu::PhysicalMemory& memory, std::function<void()> remapped,
                                               std::span<u8> bytes, bool writable) {
  return [&memory, remapped = std::move(remapped), bytes, writable,
          at = std::optional<u64>()](std::optional<u64> base) mutable {
    if (at) memory.unmap_device(*at);
    at = base && memory.map_device(*base, bytes, writable) ? base : std::nullopt;
    remapped();
    return at == base;
  };
}

}  // namespace doppel::machine
