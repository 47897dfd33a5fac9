// Read-modify-write of a register or memory operand. With a LOCK prefix the host does it atomically on plain
// RAM; MMIO and accesses that cross pages are done under the slow path's rules.
#pragma once

#include <utility>

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// Replaces the memory operand's value x by f(x); `f` has no other effects that matter if it is called again,
// and is last called with the value that was replaced. False: nothing changed, fault raised.
template <class T, class F>
[[nodiscard, gnu::always_inline]] inline bool modify_at(Vcpu& cpu, const Insn& insn, u64 ea, F&& f) {
  u64 la{};
  if (!linear_address(cpu, insn, ea, sizeof(T), mmu::Access::kWrite, la)) return false;
  if (T* host = cpu.mmu.host_for_write<T>(la)) [[likely]] {
    if (insn.flags & jit::kLock) {
      T old = __atomic_load_n(host, __ATOMIC_RELAXED);
      while (!__atomic_compare_exchange_n(host, &old, f(old), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
      }
    } else {
      T old{};
      std::memcpy(&old, host, sizeof old);
      const T updated = f(old);
      std::memcpy(host, &updated, sizeof updated);
    }
    return true;
  }
  T old{};
  if (!cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite) || !cpu.mmu.read<T>(la, old))
    return memory_fault(cpu, insn.segment);
  return cpu.mmu.write<T>(la, f(old)) || memory_fault(cpu, insn.segment);
}

template <class T, class F>
[[nodiscard, gnu::always_inline]] inline bool modify(Vcpu& cpu, const Insn& insn, const Operand& op, F&& f) {
  if (op.kind == OperandKind::kGpr) {
    write_gpr<T>(cpu, op.reg, f(read_gpr<T>(cpu, op.reg)));
    return true;
  }
  return modify_at<T>(cpu, insn, effective_address(cpu, insn), std::forward<F>(f));
}

}  // namespace doppel::interp
