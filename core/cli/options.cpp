#include "core/cli/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <map>

#include "bios/firmware_image.hpp"
#include "core/cli/disk_option.hpp"
#include "core/cli/net_option.hpp"
#include "core/cli/words.hpp"
#include "core/log.hpp"
#include "core/machine/exit_status.hpp"
#include "core/spelling.hpp"

namespace doppel::cli {
namespace {

constexpr u64 kMiB = u64{1} << 20;
constexpr u64 kSmallestRam = 2 * kMiB;

constexpr const char* kRunFooter = R"(
Keys while the guest has the terminal:
  Ctrl-A x  quit      Ctrl-A r  reset      Ctrl-A a  send Ctrl-A      Ctrl-A h  help

Exit status:
  0    the guest powered off
  2    bad command line or input file
  4    the guest reset, with --no-reboot
  6    triple fault (registers and stack on stderr)
  8    the host could not go on
  10   stopped: Ctrl-A x or a signal
  12   --engine verify: translated code and the interpreter disagree
  124  --timeout expired
  odd  the guest wrote (status >> 1) to the isa-debug-exit port 0xf4

Example:
  doppel run --kernel vmlinuz --initrd initrd.img --append "console=ttyS0" -m 512M)";

constexpr const char* kControlFooter = R"(
Commands:
  status                               what the screen shows
  screen-text                          the characters of a text screen
  screenshot FILE                      the screen as PNG
  send-key KEYS                        press keys together: enter, f1, ctrl+alt+delete
  send-keys TEXT                       type text
  move-mouse DX DY [BUTTONS [WHEEL]]   move right and down; buttons: 1 left, 2 right, 4 middle
  balloon MIB                          ask the guest to give back that much memory (--balloon)
  reset                                reset the machine
  quit                                 end it

Exit status: 0 done, 1 refused by the machine, 2 no machine or bad command line.)";

// "512", "512M", "2G", "2048k"; a plain number is MiB, as for QEMU. Empty: not a size.
std::optional<u64> parse_size(std::string_view text) {
  u64 number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest == text.data()) return std::nullopt;
  std::string unit(rest, text.data() + text.size());
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](char c) { return static_cast<char>(std::tolower(c)); });
  static const std::map<std::string, u32> kShifts = {
      {"", 20},  {"k", 10},  {"kb", 10},  {"kib", 10}, {"m", 20},  {"mb", 20}, {"mib", 20},
      {"g", 30}, {"gb", 30}, {"gib", 30}, {"t", 40},   {"tb", 40}, {"tib", 40}};
  const auto shift = kShifts.find(unit);
  if (shift == kShifts.end() || number > (~u64{0} >> shift->second)) return std::nullopt;
  return number << shift->second;
}

// Hexadecimal, with or without 0x.
std::optional<u64> parse_address(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  u64 address = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), address, 16);
  if (error != std::errc{} || text.empty() || rest != text.data() + text.size()) return std::nullopt;
  return address;
}

// The options that name disks. Those without help are QEMU's, understood but not listed.
struct DiskOption {
  const char* name;
  const char* type;
  const char* help;
};
constexpr DiskOption kDiskOptions[] = {
    {"--disk", "FILE[,...]",
     "Disk image or block device; may be repeated. ,if=virtio (default) or ide; ,format=raw, qcow2, vmdk, "
     "vdi "
     "or vhdx (default: found out); ,readonly; ,snapshot; ,cache=writeback, writethrough or unsafe"},
    {"--cdrom", "FILE", "CD or DVD image in an IDE drive; may be repeated"},
    {"--floppy", "FILE", "Floppy disk image, 160 KiB to 2.88 MiB"},
    {"--hda", "FILE", nullptr},
    {"--hdb", "FILE", nullptr},
    {"--hdc", "FILE", nullptr},
    {"--hdd", "FILE", nullptr},
    {"--drive", "OPTIONS", nullptr},
};

