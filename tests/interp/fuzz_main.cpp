// The differential test: random programs on each engine and on the host's processor, all architectural state
// compared. A failure is made as small as it gets, printed, and can be replayed with --seed and --case.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "tests/interp/fuzz_generator.hpp"
#include "tests/interp/guest_cpu.hpp"
#include "tests/interp/instruction_facts.hpp"
#include "tests/interp/native_cpu.hpp"

namespace doppel::tests {
namespace {

constexpr u32 kBatch = 500;
constexpr int kUndefinedOpcode = static_cast<int>(core::Vector::kUD);

struct Options {
  u64 seed = 1, count = 100'000, failures = 10;
  std::optional<u64> number;
  u32 length = 8, mode = 0;
  std::string model = "max", engine;
  std::vector<std::string> only;
};

// A program's difference on the two processors; empty if there is none.
std::string compare(const FuzzProgram& fuzz, Engine engine, Outcome guest, const Outcome& host) {
  constexpr u32 kMisalignedMask = 1u << 17;  // of MXCSR, on some hosts
  if (host.state.mxcsr & kMisalignedMask) return {};
  const bool both = (guest.fault == kNoFault) == (host.fault == kNoFault);
  if (both && guest.state.rip == host.state.rip) fuzz.ignore_unspecified(host, guest);
  const u64 undefined =
      fuzz.undefined_flags(host.state.rip, host.fault != kNoFault) | stale_flags(engine, host);
  // An operand across 4 GiB: Intel's processors look at its pages, AMD's at the segment's limit first.
  constexpr i32 kStackFault = 12, kProtection = 13, kPageFault = 14;
  if (code_bits(fuzz.program.mode) != 64 && (guest.fault == kStackFault || guest.fault == kProtection) &&
      host.fault == kPageFault && host.address >= 0xffff'ff00 && host.address <= 0xffff'ffff)
    return {};
  return differences(guest, host, undefined);
}

class Fuzzer {
 public:
  Fuzzer(const Options& options, Mode mode, Engine engine)
      : options_(options),
        engine_(engine),
        guest_(options.model, engine),
        generator_(find_encodings(guest_.model(), code_bits(mode)), mode, options.length) {
    drop_what_the_host_lacks();
    if (options_.only.empty()) return;
    generator_.filter([&](ZydisMnemonic mnemonic) {
      return std::ranges::find(options_.only, ZydisMnemonicGetString(mnemonic)) != options_.only.end();
    });
    if (generator_.encodings().empty()) throw std::runtime_error("none of the --only mnemonics can be used");
  }

  // How many of programs [first, first + count) differ; the first of each kind are printed.
  u64 run(u64 first, u64 count) {
    for (u64 start = first; start < first + count && kinds_.size() < options_.failures; start += kBatch)
      run_batch(start, std::min<u64>(kBatch, first + count - start));
    return differing_;
  }
  [[nodiscard]] std::size_t mnemonics() const { return generator_.encodings().size(); }

 private:
  void run_batch(u64 first, u64 count) {
    std::vector<FuzzProgram> fuzz;
    std::vector<Program> programs;
    for (u64 i = 0; i < count; ++i) {
      fuzz.push_back(generator_.make(options_.seed, first + i));
      programs.push_back(fuzz.back().program);
    }
    const std::vector<Outcome> host = run_natively(programs);
    for (u64 i = 0; i < count; ++i)
      if (!compare(fuzz[i], engine_, guest_.run(programs[i]), host[i]).empty()) report(fuzz[i], first + i);
  }

  std::string difference(const FuzzProgram& fuzz) {
    return compare(fuzz, engine_, guest_.run(fuzz.program), run_natively({&fuzz.program, 1})[0]);
  }

  // Keeps `smaller` if it still fails.
  bool adopt(FuzzProgram& fuzz, FuzzProgram smaller) {
    smaller.lay_out();
    if (difference(smaller).empty()) return false;
    fuzz = std::move(smaller);
    return true;
  }

  void shrink(FuzzProgram& fuzz) {
    for (std::size_t i = fuzz.instructions.size(); i-- > 0 && fuzz.instructions.size() > 1;) {
      FuzzProgram smaller = fuzz;
      smaller.instructions.erase(smaller.instructions.begin() + static_cast<std::ptrdiff_t>(i));
      adopt(fuzz, std::move(smaller));
    }
    const auto simplify = [&](auto change) {
      FuzzProgram smaller = fuzz;
      change(smaller.program.initial);
      adopt(fuzz, std::move(smaller));
    };
    for (u32 i = 0; i < 16; ++i) {
      simplify([&](MachineState& s) { s.gpr[i] = 0; });
      simplify([&](MachineState& s) { s.vec[i] = {}; });
    }
    for (u32 i = 0; i < 8; ++i) simplify([&](MachineState& s) { s.st[i] = {}; });
    simplify([](MachineState& s) { s.rflags = core::kFlagsFixed; });
    simplify([](MachineState& s) { s.mxcsr = 0x1f80; });
    simplify([](MachineState& s) { s.fcw = 0x37f; });
    simplify([](MachineState& s) { s.fsw = s.ftw = 0; });
    FuzzProgram smaller = fuzz;
    smaller.program.data.fill(0);
    adopt(fuzz, std::move(smaller));
  }

