#include "jit/interp/reset.hpp"

#include "core/msr.hpp"
#include "jit/interp/segment.hpp"

namespace doppel::interp {

using core::CpuState;

namespace {

constexpr u16 kPresent = core::kSegPresent;
constexpr u16 kData = kPresent | core::kSegS | core::kSegWritable | core::kSegAccessed;
constexpr u16 kCode = kPresent | core::kSegS | core::kSegCode | core::kSegReadable | core::kSegAccessed;
constexpr u16 kLdt = kPresent | static_cast<u16>(SystemType::kLdt);
constexpr u16 kTss = kPresent | static_cast<u16>(SystemType::kTss32Busy);
constexpr u32 kLimit = 0xffff;

// What RESET and INIT have in common.
void reset_core(CpuState& s, const core::CpuModel& model, bool bootstrap_processor) {
  s.gpr = {};
  s.gpr[core::kRdx] = model.cpuid(1, 0, s).eax;  // the processor's signature
  core::set_rflags(s, 0);
  s.rip = 0xfff0;
  s.segment.fill({0, kLimit, 0, kData});
  s.segment[core::kCs] = {0xffff'0000, kLimit, 0xf000, kCode};
  s.ldtr = {0, kLimit, 0, kLdt};
  s.tr = {0, kLimit, 0, kTss};
  s.gdtr = s.idtr = {0, static_cast<u16>(kLimit)};
  s.cr0 = core::kCr0Et | (s.cr0 & (core::kCr0Cd | core::kCr0Nw));
  s.cr2 = s.cr3 = s.cr4 = s.cr8 = 0;
  s.efer = 0;
  s.pdpte = {};
  s.dr = {};
  s.dr[6] = 0xffff'0ff0;
  s.dr[7] = 0x400;
  s.fault = {};
  s.debug_hits = 0;
  s.cpl = 0;
  s.code_bits = 16;
  s.interrupt_shadow = s.nmi_blocked = false;
  s.activity = bootstrap_processor ? core::Activity::kRunning : core::Activity::kWaitForSipi;
}

void synchronize(jit::Vcpu& cpu) {
  code_segment_changed(cpu);
  cpu.mmu.flush_all();
  cpu.state.attention = 1;
}

}  // namespace

void reset(CpuState& s, const core::CpuModel& model, bool bootstrap_processor) {
  s.cr0 = core::kCr0Cd | core::kCr0Nw;
  s.xcr0 = 1;
  reset_core(s, model, bootstrap_processor);

  const CpuState fresh;
  s.star = s.lstar = s.cstar = s.sfmask = s.kernel_gs_base = s.tsc_aux = 0;
  s.sysenter_cs = s.sysenter_esp = s.sysenter_eip = 0;
  s.pat = fresh.pat;
  s.mtrr_def_type = 0;
  s.mtrr_fixed = {};
  s.mtrr_variable = {};
  s.misc_enable = 1;  // fast strings
  s.spec_ctrl = s.mcg_status = s.tsc_offset = s.tsc_adjust = 0;

  s.mxcsr = fresh.mxcsr;
  s.vec = {};
  s.x87 = {};
  s.x87.control = 0x40;  // not FNINIT's 0x37f
  s.x87.valid = 0xff;    // registers hold +0.0, tagged as such
}

void reset(jit::Vcpu& cpu, bool bootstrap_processor) {
  reset(cpu.state, cpu.model, bootstrap_processor);
  synchronize(cpu);
}

void initialize(jit::Vcpu& cpu) {
  constexpr u64 kBootstrapProcessor = 1u << 8;
  u64 apic_base = kBootstrapProcessor;
  static_cast<void>(cpu.interrupts.read_msr(core::msr::kApicBase, apic_base));
  reset_core(cpu.state, cpu.model, apic_base & kBootstrapProcessor);
  synchronize(cpu);
}

void start_up(jit::Vcpu& cpu, u8 vector) {
  CpuState& s = cpu.state;
  if (s.activity != core::Activity::kWaitForSipi) return;
  s.segment[core::kCs].selector = static_cast<u16>(vector << 8);
  s.segment[core::kCs].base = u64{vector} << 12;
  s.rip = 0;
  s.activity = core::Activity::kRunning;
  s.attention = 1;
}

}  // namespace doppel::interp
