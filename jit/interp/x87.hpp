// The x87 register stack, its status word and its exceptions, as the x87 instruction families share them.
// Sources: SDM Vol. 1 ch. 8; AMD APM Vol. 1 ch. 6. It knows no instruction and does no arithmetic.
#pragma once

#include "jit/interp/semantics.hpp"
#include "jit/interp/x87_host.hpp"

namespace doppel::interp::x87 {

using core::X87Register;
using core::X87State;

// Status word. The exception flags have their masks at the same places of the control word.
inline constexpr u16 kInvalid = 1u << 0, kDenormal = 1u << 1, kZeroDivide = 1u << 2, kOverflow = 1u << 3,
                     kUnderflow = 1u << 4, kPrecision = 1u << 5, kExceptions = 0x3f, kStackFault = 1u << 6,
                     kErrorSummary = 1u << 7, kC0 = 1u << 8, kC1 = 1u << 9, kC2 = 1u << 10, kC3 = 1u << 14,
                     kConditions = kC0 | kC1 | kC2 | kC3, kBusy = 1u << 15;
inline constexpr u32 kTopShift = 11;

// An unmasked one of these stops an instruction before it changes anything (SDM Vol. 1, "x87 FPU Exception
// Synchronization"); the others come with a result, unless it would go to memory.
inline constexpr u16 kFaultLike = kInvalid | kDenormal | kZeroDivide;
inline constexpr u16 kStoreFaultLike = kFaultLike | kOverflow | kUnderflow;

inline constexpr X87Register kIndefinite{0xc000'0000'0000'0000, 0xffff};

// One ten-byte real, or packed BCD, in memory.
struct [[gnu::packed]] Real80 {
  u64 significand;
  u16 sign_exponent;
};

// ---------------------------------------------------------------------------------------------------------------
// The stack.

inline u8 physical(const X87State& x, u32 i) {
  return (x.top + i) & 7;
}
inline bool empty(const X87State& x, u32 i) {
  return !((x.valid >> physical(x, i)) & 1);
}
inline const X87Register& get(const X87State& x, u32 i) {
  return x.physical[physical(x, i)];
}
inline void set(X87State& x, u32 i, const X87Register& value) {
  x.physical[physical(x, i)] = value;
  x.valid |= static_cast<u8>(1u << physical(x, i));
}
inline void mark_empty(X87State& x, u32 i) {
  x.valid &= static_cast<u8>(~(1u << physical(x, i)));
}
inline void pop(X87State& x) {
  mark_empty(x, 0);
  x.top = physical(x, 1);
}
inline void push(X87State& x, const X87Register& value) {
  x.top = physical(x, 7);
  set(x, 0, value);
}
// ST(-1), where a push goes, is in use.
inline bool full(const X87State& x) {
  return !empty(x, 7);
}

// ---------------------------------------------------------------------------------------------------------------
// Control and status words.

inline u16 status_word(const X87State& x) {
  return static_cast<u16>(x.status | x.top << kTopShift);
}
// ES and B follow from the flags and their masks.
inline void update_summary(X87State& x) {
  x.status &= static_cast<u16>(~(kErrorSummary | kBusy));
  if (x.status & ~x.control & kExceptions) x.status |= kErrorSummary | kBusy;
}
// Control words keep bit 6 as one, and no other reserved bit.
inline u16 control_word(u16 value) {
  return static_cast<u16>((value & 0x1f3f) | 0x40);
}
inline void set_status_word(X87State& x, u16 value) {
  x.top = (value >> kTopShift) & 7;
  x.status = value & static_cast<u16>(kExceptions | kStackFault | kConditions);
  update_summary(x);
}
inline void reset(X87State& x) {  // FNINIT: register contents stay
  x.control = 0x37f;
  x.status = 0;
  x.top = 0;
  x.valid = 0;
  x.opcode = 0;
  x.instruction = x.data = 0;
  x.instruction_segment = x.data_segment = 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Begin and end of an instruction.

// #NM, as every x87 instruction but WAIT checks it.
[[nodiscard]] inline bool available(Vcpu& cpu) {
  if (cpu.state.cr0 & (core::kCr0Em | core::kCr0Ts)) [[unlikely]]
    return cpu.raise(Vector::kNM);
  return true;
}
// Quirk: with CR0.NE clear, a PC reports x87 errors through FERR# and IRQ 13; here they are #MF always.
[[nodiscard]] inline bool no_error_pending(Vcpu& cpu) {
  if (cpu.state.x87.status & kErrorSummary) [[unlikely]]
    return cpu.raise(Vector::kMF);
  return true;
}
// What waiting instructions check first.
[[nodiscard]] inline bool ready(Vcpu& cpu) {
  return available(cpu) && no_error_pending(cpu);
}

// Records FOP of the instruction, from its bytes. Defined in jit/interp/x87_control.cpp.
[[gnu::cold]] void record_opcode(Vcpu& cpu, const Insn& insn);

// FIP and FDP.
inline void record_pointers(Vcpu& cpu, const Insn& insn) {
  X87State& x = cpu.state.x87;
  x.instruction = cpu.state.gpr[core::kGprRip] + insn.offset;
  x.instruction_segment = cpu.state.segment[core::kCs].selector;
  if (insn.op[0].kind == OperandKind::kMemory) {
    x.data = effective_address(cpu, insn);
    x.data_segment = cpu.state.segment[insn.segment].selector;
  }
}

// Ends an instruction that raised `status`: its exception flags stay, and of the condition flags those in
// `conditions`. Always true, so that `return complete(...)` reads well. Quirk: FOP is recorded only with an
// unmasked exception, as processors with the "fopcode compatibility mode" off do.
inline bool complete(Vcpu& cpu, const Insn& insn, u16 status, u16 conditions = kC1) {
  X87State& x = cpu.state.x87;
  x.status = static_cast<u16>((x.status & ~conditions) | (status & (conditions | kExceptions | kStackFault)));
  record_pointers(cpu, insn);
  if (x.status & ~x.control & kExceptions) [[unlikely]] {
    x.status |= kErrorSummary | kBusy;
    record_opcode(cpu, insn);
  }
  return true;
}

inline bool masked(const X87State& x, u16 exceptions) {
  return !(exceptions & ~x.control & kExceptions);
}

// Ends an instruction whose stack operand is empty, after its masked response.
inline bool complete_underflow(Vcpu& cpu, const Insn& insn, u16 conditions = kC1) {
  return complete(cpu, insn, kInvalid | kStackFault, conditions);
}
inline bool complete_overflow(Vcpu& cpu, const Insn& insn, u16 conditions = kC1) {
  return complete(cpu, insn, kInvalid | kStackFault | kC1, conditions);
}

// F on ST(a) and ST(b); with `underflow`, the response to an empty one of them.
template <x87_host::Operation F>
[[nodiscard]] x87_host::Frame evaluate(const X87State& x, u8 a, u8 b, bool underflow) {
  if (underflow) return {.st = {kIndefinite}, .status = kInvalid | kStackFault};
  x87_host::Frame f{.st = {get(x, a), get(x, b)}, .control = x.control};
  F(f);
  return f;
}

}  // namespace doppel::interp::x87
