// Disassembly of guest and host code, for people. Used by reports and `--debug jit`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::jit {

// The instructions in `code`, which lies at `address`: one line each, address and Intel syntax. `code_bits`:
// 16, 32 or 64. Stops at bytes that are no instruction.
[[nodiscard]] std::vector<std::string> listing_lines(std::span<const u8> code, u64 address,
                                                     u32 code_bits = 64);

// The same as one text of indented lines.
[[nodiscard]] std::string listing(std::span<const u8> code, u64 address, u32 code_bits = 64);

}  // namespace doppel::jit
