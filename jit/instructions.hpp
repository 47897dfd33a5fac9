// The one table of instructions: a row per mnemonic, joined from the families of jit/interp, and the CPU
// feature that each instruction set needs. The decoder asks it; tests list it.
#pragma once

#include "core/cpuid.hpp"
#include "jit/insn.hpp"

namespace doppel::jit {

// The row of a mnemonic, or nullptr when the instruction is not implemented.
[[nodiscard]] const Row* find_row(ZydisMnemonic mnemonic);

// Whether a CPU of this model has the instructions of the set. Sets nobody listed do not exist.
[[nodiscard]] bool available(ZydisISASet isa_set, const core::CpuModel& model);

}  // namespace doppel::jit
