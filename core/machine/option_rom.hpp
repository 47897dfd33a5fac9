// Expansion ROMs of PCI functions: found as files of the host, and shown where a base address register puts
// them. Used by the board's display and network cards.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "devices/pci_function.hpp"
#include "mmu/physical_memory.hpp"

namespace doppel::machine {

// The file's bytes, filled up to a power of two as a base address register needs them; empty if there is no
// such file, or if it has more than `limit` bytes.
[[nodiscard]] std::vector<u8> read_option_rom(const std::string& path, std::size_t limit);

// Shows bytes of a device in the guest's memory. `remapped` is called when they moved: cached translations
// are stale. All outlive the function that the mapper is for.
[[nodiscard]] devices::PciFunction::Mapper map_device_memory(mmu::PhysicalMemory& memory,
                                                             std::function<void()> remapped,
                                                             std::span<u8> bytes, bool writable);

}  // namespace doppel::machine
