// x87 arithmetic, moves and comparisons, emitted as themselves on the host's FPU, which holds the guest's
// state meanwhile (x87_residence). Instructions that load the control word or the whole environment stay with
// the interpreter.
#include <algorithm>
#include <string_view>

#include "jit/x64/block_emitter.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

namespace {

bool interpreted(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNCLEX:
      return true;
    default:
      return false;
  }
}

bool stores(std::string_view name) {
  for (const std::string_view prefix : {"fst", "fist", "fnst", "fbstp"})
    if (name.starts_with(prefix)) return true;
  return false;
}

}  // namespace

bool BlockEmitter::emit_x87(const Insn& insn) {
  if (insn.x87_opcode == 0 || interpreted(insn.mnemonic)) return false;
  const auto* memory = std::ranges::find(insn.op, OperandKind::kMemory, &Operand::kind);
  const bool has_memory = memory != std::end(insn.op);
  if (has_memory && memory->size == 0) return false;

  need_x87(insn);
  const u8 needed = needed_by(insn);
  // x87 instructions have no free choice of address registers here: the operand becomes [r14].
  if (has_memory)
    a.lea(kScratch0, guest_memory(insn, memory->size,
                                  stores(ZydisMnemonicGetString(static_cast<ZydisMnemonic>(insn.mnemonic)))));
  if (needed != 0 && insn.flags_read + insn.flags_written != 0) flags_to_host();

  // The same opcode; [r14] is REX.B, ModRM with mod 0 and r/m 110.
  if (has_memory) {
    const u8 bytes[] = {0x41, insn.x87_opcode,
                        static_cast<u8>((insn.x87_modrm & 0x38) | (kScratch0.id() & 7))};
    a.embed(bytes, sizeof bytes);
  } else {
    const u8 bytes[] = {insn.x87_opcode, insn.x87_modrm};
    a.embed(bytes, sizeof bytes);
  }
  if (insn.flags_written != 0) flags_ = Flags::kHost;
  return true;
}

}  // namespace doppel::jit::x64
