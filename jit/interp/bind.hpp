// Binders that pick one of several specialised handlers by operand size.
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// The handler of a semantics template for the instruction's operand size.
#define DOPPEL_BY_SIZE(insn, semantics) \
  by_size((insn).op_size, []<class T>() -> Handler { return run_next<semantics<T>>; })

// Rows for `template <class T> bool f(Vcpu&, const Insn&)` by operand size.
#define DOPPEL_SIZED_ROW(mnemonic, semantics)                                                          \
  Row {                                                                                                \
    mnemonic, Flow::kNext, [](const Insn& insn) -> Handler { return DOPPEL_BY_SIZE(insn, semantics); } \
  }

}  // namespace doppel::interp
