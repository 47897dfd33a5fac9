// SYSCALL, SYSRET, SYSENTER, SYSEXIT as AMD processors do them. Source: AMD APM Vol. 3, same names.
#include "jit/interp/families.hpp"
#include "jit/interp/segment.hpp"

namespace doppel::interp {
namespace {

using core::CpuState;

void enter_flat(Vcpu& cpu, u16 cs, FlatCode size, u16 ss, u64 rip) {
  CpuState& s = cpu.state;
  s.segment[core::kCs] = flat_code_segment(cs, size);
  s.segment[core::kSs] = flat_stack_segment(ss);
  s.rip = rip;
  code_segment_changed(cpu);
}

bool syscall(Vcpu& cpu, const Insn& insn) {
  CpuState& s = cpu.state;
  if (!(s.efer & core::kEferSce) || core::real_mode(s)) [[unlikely]]
    return cpu.raise(Vector::kUD);
  const auto cs = static_cast<u16>((s.star >> 32) & 0xfffc);
  const auto ss = static_cast<u16>(cs + 8);
  s.gpr[core::kRcx] = rip_after(cpu, insn);
  if (core::long_mode(s)) [[likely]] {
    const u64 flags = core::rflags(s) & ~core::kRf;
    s.gpr[core::kR11] = flags;
    core::set_rflags(s, flags & ~s.sfmask);
    enter_flat(cpu, cs, FlatCode::k64, ss, insn.flags & jit::kCode64 ? s.lstar : s.cstar);
  } else {
    s.rflags &= ~(core::kIf | core::kVm | core::kRf);
    enter_flat(cpu, cs, FlatCode::kCompatibility, ss, s.star & 0xffff'ffff);
  }
  return true;
}

bool sysret(Vcpu& cpu, const Insn& insn) {
  CpuState& s = cpu.state;
  if (!(s.efer & core::kEferSce)) [[unlikely]]
    return cpu.raise(Vector::kUD);
  if (core::real_mode(s) || s.cpl != 0) [[unlikely]]
    return cpu.raise(Vector::kGP);
  const auto base = static_cast<u16>(s.star >> 48);
  const auto ss = static_cast<u16>((base + 8) | 3);
  const bool to64 = core::long_mode(s) && insn.op_size == 8;
  if (core::long_mode(s)) [[likely]] {
    constexpr u64 kRestored = core::kArithmeticFlags | core::kTf | core::kIf | core::kDf | core::kIopl |
                              core::kNt | core::kAc | core::kVif | core::kVip | core::kId;
    load_rflags(s, s.gpr[core::kR11] & kRestored);
  } else {
    load_rflags(s, core::rflags(s) | core::kIf);
  }
  const u64 rip = s.gpr[core::kRcx];
  if (to64)
    enter_flat(cpu, static_cast<u16>((base + 16) | 3), FlatCode::k64, ss, rip);
  else
    enter_flat(cpu, base | 3, FlatCode::kCompatibility, ss, rip & 0xffff'ffff);
  return true;
}

// AMD processors have SYSENTER and SYSEXIT only outside long mode.
bool legacy_only(Vcpu& cpu) {
  return !core::long_mode(cpu.state) || cpu.raise(Vector::kUD);
}
bool has_target(Vcpu& cpu) {
  const CpuState& s = cpu.state;
  return (core::protected_mode(s) && (s.sysenter_cs & 0xfffc) != 0) || cpu.raise(Vector::kGP);
}

bool sysenter(Vcpu& cpu, const Insn&) {
  if (!legacy_only(cpu) || !has_target(cpu)) return false;
  CpuState& s = cpu.state;
  const auto cs = static_cast<u16>(s.sysenter_cs & 0xfffc);
  s.rflags &= ~(core::kIf | core::kVm | core::kRf);
  s.gpr[core::kRsp] = s.sysenter_esp & 0xffff'ffff;
  enter_flat(cpu, cs, FlatCode::kCompatibility, static_cast<u16>(cs + 8), s.sysenter_eip & 0xffff'ffff);
  return true;
}

bool sysexit(Vcpu& cpu, const Insn&) {
  if (!legacy_only(cpu) || !has_target(cpu)) return false;
  CpuState& s = cpu.state;
  if (s.cpl != 0) return cpu.raise(Vector::kGP);
  const auto base = static_cast<u16>(s.sysenter_cs & 0xfffc);
  s.gpr[core::kRsp] = s.gpr[core::kRcx] & 0xffff'ffff;
  enter_flat(cpu, static_cast<u16>((base + 16) | 3), FlatCode::kCompatibility,
             static_cast<u16>((base + 24) | 3), s.gpr[core::kRdx] & 0xffff'ffff);
  return true;
}

constexpr Row kRows[] = {
    row_branch<syscall>(ZYDIS_MNEMONIC_SYSCALL),
    row_branch<sysret>(ZYDIS_MNEMONIC_SYSRET),
    row_branch<sysenter>(ZYDIS_MNEMONIC_SYSENTER),
    row_branch<sysexit>(ZYDIS_MNEMONIC_SYSEXIT),
};

}  // namespace

const Rows kSyscallRows = kRows;

}  // namespace doppel::interp
