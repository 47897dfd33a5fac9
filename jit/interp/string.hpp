// String instructions; what other families need of them.
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// MOVSD and CMPSD name both an SSE2 and a string instruction: the handler of the string form.
[[nodiscard]] Handler bind_string_doubleword(const Insn& insn);

}  // namespace doppel::interp
