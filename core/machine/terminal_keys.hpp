// What a terminal sends for a key, back into keys: characters, control characters and the escape sequences of
// ECMA-48 and xterm. Knows no guest.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "devices/ps2_keys.hpp"

namespace doppel::machine {

// Keys to be held together, the last one pressed last.
using Chord = std::vector<const devices::Key*>;

// The keys that `bytes` stand for. An escape at the end is the Escape key: terminals send sequences in one
// piece. What is no key on a PC is left out.
[[nodiscard]] std::vector<Chord> keys_from_terminal(std::span<const u8> bytes);

}  // namespace doppel::machine
