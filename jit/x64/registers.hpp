// Where guest registers live while translated code runs, and which host registers are free for it.
// Host RSP points at the vCPU's CpuState, so state is [rsp + offset] and helpers can be called.
#pragma once

#include <asmjit/x86.h>

#include <array>
#include <cstddef>

#include "core/cpu_state.hpp"

namespace doppel::jit::x64 {

using asmjit::x86::Gp;
using asmjit::x86::Mem;

// Host register number of each guest register; kInMemory: it stays in CpuState::gpr. RAX to RDI keep their
// names (but for RSP), so that implicit operands and AH..BH carry over.
inline constexpr u8 kInMemory = 0xff;
inline constexpr std::array<u8, 16> kHostOf = {
    0, 1, 2,         3,         13 /* RSP */, 5,  6,  7,         // RAX RCX RDX RBX RSP RBP RSI RDI
    8, 9, kInMemory, kInMemory, 12,           10, 11, kInMemory  // R8 .. R15
};

// Of a CpuState::gpr slot; the slots of RIP and zero are in no register.
[[nodiscard]] inline bool in_memory(u8 slot) {
  return slot < 16 && kHostOf[slot] == kInMemory;
}

// Register sets that may be used without a fault: TranslatorState::usable. The first two are also the values
// of TranslatorState::vectors_resident.
enum Usable : u32 { kSseUsable = 1, kAvxUsable = 2, kX87Usable = 4 };

// Exception masks of MXCSR: translated code runs only while all are set.
inline constexpr u32 kMxcsrMasks = 0x1f80;

// Scratch: addresses and soft-TLB entries. Both need REX, so AH..BH cannot be combined with them.
inline const Gp kScratch0 = asmjit::x86::r14;
inline const Gp kScratch1 = asmjit::x86::r15;

// The low `size` bytes of a host register.
[[nodiscard]] inline Gp sized(u8 host, u32 size) {
  switch (size) {
    case 1:
      return asmjit::x86::gpb(host);
    case 2:
      return asmjit::x86::gpw(host);
    case 4:
      return asmjit::x86::gpd(host);
    default:
      return asmjit::x86::gpq(host);
  }
}

// [rsp + offset of a CpuState field]
inline Mem state_field(std::size_t offset, u32 size) {
  return asmjit::x86::ptr(asmjit::x86::rsp, static_cast<i32>(offset), size);
}
#define DOPPEL_STATE(field, size) \
  ::doppel::jit::x64::state_field(offsetof(::doppel::core::CpuState, field), size)

inline Mem gpr_home(u32 number, u32 size = 8, u32 byte = 0) {
  return state_field(offsetof(core::CpuState, gpr) + number * 8 + byte, size);
}
inline Mem vector_home(u32 number, u32 size) {
  return state_field(offsetof(core::CpuState, vec) + number * sizeof(core::VectorRegister), size);
}
inline Mem segment_field(u32 number, std::size_t offset, u32 size) {
  return state_field(offsetof(core::CpuState, segment) + number * sizeof(core::SegmentRegister) + offset,
                     size);
}
inline Mem segment_base(u32 number) {
  return segment_field(number, offsetof(core::SegmentRegister, base), 8);
}

}  // namespace doppel::jit::x64
