// CLC STC CMC CLD STD CLI STI CLAC STAC LAHF SAHF PUSHF POPF.
#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/stack.hpp"

namespace doppel::interp {
namespace {

using core::CpuState;

u32 iopl(const CpuState& s) {
  return (s.rflags & core::kIopl) >> 12;
}

template <bool kValue>
bool carry(Vcpu& cpu, const Insn&) {
  set_cf(cpu.state, kValue);
  return true;
}
bool cmc(Vcpu& cpu, const Insn&) {
  set_cf(cpu.state, !core::cf(cpu.state.lazy));
  return true;
}
bool cld(Vcpu& cpu, const Insn&) {
  cpu.state.rflags &= ~core::kDf;
  return true;
}
bool std_(Vcpu& cpu, const Insn&) {
  cpu.state.rflags |= core::kDf;
  return true;
}

// What CLI and STI may do: change IF, change VIF (VME or PVI), or #GP(0).
enum class InterruptFlag { kReal, kVirtual, kDenied };
InterruptFlag interrupt_flag(const CpuState& s) {
  if (!core::protected_mode(s)) return InterruptFlag::kReal;
  if (core::virtual_8086(s)) {
    if (iopl(s) == 3) return InterruptFlag::kReal;
    return s.cr4 & core::kCr4Vme ? InterruptFlag::kVirtual : InterruptFlag::kDenied;
  }
  if (s.cpl <= iopl(s)) return InterruptFlag::kReal;
  return s.cpl == 3 && (s.cr4 & core::kCr4Pvi) ? InterruptFlag::kVirtual : InterruptFlag::kDenied;
}

bool cli(Vcpu& cpu, const Insn&) {
  switch (interrupt_flag(cpu.state)) {
    case InterruptFlag::kReal:
      cpu.state.rflags &= ~core::kIf;
      return true;
    case InterruptFlag::kVirtual:
      cpu.state.rflags &= ~core::kVif;
      return true;
    default:
      return cpu.raise(Vector::kGP);
  }
}
// Interrupts are looked at after the instruction that follows STI.
bool sti(Vcpu& cpu, const Insn&) {
  CpuState& s = cpu.state;
  switch (interrupt_flag(s)) {
    case InterruptFlag::kReal:
      if (!(s.rflags & core::kIf)) {
        s.rflags |= core::kIf;
        s.interrupt_shadow = true;
        s.attention = 1;
      }
      return true;
    case InterruptFlag::kVirtual:
      if (s.rflags & core::kVip) return cpu.raise(Vector::kGP);
      s.rflags |= core::kVif;
      return true;
    default:
      return cpu.raise(Vector::kGP);
  }
}

template <bool kValue>
bool alignment_check(Vcpu& cpu, const Insn&) {
  CpuState& s = cpu.state;
  if (!core::protected_mode(s) || s.cpl != 0) return cpu.raise(Vector::kUD);
  s.rflags = kValue ? s.rflags | core::kAc : s.rflags & ~core::kAc;
  cpu.mmu.mode_changed();
  return true;
}

constexpr u64 kAhFlags = core::kSf | core::kZf | core::kAf | core::kPf | core::kCf;
bool lahf(Vcpu& cpu, const Insn&) {
  write_gpr<u8>(cpu, 1,
                static_cast<u8>((core::arithmetic_flags(cpu.state.lazy) & kAhFlags) | core::kFlagsFixed));
  return true;
}
bool sahf(Vcpu& cpu, const Insn&) {
  set_flags(cpu.state, kAhFlags, read_gpr<u8>(cpu, 1));
  return true;
}

// SDM Vol. 2B, PUSHF: in virtual-8086 mode with IOPL below 3 only the 16-bit form with VME, where VIF stands
// for IF.
template <class T>
bool pushf(Vcpu& cpu, const Insn&) {
  CpuState& s = cpu.state;
  u64 image = core::rflags(s) & ~(core::kVm | core::kRf);
  if (core::virtual_8086(s) && iopl(s) < 3) {
    if (sizeof(T) != 2 || !(s.cr4 & core::kCr4Vme)) return cpu.raise(Vector::kGP);
    image = (image & ~core::kIf) | core::kIopl | (s.rflags & core::kVif ? core::kIf : 0);
  }
  return push<T>(cpu, static_cast<T>(image));
}

template <class T>
bool popf(Vcpu& cpu, const Insn&) {
  CpuState& s = cpu.state;
  u64 changeable = core::kArithmeticFlags | core::kTf | core::kDf | core::kNt | core::kAc | core::kId;
  bool to_vif = false;
  if (core::virtual_8086(s)) {
    if (iopl(s) < 3) {
      if (sizeof(T) != 2 || !(s.cr4 & core::kCr4Vme)) return cpu.raise(Vector::kGP);
      to_vif = true;
    } else {
      changeable |= core::kIf;
    }
  } else {
    if (s.cpl == 0) changeable |= core::kIopl;
    if (s.cpl <= iopl(s)) changeable |= core::kIf;
  }
  if (sizeof(T) == 2) changeable &= 0xffff;

  const u64 old_rsp = s.gpr[core::kRsp];
  T image{};
  if (!pop<T>(cpu, image)) return false;
  if (to_vif && ((image & core::kTf) || ((image & core::kIf) && (s.rflags & core::kVip)))) {
    s.gpr[core::kRsp] = old_rsp;
    return cpu.raise(Vector::kGP);
  }
  const u64 old = core::rflags(s);
  u64 flags = (old & ~changeable) | (image & changeable);
  if (to_vif) flags = image & core::kIf ? flags | core::kVif : flags & ~core::kVif;
  // RF is cleared by POPF (32- and 64-bit forms); it is clear here anyway unless stepping.
  core::set_rflags(s, flags & ~core::kRf);
  if ((old ^ flags) & core::kAc) cpu.mmu.mode_changed();
  if (flags & (core::kTf | core::kIf)) s.attention = 1;
  return true;
}

constexpr Row kRows[] = {
    row<carry<false>>(ZYDIS_MNEMONIC_CLC),
    row<carry<true>>(ZYDIS_MNEMONIC_STC),
    row<cmc>(ZYDIS_MNEMONIC_CMC),
    row<cld>(ZYDIS_MNEMONIC_CLD),
    row<std_>(ZYDIS_MNEMONIC_STD),
    row<cli>(ZYDIS_MNEMONIC_CLI),
    row_ends<sti>(ZYDIS_MNEMONIC_STI),
    row<alignment_check<false>>(ZYDIS_MNEMONIC_CLAC),
    row<alignment_check<true>>(ZYDIS_MNEMONIC_STAC),
    row<lahf>(ZYDIS_MNEMONIC_LAHF),
    row<sahf>(ZYDIS_MNEMONIC_SAHF),
    row<pushf<u16>>(ZYDIS_MNEMONIC_PUSHF),
    row<pushf<u32>>(ZYDIS_MNEMONIC_PUSHFD),
    row<pushf<u64>>(ZYDIS_MNEMONIC_PUSHFQ),
    row_ends<popf<u16>>(ZYDIS_MNEMONIC_POPF),
    row_ends<popf<u32>>(ZYDIS_MNEMONIC_POPFD),
    row_ends<popf<u64>>(ZYDIS_MNEMONIC_POPFQ),
};

}  // namespace

const Rows kFlagRows = kRows;

}  // namespace doppel::interp
