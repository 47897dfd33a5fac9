// Disassembly of host code, for `--debug jit`.
#pragma once

#include <span>
#include <string>

#include "core/types.hpp"

namespace doppel::jit::x64 {

// One line an instruction: address and Intel syntax.
[[nodiscard]] std::string listing(std::span<const u8> code, u64 address);

}  // namespace doppel::jit::x64
