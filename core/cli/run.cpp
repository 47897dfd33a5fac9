#include "core/cli/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "bios/firmware_image.hpp"
#include "core/cli/message.hpp"
#include "core/machine/console.hpp"
#include "core/machine/display.hpp"
#include "core/machine/exit_status.hpp"
#include "core/machine/machine.hpp"
#include "core/machine/networking.hpp"
#include "core/machine/sandbox.hpp"
#include "core/machine/terminal.hpp"
#include "core/populate.hpp"
#include "core/touch_ahead.hpp"

namespace doppel::cli {
namespace {

using machine::ConfigError;
using machine::Machine;
using machine::Outcome;

// A descriptor that is closed in the end.
class File {
 public:
  File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) throw ConfigError(fmt::format("{}: {}.", path, std::strerror(errno)));
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// Where --trace-blocks goes; null without it.
class TraceFile {
 public:
  explicit TraceFile(const RunOptions& options) {
    if (!options.trace_blocks) return;
    out_ = options.trace_file.empty() ? stderr : std::fopen(options.trace_file.c_str(), "we");
    if (!out_) throw ConfigError(fmt::format("{}: {}.", options.trace_file, std::strerror(errno)));
  }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;
  ~TraceFile() {
    if (out_ && out_ != stderr) std::fclose(out_);
  }
  [[nodiscard]] std::FILE* get() const { return out_; }

 private:
  std::FILE* out_ = nullptr;
};

// `too_large` is what to say of a file beyond `limit`. O_NONBLOCK: a named pipe must not make us wait.
std::vector<u8> read_file(const std::string& path, u64 limit, const std::string& too_large) {
  const File file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) throw ConfigError(fmt::format("{}: {}.", path, std::strerror(errno)));
  if (S_ISDIR(status.st_mode))
    throw ConfigError(fmt::format("{}: this is a directory; a file is needed.", path));
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    throw ConfigError(
        fmt::format("{}: this is a pipe or a device; copy what it gives into a file and name that.", path));
  std::vector<u8> bytes;
  std::array<u8, 65536> chunk;
  bytes.reserve(std::min(static_cast<u64>(status.st_size), limit) + chunk.size());
  core::populate(bytes.data(), bytes.capacity());
  ssize_t n;
  while ((n = ::read(file.fd(), chunk.data(), chunk.size())) > 0) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + n);
    if (bytes.size() > limit) throw ConfigError(fmt::format("{}: {}.", path, too_large));
  }
  if (n < 0) throw ConfigError(fmt::format("{}: {}.", path, std::strerror(errno)));
  return bytes;
}

std::vector<u8> read_for_ram(const std::string& path, u64 ram_size) {
  std::vector<u8> bytes = read_file(
      path, ram_size, fmt::format("does not fit into {} MiB of guest RAM; use a larger -m", ram_size >> 20));
  if (bytes.empty()) throw ConfigError(fmt::format("{}: the file is empty; get it again.", path));
  return bytes;
}

std::vector<u8> read_firmware(const std::string& path) {
  struct Packaged {
    std::string_view path, name, package;
  };
  static constexpr Packaged kPackaged[] = {{bios::kDefaultFirmware, "SeaBIOS", "seabios"},
                                           {bios::kUefiFirmware, "OVMF", "ovmf"}};
  for (const Packaged& known : kPackaged)
    if (path == known.path && ::access(path.c_str(), R_OK) != 0)
      throw ConfigError(
          fmt::format("{}: {}; install {} (Debian package {}), or name another firmware image with --bios.",
                      path, std::strerror(errno), known.name, known.package));
  std::vector<u8> image = read_file(
      path, bios::kMaxFirmwareSize,
      fmt::format("this is no firmware image: those have at most {} MiB", bios::kMaxFirmwareSize >> 20));
  if (const auto sentence = bios::check_firmware(image))
    throw ConfigError(fmt::format("--bios {}: {}.", path, *sentence));
  return image;
}

// Gives the cards what firmware boots with; without it they work all the same.
void add_boot_roms(std::vector<machine::NetConfig>& nets, const bios::BootOptions& boot) {
  const bool wanted = (boot.order + boot.once).find('n') != std::string::npos;
  if (wanted && nets.empty())
    throw ConfigError("--boot: there is no network card to boot from; add --net user.");
  for (machine::NetConfig& net : nets) {
    net.rom = machine::installed_boot_rom(net.model);
    if (wanted && net.rom.empty())
      throw ConfigError(
          fmt::format("--boot: the network card's boot ROM {} is missing; install Debian's "
                      "package ipxe-qemu, or leave n out.",
                      machine::boot_rom_path(net.model)));
  }
}

void check_host_memory(u64 wanted) {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return;
  const u64 host = (u64{info.totalram} + info.totalswap) * info.mem_unit;
  if (wanted > host)
    throw ConfigError(
        fmt::format("the host has {} MiB of memory, less than the {} MiB asked for; use a smaller -m.",
                    host >> 20, wanted >> 20));
}

int report(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::kPowerOff:
      return machine::kExitPowerOff;
    case Outcome::Kind::kReset:
      return machine::kExitReset;
    case Outcome::Kind::kGuestExit:
      return outcome.status;
    case Outcome::Kind::kTripleFault:
      print(stderr, "\ndoppel: triple fault: the guest faulted while its double fault was delivered.\n{}",
            outcome.report);
      return machine::kExitTripleFault;
    case Outcome::Kind::kDifference:
      print(stderr, "\ndoppel: {}", outcome.report);
      return machine::kExitDifference;
    case Outcome::Kind::kStopped:
      return machine::kExitQuit;
  }
  return machine::kExitHostError;
}

