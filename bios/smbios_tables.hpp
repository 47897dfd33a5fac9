// SMBIOS structures that describe the machine to inventory tools: BIOS, system, enclosure, processors,
// memory, boot status. Firmware gets them through fw_cfg and puts them where guests look. Source: DMTF
// DSP0134, System Management BIOS Reference Specification 2.8.
#pragma once

#include "bios/bytes.hpp"

namespace doppel::bios {

struct SmbiosConfig {
  u32 cpus = 1;
  u64 ram_size = 0;  // bytes
};

struct SmbiosTables {
  Bytes anchor;  // the 32-bit entry point; the address of the tables and the checksums are left to firmware
  Bytes tables;
};

[[nodiscard]] SmbiosTables build_smbios_tables(const SmbiosConfig& config);

}  // namespace doppel::bios
