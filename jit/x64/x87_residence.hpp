// The guest's x87 state in the host's FPU: moved in before the first x87 instruction that translated code
// runs itself, and out before anybody looks at CpuState::x87. C++ code between does not use the x87.
#pragma once

#include "core/cpu_state.hpp"

namespace doppel::jit::x64 {

// Whether x87 instructions may run natively: the FPU is enabled, and no exception is unmasked or pending.
[[nodiscard]] bool x87_usable(const core::CpuState& state);
void x87_move_in(core::CpuState& state);
// Does nothing when the state is not resident. FIP, FDP and FOP, which would be the host's, become zero.
void x87_move_out(core::CpuState& state);

}  // namespace doppel::jit::x64
