// MUL IMUL DIV IDIV.
#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/bind.hpp"
#include "jit/interp/families.hpp"

namespace doppel::interp {
namespace {

template <class T>
struct Wide;
template <>
struct Wide<u8> {
  using Unsigned = u16;
  using Signed = i16;
};
template <>
struct Wide<u16> {
  using Unsigned = u32;
  using Signed = i32;
};
template <>
struct Wide<u32> {
  using Unsigned = u64;
  using Signed = i64;
};
template <>
struct Wide<u64> {
  using Unsigned = u128;
  using Signed = i128;
};

// The double-width accumulator: AX, DX:AX, EDX:EAX, RDX:RAX.
template <class T>
typename Wide<T>::Unsigned read_accumulator(const Vcpu& cpu) {
  using W = typename Wide<T>::Unsigned;
  if constexpr (sizeof(T) == 1)
    return read_gpr<u16>(cpu, 0);
  else
    return static_cast<W>(read_gpr<T>(cpu, core::kRdx * 8)) << kBits<T> | read_gpr<T>(cpu, 0);
}
template <class T>
void write_accumulator(Vcpu& cpu, T low, T high) {
  if constexpr (sizeof(T) == 1) {
    write_gpr<u16>(cpu, 0, static_cast<u16>(high << 8 | low));
  } else {
    write_gpr<T>(cpu, 0, low);
    write_gpr<T>(cpu, core::kRdx * 8, high);
  }
}

// CF = OF = the high half is significant. SF, ZF, PF and AF are undefined; they keep their values.
void multiply_flags(Vcpu& cpu, bool significant) {
  set_flags(cpu.state, core::kCf | core::kOf, significant ? core::kCf | core::kOf : 0);
}

template <class T>
bool mul(Vcpu& cpu, const Insn& insn) {
  T b{};
  if (!read_rm<T>(cpu, insn, insn.op[0], b)) return false;
  using W = typename Wide<T>::Unsigned;
  const W product = static_cast<W>(static_cast<W>(read_gpr<T>(cpu, 0)) * b);
  const T high = static_cast<T>(product >> kBits<T>);
  write_accumulator<T>(cpu, static_cast<T>(product), high);
  multiply_flags(cpu, high != 0);
  return true;
}

template <class T>
bool imul_accumulator(Vcpu& cpu, const Insn& insn) {
  T b{};
  if (!read_rm<T>(cpu, insn, insn.op[0], b)) return false;
  using S = std::make_signed_t<T>;
  using W = typename Wide<T>::Signed;
  const W product = static_cast<W>(static_cast<W>(static_cast<S>(read_gpr<T>(cpu, 0))) * static_cast<S>(b));
  write_accumulator<T>(cpu, static_cast<T>(product), static_cast<T>(product >> kBits<T>));
  multiply_flags(cpu, product != static_cast<S>(product));
  return true;
}
template <class T, bool kImmediate>
bool imul_register(Vcpu& cpu, const Insn& insn) {
  T b{};
  if (!read_rm<T>(cpu, insn, insn.op[1], b)) return false;
  using S = std::make_signed_t<T>;
  using W = typename Wide<T>::Signed;
  const T a = kImmediate ? static_cast<T>(insn.imm) : read_gpr<T>(cpu, insn.op[0].reg);
  const W product = static_cast<W>(static_cast<W>(static_cast<S>(a)) * static_cast<S>(b));
  write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(product));
  multiply_flags(cpu, product != static_cast<S>(product));
  return true;
}
Handler bind_imul(const Insn& insn) {
  return by_size(insn.op_size, [&]<class T>() -> Handler {
    if (insn.op[1].kind == OperandKind::kNone) return run_next<imul_accumulator<T>>;
    if constexpr (sizeof(T) == 1) return nullptr;
    return insn.op[2].kind == OperandKind::kImmediate ? run_next<imul_register<T, true>>
                                                      : run_next<imul_register<T, false>>;
  });
}

template <class T>
bool div(Vcpu& cpu, const Insn& insn) {
  T divisor{};
  if (!read_rm<T>(cpu, insn, insn.op[0], divisor)) return false;
  const auto dividend = read_accumulator<T>(cpu);
  // The quotient fits exactly when the high half is below the divisor.
  if (static_cast<T>(dividend >> kBits<T>) >= divisor) return cpu.raise(Vector::kDE);
  write_accumulator<T>(cpu, static_cast<T>(dividend / divisor), static_cast<T>(dividend % divisor));
  return true;
}
template <class T>
bool idiv(Vcpu& cpu, const Insn& insn) {
  T raw{};
  if (!read_rm<T>(cpu, insn, insn.op[0], raw)) return false;
  using S = std::make_signed_t<T>;
  using W = typename Wide<T>::Signed;
  using U = typename Wide<T>::Unsigned;
  const W divisor = static_cast<S>(raw);
  const W dividend = static_cast<W>(read_accumulator<T>(cpu));
  const W minimum = static_cast<W>(U{1} << (2 * kBits<T> - 1));
  if (divisor == 0 || (divisor == -1 && dividend == minimum)) return cpu.raise(Vector::kDE);
  const W quotient = static_cast<W>(dividend / divisor);
  if (quotient != static_cast<S>(quotient)) return cpu.raise(Vector::kDE);
  write_accumulator<T>(cpu, static_cast<T>(quotient), static_cast<T>(dividend % divisor));
  return true;
}

constexpr Row kRows[] = {
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_MUL, mul),
    {ZYDIS_MNEMONIC_IMUL, Flow::kNext, bind_imul},
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_DIV, div),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_IDIV, idiv),
};

}  // namespace

const Rows kMulDivRows = kRows;

}  // namespace doppel::interp
