#include "jit/undefined_flags.hpp"

#include "core/cpu_state.hpp"
#include "jit/zydis.hpp"

namespace doppel::jit {
namespace {

using core::kArithmeticFlags;

bool shifts(const ZydisDecodedInstruction& insn) {
  return (insn.meta.category == ZYDIS_CATEGORY_SHIFT || insn.meta.category == ZYDIS_CATEGORY_ROTATE) &&
         insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

// Whether the instruction may do nothing at all: a repetition or a shift by a count of zero.
bool may_keep_flags(const ZydisDecodedInstruction& insn) {
  return shifts(insn) ||
         (insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE));
}

// Flags that end up in a register or in memory as a whole.
bool saves_flags(const ZydisDecodedInstruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_SYSCALL:
      return true;
    default:
      return insn.meta.category == ZYDIS_CATEGORY_INTERRUPT;
  }
}

}  // namespace

std::vector<UndefinedFlags> undefined_flags(std::span<const u8> code) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  std::vector<UndefinedFlags> out;
  UndefinedFlags now;
  ZydisDecodedInstruction insn;
  while (!code.empty() &&
         ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code.data(), code.size(), &insn))) {
    code = code.subspan(insn.length);
    if (saves_flags(insn) && now.flags != 0) now.read = true;
    if (const ZydisAccessedFlags* flags = insn.cpu_flags) {
      if (flags->tested & now.flags) now.read = true;
      if (!may_keep_flags(insn))
        now.flags &= ~static_cast<u64>(flags->modified | flags->set_0 | flags->set_1);
      now.flags |= flags->undefined & kArithmeticFlags;
      // Beyond what Zydis says: the carry of a shift by more than the operand is wide.
      if (shifts(insn) && insn.operand_width <= 16) now.flags |= core::kCf;
    }
    out.push_back(now);
  }
  return out;
}

}  // namespace doppel::jit
