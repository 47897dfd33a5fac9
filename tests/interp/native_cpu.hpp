// Runs programs on the host's own processor, the oracle for everything the interpreter claims about user
// mode. All of it happens in a forked child: a signal handler's return loads the registers of the next
// program, and the trap or fault that ends it brings the handler back with what became of them. Linux on
// x86-64 only.
#pragma once

#include <span>
#include <vector>

#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

// Whether this host can run programs of `mode` natively.
[[nodiscard]] bool native_available(Mode mode);
[[nodiscard]] bool native_available(const Program& program);

// One outcome per program, in order; all must be of a mode that runs natively. Throws std::runtime_error,
// with the program's number, when the child dies.
[[nodiscard]] std::vector<Outcome> run_natively(std::span<const Program> programs);

}  // namespace doppel::tests
