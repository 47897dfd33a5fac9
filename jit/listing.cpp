#include "jit/listing.hpp"

#include <fmt/format.h>

#include "jit/zydis.hpp"

namespace doppel::jit {

std::vector<std::string> listing_lines(std::span<const u8> code, u64 address, u32 code_bits) {
  const ZydisMachineMode mode = code_bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                                : code_bits == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                                  : ZYDIS_MACHINE_MODE_LEGACY_16;
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < code.size();) {
    ZydisDisassembledInstruction insn;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, address + at, code.data() + at, code.size() - at, &insn))) {
      lines.push_back(fmt::format("{:x}  (data)", address + at));
      break;
    }
    lines.push_back(fmt::format("{:x}  {}", address + at, insn.text));
    at += insn.info.length;
  }
  return lines;
}

std::string listing(std::span<const u8> code, u64 address, u32 code_bits) {
  std::string out;
  for (const std::string& line : listing_lines(code, address, code_bits)) out += "  " + line + "\n";
  return out;
}

}  // namespace doppel::jit
