// Finds the instructions of a page that user code must not run on the host's processor: they do not fault
// there and would show it the host instead of the guest (CPUID, XGETBV, ...). Knows bytes only.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "jit/decode.hpp"

namespace doppel::jit::direct {

// Offsets of their first bytes. Empty optional: it cannot be told what is an instruction there.
//
// x86 code can be read from any byte on. Bytes that look like such an instruction are taken for one, or for
// none, if decoding from nearly all places before them agrees: among those are real beginnings of
// instructions, which are always right, at least one in five.
//
// Without `umip` (CR4.UMIP of the host), SGDT and SIDT would tell where the host's kernel has its tables:
// then no byte from which one might be read is let pass.
[[nodiscard]] std::optional<std::vector<u16>> sensitive_instructions(std::span<const u8> page,
                                                                     const Decoder& decoder, bool umip);

}  // namespace doppel::jit::direct
