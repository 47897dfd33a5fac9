// A source of hostile values and accesses, repeatable from its seed: for device tests and fuzzers.
#pragma once

#include <random>

#include "core/device.hpp"

namespace doppel::devices::testing {

// Random numbers, values and accesses, repeatable from the seed.
class Hostile {
 public:
  explicit Hostile(u32 seed) : engine_(seed) {}

  [[nodiscard]] u64 below(u64 limit) { return engine_() % limit; }
  // Mostly the values that find bugs: none, all, one bit, few.
  [[nodiscard]] u64 value() {
    switch (below(6)) {
      case 0:
        return 0;
      case 1:
        return ~u64{0};
      case 2:
        return u64{1} << below(64);
      case 3:
        return below(16);
      default:
        return engine_();
    }
  }
  // One read and one write within the device's range of `size` bytes.
  void access(core::Device& device, u64 size) {
    const u32 width = 1u << below(4);
    const u64 offset = below(size) & (below(8) ? ~u64{width - 1} : ~u64{0});
    (void)device.read(offset, width);
    device.write(offset, width, value() & (width == 8 ? ~u64{0} : (u64{1} << width * 8) - 1));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace doppel::devices::testing
