// What the machine tells its firmware through fw_cfg: RAM, processors, boot options, ACPI and SMBIOS tables.
// The machine calls it before every start of the firmware. Source: QEMU, docs/specs/fw_cfg.rst; SeaBIOS,
// docs/Runtime_config.md.
#pragma once

#include "bios/acpi_tables.hpp"
#include "bios/boot_options.hpp"
#include "core/guest_ram.hpp"
#include "devices/fw_cfg.hpp"

namespace doppel::bios {

void fill_fw_cfg(devices::FwCfg& fw_cfg, const AcpiConfig& machine, const BootOptions& boot,
                 const core::GuestRam& ram);

}  // namespace doppel::bios
