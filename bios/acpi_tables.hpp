// The ACPI tables of the machine: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET and DSDT, for guests that no
// firmware image starts. The numbers come from devices/pc_layout.hpp; what varies is in AcpiConfig. It knows
// no boot protocol. Source: ACPI Specification 6.x.
#pragma once

#include <optional>
#include <string>

#include "bios/bytes.hpp"
#include "core/guest_ram.hpp"

namespace doppel::bios {

struct AcpiConfig {
  u32 cpus = 1;      // local APIC ids 0 .. cpus-1
  bool vga = false;  // whether the guest may probe for VGA hardware
  bool msi = true;   // whether PCI devices may use message-signalled interrupts
};

// All tables as they lie in memory from physical address `base` on; the RSDP is first.
[[nodiscard]] Bytes build_acpi_tables(const AcpiConfig& config, u32 base);

// The DSDT's byte code, without the table header.
[[nodiscard]] Bytes build_dsdt_aml(const AcpiConfig& config);

// Puts the tables at devices::kFirmwareTables, which is also the address of the RSDP. Returns an error
// sentence, or nothing.
[[nodiscard]] std::optional<std::string> place_acpi_tables(const AcpiConfig& config, core::GuestRam& ram);

}  // namespace doppel::bios
