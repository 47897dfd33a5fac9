// Model-specific registers as a table. RDMSR and WRMSR use it; so may boot code and the debugger.
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// False: the register does not exist (then it is counted) or refuses the value; #GP(0) is for the caller.
[[nodiscard]] bool read_msr(Vcpu& cpu, u32 index, u64& value);
[[nodiscard]] bool write_msr(Vcpu& cpu, u32 index, u64 value);

}  // namespace doppel::interp
