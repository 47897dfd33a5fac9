#include "bios/fw_cfg_content.hpp"

#include "bios/acpi_loader.hpp"
#include "bios/bytes.hpp"
#include "bios/e820.hpp"
#include "bios/smbios_tables.hpp"

namespace doppel::bios {

using namespace devices;

namespace {

template <std::unsigned_integral T>
Bytes little_endian(T value) {
  Bytes out;
  append(out, value);
  return out;
}

// RAM only: firmware reserves what it uses itself.
Bytes e820(const core::GuestRam& ram) {
  Bytes out;
  const auto add = [&](u64 base, u64 size) {
    if (size == 0) return;
    append(out, base);
    append(out, size);
    append(out, static_cast<u32>(E820Type::kRam));
  };
  add(0, ram.below_4g());
  add(core::kFourGiB, ram.above_4g());
  return out;
}

// One byte for each of S0 to S5: bit 7 says that there is such a state, the rest is its SLP_TYP.
Bytes sleep_states() {
  constexpr u8 kExists = 0x80;
  return {kExists, 0, 0, 1, 2, kExists};
}

// Device paths by lines, with a zero at the end; HALT keeps firmware from trying anything else. Empty, which
// firmware takes as no such file: there is nothing to say, any more.
Bytes boot_order(const BootOptions& boot) {
  std::string text;
  for (const std::string& path : boot.device_paths) text += path + "\n";
  if (boot.strict) text += "HALT\n";
  if (text.empty()) return {};
  text.pop_back();
  return c_string(text);
}

}  // namespace

void fill_fw_cfg(FwCfg& fw_cfg, const AcpiConfig& machine, const BootOptions& boot,
                 const core::GuestRam& ram) {
  fw_cfg.set_item(kFwCfgUuid, Bytes(16));
  fw_cfg.set_item(kFwCfgRamSize, little_endian(ram.size()));
  fw_cfg.set_item(kFwCfgNoGraphic, little_endian(static_cast<u16>(boot.screen_on_serial)));
  fw_cfg.set_item(kFwCfgCpus, little_endian(static_cast<u16>(machine.cpus)));
  fw_cfg.set_item(kFwCfgMaxCpus, little_endian(static_cast<u16>(machine.cpus)));
  fw_cfg.set_item(kFwCfgNuma, Bytes(8));  // no nodes
  fw_cfg.set_item(kFwCfgBootMenu, little_endian(static_cast<u16>(boot.menu ? 1 : 0)));
  fw_cfg.set_item(kFwCfgIrq0Override, little_endian(u32{1}));

  fw_cfg.set_file("etc/e820", e820(ram));
  fw_cfg.set_file("etc/system-states", sleep_states());
  fw_cfg.set_file("bootorder", boot_order(boot));
  if (boot.menu_wait_ms)
    fw_cfg.set_file("etc/boot-menu-wait", little_endian(static_cast<u16>(*boot.menu_wait_ms)));
  fw_cfg.set_file("etc/boot-fail-wait", little_endian(boot.retry_wait_ms.value_or(~u32{0})));

  const AcpiFiles acpi = build_acpi_files(machine);
  fw_cfg.set_file(kAcpiTablesFile, acpi.tables);
  fw_cfg.set_file(kAcpiRsdpFile, acpi.rsdp);
  fw_cfg.set_file("etc/table-loader", acpi.loader);
  const SmbiosTables smbios = build_smbios_tables({.cpus = machine.cpus, .ram_size = ram.size()});
  fw_cfg.set_file("etc/smbios/smbios-tables", smbios.tables);
  fw_cfg.set_file("etc/smbios/smbios-anchor", smbios.anchor);
}

}  // namespace doppel::bios
