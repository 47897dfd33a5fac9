// XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B.
#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/bind.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/modify.hpp"

namespace doppel::interp {
namespace {

// XCHG with memory is atomic with or without a LOCK prefix.
template <class T, bool kMemory>
bool xchg(Vcpu& cpu, const Insn& insn) {
  const Operand& reg = insn.op[0].kind == OperandKind::kGpr ? insn.op[0] : insn.op[1];
  const T mine = read_gpr<T>(cpu, reg.reg);
  if constexpr (kMemory) {
    u64 la{};
    if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(T), mmu::Access::kWrite, la))
      return false;
    T old{};
    if (operate_locked<T>(cpu, la,
                          [&](T* host) { old = __atomic_exchange_n(host, mine, __ATOMIC_SEQ_CST); })) {
      write_gpr<T>(cpu, reg.reg, old);
      return true;
    }
    if (!cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite)) return memory_fault(cpu, insn.segment);
    if (!undisturbed(cpu)) return false;
    if (!cpu.mmu.read<T>(la, old) || !cpu.mmu.write<T>(la, mine)) return memory_fault(cpu, insn.segment);
    write_gpr<T>(cpu, reg.reg, old);
  } else {
    write_gpr<T>(cpu, insn.op[0].reg, read_gpr<T>(cpu, insn.op[1].reg));
    write_gpr<T>(cpu, insn.op[1].reg, mine);
  }
  return true;
}
Handler bind_xchg(const Insn& insn) {
  const bool memory = insn.op[0].kind == OperandKind::kMemory || insn.op[1].kind == OperandKind::kMemory;
  return by_size(insn.op_size, [&]<class T>() -> Handler {
    return memory ? run_next<xchg<T, true>> : run_next<xchg<T, false>>;
  });
}

template <class T>
bool xadd(Vcpu& cpu, const Insn& insn) {
  const T b = read_gpr<T>(cpu, insn.op[1].reg);
  T a{};
  // The register is written first: when both operands are the same register, the sum stays.
  if (insn.op[0].kind == OperandKind::kGpr) {
    a = read_gpr<T>(cpu, insn.op[0].reg);
    write_gpr<T>(cpu, insn.op[1].reg, a);
    write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(a + b));
  } else {
    if (!modify<T>(cpu, insn, insn.op[0], [&](T old) {
          a = old;
          return static_cast<T>(old + b);
        }))
      return false;
    write_gpr<T>(cpu, insn.op[1].reg, a);
  }
  flags_add<T>(cpu.state, a, b, static_cast<T>(a + b));
  return true;
}

// The destination is written in both cases, as on hardware: a page without write permission always faults.
template <class T>
bool cmpxchg(Vcpu& cpu, const Insn& insn) {
  const T expected = read_gpr<T>(cpu, 0);
  const T desired = read_gpr<T>(cpu, insn.op[1].reg);
  T old{};
  if (insn.op[0].kind == OperandKind::kGpr) {
    // On a mismatch the destination keeps all its bits: no 32-bit zero extension there.
    old = read_gpr<T>(cpu, insn.op[0].reg);
    if (old == expected) write_gpr<T>(cpu, insn.op[0].reg, desired);
  } else if (!modify<T>(cpu, insn, insn.op[0], [&](T value) {
               old = value;
               return value == expected ? desired : value;
             })) {
    return false;
  }
  if (old != expected) write_gpr<T>(cpu, 0, old);
  flags_sub<T>(cpu.state, expected, old, static_cast<T>(expected - old));
  return true;
}

// CMPXCHG8B, CMPXCHG16B: rDX:rAX with rCX:rBX; only ZF changes.
template <class Half, class Whole>
bool cmpxchg_pair(Vcpu& cpu, const Insn& insn) {
  constexpr u32 kShift = sizeof(Half) * 8;
  const auto pair = [&](u8 high, u8 low) {
    return static_cast<Whole>(read_gpr<Half>(cpu, static_cast<u8>(high * 8))) << kShift |
           read_gpr<Half>(cpu, static_cast<u8>(low * 8));
  };
  const Whole expected = pair(core::kRdx, core::kRax);
  const Whole desired = pair(core::kRcx, core::kRbx);
  u64 la{};
  if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(Whole), mmu::Access::kWrite, la))
    return false;
  if constexpr (sizeof(Whole) == 16)
    if (la % 16 != 0) return cpu.raise(Vector::kGP);
  // 16 host-atomic bytes need CMPXCHG16B on the host; the compiler's builtin would take a lock elsewhere.
  Whole old{};
  const auto compare_and_swap = [&](Whole* host) {
    if constexpr (sizeof(Whole) == 8) {
      old = expected;
      __atomic_compare_exchange_n(host, &old, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else {
      old = __sync_val_compare_and_swap(host, expected, desired);
    }
  };
  if (!operate_locked<Whole>(cpu, la, compare_and_swap)) {
    if (!cpu.mmu.probe(la, sizeof(Whole), mmu::Access::kWrite)) return memory_fault(cpu, insn.segment);
    if ((insn.flags & jit::kLock) && !undisturbed(cpu)) return false;
    if (!cpu.mmu.read<Whole>(la, old) || !cpu.mmu.write<Whole>(la, old == expected ? desired : old))
      return memory_fault(cpu, insn.segment);
  }
  if (old != expected) {
    write_gpr<Half>(cpu, 0, static_cast<Half>(old));
    write_gpr<Half>(cpu, core::kRdx * 8, static_cast<Half>(old >> kShift));
  }
  set_flags(cpu.state, core::kZf, old == expected ? core::kZf : 0);
  return true;
}

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_XCHG, Flow::kNext, bind_xchg},
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_XADD, xadd),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_CMPXCHG, cmpxchg),
    row<cmpxchg_pair<u32, u64>>(ZYDIS_MNEMONIC_CMPXCHG8B),
    row<cmpxchg_pair<u64, u128>>(ZYDIS_MNEMONIC_CMPXCHG16B),
};

}  // namespace

const Rows kAtomicRows = kRows;

}  // namespace doppel::interp
