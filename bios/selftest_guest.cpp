#include "bios/selftest_guest.hpp"

#include "bios/entry_state.hpp"
#include "core/log.hpp"

namespace doppel::bios {

// Generated at build time from selftest_guest.S.
extern const unsigned char kSelftestImage[];
extern const std::size_t kSelftestImageSize;

std::span<const u8> selftest_image() {
  return {kSelftestImage, kSelftestImageSize};
}

void load_selftest(core::GuestRam& ram, core::CpuState& state) {
  constexpr u16 kLoadAddress = 0x7c00;
  const bool loaded = ram.write(kLoadAddress, selftest_image());
  DOPPEL_CHECK(loaded, "guest RAM always has its first MiB");
  enter_real_mode(state, 0, kLoadAddress);
}

}  // namespace doppel::bios
