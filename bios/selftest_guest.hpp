// The guest of `doppel selftest`: a program of a few hundred instructions that walks the processor from real
// mode to long mode and reports on COM1 (selftest_guest.S). The machine loads it and waits for the debug
// exit.
#pragma once

#include <span>

#include "core/cpu_state.hpp"
#include "core/guest_ram.hpp"

namespace doppel::bios {

inline constexpr int kSelftestPassed = 0x21;  // exit status through the debug exit port; 2n+1: step n failed
inline constexpr const char* kSelftestSteps[] = {"real mode", "protected mode", "long mode", "timer",
                                                 "page fault"};

// The flat image that goes to 0x7c00.
[[nodiscard]] std::span<const u8> selftest_image();
// Loads it and leaves the vCPU, which was just reset, in real mode at its first instruction.
void load_selftest(core::GuestRam& ram, core::CpuState& state);

}  // namespace doppel::bios
