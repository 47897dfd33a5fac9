// Random programs on the translator: all architectural state compared with the interpreter's. A failure is made as
// small as it gets and printed, and can be replayed with --seed and --case.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "tests/jit/translator_differential.hpp"
#include "tests/jit/translator_generator.hpp"

namespace doppel::tests::translator {
namespace {

// Programs that see one another's translations; a replay starts where the group does.
constexpr u64 kGroup = 32;

struct Options {
  u64 seed = 1, count = 1000, first = 0, failures = 5;
  std::optional<u64> number;
  std::vector<std::string> engines;
  bool print = false, counters = false, fresh = false;
};

class Fuzzer {
 public:
  Fuzzer(const Options& options, const std::vector<Engine>& engines)
      : options_(options), differential_(engines), generator_(differential_.model()) {}

  void run(u64 from, u64 to) {
    for (u64 number = from / kGroup * kGroup; number < to && failures_ < options_.failures; ++number)
      run_one(number, number >= from);
  }

  u64 good = 0, reading_undefined = 0, too_long = 0, not_fitting = 0, steps = 0, exceptions = 0, interrupts = 0;
  [[nodiscard]] u64 failures() const { return failures_; }
  [[nodiscard]] Differential& differential() { return differential_; }

 private:
  void run_one(u64 number, bool counted) {
    Watchdog::describe(fmt::format("--seed {} --case {}", options_.seed, number));
    if (number % kGroup == 0 || options_.fresh) differential_.clear();
    Program program = generator_.make(options_.seed, number);
    Image image;
    const Reference reference = differential_.prepare(program, image);
    if (counted) count(reference);
    if (counted && options_.print) fmt::print("program {}:\n{}", number, listing(program));
    if (reference.verdict != Reference::Verdict::kGood) return;

    for (std::size_t engine = 0; engine < differential_.engines(); ++engine) {
      // The translator always; of the others one in turn.
      const bool chosen = engine == 0 || differential_.engines() <= 2 || options_.number ||
                          engine == 1 + number % (differential_.engines() - 1);
      if (!chosen) continue;
      Watchdog::describe(
          fmt::format("--seed {} --case {} on {}", options_.seed, number, differential_.name(engine)));
      const auto failure = differential_.compare(engine, program, image, reference);
      if (failure && counted) {
        report(engine, number, program, *failure);
        return;
      }
    }
  }

  void count(const Reference& reference) {
    switch (reference.verdict) {
      case Reference::Verdict::kGood:
        ++good;
        steps += reference.steps;
        exceptions += reference.outcome.records.size();
        break;
      case Reference::Verdict::kReadsUndefinedFlags:
        ++reading_undefined;
        break;
      case Reference::Verdict::kTooLong:
        ++too_long;
        break;
      case Reference::Verdict::kDoesNotFit:
        ++not_fitting;
        break;
    }
  }

  void report(std::size_t engine, u64 number, const Program& program, const Failure& failure) {
    ++failures_;
    fmt::print("\nDIFFERS on {} (replay: fuzz_translator --seed {} --case {})\n{}", failure.engine, options_.seed, number,
               failure.differences);
    std::fflush(stdout);
    const Program small = differential_.shrink(engine, program);
    fmt::print("smallest program:\n{}", differential_.describe(engine, small));
    std::fflush(stdout);
    differential_.clear();
  }

  const Options& options_;
  Differential differential_;
  Generator generator_;
  u64 failures_ = 0;
};

int run(const Options& options) {
  std::vector<Engine> engines = all_engines();
  if (!options.engines.empty())
    std::erase_if(engines, [&](const Engine& e) { return std::ranges::find(options.engines, e.name) == options.engines.end(); });
  const Watchdog watchdog;
  Fuzzer fuzzer(options, engines);
  if (options.number)
    fuzzer.run(*options.number, *options.number + 1);
  else
    fuzzer.run(options.first, options.first + options.count);
  fmt::print("{} programs compared ({} instructions and {} exceptions each on average), {} differ; left out: {} look at "
             "undefined flags, {} too long, {} too large; seed {}\n",
             fuzzer.good, fuzzer.steps / std::max<u64>(fuzzer.good, 1), fuzzer.exceptions / std::max<u64>(fuzzer.good, 1),
             fuzzer.failures(), fuzzer.reading_undefined, fuzzer.too_long, fuzzer.not_fitting, options.seed);
  if (options.counters)
    for (std::size_t e = 0; e < fuzzer.differential().engines(); ++e)
      for (const auto& [name, value] : fuzzer.differential().machine(e).counters())
        if (name.starts_with("jit.")) fmt::print("  {}: {} {}\n", fuzzer.differential().name(e), name, value);
  return fuzzer.failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace doppel::tests::translator

int main(int argc, char** argv) {
  doppel::tests::translator::Options options;
  CLI::App app{"Random programs on Doppel's translator and on its interpreter"};
  app.add_option("--seed", options.seed, "which programs to make");
  app.add_option("--count", options.count, "how many programs");
  app.add_option("--first", options.first, "the first of them");
  app.add_option("--case", options.number, "only this program of the seed, on every engine");
  app.add_option("--engines", options.engines, "only these engines")->delimiter(',');
  app.add_option("--failures", options.failures, "stop after so many failures");
  app.add_flag("--fresh", options.fresh, "no program sees another one's translations");
  app.add_flag("--print", options.print, "print the programs");
  app.add_flag("--counters", options.counters, "print what the translators counted");
  CLI11_PARSE(app, argc, argv);
  try {
    return doppel::tests::translator::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "fuzz_translator: {}\n", error.what());
    return 2;
  }
}
