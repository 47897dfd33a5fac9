#include "core/machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>
#include <system_error>

#include "bios/entry_state.hpp"
#include "bios/kernel_image.hpp"
#include "bios/selftest_guest.hpp"
#include "core/log.hpp"
#include "core/machine/display.hpp"
#include "core/machine/host_clock.hpp"
#include "core/machine/host_input.hpp"
#include "core/machine/interrupt_wiring.hpp"
#include "core/machine/state_report.hpp"
#include "core/machine/vcpu_memory.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/apic_bus.hpp"
#include "devices/debug_ports.hpp"
#include "devices/host_bridge.hpp"
#include "devices/hpet.hpp"
#include "devices/i8042.hpp"
#include "devices/local_apic.hpp"
#include "devices/pci_bus.hpp"
#include "devices/pit_8254.hpp"
#include "devices/reset_control.hpp"
#include "devices/rtc_mc146818.hpp"
#include "devices/uart_16550a.hpp"
#include "jit/dispatch.hpp"
#include "jit/interp/reset.hpp"
#ifdef DOPPEL_TRANSLATOR_X64
#include "jit/x64/translator.hpp"
#endif

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

#ifdef DOPPEL_TRANSLATOR_X64
// Command-line names of the translator's switches.
constexpr std::pair<const char*, bool jit::x64::Optimisations::*> kOptimisations[] = {
    {"native-integer", &jit::x64::Optimisations::native_integer},
    {"native-vector", &jit::x64::Optimisations::native_vector},
    {"native-x87", &jit::x64::Optimisations::native_x87},
    {"flag-liveness", &jit::x64::Optimisations::flag_liveness},
    {"chaining", &jit::x64::Optimisations::chaining}};
#endif

LocalApic::Config apic_config(const core::CpuModel& cpu) {
  return {.id = 0,
          .bootstrap = true,
          .x2apic = cpu.has(core::Feature::kX2apic),
          .physical_address_bits = mmu::kPhysicalBits,
          .timer_hz = kApicTimerHz,
          .tsc_hz = cpu.tsc_hz};
}

}  // namespace

// In order of construction: later parts refer to earlier ones.
struct Machine::Parts {
  Parts(Machine& machine, boost::asio::io_context& events, CharBackend& serial_backend,
        CharBackend& debug_backend)
      : ram(make_ram(machine.config_.ram_size)),
        clock(events, machine.device_lock_),
        ports("port", machine.counters_, machine.device_lock_),
        mmio("mmio", machine.counters_, machine.device_lock_),
        memory(*ram, mmio),
        apic_bus(machine.device_lock_),
        local_apic(apic_config(machine.config_.cpu), clock, machine.counters_, apic_bus,
                   {.notify = [this](core::Pending reason) { wake(reason); },
                    .inta = [this] { return pic.acknowledge(); }}),
        io_apic(machine.counters_, apic_bus),
        pic(core::IrqLine([this](bool level) { local_apic.set_lint0(level); }), machine.counters_),
        wiring(pic, io_apic),
        pit(wiring.replaceable_line(kIrqPit), clock, machine.counters_),
        rtc(wiring.replaceable_line(kIrqRtc), clock, machine.counters_, std::time(nullptr)),
        uart(wiring.isa_line(kIrqSerial1), serial_backend, clock, machine.counters_,
             [&machine] {
               if (machine.serial_room_) machine.serial_room_();
             }),
        keyboard(wiring.isa_line(kIrqKeyboard), wiring.isa_line(kIrqMouse), clock, machine.counters_,
                 {.reset = [&machine] { machine.request(kRequestReset); },
                  .a20 = [this](bool on) { set_a20(on); }}),
        control_a(machine.counters_, {.reset = [&machine] { machine.request(kRequestReset); },
                                      .a20 = [this](bool on) { set_a20(on); }}),
        control_b({.set_gate = [this](bool level) { pit.set_gate2(level); },
                   .output = [this] { return pit.output2(); }},
                  clock, machine.counters_),
        post_code(machine.counters_),
        debug_console(debug_backend, machine.counters_),
        debug_exit([&machine](u32 status) {
          machine.guest_status_ = static_cast<int>(status & 0xff);
          machine.request(kRequestExit);
        }),
        hpet(clock, machine.counters_, kHpetHz, kHpetRoutes,
             {.io_apic = [this](u8 pin, bool level) { io_apic.set_irq(pin, level); },
              .legacy = [this](u8 irq, bool level) { wiring.isa(InterruptWiring::kHpet, irq, level); },
              .legacy_replacement = [this](bool on) { wiring.set_hpet_replaces_legacy(on); }}),
        acpi_pm(clock, machine.counters_, kAcpiPmTimerHz, wiring.isa_line(kIrqAcpiSci),
                [&machine] { machine.request(kRequestPowerOff); }),
        reset_control(machine.counters_, [&machine](bool) { machine.request(kRequestReset); }),
        isa_bridge([this](u8 irq, bool level) { wiring.isa(InterruptWiring::kPciRouter, irq, level); }),
        pci(machine.counters_, reset_control,
            [this](u8 wire, bool level) {
              io_apic.set_irq(static_cast<u8>(16 + wire), level);
              isa_bridge.set_wire(wire, level);
            }),
        display({ports, mmio, memory, pci, clock, machine.counters_, machine.device_lock_,
                 [this] { cpu.mmu.flush_all(); }},
                machine.config_.video_bios),
        input(events, machine.device_lock_, keyboard),
        cpu_memory(machine.config_.cpu, memory, ports, local_apic, clock, machine.counters_),
        cpu(*cpu_memory),
        dispatcher(cpu) {
    choose_engine(machine.config_);
    attach();
  }

