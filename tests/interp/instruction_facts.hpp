// What the decoder library knows of a program's instructions, beside their meaning: where they begin and
// which flags they leave undefined. Used by the table cases and the fuzzer.
#pragma once

#include <span>
#include <string>

#include "core/types.hpp"
#include "jit/undefined_flags.hpp"
#include "jit/zydis.hpp"

namespace doppel::tests {

[[nodiscard]] const ZydisDecoder& decoder(u32 code_bits);

using jit::UndefinedFlags;

// The start of the last of `code`'s instructions, and the flags undefined after all of them.
struct CodeFacts {
  std::size_t last = 0;  // offset of the last instruction
  ZydisMnemonic last_mnemonic = ZYDIS_MNEMONIC_INVALID;
  u64 undefined_flags = 0;
};
[[nodiscard]] CodeFacts facts_of(std::span<const u8> code, u32 code_bits);

// The code as text, an instruction per line.
[[nodiscard]] std::string listing(std::span<const u8> code, u32 code_bits, u64 address);

}  // namespace doppel::tests
