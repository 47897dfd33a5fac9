// The legacy region of an XSAVE image, which is also what FXSAVE stores: components to and from its bytes.
// Used by the FXSAVE and XSAVE instructions and by whoever hands guest state to the host's own processor.
// Source: SDM Vol. 1, "FXSAVE Area" and "Legacy Region of an XSAVE Area".
#pragma once

#include <span>

#include "core/cpu_state.hpp"
#include "core/cpuid.hpp"

namespace doppel::interp::legacy_region {

inline constexpr u32 kMxcsrMask = 0xffff;  // the writable bits; MISALIGNSSE would add bit 17
inline constexpr u32 kXmmOffset = 160;
inline constexpr u32 kSoftwareOffset = 464;  // from here on the bytes are the software's own

using Bytes = std::array<u8, core::kXsaveLegacySize>;
using View = std::span<u8, core::kXsaveLegacySize>;
using ConstView = std::span<const u8, core::kXsaveLegacySize>;

// With REX.W (`wide`) the instruction and data pointers have 64 bits, else 32 and a selector.
void put_x87(const core::X87State& x, View bytes, bool wide);
void take_x87(core::X87State& x, ConstView bytes, bool wide);

void put_mxcsr(u32 mxcsr, View bytes);
[[nodiscard]] u32 mxcsr_of(ConstView bytes);

// XMM0 to XMM`count - 1`.
void put_xmm(const core::CpuState& state, u32 count, View bytes);
void take_xmm(core::CpuState& state, u32 count, ConstView bytes);

}  // namespace doppel::interp::legacy_region
