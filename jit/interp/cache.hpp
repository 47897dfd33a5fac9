// Cache and ordering instructions; what other families need of them.
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// The linear address in rAX that MONITOR and CLZERO take as their implicit DS operand.
[[nodiscard]] bool accumulator_address(Vcpu& cpu, const Insn& insn, u32 size, mmu::Access access, u64& la);

}  // namespace doppel::interp
