// What the user wants started without firmware: a kernel file, its modules and its command line, and the
// facts about the machine that the kernel is told. Filled by the machine, read by the boot protocols.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bios/acpi_tables.hpp"

namespace doppel::bios {

// A sentence for the user, or nothing when all went well.
using Error = std::optional<std::string>;

struct BootModule {
  std::span<const u8> bytes;
  std::string text;  // the module's own command line, where the protocol has one
};

struct BootRequest {
  std::span<const u8> kernel;
  std::vector<BootModule> modules;  // the initial RAM disk; Linux gets several as one
  std::string command_line;
  bool linux_32bit_entry = false;  // start bzImages at their 32-bit entry even if they have a 64-bit one
  std::vector<u8> rng_seed;        // entropy for kernels that take some; may be empty
  AcpiConfig acpi;
  u32 physical_address_bits = 40;  // as CPUID reports it
};

}  // namespace doppel::bios