  void choose_engine(const MachineConfig& config) {
    if (config.engine == Engine::kInterpreter) return;
#ifdef DOPPEL_TRANSLATOR_X64
    jit::x64::Optimisations optimisations;
    for (const auto& [name, member] : kOptimisations)
      if (std::find(config.optimisations_off.begin(), config.optimisations_off.end(), name) !=
          config.optimisations_off.end())
        optimisations.*member = false;
    backend = std::make_unique<jit::x64::Translator>(cpu, dispatcher.blocks(), optimisations);
    dispatcher.set_backend(backend.get());
#endif
  }

  void attach() {
    ports.attach(kPortPicMaster, 2, pic, 0);
    ports.attach(kPortPicSlave, 2, pic, 2);
    ports.attach(kPortElcr, 2, pic, 4);
    ports.attach(kPortPit, 4, pit);
    ports.attach(kPortI8042Data, 1, keyboard, 0);
    ports.attach(kPortSystemControlB, 1, control_b);
    ports.attach(kPortI8042Command, 1, keyboard, 4);
    ports.attach(kPortRtc, 2, rtc);
    ports.attach(kPortPostCode, kPortSystemControlA - kPortPostCode, post_code);
    ports.attach(kPortSystemControlA, 1, control_a);
    ports.attach(kPortDebugE9, 1, debug_console);
    ports.attach(kPortDebugFirmware, 1, debug_console);
    ports.attach(kPortDebugExit, 4, debug_exit);
    ports.attach(kPortSerial1, 8, uart);
    ports.attach(kPortAcpiPm, 16, acpi_pm);
    ports.attach(kPortPciAddress, 8, pci);
    mmio.attach(kIoApicBase, core::kPageSize, io_apic);
    mmio.attach(kHpetBase, 0x400, hpet);
    mmio.attach(kLocalApicBase, core::kPageSize, local_apic);
    pci.insert(0, 0, host_bridge);
    pci.insert(1, 0, isa_bridge);

    ram->on_code_write([this](u64 pa, u64 size) { dispatcher.blocks().invalidate(pa, size); });
    const u64 above_16m = ram->below_4g() > (16u << 20) ? (ram->below_4g() - (16u << 20)) >> 16 : 0;
    const u64 extended = std::min<u64>((ram->below_4g() - (1u << 20)) >> 10, 0xffff);
    const auto cmos16 = [this](u8 index, u64 value) {
      rtc.set_cmos(index, static_cast<u8>(value));
      rtc.set_cmos(static_cast<u8>(index + 1), static_cast<u8>(value >> 8));
    };
    cmos16(0x15, 640);                                           // base memory, KiB
    cmos16(0x17, extended);                                      // extended memory, KiB
    cmos16(0x30, extended);                                      // the same, as some loaders read it
    cmos16(0x34, std::min<u64>(above_16m, 0xffff));              // above 16 MiB, 64 KiB units
    rtc.set_cmos(0x5b, static_cast<u8>(ram->above_4g() >> 16));  // above 4 GiB, 64 KiB units, three bytes
    rtc.set_cmos(0x5c, static_cast<u8>(ram->above_4g() >> 24));
    rtc.set_cmos(0x5d, static_cast<u8>(ram->above_4g() >> 32));
  }

  void wake(core::Pending reason) {
    cpu.state.notify(reason);
    cpu.state.attention.notify_one();
  }
  void set_a20(bool on) {
    memory.set_a20(on);
    cpu.mmu.flush_all();
  }
  void reset_devices() {
    for (core::Device* device : std::initializer_list<core::Device*>{
             &pic, &pit, &rtc, &uart, &keyboard, &control_a, &control_b, &post_code, &debug_console,
             &debug_exit, &hpet, &acpi_pm, &reset_control, &pci, &display.device(), &io_apic, &local_apic})
      device->reset();
  }

