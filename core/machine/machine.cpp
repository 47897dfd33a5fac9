#include "core/machine/machine.hpp"

#include <deque>
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
#include "core/machine/processor.hpp"
#include "core/machine/processor_crew.hpp"
#include "core/machine/state_report.hpp"
#include "core/machine/storage.hpp"

namespace doppel::machine {

// The board and the processors on it.
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
               .notify = [this](u32 processor, core::Pending reason) { processors[processor].wake(reason); },
               .code_written = [this](u64 pa, u64 size) { code_written(pa, size); },
               .translations_changed = [this] { translations_changed(); }}),
        shared{.blocks = std::make_shared<jit::BlockStore>(board.memory.ram(), machine.counters_)},
        processors(make_processors(machine)),
        crew(processors, {.triple_fault = [&machine] { machine.request(kRequestTripleFault); },
                          .failure = [&machine] { machine.request(kRequestFailure); }}),
        storage(machine.config_.disks, board, machine.counters_, poster(machine)),
        networking(machine.config_.nets, board, machine.counters_, poster(machine)),
        peripherals(machine.config_.peripherals, board, machine.counters_, events, poster(machine)) {}

  std::deque<Processor> make_processors(Machine& machine) {
    std::deque<Processor> made;
    for (u32 i = 0; i < machine.config_.processors.cpus; ++i)
      made.emplace_back(i, machine.config_, board, i == 0 ? machine.counters_ : more_counters.emplace_back(),
                        shared);
    return made;
  }

  // How other threads run something on the first processor's.
  std::function<void(std::function<void()>)> poster(Machine& machine) {
    return [this, &machine](std::function<void()> work) {
      machine.work_.post(std::move(work));
      machine.requests_.fetch_or(kRequestWork);
      processors.front().wake(core::kPendingStop);
    };
  }

  // The processor that the calling thread may see to itself; nullptr: none. One that is alone is everybody's.
  Processor* own() { return processors.size() == 1 ? &processors.front() : Processor::current(); }

  void code_written(u64 pa, u64 size) {
    Processor* self = own();
    shared.blocks->invalidate(pa, size, self ? &self->dispatcher().blocks() : nullptr);
  }

  void translations_changed() {
    Processor* self = own();
    if (self) self->cpu().mmu.flush_all();
    shared.coherence.flush_others(self ? self->member() : nullptr);
  }

  PcBoard board;
  SharedByProcessors shared;
  std::deque<core::Counters> more_counters;  // of all processors but the first
  std::deque<Processor> processors;
  ProcessorCrew crew;
  // Last: their threads wake a processor as long as they live.
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
  for (Processor& processor : p.processors) processor.reset();
  if (config_.firmware.empty())
    start_kernel();
  else
    start_firmware();
  p.processors.front().cpu().mmu.flush_all();
  p.processors.front().cpu().mmu.mode_changed();
}

// The processor stays as reset leaves it, at the reset vector.
void Machine::start_firmware() {
  PcBoard& board = parts_->board;
  bios::BootOptions boot = config_.boot;
  if (!boot.once.empty() && !booted_once_) boot.order = boot.once;
  booted_once_ = true;
  // SeaBIOS obeys CMOS as well, OVMF only names of devices.
  if (boot.order.starts_with('n')) boot.device_paths = parts_->networking.device_paths();
  board.set_boot_order(boot.order);
  bios::fill_fw_cfg(board.fw_cfg, {.cpus = config_.processors.cpus}, boot, *board.ram);
}

// The state a firmware would leave behind: the kernel loaded, the first processor at its entry.
void Machine::start_kernel() {
  Parts& p = *parts_;
  p.board.set_up_without_firmware();
  core::CpuState& state = p.processors.front().cpu().state;
  if (config_.selftest) {
    bios::load_selftest(*p.board.ram, state);
    return;
  }
  bios::BootRequest request;
  request.acpi.cpus = config_.processors.cpus;
  request.kernel = config_.kernel;
  if (!config_.initrd.empty()) request.modules.push_back({config_.initrd, ""});
  request.command_line = config_.command_line;
  request.linux_32bit_entry = config_.linux_32bit_entry;
  request.physical_address_bits = mmu::kPhysicalBits;
  std::random_device random;
  for (int i = 0; i < 32; ++i) request.rng_seed.push_back(static_cast<u8>(random()));
  if (const auto error = bios::boot(request, *p.board.ram, state)) throw ConfigError(*error);
  // Firmware would have given all the same view of memory types.
  for (Processor& processor : p.processors) {
    core::CpuState& other = processor.cpu().state;
    other.mtrr_def_type = state.mtrr_def_type;
    other.mtrr_fixed = state.mtrr_fixed;
    other.mtrr_variable = state.mtrr_variable;
  }
  if (!config_.no_reboot) return;
  // Nobody starts them again.
  for (std::vector<u8>* file : {&config_.kernel, &config_.initrd}) {
    file->clear();
    file->shrink_to_fit();
  }
}

void Machine::request(Request what) {
  requests_.fetch_or(what);
  parts_->processors.front().wake(core::kPendingStop);
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
  return parts_->processors.front().runs_directly();
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
  u64 sum = 0;
  for (const Processor& processor : parts_->processors) sum += processor.dispatcher().instructions();
  return sum;
}

Outcome Machine::run() {
  Parts& p = *parts_;
  p.processors.front().adopt();
  p.crew.start();
  Outcome outcome;
  try {
    outcome = run_to_end();
  } catch (...) {
    p.crew.end();
    throw;
  }
  p.crew.end();
  for (Processor& processor : p.processors) processor.publish_counters();
  for (const core::Counters& counters : p.more_counters)
    for (const auto& [name, count] : counters.values()) counters_[name] += count;
  return outcome;
}

Outcome Machine::run_to_end() {
  Parts& p = *parts_;
  Processor& first = p.processors.front();
  while (true) {
    if (!first.run()) return {Outcome::Kind::kTripleFault, 0, describe(first.cpu())};
    if (std::string report = first.difference(); !report.empty())
      return {Outcome::Kind::kDifference, 0, std::move(report)};
    const u32 requests = requests_.exchange(0);
    if (requests & kRequestWork) work_.run(device_lock_);
    if (requests & kRequestFailure) p.crew.rethrow();
    if (requests & kRequestExit) return {Outcome::Kind::kGuestExit, guest_status_, ""};
    if (requests & kRequestPowerOff) return {Outcome::Kind::kPowerOff, 0, ""};
    if (requests & kRequestStop) return {Outcome::Kind::kStopped, 0, ""};
    if (requests & kRequestTripleFault) {
      p.crew.pause();
      for (Processor& processor : p.processors)
        if (processor.cpu().state.activity == core::Activity::kShutdown)
          return {Outcome::Kind::kTripleFault, 0, describe(processor.cpu())};
      p.crew.go_on();  // it was reset meanwhile
    }
    if (requests & kRequestReset) {
      if (config_.no_reboot) return {Outcome::Kind::kReset, 0, ""};
      core::log(core::LogCategory::kMachine, "reset");
      p.crew.pause();
      power_on();
      p.crew.go_on();
    }
  }
}

}  // namespace doppel::machine
