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
[[nodiscard]] std::optional<std::vector<u16>> sensitive_instructions(std::span<const u8> page,
                                                                     const Decoder& decoder);

}  // namespace doppel::jit::direct