  std::unique_ptr<core::GuestRam> ram;
  HostClock clock;
  core::Bus ports, mmio;
  mmu::PhysicalMemory memory;
  ApicBus apic_bus;
  LocalApic local_apic;
  IoApic io_apic;
  Pic8259Pair pic;
  InterruptWiring wiring;
  PitDevice pit;
  RtcMc146818 rtc;
  Uart16550a uart;
  I8042 keyboard;
  SystemControlA control_a;
  SystemControlB control_b;
  PostCodePort post_code;
  DebugConsole debug_console;
  DebugExit debug_exit;
  Hpet hpet;
  AcpiPm acpi_pm;
  ResetControl reset_control;
  HostBridge host_bridge;
  IsaBridge isa_bridge;
  PciBus pci;
  Display display;
  HostInput input;
  VcpuMemory cpu_memory;
  jit::Vcpu& cpu;
  jit::Dispatcher dispatcher;
  std::unique_ptr<jit::Backend> backend;
};

bool have_translator() {
#ifdef DOPPEL_TRANSLATOR_X64
  return true;
#else
  return false;
#endif
}

std::vector<std::string> optimisation_names() {
  std::vector<std::string> names;
#ifdef DOPPEL_TRANSLATOR_X64
  for (const auto& [name, member] : kOptimisations) names.emplace_back(name);
#endif
  return names;
}

bool selftest_passed(int status) {
  return status == bios::kSelftestPassed;
}

Machine::Machine(MachineConfig config, boost::asio::io_context& events, CharBackend& serial,
                 CharBackend& debug_console)
    : config_(std::move(config)), parts_(std::make_unique<Parts>(*this, events, serial, debug_console)) {
  power_on();
}

Machine::~Machine() = default;

// The state a firmware would leave behind: devices reset, the kernel loaded, the vCPU at its entry.
void Machine::power_on() {
  std::lock_guard guard(device_lock_);
  Parts& p = *parts_;
  p.reset_devices();
  p.set_a20(true);
  interp::reset(p.cpu.state, config_.cpu, true);
  p.dispatcher.blocks().clear();
  p.display.set_text_mode();
  if (config_.selftest) {
    bios::load_selftest(*p.ram, p.cpu.state);
  } else {
    bios::BootRequest request;
    request.kernel = config_.kernel;
    if (!config_.initrd.empty()) request.modules.push_back({config_.initrd, ""});
    request.command_line = config_.command_line;
    request.linux_32bit_entry = config_.linux_32bit_entry;
    request.physical_address_bits = mmu::kPhysicalBits;
    std::random_device random;
    for (int i = 0; i < 32; ++i) request.rng_seed.push_back(static_cast<u8>(random()));
    if (const auto error = bios::boot(request, *p.ram, p.cpu.state)) throw ConfigError(*error);
  }
  p.cpu.mmu.flush_all();
  p.cpu.mmu.mode_changed();
}

void Machine::request(Request what) {
  requests_.fetch_or(what);
  parts_->wake(core::kPendingStop);
}

void Machine::stop() {
  request(kRequestStop);
}
void Machine::reset() {
  request(kRequestReset);
}

std::size_t Machine::serial_input(std::span<const u8> bytes) {
  std::lock_guard guard(device_lock_);
  return parts_->uart.receive(bytes);
}

void Machine::on_serial_room(std::function<void()> callback) {
  std::lock_guard guard(device_lock_);
  serial_room_ = std::move(callback);
}

Display& Machine::display() {
  return parts_->display;
}
HostInput& Machine::input() {
  return parts_->input;
}

const core::Counters& Machine::counters() const {
  return counters_;
}
u64 Machine::instructions() const {
  return parts_->dispatcher.instructions();
}

Outcome Machine::run() {
  const Outcome outcome = run_to_end();
  if (parts_->backend) parts_->backend->publish_counters();
  return outcome;
}

Outcome Machine::run_to_end() {
  using Exit = jit::Dispatcher::Exit;
  Parts& p = *parts_;
  while (true) {
    switch (p.dispatcher.run()) {
      case Exit::kBudget:
        break;
      case Exit::kIdle:
        p.cpu.state.attention.wait(0);
        break;
      case Exit::kShutdown:
        return {Outcome::Kind::kTripleFault, 0, describe(p.cpu)};
      case Exit::kStopped: {
        const u32 requests = requests_.exchange(0);
        if (requests & kRequestExit) return {Outcome::Kind::kGuestExit, guest_status_, ""};
        if (requests & kRequestPowerOff) return {Outcome::Kind::kPowerOff, 0, ""};
        if (requests & kRequestStop) return {Outcome::Kind::kStopped, 0, ""};
        if (requests & kRequestReset) {
          if (config_.no_reboot) return {Outcome::Kind::kReset, 0, ""};
          core::log(core::LogCategory::kMachine, "reset");
          power_on();
        }
        break;
      }
    }
  }
}

}  // namespace doppel::machine
