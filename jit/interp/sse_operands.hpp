// How SIMD instructions reach their operands: vectors as values, registers (MMX, XMM, YMM), memory with its
// alignment rule, and the checks that come before everything else. All SIMD families build on it; it knows
// none of them. Sources: Intel SDM Vol. 3A, "System Programming for Instruction Set Extensions"; Vol. 2A,
// "Exception Specifications" (SSE types 1-8, AVX types 1-8).
#pragma once

#include <array>
#include <bit>

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// The contents of a vector register or memory operand of B bytes, and the same as numbers.
template <u32 B>
struct alignas(B < 16 ? B : 16) Bits {
  std::array<u8, B> byte;
};
template <class T, u32 B>
using Lanes = std::array<T, B / sizeof(T)>;

template <class T, u32 B>
[[gnu::always_inline]] inline Lanes<T, B> lanes(Bits<B> value) {
  return std::bit_cast<Lanes<T, B>>(value);
}
template <class T, std::size_t N>
[[gnu::always_inline]] inline Bits<N * sizeof(T)> bits(const std::array<T, N>& value) {
  return std::bit_cast<Bits<N * sizeof(T)>>(value);
}

// The 16-byte parts that 256-bit integer and shuffle instructions work on.
[[gnu::always_inline]] inline Bits<16> part(Bits<32> value, u32 index) {
  return std::bit_cast<std::array<Bits<16>, 2>>(value)[index];
}
[[gnu::always_inline]] inline Bits<32> join_parts(Bits<16> low, Bits<16> high) {
  return std::bit_cast<Bits<32>>(std::array{low, high});
}

// ---------------------------------------------------------------------------------------------------------------
// The four encodings of an instruction. Legacy forms leave the upper half of the YMM register alone and take
// the destination as first source; VEX forms clear what lies above their width and name the sources apart.

enum class Form : u8 { kMmx, kSse, kVex128, kVex256 };

template <Form F>
inline constexpr u32 kWidth = F == Form::kMmx      ? 8
                              : F == Form::kVex256 ? 32
                                                   : 16;
template <Form F>
inline constexpr bool kIsVex = F == Form::kVex128 || F == Form::kVex256;
// Where the first source is among the operands of a two-source instruction; the second follows it.
template <Form F>
inline constexpr u32 kFirst = kIsVex<F> ? 1 : 0;

[[gnu::cold, gnu::noinline]] inline bool raise_mmx_unavailable(Vcpu& cpu) {
  const auto& s = cpu.state;
  return cpu.raise(s.cr0 & core::kCr0Em ? Vector::kUD : s.cr0 & core::kCr0Ts ? Vector::kNM : Vector::kMF);
}
[[gnu::cold, gnu::noinline]] inline bool raise_sse_unavailable(Vcpu& cpu) {
  const auto& s = cpu.state;
  const bool undefined = (s.cr0 & core::kCr0Em) || !(s.cr4 & core::kCr4Osfxsr);
  return cpu.raise(undefined ? Vector::kUD : Vector::kNM);
}
[[gnu::cold, gnu::noinline]] inline bool raise_avx_unavailable(Vcpu& cpu, bool undefined) {
  return cpu.raise(undefined ? Vector::kUD : Vector::kNM);
}

inline constexpr u16 kX87ErrorSummary = 1u << 7;  // FSW.ES: an unmasked x87 exception waits
inline constexpr u64 kXcr0SseAvx = 6;

