// The Internet checksum (RFC 1071), and completing one that a guest left to its network card. Used by network
// models and by networks that change headers.
#pragma once

#include <span>

#include "core/types.hpp"

namespace doppel::devices {

// The ones' complement sum of 16-bit words in memory order, added to `start` (a sum, or 0). Not inverted.
[[nodiscard]] u16 checksum_add(std::span<const u8> bytes, u16 start = 0);

// The checksum that goes into a header: inverted, in memory order, and never zero (in UDP zero means none,
// elsewhere both mean the same).
[[nodiscard]] u16 final_checksum(std::span<const u8> bytes);

// Puts the checksum of everything from `start` on into the field `offset` bytes behind it, which holds the
// sum of the pseudo-header. False, and nothing done: the field is not in `bytes`.
[[nodiscard]] bool complete_checksum(std::span<u8> bytes, std::size_t start, std::size_t offset);

}  // namespace doppel::devices