// QEMU's options that have the same name here with two dashes, or another name.
std::vector<std::string> normalised_arguments(int argc, char** argv) {
  static const std::vector<std::string> kSameName = {
      "-kernel", "-initrd", "-append", "-serial", "-cpu",  "-no-reboot", "-cdrom", "-snapshot", "-drive",
      "-hda",    "-hdb",    "-hdc",    "-hdd",    "-bios", "-boot",      "-nic",   "-smp"};
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (std::find(kSameName.begin(), kSameName.end(), argument) != kSameName.end())
      argument.insert(0, 1, '-');
    if (argument == "-fda") argument = "--floppy";
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

std::string qemu_hint(const std::string& argument) {
  static const std::map<std::string, std::string> kHints = {
      {"-nographic", "leave it out: the serial port is on the terminal already"},
      {"-display", "use --display none or text, or --vnc :0"},
      {"-vnc", "use --vnc :0"},
      {"-vga", "leave it out: there is always a VGA"},
      {"-monitor", "use --control unix:PATH and 'doppel ctl'"},
      {"-qmp", "use --control unix:PATH and 'doppel ctl'"},
      {"-accel", "leave it out; the engine is chosen with --engine"},
      {"-enable-kvm", "leave it out: Doppel needs no hardware virtualization"},
      {"-machine", "leave it out: there is one machine type"},
      {"-device",
       "leave it out: isa-debug-exit is always at port 0xf4, and --net NETWORK,model=e1000 makes a card"},
      {"-debugcon", "use --debugcon file:PATH"},
      {"-blockdev", "use --disk FILE[,if=virtio|ide][,format=FORMAT][,readonly][,snapshot]"},
      {"-netdev", "use --net user[,model=e1000], which makes the network and its card"},
      {"-net", "use --net user[,model=e1000], which makes the network and its card"},
      {"-pflash", "use --bios CODE.fd for the firmware and --nvram VARS.fd for its variables"},
      {"-fdb", "there is one floppy drive: use --floppy FILE"},
  };
  for (const auto& [name, hint] : kHints)
    if (argument == name || argument == "-" + name) return hint;
  return "";
}

void add_viewer_options(CLI::App& run, ViewerOptions& options) {
  run.add_option(
         "--display", options.display,
         "What shows the screen: none, or text (text modes on this terminal, which is then the keyboard)")
      ->type_name("HOW")
      ->capture_default_str();
  run.add_option(
         "--vnc", options.vnc,
         "VNC server: :N or HOST:N (N below 100: port 5900 + N) or unix:PATH; without HOST only this host")
      ->type_name("WHERE");
  run.add_option("--vnc-password-file", options.vnc_password_file, "Its first line is the VNC password")
      ->type_name("FILE");
  run.add_option("--control", options.control,
                 "Control socket for 'doppel ctl' and 'doppel screenshot': unix:PATH")
      ->type_name("WHERE");
}

// What is wrong with them, or "".
std::string viewer_mistake(const RunOptions& options, bool serial_given) {
  const ViewerOptions& viewers = options.viewers;
  if (viewers.display != "none" && !viewers.text())
    return fmt::format("--display {}: not known; did you mean \"{}\"?", viewers.display,
                       core::nearest_spelling(viewers.display, {"none", "text"}));
  if (viewers.text() && serial_given && options.serial == "stdio")
    return "--display text and --serial stdio both want the terminal: use --serial null or file:PATH.";
  if (!viewers.vnc_password_file.empty() && viewers.vnc.empty())
    return "--vnc-password-file: there is no VNC server; add --vnc :0.";
  return "";
}

// What is wrong with them, or "".
std::string parse_peripherals(const std::string& console, const std::vector<std::string>& ports,
                              const std::vector<std::string>& shares, machine::PeripheralConfig& config) {
  if (console.starts_with("file:"))
    config.console = console.substr(5);
  else if (!console.empty())
    return fmt::format("--console {}: write file:PATH.", console);
  for (const std::string& text : ports) {
    const std::size_t equals = text.find('=');
    const std::string where = equals == std::string::npos ? "" : text.substr(equals + 1);
    if (equals == 0 || equals > 63 || !where.starts_with("unix:"))
      return fmt::format("--port {}: write NAME=unix:PATH.", text);
    config.ports.push_back({text.substr(0, equals), where.substr(5)});
  }
  for (const std::string& text : shares) {
    const std::vector<std::string> words = split_at_commas(text);
    const std::size_t equals = words.front().find('=');
    const bool read_only = words.size() == 2 && (words[1] == "ro" || words[1] == "readonly");
    if (equals == 0 || equals > 31 || words.size() > 2 || (words.size() == 2 && !read_only))
      return fmt::format("--share {}: write TAG=DIR or TAG=DIR,ro; a tag has up to 31 characters.", text);
    config.shares.push_back({words.front().substr(0, equals), words.front().substr(equals + 1), read_only});
  }
  return "";
}

// "" if it is right.
std::string parse_vsock(const std::string& text, std::optional<machine::PeripheralConfig::Vsock>& vsock) {
  constexpr u32 kFirstCid = 3;  // those below are the hypervisor's and the host's
  constexpr std::size_t kLongestPath = 107 - sizeof "_4294967295" + 1;
  vsock.emplace();
  bool good = true;
  for (const std::string& word : split_at_commas(text)) {
    const auto [name, value] = name_and_value(word);
    const char* const end = value.data() + value.size();
    if (name == "socket")
      vsock->path = value;
    else if (name == "cid")
      good = std::from_chars(value.data(), end, vsock->cid).ptr == end && good;
    else
      good = false;
  }
  if (!good || vsock->cid < kFirstCid || vsock->cid == ~u32{0} || vsock->path.empty())
    return fmt::format("--vsock {}: write cid=N,socket=PATH, with N from {} on.", text, kFirstCid);
  if (vsock->path.size() > kLongestPath)
    return fmt::format("--vsock: the path of the socket must have {} characters at most.", kLongestPath);
  return "";
}

ExitNow usage(const std::string& sentence) {
  return {machine::kExitUsage, "doppel: " + sentence + "\n"};
}

}  // namespace

