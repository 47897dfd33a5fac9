// Random programs on the translator: all architectural state compared with the interpreter's. A failure is
// made as small as it gets and printed, and can be replayed with --seed and --case.

#include <fmt/format.h>
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <set>

#include "tests/jit/translator_compat_generator.hpp"
#include "tests/jit/translator_differential.hpp"
#include "tests/jit/translator_generator.hpp"

namespace doppel::tests::translator {
namespace {

// Programs that see one another's translations; a replay starts where the group does. A group runs in a
// process of its own, which may crash.
constexpr u64 kGroup = 1024;

struct Options {
  u64 seed = 1, count = 1000, first = 0, failures = 5;
  std::optional<u64> number;
  std::vector<std::string> engines;
  u32 bits = 0;
  bool print = false, counters = false, fresh = false;
};

// Shared by the processes.
struct Results {
  u64 good = 0, reading_undefined = 0, too_long = 0, ambiguous = 0, not_fitting = 0, steps = 0,
      exceptions = 0, failures = 0;
  u64 number = 0, engine = 0;  // being run
};

class Fuzzer {
 public:
  Fuzzer(const Options& options, const std::vector<Engine>& engines)
      : options_(options),
        differential_(engines),
        generator_(differential_.model()),
        generator32_(differential_.model(), 32),
        generator16_(differential_.model(), 16),
        results_(shared()) {}

  void run(u64 from, u64 to) {
    for (u64 start = from / kGroup * kGroup; start < to && results_.failures < options_.failures;
         start += kGroup)
      for (u64 first = std::max(start, from); first < to && first < start + kGroup;) {
        const bool survived = survives([&] {
          run_group(start, first, std::min(start + kGroup, to));
          return true;
        });
        if (survived) break;
        Program program = make(results_.number);
        Image image;
        if (differential_.prepare(program, image).verdict == Reference::Verdict::kGood)
          report(results_.engine, results_.number, program,
                 {differential_.name(results_.engine), "  crashes\n"});
        first = results_.number + 1;
        crashing_.insert(results_.number);
      }
  }

  [[nodiscard]] const Results& results() const { return results_; }

 private:
  static Results& shared() {
    void* memory =
        ::mmap(nullptr, sizeof(Results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return *new (memory) Results;
  }

  // Some in each group are of 32 and 16 bits.
  Program make(u64 number) {
    constexpr u64 kEvery = 8;
    if (options_.bits == 32 || (options_.bits == 0 && number % kEvery == kEvery - 1))
      return generator32_.make(options_.seed, number);
    if (options_.bits == 16 || (options_.bits == 0 && number % kEvery == kEvery - 2))
      return generator16_.make(options_.seed, number);
    return generator_.make(options_.seed, number);
  }

  void run_group(u64 start, u64 first, u64 end) {
    for (u64 number = start; number < end && results_.failures < options_.failures; ++number)
      run_one(number, number >= first);
    if (options_.counters) print_counters();
  }

  void run_one(u64 number, bool counted) {
    if (number % kGroup == 0 || options_.fresh) differential_.clear();
    if ((options_.fresh && !counted) || crashing_.contains(number)) return;
    results_.number = number;
    Program program = make(number);
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
      results_.engine = engine;
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
        ++results_.good;
        results_.steps += reference.steps;
        results_.exceptions += reference.outcome.records.size();
        break;
      case Reference::Verdict::kReadsUndefinedFlags:
        ++results_.reading_undefined;
        break;
      case Reference::Verdict::kAmbiguous:
        ++results_.ambiguous;
        break;
      case Reference::Verdict::kTooLong:
        ++results_.too_long;
        break;
      case Reference::Verdict::kDoesNotFit:
        ++results_.not_fitting;
        break;
    }
  }

  void report(std::size_t engine, u64 number, const Program& program, const Failure& failure) {
    ++results_.failures;
    fmt::print("\nDIFFERS on {} (replay: fuzz_translator --seed {} --case {}{})\n{}", failure.engine,
               options_.seed, number, options_.bits ? fmt::format(" --bits {}", options_.bits) : "",
               failure.differences);
    std::fflush(stdout);
    const Program small = differential_.shrink(engine, program);
    fmt::print("smallest program:\n");
    differential_.print(engine, small);
    differential_.clear();
  }

  void print_counters() {
    for (std::size_t e = 0; e < differential_.engines(); ++e)
      for (const auto& [name, value] : differential_.machine(e).counters())
        if (name.starts_with("jit.")) fmt::print("  {}: {} {}\n", differential_.name(e), name, value);
  }

  const Options& options_;
  Differential differential_;
  Generator generator_;
  CompatGenerator generator32_, generator16_;
  Results& results_;
  std::set<u64> crashing_;
};

int run(const Options& options) {
  std::vector<Engine> engines = all_engines();
  if (!options.engines.empty())
    std::erase_if(engines, [&](const Engine& e) {
      return std::ranges::find(options.engines, e.name) == options.engines.end();
    });
  if (engines.empty()) throw std::runtime_error("no such engine");
  Fuzzer fuzzer(options, engines);
  if (options.number)
    fuzzer.run(*options.number, *options.number + 1);
  else
    fuzzer.run(options.first, options.first + options.count);
  const Results& r = fuzzer.results();
  fmt::print(
      "{} programs compared ({} instructions and {} exceptions each on average), {} differ; left out: {} "
      "look at "
      "undefined flags, {} overwrite themselves, {} too long, {} too large; seed {}\n",
      r.good, r.steps / std::max<u64>(r.good, 1), r.exceptions / std::max<u64>(r.good, 1), r.failures,
      r.reading_undefined, r.ambiguous, r.too_long, r.not_fitting, options.seed);
  return r.failures == 0 ? 0 : 1;
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
  app.add_option("--bits", options.bits, "only 64-, 32- or 16-bit programs")
      ->check(CLI::IsMember({16, 32, 64}));
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
