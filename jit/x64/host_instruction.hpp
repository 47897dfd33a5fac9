// The host's instruction for a guest mnemonic, if this host's CPU has it.
#pragma once

#include <asmjit/x86.h>

#include <optional>

#include "jit/insn.hpp"

namespace doppel::jit::x64 {

[[nodiscard]] std::optional<asmjit::InstId> host_instruction(u16 mnemonic);

}  // namespace doppel::jit::x64
