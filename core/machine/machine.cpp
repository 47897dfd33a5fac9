#include "core/machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "bios/entry_state.hpp"
#include "bios/fw_cfg_content.hpp"
#include "bios/kernel_image.hpp"
#include "bios/selftest_guest.hpp"
#include "core/log.hpp"
#include "core/machine/display.hpp"
#include "core/machine/host_input.hpp"
#include "core/machine/networking.hpp"
#include "core/machine/pc_board.hpp"
#include "core/machine/peripherals.hpp"
#include "core/machine/state_report.hpp"
#include "core/machine/storage.hpp"
#include "core/machine/vcpu_memory.hpp"
#include "jit/dispatch.hpp"
#include "jit/interp/reset.hpp"
#include "jit/trace.hpp"
#include "jit/verify.hpp"
#ifdef DOPPEL_TRANSLATOR_X64
#include "jit/direct/direct_runner.hpp"
#include "jit/x64/translator.hpp"
#endif

namespace doppel::machine {

namespace {

#ifdef DOPPEL_TRANSLATOR_X64
// Command-line names of the translator's switches.
constexpr std::pair<const char*, bool jit::x64::Optimisations::*> kOptimisations[] = {
    {"native-integer", &jit::x64::Optimisations::native_integer},
    {"native-vector", &jit::x64::Optimisations::native_vector},
    {"native-x87", &jit::x64::Optimisations::native_x87},
    {"flag-liveness", &jit::x64::Optimisations::flag_liveness},
    {"chaining", &jit::x64::Optimisations::chaining},
    {"shared-checks", &jit::x64::Optimisations::shared_checks},
    {"inline-lookup", &jit::x64::Optimisations::inline_lookup},
    {"long-blocks", &jit::x64::Optimisations::long_blocks},
    {"jump-cache", &jit::x64::Optimisations::jump_cache}};
#endif

#ifdef DOPPEL_TRANSLATOR_X64
jit::x64::TranslationReport translation_report(const MachineConfig& config) {
  jit::x64::TranslationReport report;
  report.dump_blocks(config.dump_blocks);
  try {
    if (config.perf_map) report.open_perf_map();
  } catch (const std::system_error& error) {
    throw ConfigError(fmt::format("{}; --perf-map needs that file.", error.what()));
  }
  return report;
}

bool may_run_directly(const MachineConfig& config) {
  if (config.engine != Engine::kTranslator || config.trace) return false;
  if (config.direct != Direct::kAuto) return config.direct == Direct::kOn;
  return jit::direct::DirectRunner::suits(config.cpu);
}
#endif

}  // namespace

// The board and the processor on it.
struct Machine::Parts {
  Parts(Machine& machine, boost::asio::io_context& events, PcBoard::Backends backends)
      : board(machine.config_, machine.counters_, machine.device_lock_, events, backends,
              {.reset = [&machine] { machine.request(kRequestReset); },
               .power_off = [&machine] { machine.request(kRequestPowerOff); },
               .exit =
                   [&machine](u32 status) {
                     machine.guest_status_ = static_cast<int>(status & 0xff);
                     machine.request(kRequestExit);
                   },
               .serial_room =
                   [&machine] {
                     if (machine.serial_room_) machine.serial_room_();
                   },
               .notify = [this](core::Pending reason) { wake(reason); },
               .code_written = [this](u64 pa, u64 size) { dispatcher.blocks().invalidate(pa, size); },
               .translations_changed = [this] { cpu.mmu.flush_all(); }}),
        cpu_memory(machine.config_.cpu, board.memory, board.ports, board.local_apic, board.clock,
                   machine.counters_),
        cpu(*cpu_memory),
        dispatcher(cpu),
        backend(choose_engine(machine.config_)),
        storage(machine.config_.disks, board, machine.counters_, poster(machine)),
        networking(machine.config_.nets, board, machine.counters_, poster(machine)),
        peripherals(machine.config_.peripherals, board, machine.counters_, events, poster(machine)) {
    dispatcher.set_backend(backend.get());
  }

  // How other threads run something on the vCPU's.
  std::function<void(std::function<void()>)> poster(Machine& machine) {
    return [this, &machine](std::function<void()> work) {
      machine.work_.post(std::move(work));
      machine.requests_.fetch_or(kRequestWork);
      wake(core::kPendingStop);
    };
  }

