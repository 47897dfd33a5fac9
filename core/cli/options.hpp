// The command line of `doppel`: what was asked, or a sentence that says what is wrong with it.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bios/boot_options.hpp"
#include "core/cli/control_client.hpp"
#include "core/cli/smp_option.hpp"
#include "core/cli/viewers.hpp"
#include "core/cpuid.hpp"
#include "core/machine/machine.hpp"

namespace doppel::cli {

struct RunOptions {
  std::string kernel, initrd, append;
  std::vector<machine::DiskConfig> disks;
  std::vector<machine::NetConfig> nets;
  machine::PeripheralConfig peripherals;
  std::string bios;   // firmware image; empty: none, a kernel is started directly
  std::string nvram;  // file for the firmware's variables; empty: none
  bios::BootOptions boot;
  u64 ram_size = 0;
  core::CpuModel cpu;
  machine::Topology processors;
  std::string serial = "stdio";  // "stdio", "null" or "file:PATH"
  std::string debug_file;        // where ports 0xe9 and 0x402 go; empty: stderr
  machine::Engine engine = machine::Engine::kInterpreter;
  machine::Direct direct = machine::Direct::kAuto;
  std::vector<std::string> optimisations_off;
  bool trace_blocks = false;
  std::string trace_file;  // empty: stderr
  std::vector<u64> dump_blocks;
  bool perf_map = false;
  std::optional<double> timeout_seconds;
  bool linux_32bit_entry = false;
  bool no_reboot = false;
  bool stats = false;
  bool sandbox = true;    // give up what the machine does not need while it runs
  bool selftest = false;  // `doppel selftest`
  ViewerOptions viewers;
};

// Exit now with this status after printing `text` (to stdout when the status is 0, else to stderr).
struct ExitNow {
  int status = 0;
  std::string text;
};

[[nodiscard]] std::variant<RunOptions, ControlCall, ExitNow> parse_command_line(int argc, char** argv);

}  // namespace doppel::cli
