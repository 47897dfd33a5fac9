// A vCPU's user-mode state to and from the host's formats: the registers ptrace(2) moves, and the XSAVE image
// of its floating-point and vector state. Knows the layout of both and nothing of how they travel.
#pragma once

#include <sys/user.h>

#include <vector>

#include "jit/vcpu.hpp"

namespace doppel::jit::direct {

// What the state must be like for its user code to mean the same on the host: 64-bit code at CPL 3 with the
// selectors `host` has, floating point switched on, no single-stepping; the ID flag that it had last.
[[nodiscard]] bool representable(const Vcpu& cpu, const user_regs_struct& host, const user_regs_struct& last);

// By its number in core::Gpr.
[[nodiscard]] unsigned long long& general_register(user_regs_struct& registers, u32 number);

// Segment selectors in `to` stay.
void to_host(const core::CpuState& state, user_regs_struct& to);
// `initial` holds the selectors that it began with; one that changed since is loaded. TF comes along, too.
void from_host(Vcpu& cpu, const user_regs_struct& from, const user_regs_struct& initial);

// The components of the guest in an image of the host; others stay.
void put_vectors(const Vcpu& cpu, std::vector<u8>& image);
void take_vectors(Vcpu& cpu, const std::vector<u8>& image);

}  // namespace doppel::jit::direct
