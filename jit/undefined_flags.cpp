#include "jit/undefined_flags.hpp"

#include "core/cpu_state.hpp"

namespace doppel::jit {
namespace {

bool shifts(const ZydisDecodedInstruction& instruction) {
  const auto category = instruction.meta.category;
  return category == ZYDIS_CATEGORY_SHIFT || category == ZYDIS_CATEGORY_ROTATE;
}

// Shifts by zero and REP with a count of zero leave all flags as they were.
bool may_keep_flags(const ZydisDecodedInstruction& instruction) {
  return shifts(instruction) || instruction.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

// Whether the flags end up in a register or in memory.
bool saves_flags(const ZydisDecodedInstruction& instruction) {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_SYSCALL:
      return true;
    default:
      return instruction.meta.category == ZYDIS_CATEGORY_INTERRUPT;
  }
}

}  // namespace

void UndefinedFlags::run(const ZydisDecodedInstruction& instruction, bool maybe) {
  const ZydisAccessedFlags* flags = instruction.cpu_flags;
  if (flags == nullptr) return;
  if (!maybe && !may_keep_flags(instruction)) mask_ &= ~u64{flags->modified | flags->set_0 | flags->set_1};
  mask_ |= flags->undefined;
}

bool UndefinedFlags::read_by(const ZydisDecodedInstruction& instruction) const {
  return instruction.cpu_flags != nullptr && (instruction.cpu_flags->tested & mask_) != 0;
}

std::vector<OpenFlags> open_flags(std::span<const u8> code) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  std::vector<OpenFlags> out;
  UndefinedFlags undefined;
  OpenFlags now;
  u64 carry =
      0;  // of a shift by more than a narrow operand is wide: undefined, too, which Zydis does not say
  ZydisDecodedInstruction insn;
  while (!code.empty() &&
         ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code.data(), code.size(), &insn))) {
    code = code.subspan(insn.length);
    const u64 before = (undefined.mask() | carry) & core::kArithmeticFlags;
    if (saves_flags(insn))
      now.saved |= before;
    else if (insn.cpu_flags && (insn.cpu_flags->tested & before))
      now.read = true;
    undefined.run(insn);
    if (shifts(insn) && insn.operand_width <= 16)
      carry = core::kCf;
    else if (insn.cpu_flags &&
             ((insn.cpu_flags->modified | insn.cpu_flags->set_0 | insn.cpu_flags->set_1) & core::kCf))
      carry = 0;
    now.undefined = (undefined.mask() | carry) & core::kArithmeticFlags;
    out.push_back(now);
  }
  return out;
}

}  // namespace doppel::jit
