// A vCPU's registers and stack as text: for triple faults and debugging.
#pragma once

#include <string>

#include "jit/vcpu.hpp"

namespace doppel::machine {

// Registers, segments, control registers, and what can be read of the code at RIP and the stack at RSP.
// Reading them may set accessed bits in the guest's page tables; nothing else changes.
[[nodiscard]] std::string describe(jit::Vcpu& cpu);

}  // namespace doppel::machine