int run_machine(const RunOptions& options) {
  machine::MachineConfig config;
  config.cpu = options.cpu;
  config.ram_size = options.ram_size;
  config.processors = options.processors;
  config.engine = options.engine;
  config.direct = options.direct;
  config.optimisations_off = options.optimisations_off;
  config.command_line = options.append;
  config.disks = options.disks;
  config.nets = options.nets;
  config.peripherals = options.peripherals;
  config.linux_32bit_entry = options.linux_32bit_entry;
  config.no_reboot = options.no_reboot;
  config.selftest = options.selftest;
  config.dump_blocks = options.dump_blocks;
  config.perf_map = options.perf_map;
  const TraceFile trace(options);
  config.trace = trace.get();
  config.video_bios = machine::installed_video_bios();
  check_host_memory(options.ram_size);
  if (!options.kernel.empty()) config.kernel = read_for_ram(options.kernel, options.ram_size);
  if (!options.bios.empty()) config.firmware = read_firmware(options.bios);
  if (!options.nvram.empty()) config.variables = {options.nvram, bios::original_variable_store(options.bios)};
  config.boot = options.boot;
  config.boot.screen_on_serial = !options.viewers.screen_seen();
  if (!options.bios.empty()) add_boot_roms(config.nets, config.boot);
  if (!options.initrd.empty()) config.initrd = read_for_ram(options.initrd, options.ram_size);

  boost::asio::io_context events;
  std::optional<File> serial_file, debug_file;
  std::unique_ptr<devices::CharBackend> serial;
  const bool on_stdio = options.serial == "stdio";
  if (on_stdio) {
    serial = std::make_unique<machine::OutputBackend>(events, STDOUT_FILENO);
  } else if (options.serial == "null") {
    serial = std::make_unique<machine::NullBackend>();
  } else {
    serial_file.emplace(options.serial.substr(5), O_WRONLY | O_CREAT | O_TRUNC);
    serial = std::make_unique<machine::OutputBackend>(events, serial_file->fd());
  }
  if (!options.debug_file.empty()) debug_file.emplace(options.debug_file, O_WRONLY | O_CREAT | O_TRUNC);
  machine::OutputBackend debug_console(events, debug_file ? debug_file->fd() : STDERR_FILENO);

  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);       // what is beyond a file's largest size is an error of the write
  const core::TouchAhead touch_ahead;  // the machine's memory, from the start on
  Machine vm(std::move(config), events, *serial, debug_console);
  boost::asio::signal_set signals(events, SIGINT, SIGTERM, SIGHUP);
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (!error) vm.stop();
  });
  bool timed_out = false;
  boost::asio::steady_timer deadline(events);
  if (options.timeout_seconds) {
    deadline.expires_after(std::chrono::nanoseconds(static_cast<i64>(*options.timeout_seconds * 1e9)));
    deadline.async_wait([&](const boost::system::error_code& error) {
      if (error) return;
      timed_out = true;
      vm.stop();
    });
  }

  std::optional<Viewers> viewers(std::in_place, options.viewers, events, vm);
  const bool reads_keys = on_stdio || options.viewers.text();
  const bool terminal = reads_keys && ::isatty(STDIN_FILENO);
  machine::ConsoleInput input(events, STDIN_FILENO, terminal,
                              {.deliver =
                                   [&](std::span<const u8> bytes) {
                                     return on_stdio ? vm.serial_input(bytes) : viewers->type(bytes);
                                   },
                               .quit = [&] { vm.stop(); },
                               .reset = [&] { vm.reset(); }});
  vm.on_serial_room([&] { boost::asio::post(events, [&] { input.resume(); }); });
  const machine::RawTerminal raw(terminal ? STDIN_FILENO : -1);
  if (reads_keys) input.start();

  const auto work = boost::asio::make_work_guard(events);
  std::thread event_thread([&] { events.run(); });
  if (options.sandbox)
    machine::enter_sandbox({.network = !options.nets.empty() || options.peripherals.vsock.has_value(),
                            .files = !options.viewers.control.empty(),
                            .folders = !options.peripherals.shares.empty(),
                            .direct_execution = vm.runs_directly()});
  const Outcome outcome = vm.run();
  events.stop();
  event_thread.join();
  vm.on_serial_room({});
  viewers.reset();  // the terminal shows messages again
  serial.reset();   // the guest's last words come before ours
  debug_console.flush();

  if (options.stats) {
    print(stderr, "{:>16} instructions\n", vm.instructions());
    for (const auto& [name, count] : vm.counters().values()) print(stderr, "{:>16} {}\n", count, name);
  }
  if (timed_out && outcome.kind == Outcome::Kind::kStopped) {
    print(stderr, "doppel: the guest was still running after {} s (--timeout).\n", *options.timeout_seconds);
    return machine::kExitTimeout;
  }
  return report(outcome);
}

}  // namespace

int run(const RunOptions& options) {
  try {
    return run_machine(options);
  } catch (const ConfigError& error) {
    print(stderr, "doppel: {}\n", error.what());
    return machine::kExitUsage;
  } catch (const std::exception& error) {
    print(stderr, "doppel: the host failed: {}\n", error.what());
    return machine::kExitHostError;
  }
}

}  // namespace doppel::cli
