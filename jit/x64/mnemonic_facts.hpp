// Small facts about mnemonics that the emitters share.
#pragma once

#include <asmjit/x86.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "jit/insn.hpp"
#include "jit/xsave_family.hpp"

namespace doppel::jit::x64 {

// The host's condition code of a Jcc; empty for other instructions.
[[nodiscard]] inline std::optional<asmjit::x86::CondCode> jcc_condition(u16 mnemonic) {
  using asmjit::x86::CondCode;
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_JO:
      return CondCode::kO;
    case ZYDIS_MNEMONIC_JNO:
      return CondCode::kNO;
    case ZYDIS_MNEMONIC_JB:
      return CondCode::kB;
    case ZYDIS_MNEMONIC_JNB:
      return CondCode::kAE;
    case ZYDIS_MNEMONIC_JZ:
      return CondCode::kZ;
    case ZYDIS_MNEMONIC_JNZ:
      return CondCode::kNZ;
    case ZYDIS_MNEMONIC_JBE:
      return CondCode::kBE;
    case ZYDIS_MNEMONIC_JNBE:
      return CondCode::kA;
    case ZYDIS_MNEMONIC_JS:
      return CondCode::kS;
    case ZYDIS_MNEMONIC_JNS:
      return CondCode::kNS;
    case ZYDIS_MNEMONIC_JP:
      return CondCode::kP;
    case ZYDIS_MNEMONIC_JNP:
      return CondCode::kNP;
    case ZYDIS_MNEMONIC_JL:
      return CondCode::kL;
    case ZYDIS_MNEMONIC_JNL:
      return CondCode::kGE;
    case ZYDIS_MNEMONIC_JLE:
      return CondCode::kLE;
    case ZYDIS_MNEMONIC_JNLE:
      return CondCode::kG;
    default:
      return std::nullopt;
  }
}

[[nodiscard]] inline bool is_direct_jump(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_JMP && insn.op[0].kind == OperandKind::kImmediate &&
         !(insn.flags & kFar);
}
// FXSAVE, XSAVE and their likes: they see the x87 and the vector registers, and MXCSR.
[[nodiscard]] inline bool saves_state(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      return true;
    default:
      return in_xsave_family(mnemonic);
  }
}

// Whether the interpreter's handler may do vector arithmetic, or read or write MXCSR.
[[nodiscard]] inline bool uses_mxcsr(const Insn& insn) {
  return (insn.flags & kSimd) || saves_state(insn.mnemonic);
}

// Instructions that raise #DE by design: the handler sees the flags of before.
[[nodiscard]] inline bool divides(u16 mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_DIV || mnemonic == ZYDIS_MNEMONIC_IDIV;
}

// Whether the interpreter's handler reads or writes CpuState::x87, which the MMX registers share.
[[nodiscard]] inline bool uses_x87_state(const Insn& insn) {
  if (insn.x87_opcode != 0 || insn.mnemonic == ZYDIS_MNEMONIC_EMMS || insn.mnemonic == ZYDIS_MNEMONIC_FWAIT)
    return true;
  for (const Operand& op : insn.op)
    if (op.kind == OperandKind::kMmx || op.kind == OperandKind::kX87) return true;
  return saves_state(insn.mnemonic);
}

// Of general-register instructions that are emitted as themselves.
[[nodiscard]] inline bool writes_first_operand(u16 mnemonic) {
  return mnemonic != ZYDIS_MNEMONIC_CMP && mnemonic != ZYDIS_MNEMONIC_TEST && mnemonic != ZYDIS_MNEMONIC_BT &&
         mnemonic != ZYDIS_MNEMONIC_MUL;
}
[[nodiscard]] inline bool writes_second_operand(u16 mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_XCHG || mnemonic == ZYDIS_MNEMONIC_XADD ||
         mnemonic == ZYDIS_MNEMONIC_MULX;
}

[[nodiscard]] inline bool is_shift(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
      return true;
    default:
      return false;
  }
}

// MOVS, LODS and STOS without a repeat prefix.
struct StringForm {
  u32 size;
  bool loads, stores;
};

[[nodiscard]] inline std::optional<StringForm> string_form(const Insn& insn) {
  if (insn.flags & (kSimd | kRep | kRepne)) return std::nullopt;  // SIMD: the other MOVSD
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
      return StringForm{insn.op_size, true, true};
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
      return StringForm{insn.op_size, true, false};
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
      return StringForm{insn.op_size, false, true};
    default:
      return std::nullopt;
  }
}

}  // namespace doppel::jit::x64
