// The stack as instructions use it: SS base and limit, and a stack pointer of 16, 32 or 64 bits.
// push and pop change RSP only when the access succeeded.
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// Bits of RSP that stack operations use: SP, ESP or RSP.
[[gnu::always_inline]] inline u64 stack_mask(const core::CpuState& s) {
  if (s.code_bits == 64) return ~u64{0};
  return s.segment[core::kSs].attributes & core::kSegDb ? 0xffff'ffff : 0xffff;
}

// Replaces the bits of RSP that `stack_mask` covers; ESP clears the upper half, SP keeps the rest.
[[gnu::always_inline]] inline void set_stack_pointer(core::CpuState& s, u64 value) {
  const u64 mask = stack_mask(s);
  u64& rsp = s.gpr[core::kRsp];
  rsp = mask == 0xffff ? (rsp & ~mask) | (value & mask) : value & mask;
}

// Linear address of `size` bytes at stack offset `sp` (already masked).
[[nodiscard, gnu::always_inline]] inline bool stack_address(Vcpu& cpu, u64 sp, u32 size, mmu::Access access,
                                                            u64& la) {
  la = sp;
  if (cpu.state.code_bits == 64) [[likely]]
    return true;
  u64 checked = 0;
  if (!segmented_address(cpu, core::kSs, sp, size, access, checked)) return false;
  la = checked;
  return true;
}

template <class T>
[[nodiscard, gnu::always_inline]] inline bool push(Vcpu& cpu, T value) {
  auto& s = cpu.state;
  const u64 sp = (s.gpr[core::kRsp] - sizeof(T)) & stack_mask(s);
  u64 la;
  if (!stack_address(cpu, sp, sizeof(T), mmu::Access::kWrite, la)) return false;
  if (!cpu.mmu.write<T>(la, value)) [[unlikely]]
    return memory_fault(cpu, core::kSs);
  set_stack_pointer(s, sp);
  return true;
}

template <class T>
[[nodiscard, gnu::always_inline]] inline bool pop(Vcpu& cpu, T& value) {
  auto& s = cpu.state;
  const u64 sp = s.gpr[core::kRsp] & stack_mask(s);
  u64 la;
  if (!stack_address(cpu, sp, sizeof(T), mmu::Access::kRead, la)) return false;
  if (!cpu.mmu.read<T>(la, value)) [[unlikely]]
    return memory_fault(cpu, core::kSs);
  set_stack_pointer(s, sp + sizeof(T));
  return true;
}

}  // namespace doppel::interp
