// Runs programs on Doppel's processor: a vCPU in a bare machine whose only software is the program. Every
// exception goes through a real descriptor table (or interrupt vector table) to a HLT, from whose stack frame
// the outcome is read, so that exception delivery is tested along with the instructions.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/cpuid.hpp"
#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

// The ways to run a program; the translator translates everything before it first runs.
enum class Engine : u8 {
  kInterpreter,
  kTranslator,   // as it is used: long blocks, chained, flags computed only where they are read
  kExactFlags,   // all flags computed
  kShortBlocks,  // the same with one instruction in a block
};

// The engines that this build has, and their names.
[[nodiscard]] std::span<const Engine> engines();
[[nodiscard]] std::vector<std::string> engine_names();
[[nodiscard]] const char* engine_name(Engine engine);
// Flags that the engine does not promise in this outcome: a fault's frame may hold older ones
// (docs/quirks.md).
[[nodiscard]] u64 stale_flags(Engine engine, const Outcome& outcome);

class GuestCpu {
 public:
  // `model` as for `doppel run --cpu`. Throws std::invalid_argument with the parser's sentence.
  explicit GuestCpu(std::string_view model = "max", Engine engine = Engine::kInterpreter);
  ~GuestCpu();

  [[nodiscard]] Outcome run(const Program& program);
  [[nodiscard]] const core::CpuModel& model() const;
  [[nodiscard]] u64 counter(const std::string& name) const;

 private:
  struct Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace doppel::tests
