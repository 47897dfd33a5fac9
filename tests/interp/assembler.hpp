// Turns the assembly text of test cases into machine code with GNU `as`, all of it in one run.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::tests {

struct Source {
  std::string
      text;       // Intel syntax, instructions separated by ';'. The symbols `code` and `data` are addresses.
  u32 bits = 64;  // 16, 32 or 64
  u64 code = 0;   // where it will run, for branches to absolute addresses
  u64 data = 0;
};

// The machine code of each source, in order. Throws std::runtime_error with the assembler's messages, or when
// there is no assembler.
[[nodiscard]] std::vector<std::vector<u8>> assemble(std::span<const Source> sources);

}  // namespace doppel::tests
