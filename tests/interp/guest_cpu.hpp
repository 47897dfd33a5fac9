// Runs programs on Doppel's processor: a vCPU in a bare machine whose only software is the program. Every
// exception goes through a real descriptor table (or interrupt vector table) to a HLT, from whose stack frame
// the outcome is read, so that exception delivery is tested along with the instructions.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "core/cpuid.hpp"
#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

enum class Engine : u8 { kInterpreter, kTranslator };

// The engines that this build has, and their names as for `doppel run --engine`.
[[nodiscard]] std::span<const Engine> engines();
[[nodiscard]] const char* engine_name(Engine engine);

class GuestCpu {
 public:
  // `model` as for `doppel run --cpu`. Throws std::invalid_argument with the parser's sentence.
  // The translator translates everything before it first runs.
  explicit GuestCpu(std::string_view model = "max", Engine engine = Engine::kInterpreter);
  ~GuestCpu();

  [[nodiscard]] Outcome run(const Program& program);
  [[nodiscard]] const core::CpuModel& model() const;

 private:
  struct Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace doppel::tests
