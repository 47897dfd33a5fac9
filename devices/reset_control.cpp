#include "devices/reset_control.hpp"

#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {
// 82371SB (PIIX3), "RC: Reset Control Register".
constexpr u8 kHardReset = 1u << 1;     // kind of reset that bit 2 starts
constexpr u8 kResetRequest = 1u << 2;  // a 0 to 1 transition starts the reset
}  // namespace

ResetControl::ResetControl(core::Counters& counters, std::function<void(bool hard)> request)
    : unknown_(counters["reset_control.unknown"]), request_(std::move(request)) {}

u64 ResetControl::read(u64, u32 width) {
  return width == 1 ? value_ : ~u64{0};
}

void ResetControl::write(u64, u32 width, u64 value) {
  if (width != 1) {
    ++unknown_;
    core::log(core::LogCategory::kPort, "reset control: write of {} bytes ignored", width);
    return;
  }
  const bool starts = (value & ~value_ & kResetRequest) != 0;
  value_ = static_cast<u8>(value & (kHardReset | kResetRequest));
  if (starts) request_(value_ & kHardReset);
}

}  // namespace doppel::devices
