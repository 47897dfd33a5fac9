#include "jit/direct/guest_registers.hpp"

#include <cstring>

#include "core/cpuid.hpp"
#include "jit/interp/legacy_region.hpp"
#include "jit/interp/segment.hpp"

namespace doppel::jit::direct {

using core::CpuState;
namespace legacy = interp::legacy_region;

namespace {

// What user code sees and changes of RFLAGS; the rest is the system's.
constexpr u64 kUserFlags = core::kArithmeticFlags | core::kTf | core::kDf | core::kAc | core::kId;

// Member of user_regs_struct for each general register, in the order of core::Gpr.
constexpr unsigned long long user_regs_struct::*kGpr[] = {
    &user_regs_struct::rax, &user_regs_struct::rcx, &user_regs_struct::rdx, &user_regs_struct::rbx,
    &user_regs_struct::rsp, &user_regs_struct::rbp, &user_regs_struct::rsi, &user_regs_struct::rdi,
    &user_regs_struct::r8,  &user_regs_struct::r9,  &user_regs_struct::r10, &user_regs_struct::r11,
    &user_regs_struct::r12, &user_regs_struct::r13, &user_regs_struct::r14, &user_regs_struct::r15};

// In the order of core::Segment.
constexpr unsigned long long user_regs_struct::*kSelector[] = {&user_regs_struct::es, &user_regs_struct::cs,
                                                               &user_regs_struct::ss, &user_regs_struct::ds,
                                                               &user_regs_struct::fs, &user_regs_struct::gs};

legacy::View legacy_of(std::vector<u8>& image) {
  return legacy::View(image.data(), core::kXsaveLegacySize);
}

}  // namespace

bool representable(const Vcpu& cpu, const user_regs_struct& host, const user_regs_struct& last) {
  const CpuState& s = cpu.state;
  if (s.cpl != 3 || s.code_bits != 64 || s.interrupt_shadow) return false;
  if ((s.rflags ^ last.eflags) & core::kId) return false;  // ptrace does not set it
  constexpr u64 kLooked = core::kTf | core::kIf | core::kIopl | core::kNt | core::kVm;
  if ((s.rflags & kLooked) != core::kIf || core::breakpoints_enabled(s)) return false;
  if ((s.cr0 & (core::kCr0Em | core::kCr0Ts)) || !(s.cr4 & core::kCr4Osfxsr)) return false;
  if (cpu.model.has(core::Feature::kAvx) && (!(s.cr4 & core::kCr4Osxsave) || (s.xcr0 & 6) != 6)) return false;
  if (cpu.model.has(core::Feature::kFsgsbase) && !(s.cr4 & core::kCr4Fsgsbase)) return false;
  for (u32 i = 0; i < core::kSegmentCount; ++i)
    if (s.segment[i].selector != host.*kSelector[i]) return false;
  return true;
}

unsigned long long& general_register(user_regs_struct& registers, u32 number) {
  return registers.*kGpr[number];
}

void to_host(const CpuState& state, user_regs_struct& to) {
  for (u32 i = 0; i < std::size(kGpr); ++i) to.*kGpr[i] = state.gpr[i];
  to.rip = state.rip;
  to.eflags = (core::rflags(state) & kUserFlags) | core::kIf | core::kFlagsFixed;
  to.fs_base = state.segment[core::kFs].base;
  to.gs_base = state.segment[core::kGs].base;
}

void from_host(Vcpu& cpu, const user_regs_struct& from, const user_regs_struct& initial) {
  CpuState& s = cpu.state;
  for (u32 i = 0; i < std::size(kGpr); ++i) s.gpr[i] = from.*kGpr[i];
  s.rip = from.rip;
  core::set_rflags(s, (s.rflags & ~(kUserFlags | core::kRf)) | (from.eflags & kUserFlags));
  if (s.rflags & core::kTf) s.attention = 1;  // the dispatcher has to see it
  for (const core::Segment segment : {core::kEs, core::kDs, core::kFs, core::kGs})
    if (from.*kSelector[segment] != initial.*kSelector[segment])
      // The host's descriptor was loaded; where the guest has none there, its register stays as it was.
      if (!interp::load_segment(cpu, segment, static_cast<u16>(from.*kSelector[segment])))
        s.fault.pending = false;
  if (from.cs != initial.cs) {
    s.segment[core::kCs] =
        interp::flat_code_segment(static_cast<u16>(from.cs), interp::FlatCode::kCompatibility);
    interp::code_segment_changed(cpu);
  }
  s.segment[core::kFs].base = from.fs_base;
  s.segment[core::kGs].base = from.gs_base;
  cpu.mmu.mode_changed();  // AC
}

void put_vectors(const Vcpu& cpu, std::vector<u8>& image) {
  const CpuState& s = cpu.state;
  legacy::put_x87(s.x87, legacy_of(image), true);
  legacy::put_mxcsr(s.mxcsr, legacy_of(image));
  legacy::put_xmm(s, 16, legacy_of(image));
  u64 components;  // XSTATE_BV
  std::memcpy(&components, image.data() + core::kXsaveLegacySize, sizeof components);
  components |= core::kXcr0X87 | core::kXcr0Sse;
  if (cpu.model.has(core::Feature::kAvx)) {
    components |= core::kXcr0Avx;
    for (u32 i = 0; i < 16; ++i)
      std::memcpy(image.data() + core::kXsaveAvxOffset + i * 16, &s.vec[i].q[2], 16);
  }
  std::memcpy(image.data() + core::kXsaveLegacySize, &components, sizeof components);
}

void take_vectors(Vcpu& cpu, const std::vector<u8>& image) {
  CpuState& s = cpu.state;
  const legacy::ConstView bytes(image.data(), core::kXsaveLegacySize);
  legacy::take_x87(s.x87, bytes, true);
  s.mxcsr = legacy::mxcsr_of(bytes);
  legacy::take_xmm(s, 16, bytes);
  if (cpu.model.has(core::Feature::kAvx))
    for (u32 i = 0; i < 16; ++i)
      std::memcpy(&s.vec[i].q[2], image.data() + core::kXsaveAvxOffset + i * 16, 16);
}

}  // namespace doppel::jit::direct
