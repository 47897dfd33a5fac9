#include "tests/jit/translator_differential.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>

namespace doppel::tests::translator {

std::vector<Engine> all_engines() {
  const auto with = [](std::string name, auto change) {
    Engine engine{.name = std::move(name)};
    change(engine);
    return engine;
  };
  constexpr u64 kSmallCache = 160 << 10;  // not much more than the translator keeps free
  return {
      with("translator", [](Engine&) {}),
      with("interpreter", [](Engine& e) { e.translates = false; }),
      with("interrupted", [](Engine& e) { e.interrupted = true; }),
      with("small-cache", [](Engine& e) { e.cache_size = kSmallCache; }),
      with("no-native-integer", [](Engine& e) { e.optimisations.native_integer = false; }),
      with("no-native-x87", [](Engine& e) { e.optimisations.native_x87 = false; }),
      with("no-native-vector", [](Engine& e) { e.optimisations.native_vector = false; }),
      with("no-flag-liveness", [](Engine& e) { e.optimisations.flag_liveness = false; }),
      with("no-chaining", [](Engine& e) { e.optimisations.chaining = false; }),
      with("no-long-blocks", [](Engine& e) { e.optimisations.long_blocks = false; }),
      with("no-shared-checks", [](Engine& e) { e.optimisations.shared_checks = false; }),
      with("no-inline-lookup", [](Engine& e) { e.optimisations.inline_lookup = false; }),
      with("hot", [](Engine& e) { e.optimisations.hot_runs = 2; }),
      with("direct", [](Engine& e) { e.user = Engine::User::kDirect; }),
      with("relocated", [](Engine& e) { e.user = Engine::User::kRelocated; }),
  };
}

Differential::Differential(const std::vector<Engine>& engines)
    : engines_(engines), reference_(Engine{.name = "reference", .translates = false, .stepped = true}) {
  for (const Engine& engine : engines_) machines_.push_back(std::make_unique<Machine>(engine));
}

void Differential::clear() {
  for (const auto& machine : machines_) machine->clear();
}

Reference Differential::prepare(Program& program, Image& image) {
  return repair(reference_, program, image);
}

std::optional<Failure> Differential::compare(std::size_t index, const Program& program, const Image& image,
                                             const Reference& reference) {
  Machine& machine = *machines_[index];
  machine.load(program, image);
  std::vector<u64> ignored = reference.undefined;
  if (engines_[index].translates && engines_[index].optimisations.flag_liveness)
    std::ranges::transform(ignored, reference.stale, ignored.begin(), std::bit_or{});
  std::string text = differences(reference.outcome, machine.run(), ignored);
  if (text.empty()) return {};
  return Failure{engines_[index].name, std::move(text)};
}

bool Differential::fails(std::size_t index, const Program& program) {
  const Image image = lay_out(program);
  const Reference reference = run_reference(reference_, program, image);
  if (reference.verdict != Reference::Verdict::kGood) return false;
  return survives([&] {
           const int attempts = engines_[index].interrupted ? 4 : 1;
           for (int attempt = 0; attempt < attempts; ++attempt) {
             machines_[index]->clear();
             if (compare(index, program, image, reference)) return false;
           }
           return true;
         }) == false;
}

bool survives(const std::function<bool()>& run) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    const Watchdog watchdog(Watchdog::Crash::kQuiet);
    ::_exit(run() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

namespace {

// Drops items [first, first + count) of a section; their labels move to what follows.
Program without(const Program& program, std::size_t section, std::size_t first, std::size_t count) {
  Program out = program;
  auto& items = out.sections[section].items;
  std::vector<Item> kept;
  std::vector<Label> labels, stored;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i >= first && i < first + count && !items[i].fixed) {
      labels.insert(labels.end(), items[i].labels.begin(), items[i].labels.end());
      stored.insert(stored.end(), items[i].stored.begin(), items[i].stored.end());
      continue;
    }
    items[i].labels.insert(items[i].labels.end(), labels.begin(), labels.end());
    items[i].stored.insert(items[i].stored.end(), stored.begin(), stored.end());
    labels.clear();
    stored.clear();
    kept.push_back(std::move(items[i]));
  }
  items = std::move(kept);
  return out;
}

}  // namespace

