// The 256 interrupt vectors as bits: one of IRR, ISR and TMR of a local APIC.
#pragma once

#include <array>
#include <bit>

#include "core/types.hpp"

namespace doppel::devices {

class VectorSet {
 public:
  void set(u8 vector, bool value = true) {
    const u64 bit = u64{1} << (vector & 63);
    if (value)
      words_[vector >> 6] |= bit;
    else
      words_[vector >> 6] &= ~bit;
  }
  [[nodiscard]] bool test(u8 vector) const { return words_[vector >> 6] >> (vector & 63) & 1; }
  // The highest vector present, or -1.
  [[nodiscard]] int highest() const {
    for (int i = 3; i >= 0; --i)
      if (words_[i] != 0) return i * 64 + 63 - std::countl_zero(words_[i]);
    return -1;
  }
  // Vectors 32 * index and up, as one register of the APIC shows them.
  [[nodiscard]] u32 register_value(u32 index) const {
    return static_cast<u32>(words_[index >> 1] >> (index & 1) * 32);
  }

 private:
  std::array<u64, 4> words_{};
};

}  // namespace doppel::devices
