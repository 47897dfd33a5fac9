#include <string>

#include "bios/acpi_tables.hpp"
#include "bios/aml.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/pc_layout.hpp"
#include "devices/pci_bus.hpp"
#include "devices/piix3_isa.hpp"

namespace doppel::bios {

using namespace aml;
using namespace devices;

namespace {

constexpr u32 kPciSlots = 32, kPciPins = 4;
constexpr u32 kFirstPciGsi = 16;  // the I/O APIC pin of PciBus line 0

// The ISA devices by Plug and Play id; a second port range, an IRQ or a DMA channel of 0xff means none.
constexpr u8 kNone = 0xff;
struct IsaDevice {
  const char* name;
  const char* id;
  u16 port;
  u8 ports;
  u16 port2;
  u8 ports2;
  u8 irq;
  u8 dma = kNone;
};
constexpr IsaDevice kIsaDevices[] = {
    {"PIC", "PNP0000", kPortPicMaster, 2, kPortPicSlave, 2, kIrqCascade},
    {"TIMR", "PNP0100", kPortPit, 4, 0, 0, kIrqPit},
    {"DMA", "PNP0200", kPortDmaFirst, 16, kPortDmaSecond, 32, kNone, 4},
    {"RTC", "PNP0B00", kPortRtc, 2, 0, 0, kIrqRtc},
    {"KBD", "PNP0303", kPortI8042Data, 1, kPortI8042Command, 1, kIrqKeyboard},
    {"MOU", "PNP0F13", 0, 0, 0, 0, kIrqMouse},
    {"COM1", "PNP0501", kPortSerial1, 8, 0, 0, kIrqSerial1},
    {"LPT1", "PNP0400", kPortParallel1, 3, 0, 0, kIrqParallel1},
    // Motherboard resources: what else answers, so that the guest allocates nothing there.
    {"MBR1", "PNP0C02", kPortAcpiPm, 64, kPortElcr, 2, kNone},
    {"MBR2", "PNP0C02", kPortSmbus, 16, kPortDmaPages, 15, kNone},
};

Bytes isa_device(const IsaDevice& isa, u32 uid) {
  Terms resources;
  if (isa.ports != 0) resources.push_back(io_ports(isa.port, isa.ports));
  if (isa.ports2 != 0) resources.push_back(io_ports(isa.port2, isa.ports2));
  if (isa.irq != kNone) resources.push_back(isa_irq(isa.irq));
  if (isa.dma != kNone) resources.push_back(isa_dma(isa.dma));
  return device(isa.name, {name("_HID", eisa_id(isa.id)), name("_UID", integer(uid)),
                           name("_CRS", resource_template(resources))});
}

// How firmware is reached after it is gone: Linux shows its files in /sys/firmware/qemu_fw_cfg.
Bytes firmware_configuration() {
  constexpr u8 kPresentNotShown = 0x0b;
  return device("FWCF", {name("_HID", string("QEMU0002")), name("_STA", integer(kPresentNotShown)),
                         name("_CRS", resource_template({io_ports(kPortFwCfg, FwCfg::kPorts)}))});
}

// The PIIX's routing registers, one byte for each PIRQ.
Bytes isa_bridge() {
  constexpr u32 kSlot1 = 0x1'0000;
  return device("ISA", {name("_ADR", integer(kSlot1)), pci_config_region("PIRQ", kPiixPirqRoute, 4),
                        byte_fields("PIRQ", {"PRQA", "PRQB", "PRQC", "PRQD"})});
}

// A PIRQ as an interrupt link: an operating system that uses the 8259 pair chooses the IRQ.
Bytes interrupt_link(char letter) {
  constexpr u16 kPossible = 1u << 5 | 1u << 10 | 1u << 11;
  static_assert((kPossible & kPiixRoutableIrqs) == kPossible);
  constexpr u8 kIrqMask = 1;  // offset of the IRQ bits in a resource template that begins with shared_irqs()
  constexpr u8 kEnabled = 0x0b, kDisabled = 0x09;
  const Bytes routing = path(std::string("\\_SB.PCI0.ISA.PRQ") + letter);
  const Bytes disabled = integer(kPiixPirqDisabled), irq_bits = integer(0x0f);
  return device(std::string("LNK") + letter,
                {name("_HID", eisa_id("PNP0C0F")), name("_UID", integer(static_cast<u64>(letter - 'A' + 1))),
                 name("_PRS", resource_template({shared_irqs(kPossible)})),
                 method("_STA", 0,
                        {if_true(bit_and(routing, disabled), {returns(integer(kDisabled))}),
                         returns(integer(kEnabled))}),
                 method("_DIS", 0, {bit_or(routing, disabled, routing)}),
                 name("NOW", resource_template({shared_irqs(0)})),
                 method("_CRS", 0,
                        {word_field(path("NOW"), kIrqMask, "IRQS"), store(integer(0), path("IRQS")),
                         if_true(logical_not(bit_and(routing, disabled)),
                                 {store(shift_left(integer(1), bit_and(routing, irq_bits)), path("IRQS"))}),
                         returns(path("NOW"))}),
                 method("_SRS", 1,
                        {word_field(argument(0), kIrqMask, "WANT"), lowest_bit(path("WANT"), local(0)),
                         if_true(local(0), {subtract(local(0), integer(1), routing)})})});
}

// INTA to INTD of every slot: I/O APIC pins, or links when the guest told _PIC that it has no I/O APIC.
Bytes pci_routing() {
  Terms pins, links;
  for (u32 slot = 0; slot < kPciSlots; ++slot)
    for (u32 pin = 0; pin < kPciPins; ++pin) {
      const Bytes address = integer(slot << 16 | 0xffff);
      const u32 pirq = (pci_wire(slot, pin) + 3) % 4;  // line n + 1 is PIRQ n (IsaBridge::set_wire)
      const std::string link = std::string("\\_SB.LNK") + static_cast<char>('A' + pirq);
      pins.push_back(
          package({address, integer(pin), integer(0), integer(kFirstPciGsi + pci_wire(slot, pin))}));
      links.push_back(package({address, integer(pin), path(link), integer(0)}));
    }
  return scope(
      "\\_SB.PCI0",
      {name("PINS", package(pins)), name("LNKS", package(links)),
       method("_PRT", 0, {if_true(path("\\APIC"), {returns(path("PINS"))}), returns(path("LNKS"))})});
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
      isa_bridge(),
      firmware_configuration(),
  };
  for (u32 uid = 1; const IsaDevice& isa : kIsaDevices) body.push_back(isa_device(isa, uid++));
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
  for (const char letter : {'A', 'B', 'C', 'D'}) system_bus.push_back(interrupt_link(letter));
  for (u32 id = 0; id < config.cpus; ++id) system_bus.push_back(processor(id));

  const Bytes sleep_type = integer(kSlpTypS5);
  Bytes out = name("\\APIC", integer(0));
  append(out, method("\\_PIC", 1, {store(argument(0), path("\\APIC"))}));
  append(out, scope("\\_SB", system_bus));
  append(out, pci_routing());
  append(out, name("\\_S5", package({sleep_type, sleep_type, integer(0), integer(0)})));
  return out;
}

}  // namespace doppel::bios
