#include "jit/interp/cache.hpp"

#include <array>
#include <atomic>

#include "jit/interp/families.hpp"

namespace doppel::interp {

bool accumulator_address(Vcpu& cpu, const Insn& insn, u32 size, mmu::Access access, u64& la) {
  const u64 mask = insn.address_size == 8 ? ~u64{0} : (u64{1} << (insn.address_size * 8)) - 1;
  const u64 offset = cpu.state.gpr[core::kRax] & mask & ~u64{size - 1};
  if (insn.flags & jit::kCode64) {
    la = offset + (insn.flags & jit::kSegmentBase ? cpu.state.segment[insn.segment].base : 0);
    return true;
  }
  return segmented_address(cpu, static_cast<core::Segment>(insn.segment), offset, size, access, la);
}

namespace {

bool full_fence(Vcpu&, const Insn&) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return true;
}
bool prefetch(Vcpu&, const Insn&) {
  return true;
}

// There is no cache to flush; the access checks of a one-byte load remain.
bool flush_line(Vcpu& cpu, const Insn& insn) {
  u64 la = 0;
  if (!linear_address(cpu, insn, effective_address(cpu, insn), 1, mmu::Access::kRead, la)) return false;
  return cpu.mmu.probe(la, 1, mmu::Access::kRead) || memory_fault(cpu, insn.segment);
}

bool clzero(Vcpu& cpu, const Insn& insn) {
  constexpr u32 kLine = 64;
  u64 la = 0;
  return accumulator_address(cpu, insn, kLine, mmu::Access::kWrite, la) &&
         cpu.mmu.write(la, std::array<u8, kLine>{});
}

constexpr Row kRows[] = {
    row<full_fence>(ZYDIS_MNEMONIC_MFENCE),    row<full_fence>(ZYDIS_MNEMONIC_LFENCE),
    row<full_fence>(ZYDIS_MNEMONIC_SFENCE),    row<prefetch>(ZYDIS_MNEMONIC_PREFETCH),
    row<prefetch>(ZYDIS_MNEMONIC_PREFETCHW),   row<prefetch>(ZYDIS_MNEMONIC_PREFETCHWT1),
    row<prefetch>(ZYDIS_MNEMONIC_PREFETCHNTA), row<prefetch>(ZYDIS_MNEMONIC_PREFETCHT0),
    row<prefetch>(ZYDIS_MNEMONIC_PREFETCHT1),  row<prefetch>(ZYDIS_MNEMONIC_PREFETCHT2),
    row<flush_line>(ZYDIS_MNEMONIC_CLFLUSH),   row<flush_line>(ZYDIS_MNEMONIC_CLFLUSHOPT),
    row<flush_line>(ZYDIS_MNEMONIC_CLWB),      row<clzero>(ZYDIS_MNEMONIC_CLZERO),
};

}  // namespace

const Rows kCacheRows = kRows;

}  // namespace doppel::interp
