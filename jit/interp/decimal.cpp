// AAA AAS AAM AAD DAA DAS, SALC. 16- and 32-bit code only.
#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/semantics.hpp"

namespace doppel::interp {
namespace {

constexpr u8 kAl = 0, kAh = 1, kAx = 0;

// SF, ZF, PF of AL and the given CF and AF; OF (undefined) is cleared.
void decimal_flags(Vcpu& cpu, u8 al, bool carry, bool adjust) {
  flags_explicit<u8>(cpu.state, al, carry, false, adjust);
}

template <bool kAdd>
bool ascii_adjust(Vcpu& cpu, const Insn&) {
  const u8 al = read_gpr<u8>(cpu, kAl);
  const bool adjust = (al & 15) > 9 || core::af(cpu.state.lazy);
  const u16 ax = read_gpr<u16>(cpu, kAx);
  if (adjust) write_gpr<u16>(cpu, kAx, static_cast<u16>(kAdd ? ax + 0x106 : ax - 0x106));
  const u8 result = read_gpr<u8>(cpu, kAl) & 15;
  write_gpr<u8>(cpu, kAl, result);
  decimal_flags(cpu, result, adjust, adjust);
  return true;
}

template <bool kAdd>
bool decimal_adjust(Vcpu& cpu, const Insn&) {
  const u8 old = read_gpr<u8>(cpu, kAl);
  const bool old_carry = core::cf(cpu.state.lazy);
  const bool low = (old & 15) > 9 || core::af(cpu.state.lazy);
  const bool high = old > 0x99 || old_carry;
  u8 al = old;
  bool carry = high;
  if (low) {
    // DAS: a borrow out of the first subtraction counts as carry too.
    if (!kAdd && old < 6) carry = true;
    al = static_cast<u8>(kAdd ? al + 6 : al - 6);
  }
  if (high) al = static_cast<u8>(kAdd ? al + 0x60 : al - 0x60);
  write_gpr<u8>(cpu, kAl, al);
  decimal_flags(cpu, al, carry, low);
  return true;
}

bool aam(Vcpu& cpu, const Insn& insn) {
  const u8 base = static_cast<u8>(insn.imm);
  if (base == 0) return cpu.raise(Vector::kDE);
  const u8 al = read_gpr<u8>(cpu, kAl);
  write_gpr<u8>(cpu, kAh, al / base);
  write_gpr<u8>(cpu, kAl, al % base);
  decimal_flags(cpu, al % base, false, false);
  return true;
}
bool aad(Vcpu& cpu, const Insn& insn) {
  const u8 al = static_cast<u8>(read_gpr<u8>(cpu, kAl) + read_gpr<u8>(cpu, kAh) * static_cast<u8>(insn.imm));
  write_gpr<u16>(cpu, kAx, al);
  decimal_flags(cpu, al, false, false);
  return true;
}
bool salc(Vcpu& cpu, const Insn&) {
  write_gpr<u8>(cpu, kAl, core::cf(cpu.state.lazy) ? 0xff : 0);
  return true;
}

constexpr Row kRows[] = {
    row<ascii_adjust<true>>(ZYDIS_MNEMONIC_AAA),
    row<ascii_adjust<false>>(ZYDIS_MNEMONIC_AAS),
    row<decimal_adjust<true>>(ZYDIS_MNEMONIC_DAA),
    row<decimal_adjust<false>>(ZYDIS_MNEMONIC_DAS),
    row<aam>(ZYDIS_MNEMONIC_AAM),
    row<aad>(ZYDIS_MNEMONIC_AAD),
    row<salc>(ZYDIS_MNEMONIC_SALC),
};

}  // namespace

const Rows kDecimalRows = kRows;

}  // namespace doppel::interp
