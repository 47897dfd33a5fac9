// Finds the instructions of a page that user code must not run on the host's processor: they do not fault
// there and would show it the host instead of the guest (CPUID, XGETBV, ...). Knows bytes only.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "jit/decode.hpp"

namespace doppel::jit::direct {

// What else a host keeps from user code.
struct HostHides {
  bool tables = true;  // CR4.UMIP: SGDT and SIDT would tell where its kernel has its tables
  bool time = true;    // CR4.TSD works: RDTSC and RDTSCP fault
};

// What CPL 3 may do without a fault, and what would tell of the host, or change how it runs user code.
[[nodiscard]] bool is_sensitive(u16 mnemonic);
[[nodiscard]] bool tells_time(u16 mnemonic);
// Whether 0F and these bytes are SGDT or SIDT.
[[nodiscard]] constexpr bool stores_table(u8 opcode, u8 modrm) {
  return opcode == 0x01 && modrm < 0xc0 && (modrm >> 3 & 7) < 2;
}

// Offsets of their first bytes. Empty optional: it cannot be told what is an instruction there.
//
// x86 code can be read from any byte on. Bytes that look like such an instruction are taken for one, or for
// none, if decoding from nearly all places before them agrees: among those are real beginnings of
// instructions, which are always right, at least one in five.
//
// Where the host does not hide its tables, no byte from which SGDT or SIDT might be read is let pass.
[[nodiscard]] std::optional<std::vector<u16>> sensitive_instructions(std::span<const u8> page,
                                                                     const Decoder& decoder, HostHides host);

}  // namespace doppel::jit::direct
