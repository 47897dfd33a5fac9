// Where a character device's output goes: a terminal, a file, a buffer in a test. Called with the machine's
// device lock held, so an implementation must not block. Input travels the other way, through the device.
#pragma once

#include "core/types.hpp"

namespace doppel::devices {

class CharBackend {
 public:
  virtual ~CharBackend() = default;
  virtual void write(u8 byte) = 0;
};

}  // namespace doppel::devices
