// Turns scan code set 2, what keyboards send, into set 1, what PC software expects. The i8042 does it in
// hardware; a keyboard told to use set 1 does the same.
#pragma once

#include <optional>

#include "core/types.hpp"

namespace doppel::devices {

class ScancodeTranslator {
 public:
  // Takes one byte of set 2; empty if it was the break prefix, which becomes bit 7 of the next byte.
  std::optional<u8> feed(u8 byte);
  // Whether the break prefix has been fed and waits for its key.
  bool breaking = false;
};

}  // namespace doppel::devices
