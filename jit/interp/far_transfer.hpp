// Far JMP, CALL and RET, and IRET, in every mode: through code segments, call gates, task gates and TSSs,
// with privilege and mode changes. JMP, CALL and RET also have near forms: their rows fetch the operands and
// call these. Event delivery is in interrupt.hpp. Source: AMD APM Vol. 2, "Control-Transfer Privilege
// Checks"; Intel SDM Vol. 2, CALL, IRET, JMP, RET.
#pragma once

#include "jit/interp/segment.hpp"

namespace doppel::interp {

// Each checks everything, then commits: false means that nothing has changed but the fault.
[[nodiscard]] bool far_jump(Vcpu& cpu, const Insn& insn, u16 selector, u64 offset);
[[nodiscard]] bool far_call(Vcpu& cpu, const Insn& insn, u16 selector, u64 offset);
// `extra_bytes`: RETF's immediate.
[[nodiscard]] bool far_return(Vcpu& cpu, const Insn& insn, u16 extra_bytes);

// CS:RIP as a transfer loads it, once it has passed the checks.
struct CodeTarget {
  core::SegmentRegister cs;
  u64 rip = 0;
};
// Builds one from a checked code descriptor: RIP within the limit or canonical (#GP(0)), accessed bit set.
// `cpl` becomes the selector's RPL.
[[nodiscard]] bool make_target(Vcpu& cpu, u16 selector, Descriptor& code, u8 cpl, u64 rip, CodeTarget& out);
void commit_target(Vcpu& cpu, const CodeTarget& target);

}  // namespace doppel::interp
