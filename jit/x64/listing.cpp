#include "jit/x64/listing.hpp"

#include <fmt/format.h>

#include "jit/zydis.hpp"

namespace doppel::jit::x64 {

std::string listing(std::span<const u8> code, u64 address) {
  std::string out;
  for (std::size_t at = 0; at < code.size();) {
    ZydisDisassembledInstruction insn;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, address + at, code.data() + at,
                                            code.size() - at, &insn))) {
      out += fmt::format("  {:x}  (data)\n", address + at);
      break;
    }
    out += fmt::format("  {:x}  {}\n", address + at, insn.text);
    at += insn.info.length;
  }
  return out;
}

}  // namespace doppel::jit::x64
