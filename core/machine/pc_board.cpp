#include "core/machine/pc_board.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <system_error>

#include "bios/boot_options.hpp"
#include "bios/firmware_image.hpp"
#include "devices/pc_ports.hpp"
#include "mmu/page_walk.hpp"

namespace doppel::machine {

using namespace doppel::devices;

namespace {

constexpr u32 kHpetRoutes = 0x00f0'0000;  // comparators may use I/O APIC pins 20 to 23

std::unique_ptr<core::GuestRam> make_ram(u64 size) {
  try {
    return std::make_unique<core::GuestRam>(size);
  } catch (const std::system_error& error) {
    throw ConfigError(fmt::format("the host cannot give {} MiB of guest RAM: {}; use a smaller -m",
                                  size >> 20, error.code().message()));
  }
}

LocalApic::Config apic_config(const core::CpuModel& cpu, u32 processor) {
  return {.id = processor,
          .bootstrap = processor == 0,
          .x2apic = cpu.has(core::Feature::kX2apic),
          .physical_address_bits = mmu::kPhysicalBits,
          .timer_hz = kApicTimerHz,
          .tsc_hz = cpu.tsc_hz};
}

}  // namespace

PcBoard::PcBoard(const MachineConfig& config, core::Counters& counters, std::recursive_mutex& lock,
                 boost::asio::io_context& events, Backends backends, Signals to)
    : signals(std::move(to)),
      ram(make_ram(config.ram_size)),
      clock(events, lock),
      ports("port", counters, lock),
      mmio("mmio", counters, lock),
      memory(*ram, mmio),
      apic_bus(lock),
      local_apics(make_local_apics(config, counters)),
      io_apic(counters, apic_bus),
      pic(core::IrqLine([this](bool level) { local_apics.front().set_lint0(level); }), counters),
      wiring(pic, io_apic),
      pit(wiring.replaceable_line(kIrqPit), clock, counters),
      rtc(wiring.replaceable_line(kIrqRtc), clock, counters, std::time(nullptr)),
      uart(wiring.isa_line(kIrqSerial1), backends.serial, clock, counters, signals.serial_room),
      keyboard(wiring.isa_line(kIrqKeyboard), wiring.isa_line(kIrqMouse), clock, counters,
               {.reset = signals.reset, .a20 = [this](bool on) { set_a20(on); }}),
      control_a(counters, {.reset = signals.reset, .a20 = [this](bool on) { set_a20(on); }}),
      control_b({.set_gate = [this](bool level) { pit.set_gate2(level); },
                 .output = [this] { return pit.output2(); }},
                clock, counters),
      post_code(counters),
      debug_console(backends.debug_console, counters),
      debug_exit(signals.exit),
      hpet(clock, counters, kHpetHz, kHpetRoutes,
           {.io_apic = [this](u8 pin, bool level) { io_apic.set_irq(pin, level); },
            .legacy = [this](u8 irq, bool level) { wiring.isa(InterruptWiring::kHpet, irq, level); },
            .legacy_replacement = [this](bool on) { wiring.set_hpet_replaces_legacy(on); }}),
      parallel(wiring.isa_line(kIrqParallel1), backends.parallel, counters),
      dma(*ram, counters),
      fw_cfg(*ram, counters),
      acpi_pm(clock, counters, kAcpiPmTimerHz, wiring.isa_line(kIrqAcpiSci), signals.power_off),
      smbus(counters),
      reset_control(counters, [this](bool) { signals.reset(); }),
      host_bridge(
          [this](u64 base, u64 size, bool reads, bool writes) { route_ram(base, size, reads, writes); }),
      isa_bridge([this](u8 irq, bool level) { wiring.isa(InterruptWiring::kPciRouter, irq, level); }),
      piix4_pm(PciFunction::attach_to(ports, acpi_pm, Piix4Pm::kPmPorts),
               PciFunction::attach_to(ports, smbus, Piix4Pm::kSmbusPorts)),
      pci(counters, reset_control,
          [this](u8 wire, bool level) {
            io_apic.set_irq(static_cast<u8>(16 + wire), level);
            isa_bridge.set_wire(wire, level);
          }),
      display({ports, mmio, memory, pci, clock, counters, lock, signals.translations_changed},
              config.video_bios),
      input(events, lock, keyboard) {
  ram->on_code_write(signals.code_written);
  PcPorts{pic,       pit,           keyboard,   control_b, rtc,      dma,    post_code,
          control_a, debug_console, debug_exit, uart,      parallel, fw_cfg, pci}
      .attach(ports);
  attach_memory(config.firmware);
  if (!config.variables.path.empty()) attach_variables(config, counters);
  attach_pci();
  fill_cmos();
}

std::deque<LocalApic> PcBoard::make_local_apics(const MachineConfig& config, core::Counters& counters) {
  std::deque<LocalApic> apics;
  for (u32 i = 0; i < config.processors.cpus; ++i)
    apics.emplace_back(
        apic_config(config.cpu, i), clock, counters, apic_bus,
        LocalApic::Hooks{.notify = [this, i](core::Pending reason) { signals.notify(i, reason); },
                         .inta = [this] { return pic.acknowledge(); }});
  return apics;
}

void PcBoard::attach_memory(std::span<const u8> firmware) {
  for (const bios::RomPart& part : bios::place_firmware(firmware))
    memory.add_rom(part.base, {part.bytes.begin(), part.bytes.end()});
  mmio.attach(kIoApicBase, core::kPageSize, io_apic);
  mmio.attach(kHpetBase, 0x400, hpet);
  mmio.attach(kLocalApicBase, core::kPageSize, local_apic_page);
}

// While the chip reads as memory, it is memory: reads make no exit.
void PcBoard::attach_variables(const MachineConfig& config, core::Counters& counters) {
  try {
    variables.emplace(config.variables.path, config.variables.original);
  } catch (const ImageError& error) {
    throw ConfigError(fmt::format("--nvram {}.", error.what()));
  }
  const std::span<u8> bytes = variables->bytes();
  if (const auto sentence = bios::check_variable_store(config.firmware, bytes.size()))
    throw ConfigError(fmt::format("--nvram {}: {}.", config.variables.path, *sentence));
  const u64 base = bios::variable_store_base(config.firmware, bytes.size());
  flash.emplace(*variables, counters, [this, base, bytes](bool reads_as_memory) {
    if (reads_as_memory)
      (void)memory.map_device(base, bytes, false);
    else
      memory.unmap_device(base);
    signals.translations_changed();
  });
  mmio.attach(base, bytes.size(), *flash);
  if (!memory.map_device(base, bytes, false))
    throw ConfigError(
        fmt::format("--nvram {}: its place in the address space is taken.", config.variables.path));
}

void PcBoard::attach_pci() {
  pci.insert(0, 0, host_bridge);
  pci.insert(1, 0, isa_bridge);
  pci.insert(1, 3, piix4_pm);
}

void PcBoard::fill_cmos() {
  const u64 above_16m = ram->below_4g() > (16u << 20) ? (ram->below_4g() - (16u << 20)) >> 16 : 0;
  const u64 extended = std::min<u64>((ram->below_4g() - (1u << 20)) >> 10, 0xffff);
  const auto cmos16 = [this](u8 index, u64 value) {
    rtc.set_cmos(index, static_cast<u8>(value));
    rtc.set_cmos(static_cast<u8>(index + 1), static_cast<u8>(value >> 8));
  };
  cmos16(0x15, 640);                               // base memory, KiB
  cmos16(0x17, extended);                          // extended memory, KiB
  cmos16(0x30, extended);                          // the same, as some loaders read it
  cmos16(0x34, std::min<u64>(above_16m, 0xffff));  // above 16 MiB, 64 KiB units
  constexpr u8 kFpu = 1u << 1, kMouse = 1u << 2;
  rtc.set_cmos(0x14, kFpu | kMouse);                           // equipment
  rtc.set_cmos(0x5b, static_cast<u8>(ram->above_4g() >> 16));  // above 4 GiB, 64 KiB units, three bytes
  rtc.set_cmos(0x5c, static_cast<u8>(ram->above_4g() >> 24));
  rtc.set_cmos(0x5d, static_cast<u8>(ram->above_4g() >> 32));
}

void PcBoard::set_boot_order(std::string_view order) {
  const bios::CmosBootOrder bytes = bios::cmos_boot_order(order);
  rtc.set_cmos(0x38, bytes.third);
  rtc.set_cmos(0x3d, bytes.first);
}

void PcBoard::route_ram(u64 base, u64 size, bool reads, bool writes) {
  memory.route_ram(base, size, reads, writes);
  signals.code_written(base, size);
  signals.translations_changed();
}

void PcBoard::set_up_without_firmware() {
  host_bridge.shadow_everything();
  piix4_pm.place_pm(kPortAcpiPm);
  display.set_text_mode();
}

void PcBoard::set_a20(bool on) {
  memory.set_a20(on);
  signals.translations_changed();
}

void PcBoard::reset() {
  for (core::Device* device : std::initializer_list<core::Device*>{
           &pic,       &pit,           &rtc,           &uart, &keyboard,         &control_a, &control_b,
           &post_code, &debug_console, &debug_exit,    &hpet, &parallel,         &dma,       &fw_cfg,
           &acpi_pm,   &smbus,         &reset_control, &pci,  &display.device(), &io_apic})
    device->reset();
  if (flash) flash->reset();
  for (LocalApic& apic : local_apics) apic.reset();
  set_a20(true);
}

}  // namespace doppel::machine
