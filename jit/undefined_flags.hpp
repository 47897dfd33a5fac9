// Arithmetic flags whose values the manuals leave open in a piece of straight-line code: two engines may
// disagree about them. Facts come from Zydis. Used by the Verifier, only where it has found a difference.
#pragma once

#include <span>
#include <vector>

#include "core/types.hpp"

namespace doppel::jit {

struct UndefinedFlags {
  u64 flags = 0;      // RFLAGS bits that may have any value
  bool read = false;  // an instruction looked at such a flag: what it made of it is open, too
};

// How things are behind each instruction of `code`, which is 64-bit code. All flags are defined at its start.
[[nodiscard]] std::vector<UndefinedFlags> undefined_flags(std::span<const u8> code);

}  // namespace doppel::jit