  // A kind of failure: the mnemonics of the smallest program.
  static std::string kind_of(const FuzzProgram& fuzz) {
    std::string kind;
    for (const FuzzInstruction& i : fuzz.instructions) {
      ZydisDecodedInstruction decoded;
      const bool known = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
          &decoder(code_bits(fuzz.program.mode)), nullptr, i.bytes.data(), i.bytes.size(), &decoded));
      kind +=
          std::string(kind.empty() ? "" : " ") + (known ? ZydisMnemonicGetString(decoded.mnemonic) : "(bad)");
    }
    return kind;
  }

  static std::string initial_state(const FuzzProgram& fuzz) {
    Outcome zero;
    zero.state.rip = layout(fuzz.program.mode).code;
    Outcome initial{.state = fuzz.program.initial, .data = {}};
    initial.state.rip = zero.state.rip;
    return differences(zero, initial);
  }

  void report(const FuzzProgram& original, u64 number) {
    ++differing_;
    FuzzProgram fuzz = original;
    if (!difference(fuzz).empty()) shrink(fuzz);
    const std::string kind = kind_of(fuzz);
    if (!kinds_.insert(kind).second) return;
    const u32 bits = code_bits(fuzz.program.mode);
    fmt::print(
        "\nDIFFERS: {}   (replay: fuzz_interp --engine {} --model {} --mode {} --length {} --seed {} --case "
        "{})\n{}"
        "before (default, value):\n{}after ({}, host):\n{}",
        kind, engine_name(engine_), options_.model, bits, options_.length, options_.seed, number,
        listing(fuzz.program.code, bits, layout(fuzz.program.mode).code), initial_state(fuzz),
        engine_name(engine_), difference(fuzz));
    std::fflush(stdout);
  }

  // A host may lack instruction sets that the interpreter has: all of their instructions are undefined there.
  void drop_what_the_host_lacks() {
    std::map<ZydisMnemonic, Program> probes;
    for (const auto& [mnemonic, encodings] : generator_.encodings()) {
      Fields fields;
      fields.address = {0x06};  // [RSI]
      fields.tail.assign(8, 0);
      Program program{
          .mode = Mode::kUser64, .code = encode(encodings.front(), fields), .initial = {}, .data = {}};
      program.initial.gpr[core::kRsi] = layout(Mode::kUser64).data;
      probes.emplace(mnemonic, std::move(program));
    }
    std::map<ZydisISASet, bool> present;
    std::map<ZydisMnemonic, ZydisISASet> set_of;
    for (const auto& [mnemonic, program] : probes) {
      ZydisDecodedInstruction decoded;
      if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(64), nullptr, program.code.data(),
                                                      program.code.size(), &decoded)))
        continue;  // has no 64-bit form
      set_of[mnemonic] = decoded.meta.isa_set;
      present[decoded.meta.isa_set] |= run_natively({&program, 1})[0].fault != kUndefinedOpcode;
    }
    generator_.filter(
        [&](ZydisMnemonic mnemonic) { return !set_of.contains(mnemonic) || present[set_of[mnemonic]]; });
  }

  const Options& options_;
  Engine engine_;
  GuestCpu guest_;
  FuzzGenerator generator_;
  std::set<std::string> kinds_;
  u64 differing_ = 0;
};

// Both modes of one engine; adds to `programs` how many it ran, and returns how many differed.
u64 run_engine(const Options& options, Engine engine, u64& programs) {
  u64 differing = 0;
  for (const Mode mode : {Mode::kUser64, Mode::kUser32}) {
    if ((options.mode != 0 && options.mode != code_bits(mode)) || !native_available(mode)) continue;
    // Three quarters of the programs are 64-bit ones.
    const u64 quarter = options.count / 4;
    const u64 both = mode == Mode::kUser64 ? options.count - quarter : quarter;
    const u64 count = options.number ? 1 : options.mode ? options.count : both;
    Fuzzer fuzzer(options, mode, engine);
    differing += fuzzer.run(options.number.value_or(0), count);
    programs += count;
    fmt::print("{}, {}-bit: {} programs of up to {} out of {} instructions, seed {}\n", engine_name(engine),
               code_bits(mode), count, options.length, fuzzer.mnemonics(), options.seed);
  }
  return differing;
}

int run(const Options& options) {
  u64 programs = 0, differing = 0;
  for (const Engine engine : engines())
    if (options.engine.empty() || options.engine == engine_name(engine))
      differing += run_engine(options, engine, programs);
  if (programs == 0) {
    constexpr int kSkipped = 77;  // to meson
    fmt::print("this host cannot run x86-64 programs\n");
    return kSkipped;
  }
  fmt::print("{} of {} programs differ\n", differing, programs);
  return differing == 0 ? 0 : 1;
}

}  // namespace
}  // namespace doppel::tests

int main(int argc, char** argv) {
  try {
    doppel::tests::Options options;
    CLI::App app{"Random programs on Doppel's engines and on the host's processor"};
    app.add_option("--engine", options.engine, "only this one")
        ->check(CLI::IsMember(doppel::tests::engine_names()));
    app.add_option("--seed", options.seed, "which programs to make");
    app.add_option("--count", options.count, "how many programs");
    app.add_option("--case", options.number, "only this program of the seed");
    app.add_option("--mode", options.mode, "64 or 32; without it, both")->check(CLI::IsMember({32, 64}));
    app.add_option("--length", options.length, "instructions in a program, at most")
        ->check(CLI::Range(1, 100));
    app.add_option("--only", options.only, "mnemonics to use")->delimiter(',');
    app.add_option("--model", options.model, "CPU model");
    app.add_option("--failures", options.failures, "stop after so many kinds of failures");
    CLI11_PARSE(app, argc, argv);
    return doppel::tests::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz_interp: %s\n", error.what());
    return 2;
  }
}
