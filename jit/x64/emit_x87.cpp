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
  if (insn.x87_opcode == 0 || !context_.x87_usable || interpreted(insn.mnemonic)) return false;
  const auto* memory = std::ranges::find(insn.op, OperandKind::kMemory, &Operand::kind);
  const bool has_memory = memory != std::end(insn.op);
  if (has_memory && memory->size == 0) return false;

  uses_x87_ = true;
  const u8 needed = needed_by(insn);
  if (!x87_resident_ || has_memory) before_clobber(needed);
  if (!x87_resident_) {
    slow_x87_.push_back({a.newLabel(), a.newLabel(), loaded_, dirty_});
    a.cmp(DOPPEL_STATE(translator.x87_resident, 4), 0);
    a.je(slow_x87_.back().entry);
    a.bind(slow_x87_.back().resume);
    x87_resident_ = true;
  }
  if (has_memory)
    check_access(insn, memory->size,
                 stores(ZydisMnemonicGetString(static_cast<ZydisMnemonic>(insn.mnemonic))));
  if (needed != 0 && insn.flags_read + insn.flags_written != 0) flags_to_host();

  // The same opcode; a memory operand becomes [r14]: REX.B, ModRM with mod 0 and r/m 110.
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
