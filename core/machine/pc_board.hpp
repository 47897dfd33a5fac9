// The PC around the processors: RAM, buses, chips and the wires between them, attached where
// devices/pc_layout.hpp says. Made and driven by Machine; what leaves the board (power, reset, the
// processor's attention) goes through Signals. It knows no engine and no boot protocol.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "core/machine/display.hpp"
#include "core/machine/host_clock.hpp"
#include "core/machine/host_input.hpp"
#include "core/machine/interrupt_wiring.hpp"
#include "core/machine/machine.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/apic_bus.hpp"
#include "devices/cfi_flash.hpp"
#include "devices/debug_ports.hpp"
#include "devices/dma_8237.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/host_bridge.hpp"
#include "devices/hpet.hpp"
#include "devices/i8042.hpp"
#include "devices/local_apic_page.hpp"
#include "devices/parallel_port.hpp"
#include "devices/pci_bus.hpp"
#include "devices/pci_msi.hpp"
#include "devices/piix3_isa.hpp"
#include "devices/piix4_pm.hpp"
#include "devices/pit_8254.hpp"
#include "devices/reset_control.hpp"
#include "devices/rtc_mc146818.hpp"
#include "devices/smbus_piix4.hpp"
#include "devices/storage/nvram_file.hpp"
#include "devices/uart_16550a.hpp"
#include "mmu/physical_memory.hpp"

namespace doppel::machine {

struct PcBoard {
  struct Signals {
    std::function<void()> reset, power_off;
    std::function<void(u32 status)> exit;  // isa-debug-exit
    std::function<void()> serial_room;     // the first serial port can take input again
    std::function<void(u32 processor, core::Pending)> notify;
    std::function<void(u64 pa, u64 size)> code_written;
    std::function<void()> translations_changed;  // what physical addresses mean changed (A20, shadowing)
  };
  struct Backends {
    devices::CharBackend& serial;
    devices::CharBackend& debug_console;
    devices::CharBackend& parallel;
  };

  // Throws ConfigError. `config`, `counters` and `lock` outlive the board.
  PcBoard(const MachineConfig& config, core::Counters& counters, std::recursive_mutex& lock,
          boost::asio::io_context& events, Backends backends, Signals to);

  // Every device to its power-on state.
  void reset();
  // Where the message-signalled interrupts of PCI functions go.
  [[nodiscard]] devices::MsiSink msi() {
    return [this](u64 address, u32 data) { apic_bus.send_msi(address, data); };
  }
  [[nodiscard]] devices::LocalApic& local_apic(u32 processor) { return local_apics[processor]; }
  // What firmware would have left behind, for a kernel that is started without any.
  void set_up_without_firmware();
  // The order in which firmware looks for something to boot, in CMOS.
  void set_boot_order(std::string_view order);

  // In order of construction: later parts refer to earlier ones.
  const Signals signals;
  std::unique_ptr<core::GuestRam> ram;
  HostClock clock;
  core::Bus ports, mmio;
  mmu::PhysicalMemory memory;
  devices::ApicBus apic_bus;
  std::deque<devices::LocalApic> local_apics;  // by processor
  devices::LocalApicPage local_apic_page;
  devices::IoApic io_apic;
  devices::Pic8259Pair pic;
  InterruptWiring wiring;
  devices::PitDevice pit;
  devices::RtcMc146818 rtc;
  devices::Uart16550a uart;
  devices::I8042 keyboard;
  devices::SystemControlA control_a;
  devices::SystemControlB control_b;
  devices::PostCodePort post_code;
  devices::DebugConsole debug_console;
  devices::DebugExit debug_exit;
  devices::Hpet hpet;
  devices::ParallelPort parallel;
  devices::Dma8237 dma;
  devices::FwCfg fw_cfg;
  devices::AcpiPm acpi_pm;
  devices::SmbusPiix4 smbus;
  devices::ResetControl reset_control;
  devices::HostBridge host_bridge;
  devices::IsaBridge isa_bridge;
  devices::Piix4Pm piix4_pm;
  devices::PciBus pci;
  Display display;
  HostInput input;
  std::optional<devices::NvramFile> variables;  // of UEFI firmware, and the chip that it writes them to
  std::optional<devices::CfiFlash> flash;

 private:
  [[nodiscard]] std::deque<devices::LocalApic> make_local_apics(const MachineConfig& config,
                                                                core::Counters& counters);
  void attach_memory(std::span<const u8> firmware);
  void attach_variables(const MachineConfig& config, core::Counters& counters);
  void attach_pci();
  void fill_cmos();
  void set_a20(bool on);
  void route_ram(u64 base, u64 size, bool reads, bool writes);
};

}  // namespace doppel::machine
