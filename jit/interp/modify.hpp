// Read-modify-write of a register or memory operand. With a LOCK prefix the host does it atomically on RAM
// within a page; what the host cannot is done while no other processor runs.
#pragma once

#include <utility>

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// A locked operation: calls `operate` with the host's memory at `la`. False: it is not RAM within one page,
// or faults, or has breakpoints; nothing happened.
template <class T, class F>
[[nodiscard, gnu::always_inline]] inline bool operate_locked(Vcpu& cpu, u64 la, F&& operate) {
  if (T* host = cpu.mmu.host_for_write<T>(la)) [[likely]] {
    operate(host);
    return true;
  }
  if (la % core::kPageSize + sizeof(T) > core::kPageSize) return false;
  if (u8* host = cpu.mmu.direct(la, mmu::Access::kWrite)) {
    operate(reinterpret_cast<T*>(host));
    return true;
  }
  const auto store = cpu.mmu.direct_to_code_page(la);
  if (!store.host) return false;
  operate(reinterpret_cast<T*>(store.host));
  cpu.mmu.memory().ram().report_store(store.physical, sizeof(T));
  return true;
}

// A locked operation that operate_locked() does not do, on memory that may be written: whether it can be done
// now. False: the instruction runs again when it can; nothing happened.
[[nodiscard]] inline bool undisturbed(Vcpu& cpu) {
  if (!cpu.shared || cpu.exclusive) return true;
  cpu.state.notify(core::kPendingExclusive);
  return false;
}

// Replaces the memory operand's value x by f(x); `f` has no other effects that matter if it is called again,
// and is last called with the value that was replaced. False: nothing changed, fault raised.
template <class T, class F>
[[nodiscard, gnu::always_inline]] inline bool modify_at(Vcpu& cpu, const Insn& insn, u64 ea, F&& f) {
  u64 la{};
  if (!linear_address(cpu, insn, ea, sizeof(T), mmu::Access::kWrite, la)) return false;
  if (insn.flags & jit::kLock) {
    const auto replace = [&](T* host) {
      T old = __atomic_load_n(host, __ATOMIC_RELAXED);
      while (!__atomic_compare_exchange_n(host, &old, f(old), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
      }
    };
    if (operate_locked<T>(cpu, la, replace)) return true;
  } else if (T* host = cpu.mmu.host_for_write<T>(la)) [[likely]] {
    T old{};
    std::memcpy(&old, host, sizeof old);
    const T updated = f(old);
    std::memcpy(host, &updated, sizeof updated);
    return true;
  }
  T old{};
  if (!cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite)) return memory_fault(cpu, insn.segment);
  if ((insn.flags & jit::kLock) && !undisturbed(cpu)) return false;
  if (!cpu.mmu.read<T>(la, old)) return memory_fault(cpu, insn.segment);
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
