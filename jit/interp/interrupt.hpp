// Delivery of interrupts and exceptions through the IVT or IDT, the double-fault rules, and the instructions
// that raise or wait for events. Called by the dispatcher. It does not decide which event is due.
// Source: AMD APM Vol. 2, "Exceptions and Interrupts"; Intel SDM Vol. 3A, "Interrupt and Exception Handling".
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

enum class EventKind : u8 {
  kExternal,
  kNmi,
  kFault,               // an exception the processor detected
  kSoftware,            // INT n
  kPrivilegedSoftware,  // INT1
  kSoftwareTrap,        // INT3, INTO
};

// Transfers control to the handler of `vector`; the interrupted code resumes at CpuState::rip. `error_code`
// is pushed for faults that have one. False: CpuState::fault was raised and nothing else has changed. True
// with a fault pending: a task switch completed, and the new task's state is bad.
[[nodiscard]] bool deliver_event(Vcpu& cpu, u8 vector, EventKind kind, u32 error_code);

// Delivers CpuState::fault with RIP at the faulting instruction (or after it, for #DB traps). Faults during
// delivery follow the double-fault table; a triple fault sets Activity::kShutdown.
void deliver_fault(Vcpu& cpu);

}  // namespace doppel::interp
