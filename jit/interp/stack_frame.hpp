// Stacks as far transfers and event delivery use them: not only the current one but also one that is about to
// become current. A Frame is written as a whole or, if any push would fault, not at all; registers change
// only when the caller commits. Source: Intel SDM Vol. 3A, "Stack Switching"; AMD APM Vol. 2, same.
#pragma once

#include <array>

#include "jit/interp/segment.hpp"

namespace doppel::interp {

struct Stack {
  core::SegmentRegister ss;
  u64 sp = 0;             // RSP as a whole
  u64 mask = 0;           // the bits of it that pushes and pops move
  bool flat = false;      // 64-bit mode: SS is not looked at
  bool implicit = false;  // accessed as supervisor whatever the CPL is now
  u16 error = 0;          // of #SS: the selector if the stack is being switched to

  // `sp` moved by `delta` within `mask`.
  [[nodiscard]] u64 moved(i64 delta) const { return (sp & ~mask) | ((sp + static_cast<u64>(delta)) & mask); }
};

// The stack in SS:RSP.
[[nodiscard]] Stack current_stack(const core::CpuState& s);
// The stack in `ss`:`sp` for code that is not 64-bit.
[[nodiscard]] Stack segmented_stack(const core::SegmentRegister& ss, u64 sp);
// A 64-bit stack. SS stays, or becomes null where the ring changes.
[[nodiscard]] Stack flat_stack(const core::SegmentRegister& ss, u64 rsp);

// The stack that the current TSS holds for ring `cpl`, legacy form, checked (#TS, #SS).
[[nodiscard]] bool inner_stack(Vcpu& cpu, u8 cpl, Stack& out);
// A stack pointer of the 64-bit TSS: RSPn or ISTn.
[[nodiscard]] bool read_rsp(Vcpu& cpu, u32 tss_offset, u64& rsp);
inline u32 rsp_offset(u8 cpl) {
  return 4 + cpl * 8u;
}
inline u32 ist_offset(u32 ist) {  // 1-7
  return 0x24 + (ist - 1) * 8;
}

// Makes a stack SS:RSP.
void commit_stack(core::CpuState& s, const Stack& stack);

// Values pushed onto a stack, top of stack last.
class Frame {
 public:
  explicit Frame(const Stack& stack) : stack_(stack) {}

  void push(u64 value, u32 size);
  // Writes everything, or raises the fault that some push meets and writes nothing.
  [[nodiscard]] bool write(Vcpu& cpu) const;
  [[nodiscard]] const Stack& stack() const { return stack_; }  // after the pushes

 private:
  static constexpr u32 kCapacity = 36;  // a call gate: SS, ESP, 31 parameters, CS, EIP
  struct Slot {
    u64 sp;
    u64 value;
    u32 size;
  };
  Stack stack_;
  std::array<Slot, kCapacity> slots_;
  u32 count_ = 0;
};

// Pops values without changing RSP: the caller commits the stack at the end.
class FramePops {
 public:
  FramePops(Vcpu& cpu, u32 size) : cpu_(cpu), stack_(current_stack(cpu.state)), size_(size) {}

  // One value of the frame's size.
  [[nodiscard]] bool pop(u64& value);
  [[nodiscard]] bool pop_selector(u16& selector);
  void skip(u32 bytes) { stack_.sp = stack_.moved(bytes); }
  [[nodiscard]] const Stack& stack() const { return stack_; }

 private:
  Vcpu& cpu_;
  Stack stack_;
  u32 size_;
};

}  // namespace doppel::interp