// Whether an instruction of this form may run now; if not, the fault is raised.
template <Form F>
[[nodiscard, gnu::always_inline]] inline bool available(Vcpu& cpu) {
  const auto& s = cpu.state;
  if constexpr (F == Form::kMmx) {
    if ((s.cr0 & (core::kCr0Em | core::kCr0Ts)) | (s.x87.status & kX87ErrorSummary)) [[unlikely]]
      return raise_mmx_unavailable(cpu);
  } else if constexpr (F == Form::kSse) {
    if ((s.cr0 & (core::kCr0Em | core::kCr0Ts)) | (~s.cr4 & core::kCr4Osfxsr)) [[unlikely]]
      return raise_sse_unavailable(cpu);
  } else {
    const bool undefined = (s.xcr0 & kXcr0SseAvx) != kXcr0SseAvx || !(s.cr4 & core::kCr4Osxsave) ||
                           !core::protected_mode(s) || core::virtual_8086(s);
    if (undefined || (s.cr0 & core::kCr0Ts)) [[unlikely]]
      return raise_avx_unavailable(cpu, undefined);
  }
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Registers.

template <u32 B>
[[gnu::always_inline]] inline Bits<B> read_vector(const Vcpu& cpu, u8 reg) {
  Bits<B> value;
  std::memcpy(&value, cpu.state.vec[reg].q, B);
  return value;
}
// A scalar in the low end of a vector register.
template <class T>
[[gnu::always_inline]] inline T read_low(const Vcpu& cpu, u8 reg) {
  T value;
  std::memcpy(&value, cpu.state.vec[reg].q, sizeof value);
  return value;
}
template <Form F>
[[gnu::always_inline]] inline Bits<kWidth<F>> read_register(const Vcpu& cpu, u8 reg) {
  if constexpr (F == Form::kMmx)
    return std::bit_cast<Bits<8>>(cpu.state.x87.physical[reg].significand);
  else
    return read_vector<kWidth<F>>(cpu, reg);
}

// Every MMX instruction but EMMS leaves the x87 stack full with TOP = 0 (SDM Vol. 1, "MMX State and the x87
// FPU").
[[gnu::always_inline]] inline void touch_mmx(Vcpu& cpu) {
  cpu.state.x87.top = 0;
  cpu.state.x87.valid = 0xff;
}
[[gnu::always_inline]] inline void write_mmx(Vcpu& cpu, u8 reg, u64 value) {
  cpu.state.x87.physical[reg] = {value, 0xffff};
  touch_mmx(cpu);
}
template <Form F>
[[gnu::always_inline]] inline void write_register(Vcpu& cpu, u8 reg, Bits<kWidth<F>> value) {
  if constexpr (F == Form::kMmx) {
    write_mmx(cpu, reg, std::bit_cast<u64>(value));
  } else {
    auto& to = cpu.state.vec[reg];
    std::memcpy(to.q, &value, sizeof value);
    if constexpr (F == Form::kVex128) to.q[2] = to.q[3] = 0;
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Memory.

// Loads and stores that raise #GP(0) unless the address is a multiple of the operand's size.
template <class T>
[[nodiscard, gnu::always_inline]] inline bool load_aligned(Vcpu& cpu, const Insn& insn, T& out) {
  u64 la;
  if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(T), mmu::Access::kRead, la))
    return false;
  if (la % sizeof(T) != 0) [[unlikely]]
    return cpu.raise(Vector::kGP);
  if (!cpu.mmu.read<T>(la, out)) [[unlikely]]
    return memory_fault(cpu, insn.segment);
  return true;
}
template <class T>
[[nodiscard, gnu::always_inline]] inline bool store_aligned(Vcpu& cpu, const Insn& insn, const T& value) {
  u64 la;
  if (!linear_address(cpu, insn, effective_address(cpu, insn), sizeof(T), mmu::Access::kWrite, la))
    return false;
  if (la % sizeof(T) != 0) [[unlikely]]
    return cpu.raise(Vector::kGP);
  if (!cpu.mmu.write<T>(la, value)) [[unlikely]]
    return memory_fault(cpu, insn.segment);
  return true;
}

// A whole-register source operand, register or memory. Legacy XMM instructions want it aligned, all others
// do not care.
template <Form F>
[[nodiscard, gnu::always_inline]] inline bool read_source(Vcpu& cpu, const Insn& insn, const Operand& op,
                                                          Bits<kWidth<F>>& out) {
  if (op.kind != OperandKind::kMemory) {
    out = read_register<F>(cpu, op.reg);
    return true;
  }
  if constexpr (F == Form::kSse)
    return load_aligned(cpu, insn, out);
  else
    return load(cpu, insn, out);
}

// A scalar source operand of type T: the low end of a vector register, or memory of that size.
template <class T>
[[nodiscard, gnu::always_inline]] inline bool read_scalar(Vcpu& cpu, const Insn& insn, const Operand& op,
                                                          T& out) {
  if (op.kind != OperandKind::kMemory) {
    out = read_low<T>(cpu, op.reg);
    return true;
  }
  return load(cpu, insn, out);
}

}  // namespace doppel::interp
