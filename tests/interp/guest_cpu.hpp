// Runs programs on Doppel's processor: a vCPU in a bare machine whose only software is the program. Every exception
// goes through a real descriptor table (or interrupt vector table) to a HLT, from whose stack frame the outcome is
// read, so that exception delivery is tested along with the instructions.
#pragma once

#include <memory>
#include <string_view>

#include "core/cpuid.hpp"
#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

class GuestCpu {
 public:
  // `model` as for `doppel run --cpu`. Throws std::invalid_argument with the parser's sentence.
  explicit GuestCpu(std::string_view model = "max");
  ~GuestCpu();

  [[nodiscard]] Outcome run(const Program& program);
  [[nodiscard]] const core::CpuModel& model() const;

 private:
  struct Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace doppel::tests
