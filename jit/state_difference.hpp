// Copying and comparing what CpuState holds of the architecture, without what belongs to a running engine
// (the soft TLB, requests of other threads, translator.*). Used by the Verifier.
#pragma once

#include <string>

#include "core/cpu_state.hpp"

namespace doppel::jit {

void copy_state(core::CpuState& to, const core::CpuState& from);

// Whether two states are the same to the guest. Arithmetic flags are compared where `flags` has a one,
// general registers where `bits` has. Not compared: the x87 error pointers, which translated code does not
// keep (docs/quirks.md).
[[nodiscard]] bool same_state(const core::CpuState& a, const core::CpuState& b, u64 flags,
                              u64 bits = ~u64{0});

// A table of the general registers, RIP, RFLAGS and the pending fault, then of whatever else differs; '*'
// marks the lines where `translated` is not `interpreted`.
[[nodiscard]] std::string state_table(const core::CpuState& before, const core::CpuState& translated,
                                      const core::CpuState& interpreted);

}  // namespace doppel::jit
