// A hostile guest at the chips of a PC's board, wired as on the board and all attacked at once: random ports,
// registers and configuration space, what happens on the host in between (keys, serial input, time, the
// processors' acknowledges), and damaged snapshots.
#pragma once

#include <deque>

#include "core/clock.hpp"
#include "core/msr.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/apic_bus.hpp"
#include "devices/cfi_flash.hpp"
#include "devices/debug_ports.hpp"
#include "devices/dma_8237.hpp"
#include "devices/floppy_82077.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/host_bridge.hpp"
#include "devices/hpet.hpp"
#include "devices/i8042.hpp"
#include "devices/io_apic.hpp"
#include "devices/local_apic.hpp"
#include "devices/parallel_port.hpp"
#include "devices/pc_layout.hpp"
#include "devices/pc_ports.hpp"
#include "devices/pci_bus.hpp"
#include "devices/pic_8259.hpp"
#include "devices/piix3_isa.hpp"
#include "devices/piix4_pm.hpp"
#include "devices/pit_8254.hpp"
#include "devices/reset_control.hpp"
#include "devices/rtc_mc146818.hpp"
#include "devices/smbus_piix4.hpp"
#include "devices/uart_16550a.hpp"
#include "devices/vga/function.hpp"
#include "devices/vga/scanout.hpp"
#include "tests/devices/fuzz_guest.hpp"

namespace doppel::devices::testing {

class PcFuzz final : public FuzzGuest {
 public:
  explicit PcFuzz(u32 seed) : FuzzGuest(seed) {
    for (u32 id = 0; id < 3; ++id)
      apics_.emplace_back(
          LocalApic::Config{.id = id, .bootstrap = id == 0, .timer_hz = kApicTimerHz, .tsc_hz = kTscHz},
          clock_, counters, apic_bus_,
          LocalApic::Hooks{.notify = [](core::Pending) {}, .inta = [this] { return pic_.acknowledge(); }});
    attach();
    pci_.insert(0, 0, host_bridge_);
    pci_.insert(1, 0, isa_bridge_);
    pci_.insert(1, 3, piix4_pm_);
    pci_.insert(2, 0, vga_function_);
    fw_cfg_.set_item(kFwCfgSignature, {'Q', 'E', 'M', 'U'});
    fw_cfg_.set_file("etc/fuzz", std::vector<u8>(5000, 0x5a));
    for (core::Device* device : devices_) device->reset();
    place_power_management();
  }

  void step() override {
    switch (random.below(16)) {
      case 0:
        return host();
      case 1:
        return processor();
      case 2:
        return configuration_space();
      case 3:
      case 4:
        return with_sense();
      case 5:
        if (random.below(512) == 0) snapshot_round(*devices_[random.below(devices_.size())]);
        if (random.below(2048) == 0) devices_[random.below(devices_.size())]->reset();
        return;
      case 6:
      case 7:
      case 8:
        return access(mmio, kMemory[random.below(std::size(kMemory))]);
      default:
        return access(ports, kPorts[random.below(std::size(kPorts))]);
    }
  }

