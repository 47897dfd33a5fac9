#include "tests/interp/instruction_facts.hpp"

#include <fmt/format.h>

#include <array>

namespace doppel::tests {
namespace {

ZydisDecoder make_decoder(u32 code_bits) {
  ZydisDecoder decoder;
  if (code_bits == 64)
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  else if (code_bits == 32)
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
  else
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
  // As the interpreter's decoder and AMD's processors do.
  ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, true);
  return decoder;
}

}  // namespace

const ZydisDecoder& decoder(u32 code_bits) {
  static const std::array decoders = {make_decoder(16), make_decoder(32), make_decoder(64)};
  return decoders[code_bits / 32];
}

CodeFacts facts_of(std::span<const u8> code, u32 code_bits) {
  CodeFacts facts;
  UndefinedFlags undefined;
  ZydisDecodedInstruction instruction;
  for (std::size_t at = 0; at < code.size(); at += instruction.length) {
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(code_bits), nullptr, &code[at], code.size() - at,
                                                    &instruction)))
      return {at, ZYDIS_MNEMONIC_INVALID, undefined.mask()};
    facts.last = at;
    facts.last_mnemonic = instruction.mnemonic;
    undefined.run(instruction);
  }
  facts.undefined_flags = undefined.mask();
  return facts;
}

std::string listing(std::span<const u8> code, u32 code_bits, u64 address) {
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  std::string out;
  for (std::size_t at = 0; at < code.size(); at += instruction.length) {
    char text[256] = "(bad)";
    if (ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder(code_bits), &code[at], code.size() - at, &instruction, operands)))
      ZydisFormatterFormatInstruction(&formatter, &instruction, operands, instruction.operand_count_visible,
                                      text, sizeof text, address + at, nullptr);
    else
      instruction.length = static_cast<u8>(code.size() - at);
    std::string bytes;
    for (std::size_t i = at; i < at + instruction.length; ++i) bytes += fmt::format("{:02x}", code[i]);
    out += fmt::format("  {:#x}  {:<30}  {}\n", address + at, bytes, text);
  }
  return out;
}

}  // namespace doppel::tests
