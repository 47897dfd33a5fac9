// Hardware task switching through 16- and 32-bit TSSs, outside long mode. Called by far transfers that meet a
// TSS or task gate, by event delivery and by IRET with NT set.
// Source: Intel SDM Vol. 3A, chapter "Task Management".
#pragma once

#include <optional>

#include "jit/interp/descriptor_table.hpp"

namespace doppel::interp {

enum class TaskSwitch : u8 { kJump, kCall, kEvent, kReturn };

// Switches to the task of the TSS `selector`; CpuState::rip must be what the old task resumes at.
// False: a fault was raised in the old task and nothing has changed. True: the new task is current; if its
// state was bad, or its T bit is set, CpuState::fault is pending in the new task's context.
// `error_code`: pushed onto the new task's stack.
[[nodiscard]] bool task_switch(Vcpu& cpu, u16 selector, TaskSwitch kind,
                               std::optional<u32> error_code = std::nullopt);

// IRET with NT set: back to the task in the current TSS's link field.
[[nodiscard]] bool task_return(Vcpu& cpu);

}  // namespace doppel::interp
