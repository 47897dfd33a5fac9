// Moves that touch only some of the bytes or elements of memory: MASKMOVDQU, MASKMOVQ, VMASKMOV, VPMASKMOV
// and the gathers. What the mask leaves out is not accessed and cannot fault. Rows are in sse_move.cpp.
// Source: Intel SDM Vol. 2, the instructions' pages.
#pragma once

#include "jit/interp/sse_forms.hpp"

namespace doppel::interp {

// Element of the memory operand at offset `ea`.
template <class T>
[[nodiscard, gnu::always_inline]] inline bool load_element(Vcpu& cpu, const Insn& insn, u64 ea, T& out) {
  u64 la;
  if (!linear_address(cpu, insn, ea & insn.address_mask(), sizeof(T), mmu::Access::kRead, la)) return false;
  return cpu.mmu.read<T>(la, out) || memory_fault(cpu, insn.segment);
}

// Stores the elements whose mask has the sign bit set: all of them or, if one faults, none.
template <class T, std::size_t N>
[[nodiscard, gnu::always_inline]] inline bool store_masked(Vcpu& cpu, const Insn& insn,
                                                           const std::array<T, N>& value,
                                                           const std::array<T, N>& mask) {
  const auto chosen = [&](u32 i) { return (mask[i] >> (8 * sizeof(T) - 1)) != 0; };
  const u64 ea = effective_address(cpu, insn);
  const auto each_address = [&](auto&& access) {
    for (u32 i = 0; i < N; ++i) {
      if (!chosen(i)) continue;
      u64 la;
      if (!linear_address(cpu, insn, (ea + i * sizeof(T)) & insn.address_mask(), sizeof(T),
                          mmu::Access::kWrite, la))
        return false;
      if (!access(i, la)) return memory_fault(cpu, insn.segment);
    }
    return true;
  };
  return each_address([&](u32, u64 la) { return cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite); }) &&
         each_address([&](u32 i, u64 la) { return cpu.mmu.write<T>(la, value[i]); });
}

// MASKMOVQ, MASKMOVDQU: bytes of the first operand by the sign bits of the second, to DS:[RDI].
template <Form F>
struct MaskedBytes {
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    if (!store_masked(cpu, insn, lanes<u8>(read_register<F>(cpu, insn.op[0].reg)),
                      lanes<u8>(read_register<F>(cpu, insn.op[1].reg))))
      return false;
    if constexpr (F == Form::kMmx) touch_mmx(cpu);
    return true;
  }
  static constexpr Semantics run = run_form;
};

// VMASKMOVPS, VPMASKMOVD and the like: op[1] is the mask; elements not loaded become zero.
template <class T>
struct MaskedElements {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    const auto mask = lanes<T>(read_register<F>(cpu, insn.op[1].reg));
    if (insn.op[0].kind == OperandKind::kMemory)
      return store_masked(cpu, insn, lanes<T>(read_register<F>(cpu, insn.op[2].reg)), mask);
    Lanes<T, kWidth<F>> value{};
    const u64 ea = effective_address(cpu, insn);
    for (u32 i = 0; i < value.size(); ++i) {
      T element{};
      if (!(mask[i] >> (8 * sizeof(T) - 1))) continue;
      if (!load_element(cpu, insn, ea + i * sizeof(T), element)) return false;
      value[i] = element;
    }
    write_register<F>(cpu, insn.op[0].reg, bits(value));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// VGATHERDPS and the like: elements of type T at base + index * scale, Index being i32 or i64. Completed
// elements and their cleared mask survive a fault in a later one, as the manual allows; so the instruction
// restarts where it stopped. Insn::index is the number of the vector register with the indices; the
// destination's size counts the elements.
template <class T, class Index>
bool gather(Vcpu& cpu, const Insn& insn) {
  if (!available<Form::kVex256>(cpu)) return false;
  const u8 to = insn.op[0].reg, mask_register = insn.op[2].reg, index_register = insn.index;
  if (to == mask_register || to == index_register || mask_register == index_register)
    return cpu.raise(Vector::kUD);

  const u32 count = insn.op[0].size / static_cast<u32>(sizeof(T));
  const u64 base = cpu.state.gpr[insn.base] + static_cast<u64>(insn.disp);
  auto value = lanes<T>(read_vector<32>(cpu, to));
  auto mask = lanes<T>(read_vector<32>(cpu, mask_register));
  const auto index = lanes<Index>(read_vector<32>(cpu, index_register));
  const auto commit = [&] {
    write_register<Form::kVex256>(cpu, to, bits(value));
    write_register<Form::kVex256>(cpu, mask_register, bits(mask));
  };
  for (u32 i = 0; i < value.size(); ++i) {
    if (i >= count) {
      value[i] = 0;
    } else if (mask[i] >> (8 * sizeof(T) - 1)) {
      T element{};
      const u64 offset = static_cast<u64>(static_cast<i64>(index[i])) << insn.scale;
      if (!load_element(cpu, insn, base + offset, element)) {
        commit();
        return false;
      }
      value[i] = element;
    }
    mask[i] = 0;
  }
  commit();
  return true;
}

}  // namespace doppel::interp
