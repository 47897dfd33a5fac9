// A decoded instruction as the engines use it, and the row that ties a mnemonic to its meaning.
// jit/decode makes Insns from guest bytes; jit/interp runs them; host backends read them.
#pragma once

#include <span>

#include "core/cpu_state.hpp"
#include "core/published.hpp"
#include "core/types.hpp"
#include "jit/zydis.hpp"

namespace doppel::jit {

struct Vcpu;
struct Insn;

inline constexpr u32 kLongestInsn = 15;  // bytes; what is longer raises #GP

// Runs the instruction and returns the one to run next in the block, or nullptr to leave the block. After
// nullptr, CpuState::rip is the next instruction's (or, with CpuState::fault pending, the faulting
// instruction's).
using Handler = const Insn* (*)(Vcpu&, const Insn*);

enum class OperandKind : u8 {
  kNone,
  kGpr,
  kMemory,
  kImmediate,
  kSegment,
  kControl,
  kDebug,
  kX87,
  kMmx,
  kVector
};

struct Operand {
  OperandKind kind = OperandKind::kNone;
  u8 reg = 0;   // kGpr: byte offset into CpuState::gpr (AH is 1, RCX is 8); others: register number
  u8 size = 0;  // in bytes; 0 where it does not fit (512-byte areas)
};

enum InsnFlags : u16 {
  kLock = 1u << 0,
  kRep = 1u << 1,          // F3 as REP/REPE, on string instructions only
  kRepne = 1u << 2,        // F2 as REPNE, on string instructions only
  kSegmentBase = 1u << 3,  // 64-bit mode with FS or GS: add the segment base
  kSegmented = 1u << 4,    // 16- or 32-bit mode: base, limit and type apply
  kCode64 = 1u << 5,       // decoded in 64-bit mode
  kFar = 1u << 6,          // far form of JMP, CALL, RET
  kSimd = 1u << 7,         // of MMX, SSE, AVX and their relatives
  kConditional = 1u << 8,  // Jcc, LOOPcc, JrCXZ
  kUndefined = 1u << 9,    // not on this CPU: raises #UD, whatever the host's would do
};

// Where control goes after an instruction.
enum class Flow : u8 {
  kNext,    // to the next instruction in the block
  kEnds,    // to the next instruction, but through the dispatcher: modes, flags or translations may have
            // changed
  kBranch,  // the semantics set CpuState::rip
};

// The six arithmetic flags as a compact set.
enum ArithmeticFlag : u8 {
  kFlagC = 1,
  kFlagP = 2,
  kFlagA = 4,
  kFlagZ = 8,
  kFlagS = 16,
  kFlagO = 32,
  kAllFlags = 63
};

// Operands are those of the manuals' syntax, destination first (Zydis' visible operands; implicit registers
// that the syntax shows, such as CL of a shift, included).
struct Insn {
  core::Published<Handler> run = nullptr;  // changes when the block goes, which others may run
  u64 imm = 0;   // the immediate, sign-extended to the operand size and then to 64 bits; branches:
                 // displacement; far pointers: offset. For relative branches the target is rip_of_next + imm.
  i64 disp = 0;  // memory displacement; RIP-relative ones are relative to the block's first byte (kGprRip)
  Operand op[4];
  u8 base = core::kGprZero, index = core::kGprZero;  // gpr slots
  u8 scale = 0;                                      // shift count
  u8 segment = core::kDs;                            // of the memory operand, overrides applied
  u16 imm2 = 0;          // ENTER's nesting level, far pointer's selector, a second immediate
  u16 mnemonic = 0;      // ZydisMnemonic
  u16 offset = 0;        // of the first byte from the block's first byte
  u16 flags = 0;         // InsnFlags
  u16 gprs_written = 0;  // bit n: general register n changes, or may (from Zydis, hidden operands too)
  u8 length = 0;
  u8 op_size = 0;        // effective operand size in bytes: 1 for byte forms, 2, 4, 8
  u8 address_size = 0;   // 2, 4, 8
  u8 address_shift = 0;  // 64 minus its bits
  Flow flow = Flow::kNext;
  u8 flags_read = 0;     // ArithmeticFlag bits the instruction tests (from Zydis)
  u8 flags_written = 0;  // those it modifies, sets, clears or leaves undefined
  u8 x87_opcode = 0;     // D8-DF of an x87 instruction, else 0,
  u8 x87_modrm = 0;      // and its ModRM byte

  // What effective addresses wrap to.
  [[nodiscard]] u64 address_mask() const { return ~u64{0} >> address_shift; }
};
static_assert(sizeof(Insn) == 64, "most of the memory that decoded code takes");

// The meaning of one mnemonic: `bind` picks the handler that fits the operands, or nullptr if there is none
// for them (then the instruction raises #UD and is counted).
struct Row {
  ZydisMnemonic mnemonic;
  Flow flow;
  Handler (*bind)(const Insn&);
};

}  // namespace doppel::jit
