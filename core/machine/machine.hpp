// The composition root: one PC made of processors, RAM and devices, wired as devices/pc_layout.hpp says.
// run() is the life of the first processor's thread, which makes those of the others; everything else may be
// called from other threads.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "bios/boot_options.hpp"
#include "core/counters.hpp"
#include "core/cpuid.hpp"
#include "core/machine/console.hpp"
#include "core/machine/disk_config.hpp"
#include "core/machine/net_config.hpp"
#include "core/machine/peripheral_config.hpp"
#include "core/machine/topology.hpp"
#include "core/machine/vcpu_work.hpp"
#include "devices/char_backend.hpp"

namespace doppel::machine {

// How guest code runs.
enum class Engine {
  kInterpreter,
  kTranslator,
  kVerify,  // both, block by block, compared
};

// Whether user code may run directly on the host's processor, with Engine::kTranslator.
enum class Direct {
  kAuto,  // if the model has all instructions that guests can be shown: then it is the host's code
  kOn,
  kOff,
};

// Whether this build has a translator for the host.
[[nodiscard]] bool have_translator();

struct MachineConfig {
  Engine engine = Engine::kInterpreter;
  Direct direct = Direct::kAuto;
  std::vector<std::string> optimisations_off;  // of the translator; names as optimisation_names() lists them
  std::FILE* trace = nullptr;                  // gets a line for each block that is entered; stays open
  std::vector<u64> dump_blocks;                // translations of the blocks at these addresses go to stderr
  bool perf_map = false;                       // write /tmp/perf-PID.map
  core::CpuModel cpu;
  Topology processors;
  u64 ram_size = 0;  // bytes
  std::vector<u8> kernel;
  std::vector<u8> initrd;
  std::string command_line;
  std::vector<DiskConfig> disks;
  std::vector<NetConfig> nets;
  PeripheralConfig peripherals;
  bool linux_32bit_entry = false;
  std::vector<u8> firmware;  // an image that passed check_firmware(); runs instead of a kernel
  // The file that keeps the firmware's variables; made as a copy of `original` if there is none. Empty path:
  // none.
  struct VariableStore {
    std::string path, original;
  } variables;
  bios::BootOptions boot;  // for the firmware
  bool selftest = false;   // the embedded test guest instead of a kernel
  bool no_reboot = false;
  std::vector<u8> video_bios;  // the VGA's option ROM; may be empty
};

// Why the machine stopped.
struct Outcome {
  enum class Kind { kPowerOff, kReset, kTripleFault, kGuestExit, kStopped, kDifference };
  Kind kind = Kind::kStopped;
  int status = 0;      // kGuestExit: what isa-debug-exit asked for
  std::string report;  // kTripleFault: registers and stack; kDifference: both outcomes
};

// What MachineConfig::optimisations_off may name.
[[nodiscard]] std::vector<std::string> optimisation_names();

// Whether the exit status of the embedded test guest means success.
[[nodiscard]] bool selftest_passed(int status);

// The machine cannot be made as asked; what() is a sentence for the user.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Display;
class HostInput;

class Machine {
 public:
  // `events` is run by another thread while run() runs. Throws ConfigError.
  Machine(MachineConfig config, boost::asio::io_context& events, devices::CharBackend& serial,
          devices::CharBackend& debug_console);
  ~Machine();

  // Runs the guest until it ends or stop() is called.
  [[nodiscard]] Outcome run();
  void stop();
  void reset();

  // Bytes for the first serial port; returns how many it took. `on_serial_room` is called (from any thread)
  // when it refused some and can take more.
  [[nodiscard]] std::size_t serial_input(std::span<const u8> bytes);
  void on_serial_room(std::function<void()> callback);

  // Whether user code may run in stub processes.
  [[nodiscard]] bool runs_directly() const;

  // How much of its memory the guest is to give back; false: there is no balloon.
  [[nodiscard]] bool set_balloon(u64 bytes);

  // For viewers of the screen and those who type; they end before the machine does.
  [[nodiscard]] Display& display();
  [[nodiscard]] HostInput& input();

  // Those of all processors, once run() has returned.
  [[nodiscard]] const core::Counters& counters() const;
  [[nodiscard]] u64 instructions() const;

 private:
  struct Parts;
  enum Request : u32 {
    kRequestStop = 1,
    kRequestReset = 2,
    kRequestPowerOff = 4,
    kRequestExit = 8,
    kRequestWork = 16,
    kRequestTripleFault = 32,  // of another processor than the first
    kRequestFailure = 64       // likewise: its thread ended with an exception
  };

  void power_on();
  void start_firmware();
  void start_kernel();
  [[nodiscard]] Outcome run_to_end();
  void request(Request what);

  MachineConfig config_;
  core::Counters counters_;
  std::recursive_mutex device_lock_;
  std::atomic<u32> requests_{0};
  std::atomic<int> guest_status_{0};
  std::function<void()> serial_room_;
  VcpuWork work_;
  NullBackend no_printer_;
  bool booted_once_ = false;  // BootOptions::once is used up
  std::unique_ptr<Parts> parts_;
};

}  // namespace doppel::machine
