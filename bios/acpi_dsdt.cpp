#include "bios/acpi_tables.hpp"
#include "bios/aml.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/pc_layout.hpp"
#include "devices/pci_bus.hpp"

namespace doppel::bios {

using namespace aml;
using namespace devices;

namespace {

constexpr u32 kPciSlots = 32, kPciPins = 4;
constexpr u32 kFirstPciGsi = 16;  // the I/O APIC pin of PciBus line 0

// The ISA devices by Plug and Play id; a second port range or an IRQ of 0xff means none.
constexpr u8 kNoIrq = 0xff;
struct IsaDevice {
  const char* name;
  const char* id;
  u16 port;
  u8 ports;
  u16 port2;
  u8 ports2;
  u8 irq;
};
constexpr IsaDevice kIsaDevices[] = {
    {"PIC", "PNP0000", kPortPicMaster, 2, kPortPicSlave, 2, kIrqCascade},
    {"TIMR", "PNP0100", kPortPit, 4, 0, 0, kIrqPit},
    {"RTC", "PNP0B00", kPortRtc, 2, 0, 0, kIrqRtc},
    {"KBD", "PNP0303", kPortI8042Data, 1, kPortI8042Command, 1, kIrqKeyboard},
    {"MOU", "PNP0F13", 0, 0, 0, 0, kIrqMouse},
    {"COM1", "PNP0501", kPortSerial1, 8, 0, 0, kIrqSerial1},
    // Motherboard resources: what else answers, so that the guest allocates nothing there.
    {"MBRD", "PNP0C02", kPortAcpiPm, 16, kPortElcr, 2, kNoIrq},
};

Bytes isa_device(const IsaDevice& isa) {
  Terms resources;
  if (isa.ports != 0) resources.push_back(io_ports(isa.port, isa.ports));
  if (isa.ports2 != 0) resources.push_back(io_ports(isa.port2, isa.ports2));
  if (isa.irq != kNoIrq) resources.push_back(isa_irq(isa.irq));
  return device(isa.name, {name("_HID", eisa_id(isa.id)), name("_UID", integer(1)),
                           name("_CRS", resource_template(resources))});
}

Bytes pci_routing() {
  Terms routes;
  for (u32 slot = 0; slot < kPciSlots; ++slot)
    for (u32 pin = 0; pin < kPciPins; ++pin)
      routes.push_back(package({integer(slot << 16 | 0xffff), integer(pin), integer(0),
                                integer(kFirstPciGsi + pci_wire(slot, pin))}));
  return package(routes);
}

Bytes pci_host() {
  Terms body = {
      name("_HID", eisa_id("PNP0A03")),
      name("_UID", integer(0)),
      name("_BBN", integer(0)),
      name("_CRS", resource_template({
                       bus_number_window(0, 0xff),
                       io_ports(kPortPciAddress, 8),
                       io_window(0, kPortPciAddress - 1),
                       io_window(kPortPciAddress + 8, 0xffff),
                       memory_window(kVgaWindow, kVgaWindow + 0x1'ffff),
                       memory_window(core::kPciHoleStart, kIoApicBase - 1),
                   })),
      name("_PRT", pci_routing()),
  };
  for (const IsaDevice& isa : kIsaDevices) body.push_back(isa_device(isa));
  return device("PCI0", body);
}

Bytes hpet() {
  return device("HPET", {name("_HID", eisa_id("PNP0103")), name("_UID", integer(0)),
                         name("_CRS", resource_template({fixed_memory(kHpetBase, 0x400)}))});
}

// Devices C000, C001, ... (hexadecimal).
Bytes processor(u32 id) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  const char segment[] = {'C', kDigits[id >> 8 & 0xf], kDigits[id >> 4 & 0xf], kDigits[id & 0xf]};
  return device({segment, 4}, {name("_HID", string("ACPI0007")), name("_UID", integer(id))});
}

}  // namespace

Bytes build_dsdt_aml(const AcpiConfig& config) {
  Terms system_bus = {pci_host(), hpet()};
  for (u32 id = 0; id < config.cpus; ++id) system_bus.push_back(processor(id));

  const Bytes sleep_type = integer(kSlpTypS5);
  Bytes out = scope("\\_SB", system_bus);
  append(out, name("\\_S5", package({sleep_type, sleep_type, integer(0), integer(0)})));
  return out;
}

}  // namespace doppel::bios
