// The vocabulary of the interpreter: how an instruction's meaning, written as `bool f(Vcpu&, const Insn&)`,
// becomes a handler and a table row; and how it reaches its operands. A semantics function returns true when
// the instruction completed, or false after raising a fault (CpuState::fault); then nothing of it is visible
// to the guest. All instruction families include this; it knows none of them.
#pragma once

#include <cstring>
#include <type_traits>

#include "core/cpu_state.hpp"
#include "jit/insn.hpp"
#include "jit/vcpu.hpp"

namespace doppel::interp {

using core::Vector;
using jit::Flow;
using jit::Handler;
using jit::Insn;
using jit::Operand;
using jit::OperandKind;
using jit::Row;
using jit::Vcpu;

using Semantics = bool (*)(Vcpu&, const Insn&);

// ---------------------------------------------------------------------------------------------------------------
// From semantics to handlers. Handlers call one another in tail position, so a block runs without a loop; a
// build that does not turn tail calls into jumps (sanitizers, -O0) only nests as deep as a block is long.

[[gnu::always_inline]] inline const Insn* next(Vcpu& cpu, const Insn* insn) {
  return insn[1].run(cpu, insn + 1);
}

// Leaves the block at an instruction that faulted: RIP points at it.
[[gnu::noinline, gnu::cold]] inline const Insn* leave(Vcpu& cpu, const Insn* insn) {
  cpu.state.rip = cpu.state.gpr[core::kGprRip] + insn->offset;
  cpu.last = insn;
  return nullptr;
}

// RIP of the instruction after this one; EIP wraps at 4 GiB outside 64-bit mode.
[[gnu::always_inline]] inline u64 rip_after(const Vcpu& cpu, const Insn& insn) {
  const u64 rip = cpu.state.gpr[core::kGprRip] + insn.offset + insn.length;
  return insn.flags & jit::kCode64 ? rip : rip & 0xffff'ffff;
}

template <Semantics S>
const Insn* run_next(Vcpu& cpu, const Insn* insn) {
  if (!S(cpu, *insn)) [[unlikely]]
    return leave(cpu, insn);
  return next(cpu, insn);
}
template <Semantics S>
const Insn* run_ends(Vcpu& cpu, const Insn* insn) {
  // RIP first: semantics that change modes or deliver control elsewhere may overwrite it.
  cpu.state.rip = rip_after(cpu, *insn);
  cpu.last = insn;
  if (!S(cpu, *insn)) [[unlikely]]
    return leave(cpu, insn);
  return nullptr;
}
template <Semantics S>
const Insn* run_branch(Vcpu& cpu, const Insn* insn) {
  cpu.last = insn;
  if (!S(cpu, *insn)) [[unlikely]]
    return leave(cpu, insn);
  return nullptr;
}

// A binder for mnemonics with one handler whatever the operands.
template <Handler H>
Handler always(const Insn&) {
  return H;
}

// Table rows for such mnemonics: `row<paddb>(ZYDIS_MNEMONIC_PADDB)`.
template <Semantics S>
constexpr Row row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, always<run_next<S>>};
}
template <Semantics S>
constexpr Row row_ends(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kEnds, always<run_ends<S>>};
}
template <Semantics S>
constexpr Row row_branch(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kBranch, always<run_branch<S>>};
}

// ---------------------------------------------------------------------------------------------------------------
// General registers. `reg` is Operand::reg, a byte offset (so AH..DH need no special case).