  // nullptr: the interpreter alone.
  std::unique_ptr<jit::Backend> choose_engine(const MachineConfig& config) {
    std::unique_ptr<jit::Backend> chosen;
#ifdef DOPPEL_TRANSLATOR_X64
    if (config.engine != Engine::kInterpreter) {
      jit::x64::Optimisations optimisations;
      for (const auto& [name, member] : kOptimisations)
        if (std::find(config.optimisations_off.begin(), config.optimisations_off.end(), name) !=
            config.optimisations_off.end())
          optimisations.*member = false;
      // Whoever looks at single blocks wants each of them to come back.
      if (config.trace || config.engine == Engine::kVerify)
        optimisations.chaining = optimisations.jump_cache = false;
      if (config.engine == Engine::kVerify) optimisations.hot_runs = 0;
      chosen =
          std::make_unique<jit::x64::Translator>(cpu, dispatcher.blocks(), optimisations,
                                                 jit::x64::kDefaultCodeCacheSize, translation_report(config));
      if (config.engine == Engine::kVerify) {
        auto made = std::make_unique<jit::Verifier>(cpu, dispatcher.blocks(), std::move(chosen),
                                                    !optimisations.flag_liveness);
        verifier = made.get();
        chosen = std::move(made);
      }
    }
    if (may_run_directly(config)) {
      auto made = std::make_unique<jit::direct::DirectRunner>(cpu, dispatcher.blocks(), std::move(chosen));
      direct = made.get();
      chosen = std::move(made);
    }
#endif
    if (config.trace) chosen = std::make_unique<jit::Tracer>(cpu, std::move(chosen), config.trace);
    return chosen;
  }

  void wake(core::Pending reason) {
    cpu.state.notify(reason);
    cpu.state.attention.notify_one();
#ifdef DOPPEL_TRANSLATOR_X64
    if (direct) direct->interrupt();
#endif
  }

  PcBoard board;
  VcpuMemory cpu_memory;
  jit::Vcpu& cpu;
  jit::Dispatcher dispatcher;
  // Before `backend`, which sets them.
  const jit::Verifier* verifier = nullptr;  // in `backend`, with Engine::kVerify
#ifdef DOPPEL_TRANSLATOR_X64
  jit::direct::DirectRunner* direct = nullptr;  // `backend`, if user code may run directly
#endif
  std::unique_ptr<jit::Backend> backend;
  // Last: their threads wake the vCPU as long as they live.
  Storage storage;
  Networking networking;
  Peripherals peripherals;
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

Machine::Machine(MachineConfig config, boost::asio::io_context& events, devices::CharBackend& serial,
                 devices::CharBackend& debug_console)
    : config_(std::move(config)),
      parts_(std::make_unique<Parts>(*this, events, PcBoard::Backends{serial, debug_console, no_printer_})) {
  power_on();
}

Machine::~Machine() = default;

void Machine::power_on() {
  std::lock_guard guard(device_lock_);
  Parts& p = *parts_;
  p.board.reset();
  p.storage.reset();
  interp::reset(p.cpu.state, config_.cpu, true);
  p.dispatcher.blocks().clear();
  if (config_.firmware.empty())
    start_kernel();
  else
    start_firmware();
  p.cpu.mmu.flush_all();
  p.cpu.mmu.mode_changed();
}

// The vCPU stays as reset leaves it, at the reset vector.
void Machine::start_firmware() {
  PcBoard& board = parts_->board;
  bios::BootOptions boot = config_.boot;
  if (!boot.once.empty() && !booted_once_) boot.order = boot.once;
  booted_once_ = true;
  board.set_boot_order(boot.order);
  bios::fill_fw_cfg(board.fw_cfg, {}, boot, *board.ram);
}

// The state a firmware would leave behind: the kernel loaded, the vCPU at its entry.
void Machine::start_kernel() {
  Parts& p = *parts_;
  p.board.set_up_without_firmware();
  if (config_.selftest) {
    bios::load_selftest(*p.board.ram, p.cpu.state);
    return;
  }
  bios::BootRequest request;
  request.kernel = config_.kernel;
  if (!config_.initrd.empty()) request.modules.push_back({config_.initrd, ""});
  request.command_line = config_.command_line;
  request.linux_32bit_entry = config_.linux_32bit_entry;
  request.physical_address_bits = mmu::kPhysicalBits;
  std::random_device random;
  for (int i = 0; i < 32; ++i) request.rng_seed.push_back(static_cast<u8>(random()));
  if (const auto error = bios::boot(request, *p.board.ram, p.cpu.state)) throw ConfigError(*error);
  if (!config_.no_reboot) return;
  // Nobody starts them again.
  for (std::vector<u8>* file : {&config_.kernel, &config_.initrd}) {
    file->clear();
    file->shrink_to_fit();
  }
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
  return parts_->board.uart.receive(bytes);
}

void Machine::on_serial_room(std::function<void()> callback) {
  std::lock_guard guard(device_lock_);
  serial_room_ = std::move(callback);
}

bool Machine::runs_directly() const {
#ifdef DOPPEL_TRANSLATOR_X64
  return parts_->direct != nullptr;
#else
  return false;
#endif
}

bool Machine::set_balloon(u64 bytes) {
  std::lock_guard guard(device_lock_);
  auto* balloon = parts_->peripherals.balloon();
  if (balloon) balloon->set_target(bytes);
  return balloon;
}

Display& Machine::display() {
  return parts_->board.display;
}
HostInput& Machine::input() {
  return parts_->board.input;
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
        if (p.verifier && !p.verifier->report().empty())
          return {Outcome::Kind::kDifference, 0, p.verifier->report()};
        const u32 requests = requests_.exchange(0);
        if (requests & kRequestWork) work_.run(device_lock_);
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
