// The one table of instructions: a row per mnemonic, joined from the families of jit/interp, and the CPU
// feature that each instruction set needs. The decoder asks it; tests list it.
#pragma once

#include <optional>

#include "core/cpuid.hpp"
#include "jit/insn.hpp"

namespace doppel::jit {

// The row of a mnemonic, or nullptr when the instruction is not implemented.
[[nodiscard]] const Row* find_row(ZydisMnemonic mnemonic);

// The feature without which instructions of this set raise #UD; empty: part of every model.
[[nodiscard]] std::optional<core::Feature> required_feature(ZydisISASet isa_set);

}  // namespace doppel::jit