template <class T>
[[gnu::always_inline]] inline T read_gpr(const Vcpu& cpu, u8 reg) {
  T value;
  std::memcpy(&value, reinterpret_cast<const u8*>(cpu.state.gpr.data()) + reg, sizeof(T));
  return value;
}
// A 32-bit write clears the upper half, in every mode (it is not observable outside 64-bit mode).
template <class T>
[[gnu::always_inline]] inline void write_gpr(Vcpu& cpu, u8 reg, T value) {
  u8* slot = reinterpret_cast<u8*>(cpu.state.gpr.data()) + reg;
  if constexpr (sizeof(T) == 4) {
    const u64 wide = static_cast<std::make_unsigned_t<T>>(value);
    std::memcpy(slot, &wide, sizeof wide);
  } else {
    std::memcpy(slot, &value, sizeof(T));
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Memory operands.

[[gnu::always_inline]] inline u64 effective_address(const Vcpu& cpu, const Insn& insn) {
  const auto& gpr = cpu.state.gpr;
  return (gpr[insn.base] + (gpr[insn.index] << insn.scale) + static_cast<u64>(insn.disp)) &
         insn.address_mask();
}

// Base, limit, type and presence of `segment` for an access of `size` bytes at `offset`; 16- and 32-bit
// modes. Raises #GP(0), or #SS(0) for SS. Defined in jit/interp/segment.cpp.
[[nodiscard]] bool segmented_address(Vcpu& cpu, core::Segment segment, u64 offset, u32 size,
                                     mmu::Access access, u64& la);

// In 64-bit mode a non-canonical address through SS raises #SS(0), not #GP(0): corrects the fault just
// raised.
[[gnu::cold]] inline bool memory_fault(Vcpu& cpu, u8 segment) {
  auto& fault = cpu.state.fault;
  if (segment == core::kSs && fault.vector == Vector::kGP) fault.vector = Vector::kSS;
  return false;
}

// Linear address of the memory operand at effective address `ea`.
[[nodiscard, gnu::always_inline]] inline bool linear_address(Vcpu& cpu, const Insn& insn, u64 ea, u32 size,
                                                             mmu::Access access, u64& la) {
  la = ea;
  if (insn.flags & (jit::kSegmentBase | jit::kSegmented)) [[unlikely]] {
    if (insn.flags & jit::kSegmentBase) {
      la = ea + cpu.state.segment[insn.segment].base;
      return true;
    }
    u64 checked = 0;
    if (!segmented_address(cpu, static_cast<core::Segment>(insn.segment), ea, size, access, checked))
      return false;
    la = checked;
  }
  return true;
}

// Loads or stores the memory operand. T: u8..u64, or a trivially copyable struct up to 64 bytes.
template <class T>
[[nodiscard, gnu::always_inline]] inline bool load(Vcpu& cpu, const Insn& insn, T& out) {
  u64 la;
  if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(T), mmu::Access::kRead, la))
    return false;
  if (!cpu.mmu.read<T>(la, out)) [[unlikely]]
    return memory_fault(cpu, insn.segment);
  return true;
}
template <class T>
[[nodiscard, gnu::always_inline]] inline bool store(Vcpu& cpu, const Insn& insn, const T& value) {
  u64 la;
  if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(T), mmu::Access::kWrite, la))
    return false;
  if (!cpu.mmu.write<T>(la, value)) [[unlikely]]
    return memory_fault(cpu, insn.segment);
  return true;
}

// Reads or writes an operand that may be a general register or memory (r/m), with T of the operand's size.
template <class T>
[[nodiscard, gnu::always_inline]] inline bool read_rm(Vcpu& cpu, const Insn& insn, const Operand& op,
                                                      T& out) {
  if (op.kind == OperandKind::kGpr) {
    out = read_gpr<T>(cpu, op.reg);
    return true;
  }
  return load<T>(cpu, insn, out);
}
template <class T>
[[nodiscard, gnu::always_inline]] inline bool write_rm(Vcpu& cpu, const Insn& insn, const Operand& op,
                                                       T value) {
  if (op.kind == OperandKind::kGpr) {
    write_gpr<T>(cpu, op.reg, value);
    return true;
  }
  return store<T>(cpu, insn, value);
}

// Calls `f` with a value of the unsigned type of the instruction's operand size: `by_size(insn.op_size,
// [&]<class T>() {...})`.
template <class F>
[[gnu::always_inline]] inline decltype(auto) by_size(u8 size, F&& f) {
  switch (size) {
    case 1:
      return f.template operator()<u8>();
    case 2:
      return f.template operator()<u16>();
    case 4:
      return f.template operator()<u32>();
    default:
      return f.template operator()<u64>();
  }
}

}  // namespace doppel::interp
