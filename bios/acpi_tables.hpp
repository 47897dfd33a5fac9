// The ACPI tables of the machine: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET and DSDT. Without firmware they
// are linked and put into RAM here; with firmware they travel unlinked (acpi_loader.hpp). The numbers come
// from devices/pc_layout.hpp; what varies is in AcpiConfig. It knows no boot protocol. Source: ACPI
// Specification 6.x.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bios/bytes.hpp"
#include "core/guest_ram.hpp"

namespace doppel::bios {

struct AcpiConfig {
  u32 cpus = 1;     // local APIC ids 0 .. cpus-1
  bool vga = true;  // whether the guest may probe for VGA hardware
  bool msi = true;  // whether PCI devices may use message-signalled interrupts
};

// Tables whose addresses are not decided: every pointer holds an offset into `tables`, every checksum is
// zero.
struct AcpiImage {
  struct Pointer {
    bool in_rsdp;  // else in `tables`
    u32 offset;
    u8 size;
  };
  struct Checksum {  // the byte at `offset` makes `length` bytes from `start` sum to zero
    bool in_rsdp;
    u32 offset, start, length;
  };
  Bytes rsdp, tables;
  std::vector<Pointer> pointers;
  std::vector<Checksum> checksums;  // to be computed in this order, after all pointers
};
[[nodiscard]] AcpiImage build_acpi_image(const AcpiConfig& config);

// All tables as they lie in memory from physical address `base` on; the RSDP is first.
[[nodiscard]] Bytes build_acpi_tables(const AcpiConfig& config, u32 base);

// The DSDT's byte code, without the table header.
[[nodiscard]] Bytes build_dsdt_aml(const AcpiConfig& config);

// Puts the tables at devices::kFirmwareTables, which is also the address of the RSDP. Returns an error
// sentence, or nothing.
[[nodiscard]] std::optional<std::string> place_acpi_tables(const AcpiConfig& config, core::GuestRam& ram);

}  // namespace doppel::bios