 private:
  struct Range {
    u64 base, size;
  };
  static constexpr Range kPorts[] = {{kPortDmaFirst, 16},
                                     {kPortPicMaster, 2},
                                     {kPortPit, 4},
                                     {kPortI8042Data, 1},
                                     {kPortSystemControlB, 1},
                                     {kPortI8042Command, 1},
                                     {kPortRtc, 2},
                                     {kPortPostCode, 1},
                                     {kPortDmaPages, 15},
                                     {kPortSystemControlA, 1},
                                     {kPortPicSlave, 2},
                                     {kPortDmaSecond, 32},
                                     {kPortDebugE9, 1},
                                     {kPortDebugExit, 4},
                                     {kPortVbe, 4},
                                     {kPortVga, 48},
                                     {kPortParallel1, 3},
                                     {kPortSerial1, 8},
                                     {kPortFloppy, 8},
                                     {kPortElcr, 2},
                                     {kPortFwCfg, 12},
                                     {kPortAcpiPm, 64},
                                     {kPortSmbus, 16},
                                     {kPortPciAddress, 8},
                                     {0, 0x1'0000}};
  static constexpr u64 kVgaRegisters = 0xe000'0000, kFlash = 0xffc0'0000, kLocalApics = 0xd000'0000;
  static constexpr Range kMemory[] = {{kVgaWindow, 0x2'0000}, {kIoApicBase, 0x50},     {kHpetBase, 0x400},
                                      {kLocalApics, 0x3000},  {kVgaRegisters, 0x1000}, {kHpetBase, 0x170},
                                      {kLocalApics, 0x400},   {kIoApicBase, 0x1000},   {kFlash, 0x8'4000},
                                      {0, kRam * 1000}};

  core::IrqLine line(u8 irq) {
    return core::IrqLine([this, irq](bool level) { wire(irq, level); });
  }
  void wire(u8 irq, bool level) {
    pic_.set_irq(irq, level);
    io_apic_.set_irq(irq == kIrqPit ? kIoApicPinPit : irq, level);
  }
  void attach() {
    PcPorts{pic_,       pit_,           keyboard_,   control_b_, rtc_,      dma_,    post_code_,
            control_a_, debug_console_, debug_exit_, uart_,      parallel_, fw_cfg_, pci_}
        .attach(ports);
    ports.attach(kPortFloppy, 6, floppy_);
    ports.attach(kPortFloppyInput, 1, floppy_, 7);
    ports.attach(kPortVga, vga::Vga::kPortsSize, vga_, vga::Vga::kPorts);
    ports.attach(kPortVbe, vga::Vga::kDispiPortsSize, vga_, vga::Vga::kDispiPorts);
    mmio.attach(kVgaWindow, vga::Vga::kWindowSize, vga_, vga::Vga::kWindow);
    mmio.attach(kVgaRegisters, vga::Vga::kRegisterBlockSize, vga_, vga::Vga::kRegisterBlock);
    mmio.attach(kFlash, store_.memory.size(), flash_);
    mmio.attach(kIoApicBase, core::kPageSize, io_apic_);
    mmio.attach(kHpetBase, 0x400, hpet_);
    for (u32 i = 0; i < apics_.size(); ++i)
      mmio.attach(kLocalApics + i * core::kPageSize, core::kPageSize, apics_[i]);
  }

  void access(core::Bus& bus, Range range) {
    const u32 width = 1u << random.below(4);
    const u64 at = range.base + (random.below(range.size) & (random.below(4) ? ~u64{width - 1} : ~u64{0}));
    if (random.below(2))
      bus.write(at, width, random.value());
    else
      (void)bus.read(at, width);
  }
  void out(u64 port, u64 value) { ports.write(port, 1, value & 0xff); }
  u8 byte() { return static_cast<u8>(random.value()); }

  // As firmware does: else nothing answers there.
  void place_power_management() {
    piix4_pm_.place_pm(kPortAcpiPm);
    piix4_pm_.config_write(0x90, 4, kPortSmbus);
    piix4_pm_.config_write(0xd2, 1, 1);
  }
  // To the mouse, which reports in the end.
  void mouse() {
    static constexpr u8 kCommands[] = {0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec,
                                       0xee, 0xf0, 0xf2, 0xf3, 0xf4, 0xf6, 0xff};
    out(kPortI8042Command, 0x60);
    out(kPortI8042Data, 0x47);
    for (u64 n = random.below(4); n != 0; --n) {
      out(kPortI8042Command, 0xd4);
      out(kPortI8042Data,
          random.below(2) ? kCommands[random.below(sizeof kCommands)] : 0x50 * random.below(4));
      clock_.advance(1u << 20);
      (void)ports.read(kPortI8042Data, 1);
    }
    if (random.below(2)) out(kPortI8042Command, 0xd4);
    out(kPortI8042Data, 0xf4);
  }

  // What goes on at the host.
  void host() {
    switch (random.below(12)) {
      case 0: {
        std::vector<u8> bytes(random.below(40));
        for (u8& one : bytes) one = byte();
        (void)uart_.receive(bytes);
        break;
      }
      case 1: {
        const u8 code[] = {0xf0, byte(), byte()};
        (void)keyboard_.key({code, 1 + random.below(3)});
        break;
      }
      case 2:
        keyboard_.move_mouse(static_cast<int>(random.value()), static_cast<int>(random.value()),
                             static_cast<int>(random.value()), byte());
        break;
      case 3:
        acpi_pm_.press_power_button();
        break;
      case 4:
        uart_.set_modem_inputs(byte());
        if (random.below(4) == 0) uart_.receive_break();
        break;
      case 5:
        disturb(disk_);
        break;
      case 6:
        if (random.below(16) == 0) look();
        break;
      case 7:
        apics_[random.below(apics_.size())].set_lint1(random.below(2));
        break;
      default:
        clock_.advance(u64{1} << random.below(random.below(32) ? 16 : 22));
    }
  }
  void look() {
    vga::draw(vga_.registers(), vga_.memory(), {.cursor = random.below(2) != 0, .text = true}, surface_);
    (void)surface_.take_damage();
    (void)vga::read_text(vga_.registers(), vga_.memory());
  }
  void processor() {
    LocalApic& apic = apics_[random.below(apics_.size())];
    u64 value = 0;
    switch (random.below(8)) {
      case 0:
        (void)apic.read_msr(0x800 + static_cast<u32>(random.below(0x100)), value);
        break;
      case 1:
        (void)apic.write_msr(0x800 + static_cast<u32>(random.below(0x100)), random.value());
        break;
      case 2:
        // On, off, xAPIC, x2APIC.
        (void)apic.write_msr(core::msr::kApicBase,
                             0xfee0'0000 | random.below(4) << 10 | random.below(2) << 8);
        break;
      case 3:
        (void)apic.write_msr(core::msr::kTscDeadline,
                             random.below(2) ? clock_.now() + random.below(100'000) : random.value());
        break;
      case 4:
        apic.set_cr8(byte() & 15);
        break;
      case 5:
        (void)apic_bus_.send_msi(0xfee0'0000 | random.below(1u << 20), static_cast<u32>(random.value()));
        break;
      default:
        if (apic.interrupt_ready()) (void)apic.acknowledge();
        apic.write(0xb0, 4, 0);  // EOI
    }
  }
  void configuration_space() {
    static constexpr u32 kFunctions[] = {0, 1u << 11, 1u << 11 | 3u << 8, 2u << 11};
    const u32 function =
        random.below(8) ? kFunctions[random.below(4)] : static_cast<u32>(random.below(1u << 16));
    ports.write(kPortPciAddress, 4,
                0x8000'0000 | function | (random.below(2) ? random.below(16) * 4 : random.below(64) * 4));
    const u32 width = 1u << random.below(3);
    const u64 port = kPortPciData + random.below(4) / width * width;
    if (random.below(2))
      ports.write(port, width, random.value());
    else
      (void)ports.read(port, width);
  }
  // Sequences that get past the first check.
  void with_sense() {
    switch (random.below(12)) {
      case 0:
        out(kPortRtc, random.below(16));
        out(kPortRtc + 1, random.value());
        break;
      case 1:
        out(kPortPit + 3, random.value());
        out(kPortPit + random.below(3), random.value());
        out(kPortPit + random.below(3), random.value());
        break;
      case 2: {  // ICW1 to ICW4
        const u16 chip = random.below(2) ? kPortPicMaster : kPortPicSlave;
        out(chip, 0x10 | random.below(16));
        for (int i = 0; i < 3; ++i) out(chip + 1u, random.value());
        break;
      }
      case 3:
        out(kPortI8042Command, random.below(2) ? 0xa0 + random.below(0x60) : random.value());
        out(kPortI8042Data, random.value());
        (void)ports.read(kPortI8042Data, 1);
        break;
      case 4:
        floppy();
        break;
      case 5: {  // fw_cfg: a DMA descriptor, big-endian
        const u64 at = random.below(8) ? 0x1000 : address();
        store<u32>(at,
                   __builtin_bswap32(static_cast<u32>(random.below(2) ? random.below(32) : random.value())));
        store<u32>(at + 4, __builtin_bswap32(length()));
        store<u64>(at + 8, __builtin_bswap64(address()));
        ports.write(kPortFwCfg, 2, random.below(2) ? random.below(0x40) : random.value());
        ports.write(kPortFwCfg + 4, 4, __builtin_bswap32(static_cast<u32>(at >> 32)));
        ports.write(kPortFwCfg + 8, 4, __builtin_bswap32(static_cast<u32>(at)));
        break;
      }
      case 6:
        mmio.write(kIoApicBase, 4, random.below(0x40));
        mmio.write(kIoApicBase + 0x10, 4, random.value());
        io_apic_.set_irq(static_cast<u8>(random.below(32)), random.below(2));
        break;
      case 7:  // a timer of the HPET, and on
        mmio.write(kHpetBase + 0x100 + random.below(3) * 0x20, 8, random.value() & ~u64{0x4000});
        mmio.write(kHpetBase + 0x108 + random.below(3) * 0x20, 8,
                   random.below(2) ? random.below(1u << 20) : random.value());
        mmio.write(kHpetBase + 0x10, 8, random.below(4));
        break;
      case 8: {  // a local APIC's register
        const u64 apic = kLocalApics + random.below(3) * core::kPageSize;
        mmio.write(apic + random.below(0x40) * 16, 4, random.value());
        if (random.below(8) == 0) mmio.write(apic + 0xf0, 4, 0x1ff);
        break;
      }
      case 9: {
        static constexpr u8 kCommands[] = {0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xd0, 0xe8, 0xff};
        const u64 at = kFlash + random.below(store_.memory.size());
        mmio.write(at, 1, kCommands[random.below(sizeof kCommands)]);
        for (u64 n = random.below(6); n != 0; --n)
          mmio.write(at + random.below(8), 1u << random.below(4), random.below(2) ? random.below(8) : 0xd0);
        store_.fail_with = random.below(64) ? 0 : EIO;
        break;
      }
      case 10:
        if (random.below(16) == 0) place_power_management();
        mouse();
        break;
      default:  // VBE
        ports.write(kPortVbe, 2, random.below(12));
        ports.write(kPortVbe + 1, 2, random.below(2) ? random.below(2048) : random.value());
    }
  }
  void floppy() {
    // Channel 2: an address, a count and a direction.
    out(kPortDmaFirst + 12, 0);
    for (const u16 reg : {4, 4, 5, 5}) out(kPortDmaFirst + reg, random.value());
    out(kPortDmaFirst + 11, (random.below(8) ? 0x42 | random.below(4) << 2 : random.value() & 0xfc) | 2);
    out(kPortDmaFirst + 10, 2);
    out(kPortDmaFirst + 8, random.below(8) ? 0 : random.value());
    out(0x81, random.below(8) ? random.below(32) : random.value());
    out(kPortFloppy + 2, 0x1c);
    static constexpr u8 kCommands[] = {0x03, 0x07, 0x08, 0x0f, 0x4a, 0x4d, 0xc5, 0xe6};
    out(kPortFloppy + 5, random.below(8) ? kCommands[random.below(8)] : random.value());
    static constexpr u8 kUsual[] = {0, 0, 0, 1, 2, 18, 0x1b, 0xff};
    for (const u8 usual : kUsual) out(kPortFloppy + 5, random.below(4) ? usual : random.value());
    disk_.work();
    for (int i = 0; i < 16 && (ports.read(kPortFloppy + 4, 1) & 0x40); ++i)
      (void)ports.read(kPortFloppy + 5, 1);
  }

  struct Swallow final : CharBackend {
    void write(u8) override {}
  } nowhere_;
  struct Store final : FlashStore {
    std::span<u8> bytes() override { return memory; }
    int write(u64, u64) override { return fail_with; }
    void flush() override {}
    std::vector<u8> memory = std::vector<u8>(0x8'4000, 0xff);
    int fail_with = 0;
  } store_;
  core::ManualClock clock_;
  ApicBus apic_bus_{lock};
  std::deque<LocalApic> apics_;
  IoApic io_apic_{counters, apic_bus_};
  Pic8259Pair pic_{core::IrqLine([this](bool level) { apics_.front().set_lint0(level); }), counters};
  PitDevice pit_{line(kIrqPit), clock_, counters};
  RtcMc146818 rtc_{line(kIrqRtc), clock_, counters, 1'700'000'000};
  Uart16550a uart_{line(kIrqSerial1), nowhere_, clock_, counters, {}};
  I8042 keyboard_{
      line(kIrqKeyboard), line(kIrqMouse), clock_, counters, {.reset = [] {}, .a20 = [](bool) {}}};
  SystemControlA control_a_{counters, {.reset = [] {}, .a20 = [](bool) {}}};
  SystemControlB control_b_{{.set_gate = [this](bool level) { pit_.set_gate2(level); },
                             .output = [this] { return pit_.output2(); }},
                            clock_,
                            counters};
  PostCodePort post_code_{counters};
  DebugConsole debug_console_{nowhere_, counters};
  DebugExit debug_exit_{[](u32) {}};
  Hpet hpet_{clock_,
             counters,
             kHpetHz,
             0x00f0'0000,
             {.io_apic = [this](u8 pin, bool level) { io_apic_.set_irq(pin, level); },
              .legacy = [this](u8 irq, bool level) { wire(irq, level); },
              .legacy_replacement = [](bool) {}}};
  ParallelPort parallel_{line(kIrqParallel1), nowhere_, counters};
  Dma8237 dma_{ram, counters};
  FwCfg fw_cfg_{ram, counters};
  AcpiPm acpi_pm_{clock_, counters, kAcpiPmTimerHz, line(kIrqAcpiSci), [] {}};
  SmbusPiix4 smbus_{counters};
  ResetControl reset_control_{counters, [](bool) {}};
  HostBridge host_bridge_{[](u64, u64, bool, bool) {}};
  IsaBridge isa_bridge_{[this](u8 irq, bool level) { wire(irq, level); }};
  Piix4Pm piix4_pm_{PciFunction::attach_to(ports, acpi_pm_, Piix4Pm::kPmPorts),
                    PciFunction::attach_to(ports, smbus_, Piix4Pm::kSmbusPorts)};
  PciBus pci_{counters, reset_control_, [this](u8 wire_number, bool level) {
                io_apic_.set_irq(static_cast<u8>(16 + wire_number), level);
                isa_bridge_.set_wire(wire_number, level);
              }};
  CfiFlash flash_{store_, counters, {}};
  MemoryDisk disk_{1440 * 1024};
  Floppy82077 floppy_{disk_, line(kIrqFloppy),
                      [this](std::span<u8> bytes, DmaDirection direction) {
                        return dma_.transfer(kDmaFloppy, bytes, direction);
                      },
                      counters};
  vga::Vga vga_{clock_, counters, 256u << 10};
  vga::Surface surface_;
  vga::Function vga_function_{
      vga_, [](std::optional<u64>) { return true; }, [](std::optional<u64>) { return true; }, 0, {}};
  std::vector<core::Device*> devices_ = {
      &pic_,           &pit_,        &rtc_,    &uart_,     &keyboard_, &control_a_, &control_b_, &post_code_,
      &debug_console_, &debug_exit_, &hpet_,   &parallel_, &dma_,      &fw_cfg_,    &acpi_pm_,   &smbus_,
      &reset_control_, &pci_,        &floppy_, &vga_,      &io_apic_,  &flash_};
};

}  // namespace doppel::devices::testing
