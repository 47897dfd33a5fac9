#include "tests/interp/single_instruction.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "jit/instructions.hpp"
#include "tests/interp/guest_cpu.hpp"
#include "tests/interp/instruction_facts.hpp"
#include "tests/interp/native_cpu.hpp"

namespace doppel::tests {
namespace {

constexpr int kSkipped = 77;  // to meson
constexpr std::size_t kBatch = 1000;

struct Options {
  u64 seed = 1;
  u32 rounds = 32, failures = 20;
  std::optional<u64> trial;
  std::string only, engine;
};

class FamilyTest {
 public:
  FamilyTest(const Family& family, std::string name, const Options& options)
      : family_(family), name_(std::move(name)), options_(options) {
    for (const Engine engine : engines())
      if (options.engine.empty() || options.engine == engine_name(engine))
        guests_.push_back({engine, std::make_unique<GuestCpu>("max", engine)});
    if (guests_.empty()) throw std::runtime_error("this build has no engine of that name");
  }

  // How many forms differ or are missing.
  u64 run() {
    const auto& forms = family_.forms();
    u64 failures = missing_rows();
    const std::set<ZydisISASet> absent = absent_sets();
    for (const ZydisISASet set : absent)
      fmt::print("not on this host or in the model: {}\n", ZydisISASetGetString(set));
    for (u64 number = 0; number < forms.size() * options_.rounds; ++number) {
      const Form& form = forms[number % forms.size()];
      if (options_.trial && number != *options_.trial) continue;
      if (form.text.find(options_.only) == std::string::npos || absent.contains(form.isa_set)) continue;
      add(number);
    }
    finish_batch();
    failures += differing_.size();
    fmt::print("{}: {} trials of {} forms, seed {}; {} failures\n", name_, trials_, forms.size(),
               options_.seed, failures);
    return failures;
  }

 private:
  struct Guest {
    Engine engine;
    std::unique_ptr<GuestCpu> cpu;
  };

  [[nodiscard]] Program make(u64 number) const {
    const std::size_t count = family_.forms().size();
    Random random(options_.seed * 0x1'0000'0000 + number);
    Program program = family_.make(number % count, static_cast<u32>(number / count), random);
    // Not every host starts it with any stack pointer.
    if (!native_available(program)) program.initial.gpr[core::kRsp] &= ~u64{0} >> 17;
    return program;
  }

  void add(u64 number) {
    numbers_.push_back(number);
    programs_.push_back(make(number));
    if (programs_.size() == kBatch) finish_batch();
  }

  void finish_batch() {
    const std::vector<Outcome> outcomes = run_natively(programs_);
    for (std::size_t i = 0; i < programs_.size(); ++i)
      for (const Guest& guest : guests_) compare(guest, numbers_[i], programs_[i], outcomes[i]);
    trials_ += programs_.size();
    programs_.clear();
    numbers_.clear();
  }

  void compare(const Guest& guest, u64 number, const Program& program, const Outcome& native) {
    const std::size_t form = number % family_.forms().size();
    Outcome outcome = guest.cpu->run(program), host = native;
    family_.forgive(family_.forms()[form], program, outcome, host);
    const u64 undefined =
        facts_of(program.code, code_bits(program.mode)).undefined_flags | stale_flags(guest.engine, host);
    const std::string difference = differences(outcome, host, undefined);
    if (!difference.empty() && differing_.insert(form).second && differing_.size() <= options_.failures)
      report(engine_name(guest.engine), number, program, difference);
  }

  void report(const std::string& engine, u64 number, const Program& program,
              const std::string& difference) const {
    const u32 bits = code_bits(program.mode);
    Outcome zero, before{.state = program.initial, .data = program.data};
    zero.state.fcw = 0;
    zero.state.mxcsr = 0;
    fmt::print("\nDIFFERS   (--engine {} --seed {} --trial {} shows the state before)\n{}", engine,
               options_.seed, number, listing(program.code, bits, layout(program.mode).code));
    if (options_.trial) fmt::print("before (zero, value):\n{}", differences(zero, before));
    fmt::print("after ({}, host):\n{}", engine, difference);
    std::fflush(stdout);
  }

  [[nodiscard]] u64 missing_rows() const {
    std::set<u16> covered;
    for (const Form& form : family_.forms()) covered.insert(form.mnemonic);
    u64 missing = 0;
    for (const auto rows : family_.rows())
      for (const jit::Row& row : rows)
        if (!covered.contains(row.mnemonic)) {
          fmt::print("NOT TESTED: {} has a row and no form\n", ZydisMnemonicGetString(row.mnemonic));
          ++missing;
        }
    return missing;
  }

  // Instruction sets that one of the two processors lacks; the host has one if any of its forms is defined.
  [[nodiscard]] std::set<ZydisISASet> absent_sets() const {
    const auto& forms = family_.forms();
    std::vector<Program> probes;
    for (u64 i = 0; i < forms.size(); ++i) probes.push_back(make(i));
    const std::vector<Outcome> outcomes = run_natively(probes);
    std::set<ZydisISASet> absent, present;
    for (std::size_t i = 0; i < forms.size(); ++i)
      (outcomes[i].fault == static_cast<int>(core::Vector::kUD) ? absent : present).insert(forms[i].isa_set);
    std::erase_if(absent, [&](ZydisISASet set) { return present.contains(set); });
    std::copy_if(present.begin(), present.end(), std::inserter(absent, absent.end()),
                 [&](ZydisISASet set) { return !jit::available(set, guests_.front().cpu->model()); });
    return absent;
  }

  const Family& family_;
  std::string name_;
  const Options& options_;
  std::vector<Guest> guests_;
  std::vector<Program> programs_;
  std::vector<u64> numbers_;
  std::set<std::size_t> differing_;  // forms
  u64 trials_ = 0;
};

}  // namespace

int test_family(const Family& family, const std::string& name, int argc, char** argv) {
  Options options;
  CLI::App app{"Single instructions on Doppel's engines and on the host's processor"};
  app.add_option("--seed", options.seed, "which states to make");
  app.add_option("--rounds", options.rounds, "trials of each form; 32 let an immediate take all its values");
  app.add_option("--trial", options.trial, "only this one of the seed");
  app.add_option("--only", options.only, "only forms whose text has this in it");
  app.add_option("--engine", options.engine, "only this one")->check(CLI::IsMember(engine_names()));
  app.add_option("--failures", options.failures, "how many failures to print");
  CLI11_PARSE(app, argc, argv);
  if (!native_available(Mode::kUser64)) {
    fmt::print("this host cannot run x86-64 programs\n");
    return kSkipped;
  }
  try {
    return FamilyTest(family, name, options).run() == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 2;
  }
}

}  // namespace doppel::tests
