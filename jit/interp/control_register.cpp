#include "jit/interp/control_register.hpp"

#include <array>

#include "jit/interp/descriptor_table.hpp"
#include "jit/interp/families.hpp"

namespace doppel::interp {

using core::CpuState;
using core::Feature;

namespace {

bool privileged(Vcpu& cpu) {
  return cpu.state.cpl == 0 || cpu.raise(Vector::kGP);
}

bool gp(Vcpu& cpu) {
  return cpu.raise(Vector::kGP);
}

// ---------------------------------------------------------------------------------------------------------------
// CR0.

constexpr u64 kCr0Bits = core::kCr0Pe | core::kCr0Mp | core::kCr0Em | core::kCr0Ts | core::kCr0Ne |
                         core::kCr0Wp | core::kCr0Am | core::kCr0Nw | core::kCr0Cd | core::kCr0Pg;

// Turning paging on with EFER.LME enters long mode.
[[nodiscard]] bool may_enter_long_mode(const CpuState& s) {
  const bool tss16 = (s.tr.attributes & core::kSegPresent) && !(s.tr.attributes & 8);
  return (s.cr4 & core::kCr4Pae) && !(s.segment[core::kCs].attributes & core::kSegL) && !tss16;
}

[[nodiscard]] bool may_disable_paging(const CpuState& s) {
  return !core::code64(s) && !(s.cr4 & core::kCr4Pcide);
}

[[nodiscard]] bool write_cr0(Vcpu& cpu, u64 value) {
  CpuState& s = cpu.state;
  if (value >> 32) return gp(cpu);
  value = (value & kCr0Bits) | core::kCr0Et;
  const bool paging = value & core::kCr0Pg;
  if (paging && !(value & core::kCr0Pe)) return gp(cpu);
  if ((value & core::kCr0Nw) && !(value & core::kCr0Cd)) return gp(cpu);

  const bool was_paging = s.cr0 & core::kCr0Pg;
  const bool long_enabled = s.efer & core::kEferLme;
  if (paging && !was_paging && long_enabled && !may_enter_long_mode(s)) return gp(cpu);
  if (!paging && was_paging && !may_disable_paging(s)) return gp(cpu);
  constexpr u64 kReloadsPdptes = core::kCr0Pg | core::kCr0Cd | core::kCr0Nw;
  const bool pae_paging = paging && (s.cr4 & core::kCr4Pae) && !long_enabled;
  if (pae_paging && ((value ^ s.cr0) & kReloadsPdptes) && !mmu::load_pdptes(s, cpu.mmu.memory(), s.cr3))
    return gp(cpu);

  s.efer = paging && long_enabled ? s.efer | core::kEferLma : s.efer & ~core::kEferLma;
  s.cr0 = value;
  cpu.mmu.mode_changed();
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// CR3.

[[nodiscard]] bool write_cr3(Vcpu& cpu, u64 value) {
  CpuState& s = cpu.state;
  constexpr u64 kNoFlush = u64{1} << 63;
  const bool pcids = s.cr4 & core::kCr4Pcide;
  const bool keep = pcids && (value & kNoFlush);
  if (keep) value &= ~kNoFlush;
  if (core::long_mode(s) && (value >> mmu::kPhysicalBits)) return gp(cpu);
  const bool pae_paging = (s.cr0 & core::kCr0Pg) && (s.cr4 & core::kCr4Pae) && !core::long_mode(s);
  if (pae_paging && !mmu::load_pdptes(s, cpu.mmu.memory(), value)) return gp(cpu);
  s.cr3 = value;
  cpu.mmu.set_address_space(value, keep);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// CR4.

struct Cr4Bit {
  u64 bits;
  Feature feature;
};
constexpr Cr4Bit kCr4Features[] = {
    {core::kCr4Vme | core::kCr4Pvi, Feature::kVme},
    {core::kCr4Tsd, Feature::kTsc},
    {core::kCr4De, Feature::kDe},
    {core::kCr4Pse, Feature::kPse},
    {core::kCr4Pae, Feature::kPae},
    {core::kCr4Mce, Feature::kMce},
    {core::kCr4Pge, Feature::kPge},
    {core::kCr4Osfxsr, Feature::kFxsr},
    {core::kCr4Osxmmexcpt, Feature::kSse},
    {core::kCr4Umip, Feature::kUmip},
    {core::kCr4La57, Feature::kLa57},
    {core::kCr4Fsgsbase, Feature::kFsgsbase},
    {core::kCr4Pcide, Feature::kPcid},
    {core::kCr4Osxsave, Feature::kXsave},
    {core::kCr4Smep, Feature::kSmep},
    {core::kCr4Smap, Feature::kSmap},
};

u64 cr4_bits(const core::CpuModel& model) {
  u64 bits = core::kCr4Pce;
  for (const Cr4Bit& row : kCr4Features)
    if (model.has(row.feature)) bits |= row.bits;
  return bits;
}

[[nodiscard]] bool write_cr4(Vcpu& cpu, u64 value) {
  CpuState& s = cpu.state;
  if (value & ~cr4_bits(cpu.model)) return gp(cpu);
  const u64 changed = value ^ s.cr4;
  if (core::long_mode(s) && (changed & (core::kCr4Pae | core::kCr4La57))) return gp(cpu);
  constexpr u64 kPcidField = 0xfff;
  if ((changed & value & core::kCr4Pcide) && (!core::long_mode(s) || (s.cr3 & kPcidField))) return gp(cpu);
  constexpr u64 kReloadsPdptes = core::kCr4Pae | core::kCr4Pge | core::kCr4Pse | core::kCr4Smep;
  const bool pae_paging = (s.cr0 & core::kCr0Pg) && (value & core::kCr4Pae) && !core::long_mode(s);
  if (pae_paging && (changed & kReloadsPdptes) && !mmu::load_pdptes(s, cpu.mmu.memory(), s.cr3))
    return gp(cpu);
  s.cr4 = value;
  cpu.mmu.mode_changed();
  return true;
}

[[nodiscard]] bool write_cr8(Vcpu& cpu, u64 value) {
  constexpr u64 kPriority = 0xf;
  if (value & ~kPriority) return gp(cpu);
  cpu.state.cr8 = value;
  cpu.interrupts.set_cr8(static_cast<u8>(value));
  return true;
}

u64 operand(const CpuState& s, u64 value) {
  return core::code64(s) ? value : value & 0xffff'ffff;
}

}  // namespace

bool write_efer(Vcpu& cpu, u64 value) {
  CpuState& s = cpu.state;
  const auto bit = [&](Feature feature, u64 bits) { return cpu.model.has(feature) ? bits : 0; };
  const u64 allowed = bit(Feature::kSyscall, core::kEferSce) |
                      bit(Feature::kLm, core::kEferLme | core::kEferLma) | bit(Feature::kNx, core::kEferNxe) |
                      bit(Feature::kFxsrOpt, core::kEferFfxsr);
  if (value & ~allowed) return false;
  if (((value ^ s.efer) & core::kEferLme) && (s.cr0 & core::kCr0Pg)) return false;
  s.efer = (value & ~core::kEferLma) | (s.efer & core::kEferLma);
  cpu.mmu.mode_changed();
  return true;
}

bool read_control_register(Vcpu& cpu, u8 number, u64& value) {
  const CpuState& s = cpu.state;
  if (!privileged(cpu)) return false;
  switch (number) {
    case 0:
      value = s.cr0;
      return true;
    case 2:
      value = s.cr2;
      return true;
    case 3:
      value = s.cr3;
      return true;
    case 4:
      value = s.cr4;
      return true;
    case 8:
      value = cpu.interrupts.cr8();
      return true;
    default:
      return cpu.raise(Vector::kUD);
  }
}

bool write_control_register(Vcpu& cpu, u8 number, u64 value) {
  if (!privileged(cpu)) return false;
  value = operand(cpu.state, value);
  switch (number) {
    case 0:
      return write_cr0(cpu, value);
    case 2:
      cpu.state.cr2 = value;
      return true;
    case 3:
      return write_cr3(cpu, value);
    case 4:
      return write_cr4(cpu, value);
    case 8:
      return write_cr8(cpu, value);
    default:
      return cpu.raise(Vector::kUD);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Debug registers.

namespace {

constexpr u64 kDr6Writable = 0xe00f, kDr6Fixed = 0xffff'0ff0, kDr6Bd = 1u << 13;
constexpr u64 kDr7Writable = 0xffff'23ff, kDr7Fixed = 1u << 10, kDr7Gd = 1u << 13;

// DR4 and DR5 are DR6 and DR7 unless CR4.DE forbids it. Any access with DR7.GD set traps.
[[nodiscard]] bool debug_register(Vcpu& cpu, u8& number) {
  const CpuState& s = cpu.state;
  if (number > 7) return cpu.raise(Vector::kUD);
  if (number == 4 || number == 5) {
    if (s.cr4 & core::kCr4De) return cpu.raise(Vector::kUD);
    number += 2;
  }
  if (!privileged(cpu)) return false;
  return !(s.dr[7] & kDr7Gd) || cpu.raise(Vector::kDB, 0, kDr6Bd);
}

}  // namespace

bool read_debug_register(Vcpu& cpu, u8 number, u64& value) {
  if (!debug_register(cpu, number)) return false;
  value = cpu.state.dr[number];
  return true;
}

bool write_debug_register(Vcpu& cpu, u8 number, u64 value) {
  CpuState& s = cpu.state;
  if (!debug_register(cpu, number)) return false;
  value = operand(s, value);
  if (number >= 6 && value >> 32) return gp(cpu);
  if (number == 6) value = (value & kDr6Writable) | kDr6Fixed;
  if (number == 7) value = (value & kDr7Writable) | kDr7Fixed;
  s.dr[number] = value;
  cpu.mmu.mode_changed();
  s.attention = 1;
  return true;
}

u64 code_breakpoint(const Vcpu& cpu, u64 linear) {
  const CpuState& s = cpu.state;
  u64 hits = 0;
  for (u32 i = 0; i < 4; ++i) {
    const bool enabled = s.dr[7] >> (2 * i) & 3;
    const bool on_execution = (s.dr[7] >> (16 + 4 * i) & 3) == 0;
    if (enabled && on_execution && s.dr[i] == linear) hits |= u64{1} << i;
  }
  return hits;
}

// ---------------------------------------------------------------------------------------------------------------
// Instructions.

namespace {

bool clts(Vcpu& cpu, const Insn&) {
  if (!privileged(cpu)) return false;
  cpu.state.cr0 &= ~core::kCr0Ts;
  return true;
}

bool lmsw(Vcpu& cpu, const Insn& insn) {
  u16 value = 0;
  if (!privileged(cpu) || !read_rm(cpu, insn, insn.op[0], value)) return false;
  constexpr u64 kLoaded = core::kCr0Pe | core::kCr0Mp | core::kCr0Em | core::kCr0Ts;
  const u64 sticky = cpu.state.cr0 & core::kCr0Pe;  // LMSW cannot leave protected mode
  return write_cr0(cpu, (cpu.state.cr0 & ~kLoaded) | (value & kLoaded) | sticky);
}

bool smsw(Vcpu& cpu, const Insn& insn) {
  const CpuState& s = cpu.state;
  if ((s.cr4 & core::kCr4Umip) && s.cpl != 0) return gp(cpu);
  if (insn.op[0].kind == OperandKind::kMemory) return store<u16>(cpu, insn, static_cast<u16>(s.cr0));
  by_size(insn.op_size, [&]<class T>() { write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(s.cr0)); });
  return true;
}

bool invlpg(Vcpu& cpu, const Insn& insn) {
  if (!privileged(cpu)) return false;
  u64 la = effective_address(cpu, insn);
  if (insn.flags & (jit::kSegmentBase | jit::kSegmented)) la += cpu.state.segment[insn.segment].base;
  if (insn.flags & jit::kSegmented) la &= 0xffff'ffff;
  if (mmu::canonical(cpu.state, la)) cpu.mmu.flush_page(la);
  return true;
}

bool invpcid(Vcpu& cpu, const Insn& insn) {
  enum Type : u64 { kAddress, kContext, kAll, kAllNonGlobal };
  if (!privileged(cpu)) return false;
  const CpuState& s = cpu.state;
  const u64 type = operand(s, read_gpr<u64>(cpu, insn.op[0].reg));
  std::array<u64, 2> descriptor{};  // PCID, linear address
  if (!load(cpu, insn, descriptor)) return false;
  const auto [pcid, la] = descriptor;
  if (type > kAllNonGlobal || pcid >> 12) return gp(cpu);
  if (type <= kContext && pcid != 0 && !(s.cr4 & core::kCr4Pcide)) return gp(cpu);
  if (type == kAddress && !mmu::canonical(s, la)) return gp(cpu);
  switch (type) {
    case kAddress:
      cpu.mmu.flush_page_pcid(la, static_cast<u16>(pcid));
      break;
    case kContext:
      cpu.mmu.flush_pcid(static_cast<u16>(pcid));
      break;
    case kAll:
      cpu.mmu.flush_all();
      break;
    default:
      cpu.mmu.flush_all_pcids_non_global();
      break;
  }
  return true;
}

// There are no caches to write back. WBNOINVD decodes as WBINVD.
bool invalidate_caches(Vcpu& cpu, const Insn&) {
  return privileged(cpu);
}

constexpr Row kRows[] = {
    row_ends<clts>(ZYDIS_MNEMONIC_CLTS),
    row_ends<lmsw>(ZYDIS_MNEMONIC_LMSW),
    row<smsw>(ZYDIS_MNEMONIC_SMSW),
    row_ends<invlpg>(ZYDIS_MNEMONIC_INVLPG),
    row_ends<invpcid>(ZYDIS_MNEMONIC_INVPCID),
    row<invalidate_caches>(ZYDIS_MNEMONIC_INVD),
    row<invalidate_caches>(ZYDIS_MNEMONIC_WBINVD),
};

}  // namespace

const Rows kControlRegisterRows = kRows;

}  // namespace doppel::interp
