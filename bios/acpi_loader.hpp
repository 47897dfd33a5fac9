// The ACPI tables as files for firmware: the firmware allocates memory for them, fills in addresses and
// checksums as the loader script says, and announces the RSDP. Source: QEMU, hw/acpi/bios-linker-loader.c
// (the format of the script, which SeaBIOS and OVMF read).
#pragma once

#include "bios/acpi_tables.hpp"

namespace doppel::bios {

inline constexpr std::string_view kAcpiTablesFile = "etc/acpi/tables", kAcpiRsdpFile = "etc/acpi/rsdp";

struct AcpiFiles {
  Bytes tables, rsdp, loader;
};

[[nodiscard]] AcpiFiles build_acpi_files(const AcpiConfig& config);

}  // namespace doppel::bios