std::variant<RunOptions, ControlCall, ExitNow> parse_command_line(int argc, char** argv) {
  CLI::App app("Doppel runs x86-64 operating systems on computers without hardware virtualization.",
               "doppel");
  app.require_subcommand(0, 1);
  app.footer("'doppel COMMAND --help' describes a command.");
  bool version_flag = false;
  app.add_flag("--version", version_flag, "Print the version and exit");

  RunOptions options;
  std::string memory = "512M", cpu = "x86-64-v2", debug, debugcon, off, boot;
  std::string smp = "1", engine = machine::have_translator() ? "jit" : "interp", direct = "auto";
  std::vector<std::string> dump_blocks;
  double timeout = 0;
  auto* run = app.add_subcommand("run", "Run a virtual machine");
  auto* selftest = app.add_subcommand("selftest", "Run a tiny built-in guest and report; needs no files");
  ControlCall call;
  auto* ctl = app.add_subcommand("ctl", "Send a command to a running machine's control socket");
  ctl->add_option("socket", call.socket, "The path given to --control")->required();
  ctl->add_option("command", call.command, "What to do")->required();
  ctl->add_option("arguments", call.arguments, "What the command takes");
  ctl->footer(kControlFooter);
  auto* screenshot = app.add_subcommand("screenshot", "Save the screen of a running machine as a PNG file");
  screenshot->add_option("socket", call.socket, "The path given to --control")->required();
  screenshot->add_option("file", call.arguments, "The picture")->required()->expected(1);
  auto* version = app.add_subcommand("version", "Print the version");
  run->footer(kRunFooter);
  run->add_option("-k,--kernel", options.kernel,
                  "Kernel: Linux bzImage, ELF with a PVH entry, or Multiboot 1 image")
      ->type_name("FILE");
  run->add_option("-i,--initrd", options.initrd, "Initial RAM disk (Multiboot: the first module)")
      ->type_name("FILE");
  run->add_option("-a,--append", options.append, "Kernel command line")->type_name("TEXT");
  run->add_option("--bios", options.bios, "Firmware image instead of SeaBIOS; runs without --kernel")
      ->type_name("FILE");
  run->add_option(
         "--nvram", options.nvram,
         "File that keeps UEFI variables; made if there is none. Without --bios the firmware is OVMF")
      ->type_name("FILE");
  run->add_option("--boot", boot,
                  "Boot order for firmware: letters of a (floppy), c (disk), d (CD), n (network), or "
                  "order=, once=, menu=on, splash-time=, reboot-timeout=, strict=on")
      ->type_name("ORDER");
  run->add_option("--serial", options.serial, "First serial port: stdio, null or file:PATH")
      ->type_name("WHERE")
      ->capture_default_str();
  run->add_option("--debugcon", debugcon, "Debug ports 0xe9 and 0x402: stderr or file:PATH")
      ->type_name("WHERE");
  add_viewer_options(*run, options.viewers);
  run->add_flag("--linux32", options.linux_32bit_entry, "Start a bzImage at its 32-bit entry");
  run->add_flag("!--no-sandbox", options.sandbox,
                "Keep all rights while the guest runs: no system-call filter");
  run->add_flag("--no-reboot", options.no_reboot, "Exit with status 4 when the guest resets");
  std::map<std::string, std::vector<std::string>> disk_words;
  bool snapshot = false;
  for (const DiskOption& disk : kDiskOptions) {
    auto* option = run->add_option(disk.name, disk_words[disk.name], disk.help ? disk.help : "");
    option->type_name(disk.type)->allow_extra_args(false);
    if (!disk.help) option->group("");
  }
  std::vector<std::string> net_words;
  run->add_option("--net", net_words,
                  "Network card; may be repeated: user (NAT; ,hostfwd=tcp:127.0.0.1:2222-:22, ,restrict=on, "
                  ",tftp=DIR, ,bootfile=FILE), link=NAME (to another machine), tap=NAME (an interface of the "
                  "host), or none (default). For each ,mac=ADDRESS and ,model=virtio or e1000")
      ->type_name("NETWORK[,...]")
      ->allow_extra_args(false);
  std::vector<std::string> nic_words;
  run->add_option("--nic", nic_words)->allow_extra_args(false)->group("");
  std::vector<std::string> port_words, share_words;
  std::string console, vsock;
  run->add_flag("--rng", options.peripherals.rng, "virtio entropy source");
  run->add_flag("--balloon", options.peripherals.balloon,
                "virtio balloon: memory that the guest does not use goes back to the host");
  run->add_option("--console", console, "virtio console (hvc0 in Linux), output only: file:PATH")
      ->type_name("WHERE");
  run->add_option("--port", port_words,
                  "Port of the virtio console, a socket here: NAME=unix:PATH; may be repeated")
      ->type_name("NAME=WHERE")
      ->allow_extra_args(false);
  run->add_option("--share", share_words,
                  "Folder that the guest mounts by its tag (virtio 9p): TAG=DIR[,ro]; may be repeated")
      ->type_name("TAG=DIR[,ro]")
      ->allow_extra_args(false);
  run->add_option("--vsock", vsock,
                  "Stream connections between programs of guest and host (virtio vsock): "
                  "cid=N,socket=PATH")
      ->type_name("cid=N,socket=PATH");
  run->add_flag("--snapshot", snapshot, "Throw away in the end what the guest writes to its disks");
  for (auto* command : {run, selftest}) {
    command->add_option("-m,--memory", memory, "Guest RAM; a plain number is MiB")
        ->type_name("SIZE")
        ->capture_default_str();
    command
        ->add_option("--smp", smp,
                     "Processors: their number, 1 to 64, and their topology: [cpus=]N[,sockets=N][,cores=N]"
                     "[,threads=N]")
        ->type_name("N[,...]")
        ->capture_default_str();
    command
        ->add_option("--cpu", cpu,
                     "CPU model, with +feature and -feature: x86-64-v1, x86-64-v2, x86-64-v3, max")
        ->type_name("MODEL")
        ->capture_default_str();
    command
        ->add_option("--engine", engine,
                     "How guest code runs: jit (translated), interp, or verify (both, compared)")
        ->type_name("NAME")
        ->capture_default_str();
    command
        ->add_option(
            "--direct", direct,
            "Whether user code that computes for long may run on the host's own processor: auto (with "
            "--engine jit and --cpu max), on, or off")
        ->type_name("MODE")
        ->capture_default_str();
    command
        ->add_option("--no-opt", off,
                     fmt::format("Switch optimisations of the translator off: {}",
                                 fmt::join(machine::optimisation_names(), ",")))
        ->type_name("NAMES");
    command
        ->add_option(
            "--debug", debug,
            fmt::format("Log to stderr: all, or any of {}", fmt::join(core::log_category_names(), ",")))
        ->type_name("CATS");
    command->add_option("--timeout", timeout, "Stop a machine that runs longer, with status 124")
        ->type_name("SECONDS");
    command
        ->add_option("--trace-blocks", options.trace_file,
                     "A line for every block entered, to FILE (default: stderr)")
        ->expected(0, 1)
        ->type_name("[FILE]");
    command
        ->add_option("--dump-block", dump_blocks,
                     "List the block at this address beside its translation when it is translated")
        ->delimiter(',')
        ->type_name("ADDR");
    command->add_flag("--perf-map", options.perf_map,
                      "Write /tmp/perf-PID.map, so that perf names translated code");
    command->add_flag("--stats", options.stats, "Print event counts to stderr at the end");
  }

  const auto arguments = normalised_arguments(argc, argv);
  try {
    auto reversed = arguments;
    std::reverse(reversed.begin(), reversed.end());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    const auto* asked = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
    return ExitNow{0, asked->help("", asked == &app ? CLI::AppFormatMode::Normal : CLI::AppFormatMode::Sub)};
  } catch (const CLI::ExtrasError&) {
    const auto* command = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
    const std::string word = app.remaining(true).empty() ? "" : app.remaining(true).front();
    if (const std::string hint = qemu_hint(word); !hint.empty())
      return usage(fmt::format("{}: {}.", word, hint));
    std::vector<std::string> known;
    for (const auto* option : command->get_options())
      for (const auto& name : option->get_lnames()) known.push_back("--" + name);
    if (command == &app) known.insert(known.end(), {"run", "selftest", "ctl", "screenshot", "version"});
    return usage(
        fmt::format("\"{}\" is not known; did you mean \"{}\"? 'doppel{} --help' lists what there is.", word,
                    core::nearest_spelling(word, known), command == &app ? "" : " " + command->get_name()));
  } catch (const CLI::ParseError& error) {
    std::string sentence = error.what();
    std::replace(sentence.begin(), sentence.end(), '\n', ' ');
    return usage(sentence + " ('doppel run --help' lists what there is).");
  }

  if (version_flag || version->parsed()) return ExitNow{0, "doppel " DOPPEL_VERSION "\n"};
  if (screenshot->parsed()) call.command = screenshot->get_name();
  if (screenshot->parsed() || ctl->parsed()) return call;
  if (!run->parsed() && !selftest->parsed()) return ExitNow{0, app.help()};
  options.selftest = selftest->parsed();
  for (const DiskOption& disk : kDiskOptions)
    for (const std::string& text : disk_words[disk.name]) {
      const std::string name = disk.help ? disk.name : disk.name + 1;  // as QEMU's users write it
      auto parsed_disk = parse_disk(name, text);
      if (const auto* sentence = std::get_if<std::string>(&parsed_disk)) return usage(*sentence);
      options.disks.push_back(std::get<machine::DiskConfig>(std::move(parsed_disk)));
      if (snapshot) options.disks.back().snapshot = true;
    }
  for (const auto& [name, words] : {std::pair{"--net", &net_words}, std::pair{"-nic", &nic_words}})
    for (const std::string& text : *words) {
      auto parsed_net = parse_net(name, text);
      if (const auto* sentence = std::get_if<std::string>(&parsed_net)) return usage(*sentence);
      if (auto& net = std::get<0>(parsed_net)) options.nets.push_back(std::move(*net));
    }
  if (const std::string mistake = parse_peripherals(console, port_words, share_words, options.peripherals);
      !mistake.empty())
    return usage(mistake);
  if (!vsock.empty())
    if (const std::string mistake = parse_vsock(vsock, options.peripherals.vsock); !mistake.empty())
      return usage(mistake);
  const bool bootable = !options.bios.empty() || !options.nvram.empty() || !boot.empty() ||
                        !options.disks.empty();  // by firmware
  if (run->parsed() && options.kernel.empty() && !bootable)
    return usage(
        "there is nothing to run: name a disk with --disk FILE or a kernel with --kernel FILE ('doppel run "
        "--help').");
  if (!options.kernel.empty() && !options.bios.empty())
    return usage("--bios: firmware does not run when --kernel names what to boot; leave one out.");
  if (!options.kernel.empty() && !options.nvram.empty())
    return usage("--nvram: firmware does not run when --kernel names what to boot; leave one out.");
  if (!boot.empty()) {
    auto parsed_boot = bios::parse_boot_options(boot);
    if (const auto* sentence = std::get_if<std::string>(&parsed_boot))
      return usage(fmt::format("--boot {}: {}{}", boot, *sentence, sentence->ends_with('?') ? "" : "."));
    if (!options.kernel.empty())
      return usage(
          "--boot: a kernel is started directly, without firmware that tries devices; leave it out.");
    options.boot = std::get<bios::BootOptions>(std::move(parsed_boot));
  }
  if (run->parsed() && options.kernel.empty() && options.bios.empty())
    options.bios = options.nvram.empty() ? bios::kDefaultFirmware : bios::kUefiFirmware;
  const auto size = parse_size(memory);
  if (!size)
    return usage(fmt::format("-m {}: not a size; write a number with K, M or G, as in 512M.", memory));
  if (*size < kSmallestRam)
    return usage(fmt::format("-m {}: too small; the least is {} MiB.", memory, kSmallestRam / kMiB));
  options.ram_size = *size & ~u64{4095};
  auto model = core::parse_cpu_model(cpu);
  if (const auto* sentence = std::get_if<std::string>(&model)) return usage("--cpu: " + *sentence);
  options.cpu = std::get<core::CpuModel>(model);
  auto processors = parse_smp_option(smp);
  if (const auto* sentence = std::get_if<std::string>(&processors))
    return usage(fmt::format("--smp {}: {}{}", smp, *sentence, sentence->ends_with('?') ? "" : "."));
  options.processors = std::get<machine::Topology>(processors);
  const std::vector<std::string> engines = machine::have_translator()
                                               ? std::vector<std::string>{"jit", "interp", "verify"}
                                               : std::vector<std::string>{"interp"};
  if (std::find(engines.begin(), engines.end(), engine) == engines.end())
    return usage(fmt::format("--engine {}: not known; did you mean \"{}\"?", engine,
                             core::nearest_spelling(engine, engines)));
  options.engine = engine == "jit"      ? machine::Engine::kTranslator
                   : engine == "verify" ? machine::Engine::kVerify
                                        : machine::Engine::kInterpreter;
  if (options.engine == machine::Engine::kVerify && options.processors.cpus > 1)
    return usage("--engine verify: compares one processor; leave --smp out.");
  if (const std::vector<std::string> modes{"auto", "on", "off"};
      std::find(modes.begin(), modes.end(), direct) == modes.end())
    return usage(fmt::format("--direct {}: not known; did you mean \"{}\"?", direct,
                             core::nearest_spelling(direct, modes)));
  if (direct == "on" && options.engine != machine::Engine::kTranslator)
    return usage("--direct on: only --engine jit can; leave one of them out.");
  options.direct = direct == "on"    ? machine::Direct::kOn
                   : direct == "off" ? machine::Direct::kOff
                                     : machine::Direct::kAuto;
  for (std::size_t begin = 0; begin < off.size();) {
    const std::size_t end = std::min(off.find(',', begin), off.size());
    const std::string name = off.substr(begin, end - begin);
    const auto names = machine::optimisation_names();
    if (std::find(names.begin(), names.end(), name) == names.end())
      return usage(fmt::format("--no-opt {}: not known; did you mean \"{}\"?", name,
                               core::nearest_spelling(name, names)));
    options.optimisations_off.push_back(name);
    begin = end + 1;
  }
  if (const auto& where = options.serial; where != "stdio" && where != "null" && !where.starts_with("file:"))
    return usage(fmt::format("--serial {}: not known; did you mean \"{}\"?", where,
                             core::nearest_spelling(where, {"stdio", "null", "file:PATH"})));
  if (const std::string mistake = viewer_mistake(options, run->count("--serial") != 0); !mistake.empty())
    return usage(mistake);
  if (options.viewers.text()) {
    // The terminal has room for one.
    if (run->count("--serial") == 0) options.serial = "null";
    if (debugcon.empty()) debugcon = "file:/dev/null";
  }
  if (debugcon.starts_with("file:"))
    options.debug_file = debugcon.substr(5);
  else if (!debugcon.empty() && debugcon != "stderr")
    return usage(fmt::format("--debugcon {}: write stderr or file:PATH.", debugcon));
  if (const std::string unknown = core::enable_log(debug); !unknown.empty())
    return usage(fmt::format("--debug {}: not known; did you mean \"{}\"?", unknown,
                             core::nearest_spelling(unknown, core::log_category_names())));
  const auto* parsed = run->parsed() ? run : selftest;
  options.trace_blocks = parsed->count("--trace-blocks") != 0;
  for (const std::string& text : dump_blocks) {
    const auto address = parse_address(text);
    if (!address)
      return usage(fmt::format(
          "--dump-block {}: not an address; write it in hexadecimal, as in 0xffffffff81000000.", text));
    options.dump_blocks.push_back(*address);
  }
  if (parsed->count("--timeout") != 0) {
    if (!(timeout > 0))
      return usage(fmt::format("--timeout {}: write a number of seconds above zero.", timeout));
    options.timeout_seconds = timeout;
  }
  return options;
}

}  // namespace doppel::cli
