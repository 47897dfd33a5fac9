// Control and debug registers: what may be written to them and what follows from it. MOV's row (CR and DR
// forms) and the dispatcher call these.
// Source: AMD APM Vol. 2, "System-Control Registers"; Intel SDM Vol. 3A, "Control Registers", Vol. 3B,
// "Debug Registers".
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// MOV CRn and MOV DRn, with every check (#GP, #UD, #DB). Outside 64-bit mode only 32 bits count.
[[nodiscard]] bool read_control_register(Vcpu& cpu, u8 number, u64& value);
[[nodiscard]] bool write_control_register(Vcpu& cpu, u8 number, u64 value);
[[nodiscard]] bool read_debug_register(Vcpu& cpu, u8 number, u64& value);
[[nodiscard]] bool write_debug_register(Vcpu& cpu, u8 number, u64 value);

// WRMSR to EFER: false if the value is not allowed (#GP is not raised here).
[[nodiscard]] bool write_efer(Vcpu& cpu, u64 value);

// DR6 bits (B0-B3) of the enabled instruction breakpoints at a linear address; EFLAGS.RF is the caller's.
[[nodiscard]] u64 code_breakpoint(const Vcpu& cpu, u64 linear);

}  // namespace doppel::interp
