#include "jit/interp/msr.hpp"

#include <algorithm>

#include "core/log.hpp"
#include "core/msr.hpp"
#include "jit/interp/control_register.hpp"
#include "jit/interp/families.hpp"

namespace doppel::interp {
namespace {

using core::CpuState;
using core::Feature;
namespace msr = core::msr;

// ---------------------------------------------------------------------------------------------------------------
// What a row's functions are made of. `index` is the register's distance from the row's first.

using Read = u64 (*)(const Vcpu&, u32 index);
using Write = bool (*)(Vcpu&, u32 index, u64 value);

template <u64 CpuState::*kField>
u64 read_field(const Vcpu& cpu, u32) {
  return cpu.state.*kField;
}
// `kAllowed`: the bits that may be set; others raise #GP.
template <u64 CpuState::*kField, u64 kAllowed = ~u64{0}>
bool write_field(Vcpu& cpu, u32, u64 value) {
  if (value & ~kAllowed) return false;
  cpu.state.*kField = value;
  return true;
}
template <u64 CpuState::*kField>
bool write_address(Vcpu& cpu, u32, u64 value) {
  if (!mmu::canonical(cpu.state, value)) return false;
  cpu.state.*kField = value;
  return true;
}

template <core::Segment kSegment>
u64 read_base(const Vcpu& cpu, u32) {
  return cpu.state.segment[kSegment].base;
}
template <core::Segment kSegment>
bool write_base(Vcpu& cpu, u32, u64 value) {
  if (!mmu::canonical(cpu.state, value)) return false;
  cpu.state.segment[kSegment].base = value;
  return true;
}

template <u64 kValue>
u64 constant(const Vcpu&, u32) {
  return kValue;
}
// Configuration of hardware that is not there: any value is taken and has no effect.
bool ignored(Vcpu&, u32, u64) {
  return true;
}
template <u64 kAllowed>
bool ignored_bits(Vcpu&, u32, u64 value) {
  return !(value & ~kAllowed);
}

// ---------------------------------------------------------------------------------------------------------------
// Registers with rules of their own.

u64 read_tsc(const Vcpu& cpu, u32) {
  return cpu.tsc();
}
bool write_tsc(Vcpu& cpu, u32, u64 value) {
  const u64 delta = value - cpu.tsc();
  cpu.state.tsc_offset += delta;
  cpu.interrupts.set_tsc_offset(cpu.state.tsc_offset);
  cpu.state.tsc_adjust += delta;
  return true;
}
bool write_tsc_adjust(Vcpu& cpu, u32, u64 value) {
  cpu.state.tsc_offset += value - cpu.state.tsc_adjust;
  cpu.interrupts.set_tsc_offset(cpu.state.tsc_offset);
  cpu.state.tsc_adjust = value;
  return true;
}

bool write_efer_row(Vcpu& cpu, u32, u64 value) {
  return write_efer(cpu, value);
}

// Memory types (APM Vol. 2, "Memory Type Encoding"): UC, WC, WT, WP, WB; UC- exists only in the PAT.
constexpr bool mtrr_type(u64 type) {
  return type == 0 || type == 1 || (type >= 4 && type <= 6);
}
template <bool (*kValid)(u64)>
bool all_bytes(u64 value) {
  for (u32 i = 0; i < 8; ++i)
    if (!kValid(value >> (8 * i) & 0xff)) return false;
  return true;
}
constexpr bool pat_type(u64 type) {
  return mtrr_type(type) || type == 7;
}

bool write_pat(Vcpu& cpu, u32, u64 value) {
  if (!all_bytes<pat_type>(value)) return false;
  cpu.state.pat = value;
  return true;
}

constexpr u64 kMtrrCapValue = 8 | 1u << 8 | 1u << 10;  // eight variable ranges, fixed ranges, WC

bool write_mtrr_def_type(Vcpu& cpu, u32, u64 value) {
  constexpr u64 kBits = 0xcff;  // E, FE, type
  if ((value & ~kBits) || !mtrr_type(value & 0xff)) return false;
  cpu.state.mtrr_def_type = value;
  return true;
}

u64 read_mtrr_variable(const Vcpu& cpu, u32 index) {
  return cpu.state.mtrr_variable[index];
}
bool write_mtrr_variable(Vcpu& cpu, u32 index, u64 value) {
  constexpr u64 kAddress = ((u64{1} << mmu::kPhysicalBits) - 1) & ~u64{0xfff};
  constexpr u64 kValid = 1u << 11;
  const bool is_mask = index & 1;
  if (value & ~(kAddress | (is_mask ? kValid : 0xff))) return false;
  if (!is_mask && !mtrr_type(value & 0xff)) return false;
  cpu.state.mtrr_variable[index] = value;
  return true;
}

// Fixed ranges lie in CpuState::mtrr_fixed in the order of their numbers, from kFirst on.
template <u32 kFirst>
u64 read_mtrr_fixed(const Vcpu& cpu, u32 index) {
  return cpu.state.mtrr_fixed[kFirst + index];
}
template <u32 kFirst>
bool write_mtrr_fixed(Vcpu& cpu, u32 index, u64 value) {
  if (!all_bytes<mtrr_type>(value)) return false;
  cpu.state.mtrr_fixed[kFirst + index] = value;
  return true;
}

// ---------------------------------------------------------------------------------------------------------------

constexpr u64 kTscFreqSel = 1u << 24;  // HWCR: the TSC counts at the P0 frequency
constexpr u64 kHwcrBits = kTscFreqSel | 1u << 18 | 0x1ff;
constexpr u64 kLfenceSerializing = 1u << 1;      // DE_CFG
constexpr u64 kSvmDisabled = 1u << 4 | 1u << 3;  // VM_CR.SVMDIS, LOCK
constexpr u64 kMicrocode = 0x0a10'1148;
constexpr u64 kMiscEnableBits = 1u << 0 | 1u << 18;  // fast strings, MONITOR
constexpr u64 kMcgStatusBits = 7;
constexpr u64 kLow32 = 0xffff'ffff;

struct MsrRow {
  u32 first, last;
  Read read;
  Write write;  // nullptr: read-only
  Feature feature = Feature::kMsr;
};

// In ascending order.
constexpr MsrRow kRegisters[] = {
    {msr::kP5McAddr, msr::kP5McType, constant<0>, ignored},
    {msr::kTsc, msr::kTsc, read_tsc, write_tsc},
    {msr::kTscAdjust, msr::kTscAdjust, read_field<&CpuState::tsc_adjust>, write_tsc_adjust,
     Feature::kTscAdjust},
    {msr::kPatchLevel, msr::kPatchLevel, constant<kMicrocode>, ignored},
    {msr::kMtrrCap, msr::kMtrrCap, constant<kMtrrCapValue>, nullptr, Feature::kMtrr},
    {msr::kSysenterCs, msr::kSysenterCs, read_field<&CpuState::sysenter_cs>,
     write_field<&CpuState::sysenter_cs>, Feature::kSep},
    {msr::kSysenterEsp, msr::kSysenterEsp, read_field<&CpuState::sysenter_esp>,
     write_address<&CpuState::sysenter_esp>, Feature::kSep},
    {msr::kSysenterEip, msr::kSysenterEip, read_field<&CpuState::sysenter_eip>,
     write_address<&CpuState::sysenter_eip>, Feature::kSep},
    {msr::kMcgCap, msr::kMcgCap, constant<0>, nullptr, Feature::kMca},
    {msr::kMcgStatus, msr::kMcgStatus, read_field<&CpuState::mcg_status>,
     write_field<&CpuState::mcg_status, kMcgStatusBits>, Feature::kMca},
    {msr::kMiscEnable, msr::kMiscEnable, read_field<&CpuState::misc_enable>,
     write_field<&CpuState::misc_enable, kMiscEnableBits>},
    {msr::kDebugCtl, msr::kDebugCtl, constant<0>, ignored_bits<0x3f>},
    {msr::kLastBranchFrom, msr::kLastExceptionTo, constant<0>, nullptr},
    {msr::kMtrrPhysBase0, msr::kMtrrPhysMask7, read_mtrr_variable, write_mtrr_variable, Feature::kMtrr},
    {msr::kMtrrFix64k00000, msr::kMtrrFix64k00000, read_mtrr_fixed<0>, write_mtrr_fixed<0>, Feature::kMtrr},
    {msr::kMtrrFix16k80000, msr::kMtrrFix16kA0000, read_mtrr_fixed<1>, write_mtrr_fixed<1>, Feature::kMtrr},
    {msr::kMtrrFix4kC0000, msr::kMtrrFix4kF8000, read_mtrr_fixed<3>, write_mtrr_fixed<3>, Feature::kMtrr},
    {msr::kPat, msr::kPat, read_field<&CpuState::pat>, write_pat, Feature::kPat},
    {msr::kMtrrDefType, msr::kMtrrDefType, read_field<&CpuState::mtrr_def_type>, write_mtrr_def_type,
     Feature::kMtrr},
    {msr::kEfer, msr::kEfer, read_field<&CpuState::efer>, write_efer_row},
    {msr::kStar, msr::kStar, read_field<&CpuState::star>, write_field<&CpuState::star>, Feature::kSyscall},
    {msr::kLstar, msr::kLstar, read_field<&CpuState::lstar>, write_address<&CpuState::lstar>, Feature::kLm},
    {msr::kCstar, msr::kCstar, read_field<&CpuState::cstar>, write_address<&CpuState::cstar>, Feature::kLm},
    {msr::kSfmask, msr::kSfmask, read_field<&CpuState::sfmask>, write_field<&CpuState::sfmask, kLow32>,
     Feature::kLm},
    {msr::kFsBase, msr::kFsBase, read_base<core::kFs>, write_base<core::kFs>, Feature::kLm},
    {msr::kGsBase, msr::kGsBase, read_base<core::kGs>, write_base<core::kGs>, Feature::kLm},
    {msr::kKernelGsBase, msr::kKernelGsBase, read_field<&CpuState::kernel_gs_base>,
     write_address<&CpuState::kernel_gs_base>, Feature::kLm},
    {msr::kTscAux, msr::kTscAux, read_field<&CpuState::tsc_aux>, write_field<&CpuState::tsc_aux, kLow32>,
     Feature::kRdtscp},
    {msr::kPerfEvtSel0, msr::kPerfCtr3, constant<0>, ignored},
    {msr::kSysCfg, msr::kSysCfg, constant<0>, ignored},
    {msr::kHwcr, msr::kHwcr, constant<kTscFreqSel>, ignored_bits<kHwcrBits>},
    {msr::kTopMem, msr::kTopMem, constant<0>, ignored},
    {msr::kTopMem2, msr::kTopMem2, constant<0>, ignored},
    {msr::kNbCfg, msr::kNbCfg, constant<0>, ignored},
    {msr::kPatchLoader, msr::kPatchLoader, constant<0>, ignored},
    {msr::kIntPendingMessage, msr::kIntPendingMessage, constant<0>, ignored},
    {msr::kMmioConfBase, msr::kMmioConfBase, constant<0>, ignored},
    {msr::kSmmTsegAddr, msr::kSmmTsegAddr, constant<0>, ignored},
    {msr::kVmCr, msr::kVmCr, constant<kSvmDisabled>, ignored},
    {msr::kLsCfg, msr::kDcCfg, constant<0>, ignored},
    {msr::kDeCfg, msr::kDeCfg, constant<kLfenceSerializing>, ignored},
    {msr::kBuCfg2, msr::kBuCfg2, constant<0>, ignored},
};
static_assert(std::ranges::is_sorted(kRegisters, {}, &MsrRow::first));

const MsrRow* find_register(const core::CpuModel& model, u32 index) {
  const MsrRow* row = std::ranges::lower_bound(kRegisters, index, {}, &MsrRow::last);
  return row != std::end(kRegisters) && index >= row->first && model.has(row->feature) ? row : nullptr;
}

bool is_apic(u32 index) {
  return index == msr::kApicBase || index == msr::kTscDeadline ||
         (index >= msr::kX2apicFirst && index <= msr::kX2apicLast);
}

// Counted by number in the ranges where processors have registers; elsewhere together, so that a guest cannot
// make names without bound.
[[gnu::cold]] bool unknown(Vcpu& cpu, const char* access, u32 index) {
  constexpr u32 kRangeSize = 0x2000;
  const bool plausible =
      index < kRangeSize || index - 0xc000'0000 < kRangeSize || index - 0xc001'0000 < kRangeSize;
  const std::string name = plausible ? fmt::format("msr.unknown.{} {:#x}", access, index)
                                     : fmt::format("msr.unknown.{} elsewhere", access);
  cpu.counters[name]++;
  core::log(core::LogCategory::kMsr, "{} of unknown register {:#x} at {:#x}", access, index, cpu.state.rip);
  return false;
}

}  // namespace

bool read_msr(Vcpu& cpu, u32 index, u64& value) {
  if (is_apic(index)) return cpu.interrupts.read_msr(index, value);
  const MsrRow* row = find_register(cpu.model, index);
  if (row == nullptr) return unknown(cpu, "read", index);
  value = row->read(cpu, index - row->first);
  return true;
}

bool write_msr(Vcpu& cpu, u32 index, u64 value) {
  if (is_apic(index)) return cpu.interrupts.write_msr(index, value);
  const MsrRow* row = find_register(cpu.model, index);
  if (row == nullptr) return unknown(cpu, "write", index);
  return row->write != nullptr && row->write(cpu, index - row->first, value);
}

// ---------------------------------------------------------------------------------------------------------------
// Instructions.

namespace {

void write_edx_eax(Vcpu& cpu, u64 value) {
  cpu.state.gpr[core::kRax] = value & kLow32;
  cpu.state.gpr[core::kRdx] = value >> 32;
}

bool rdmsr(Vcpu& cpu, const Insn&) {
  u64 value = 0;
  if (cpu.state.cpl != 0 || !read_msr(cpu, static_cast<u32>(cpu.state.gpr[core::kRcx]), value))
    return cpu.raise(Vector::kGP);
  write_edx_eax(cpu, value);
  return true;
}

bool wrmsr(Vcpu& cpu, const Insn&) {
  const auto& gpr = cpu.state.gpr;
  const u64 value = (gpr[core::kRdx] << 32) | (gpr[core::kRax] & kLow32);
  if (cpu.state.cpl != 0 || !write_msr(cpu, static_cast<u32>(gpr[core::kRcx]), value))
    return cpu.raise(Vector::kGP);
  return true;
}

bool tsc_readable(Vcpu& cpu) {
  return cpu.state.cpl == 0 || !(cpu.state.cr4 & core::kCr4Tsd) || cpu.raise(Vector::kGP);
}

bool rdtsc(Vcpu& cpu, const Insn&) {
  if (!tsc_readable(cpu)) return false;
  write_edx_eax(cpu, cpu.tsc());
  return true;
}

bool rdtscp(Vcpu& cpu, const Insn&) {
  if (!tsc_readable(cpu)) return false;
  write_edx_eax(cpu, cpu.tsc());
  cpu.state.gpr[core::kRcx] = cpu.state.tsc_aux & kLow32;
  return true;
}

// The four counters exist but count nothing.
bool rdpmc(Vcpu& cpu, const Insn&) {
  constexpr u32 kCounters = 4;
  const bool allowed = cpu.state.cpl == 0 || (cpu.state.cr4 & core::kCr4Pce);
  if (!allowed || static_cast<u32>(cpu.state.gpr[core::kRcx]) >= kCounters) return cpu.raise(Vector::kGP);
  write_edx_eax(cpu, 0);
  return true;
}

bool rdpid(Vcpu& cpu, const Insn& insn) {
  write_gpr<u64>(cpu, insn.op[0].reg, cpu.state.tsc_aux);
  return true;
}

constexpr Row kRows[] = {
    row<rdmsr>(ZYDIS_MNEMONIC_RDMSR), row_ends<wrmsr>(ZYDIS_MNEMONIC_WRMSR),
    row<rdtsc>(ZYDIS_MNEMONIC_RDTSC), row<rdtscp>(ZYDIS_MNEMONIC_RDTSCP),
    row<rdpmc>(ZYDIS_MNEMONIC_RDPMC), row<rdpid>(ZYDIS_MNEMONIC_RDPID),
};

}  // namespace

const Rows kMsrRows = kRows;

}  // namespace doppel::interp