Program Differential::shrink(std::size_t index, const Program& original) {
  Program program = original;
  const auto adopt = [&](Program smaller) {
    if (!fails(index, smaller)) return false;
    program = std::move(smaller);
    return true;
  };
  for (int round = 0; round < 3; ++round) {
    const u32 before = instruction_count(program);
    for (std::size_t s = 0; s < program.sections.size(); ++s)
      for (std::size_t chunk = std::max<std::size_t>(program.sections[s].items.size() / 2, 1); chunk > 0;
           chunk /= 2)
        for (std::size_t end = program.sections[s].items.size(); end > 0;) {
          const std::size_t first = end > chunk ? end - chunk : 0;
          adopt(without(program, s, first, end - first));
          end = std::min(first, program.sections[s].items.size());
        }
    if (instruction_count(program) == before) break;
  }
  const auto simplify = [&](auto change) {
    Program smaller = program;
    change(smaller);
    adopt(std::move(smaller));
  };
  simplify([](Program& p) { p.initial.vec = {}; });
  simplify([](Program& p) { p.initial.x87 = {}; });
  simplify([](Program& p) { p.initial.mxcsr = 0x1f80; });
  simplify([](Program& p) { p.initial.rflags = core::kFlagsFixed; });
  simplify([](Program& p) { p.initial.fs_base = p.initial.gs_base = 0; });
  simplify([](Program& p) { p.smap = false; });
  simplify([](Program& p) { p.user = true; });
  simplify([](Program& p) { p.data_page.fill(kPresent | kWritable | kUser); });
  simplify([](Program& p) { std::memset(p.data.data(), 0, p.data.size() - kPageSize); });
  simplify([](Program& p) { p.sections[0].start = kCode; });
  for (u32 i = 0; i < 16; ++i) {
    if (i != core::kRsp) simplify([&](Program& p) { p.initial.gpr[i] = 0; });
    simplify([&](Program& p) { p.initial.vec[i] = {}; });
  }
  return program;
}

void Differential::print(std::size_t index, Program program) {
  Image image;
  const Reference reference = prepare(program, image);
  std::string out = listing(program);
  const InitialState& s = program.initial;
  out += fmt::format("start: {}-bit, {}{}, rflags {:#x}, mxcsr {:#x}, fs base {:#x}, gs base {:#x}\n",
                     program.bits, program.user ? "user mode" : "kernel mode", program.smap ? ", SMAP" : "",
                     s.rflags, s.mxcsr, s.fs_base, s.gs_base);
  constexpr const char* kNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  for (u32 i = 0; i < 16; ++i)
    if (s.gpr[i] != 0) out += fmt::format("  {} {:#x}\n", kNames[i], s.gpr[i]);
  for (u32 i = 0; i < 16; ++i)
    if (const auto& q = s.vec[i].q; q[0] | q[1] | q[2] | q[3])
      out += fmt::format("  ymm{} {:#x} {:#x} {:#x} {:#x}\n", i, q[0], q[1], q[2], q[3]);
  out += "exceptions of the reference:\n";
  constexpr u32 kMostRecords = 12;
  for (const Record& r : std::span(reference.outcome.records)
                             .first(std::min<std::size_t>(reference.outcome.records.size(), kMostRecords)))
    out += fmt::format("  vector {:#x}, error {:#x}, rip {:#x}, cr2 {:#x}, rflags {:#x}\n", r.vector, r.error,
                       r.rip, r.cr2, r.rflags);
  fmt::print("{}", out);
  const bool survived = survives([&] {
    machines_[index]->clear();
    for (int attempt = 0; attempt < 10; ++attempt)
      if (const auto failure = compare(index, program, image, reference)) {
        fmt::print("expected (got by {}):\n{}", failure->engine, failure->differences);
        std::fflush(stdout);
        return false;
      }
    return true;
  });
  if (survived) fmt::print("on its own it does not fail: it depends on the programs before it\n");
}

}  // namespace doppel::tests::translator
