// FXSAVE and FXRSTOR, the XSAVE family, and XCR0. Sources: SDM Vol. 1 ch. 13, "Managing State Using the XSAVE
// Feature Set", and section 10.5; AMD APM Vol. 2, section 11.5.
#include <array>

#include "jit/interp/families.hpp"
#include "jit/interp/legacy_region.hpp"
#include "jit/interp/x87.hpp"

namespace doppel::interp {
namespace {

using core::Feature;
using core::kXcr0Avx;
using core::kXcr0Sse;
using core::kXcr0X87;
using x87::X87Register;
using x87::X87State;
using namespace legacy_region;

constexpr u32 kMxcsrDefault = 0x1f80;

struct Header {
  u64 xstate_bv = 0, xcomp_bv = 0;
  std::array<u64, 6> reserved{};
};
static_assert(sizeof(Header) == core::kXsaveHeaderSize);
constexpr u64 kCompacted = u64{1} << 63;

// Registers that the mode reaches: XMM0-7 outside 64-bit mode.
u32 vector_count(const Vcpu& cpu) {
  return core::code64(cpu.state) ? 16 : 8;
}

// ---------------------------------------------------------------------------------------------------------------
// Memory.

// Linear address of the operand, which must be aligned; #GP(0) otherwise.
bool aligned_address(Vcpu& cpu, const Insn& insn, u32 size, u32 alignment, mmu::Access access, u64& la) {
  if (!linear_address(cpu, insn, effective_address(cpu, insn), size, access, la)) return false;
  if (la & (alignment - 1)) return cpu.raise(Vector::kGP);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// FXSAVE, FXRSTOR.

template <bool kWide>
bool fxsave(Vcpu& cpu, const Insn& insn) {
  u64 la;
  if (!x87::available(cpu)) return false;
  if (!aligned_address(cpu, insn, core::kXsaveLegacySize, 16, mmu::Access::kWrite, la)) return false;
  Bytes bytes;
  // What is not written (registers that the mode does not reach, the software's own 48 bytes) keeps its
  // value.
  if (!cpu.mmu.probe(la, core::kXsaveLegacySize, mmu::Access::kWrite) ||
      !cpu.mmu.read_bytes(la, bytes.data(), core::kXsaveLegacySize))
    return memory_fault(cpu, insn.segment);
  put_x87(cpu.state.x87, bytes, kWide);
  put_mxcsr(cpu.state.mxcsr, bytes);
  put_xmm(cpu.state, vector_count(cpu), bytes);
  return cpu.mmu.write_bytes(la, bytes.data(), kSoftwareOffset) || memory_fault(cpu, insn.segment);
}

template <bool kWide>
bool fxrstor(Vcpu& cpu, const Insn& insn) {
  u64 la;
  if (!x87::available(cpu)) return false;
  if (!aligned_address(cpu, insn, core::kXsaveLegacySize, 16, mmu::Access::kRead, la)) return false;
  Bytes bytes;
  if (!cpu.mmu.read_bytes(la, bytes.data(), core::kXsaveLegacySize)) return memory_fault(cpu, insn.segment);
  if (mxcsr_of(bytes) & ~kMxcsrMask) return cpu.raise(Vector::kGP);
  take_x87(cpu.state.x87, bytes, kWide);
  cpu.state.mxcsr = mxcsr_of(bytes);
  take_xmm(cpu.state, vector_count(cpu), bytes);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// The XSAVE family.

bool xsave_enabled(Vcpu& cpu, Feature feature) {
  if (!cpu.model.has(feature) || !(cpu.state.cr4 & core::kCr4Osxsave)) return cpu.raise(Vector::kUD);
  return true;
}
bool xsave_ready(Vcpu& cpu, Feature feature) {
  if (!xsave_enabled(cpu, feature)) return false;
  if (cpu.state.cr0 & core::kCr0Ts) return cpu.raise(Vector::kNM);
  return true;
}

u64 edx_eax(const Vcpu& cpu) {
  return (cpu.state.gpr[core::kRdx] << 32) | (cpu.state.gpr[core::kRax] & 0xffff'ffff);
}

bool x87_initial(const X87State& x) {
  constexpr X87State kInitial;
  for (const X87Register& r : x.physical)
    if (r.significand | r.sign_exponent) return false;
  return x.control == kInitial.control && !x.status && !x.top && !x.valid && !x.opcode && !x.instruction &&
         !x.data && !x.instruction_segment && !x.data_segment;
}

// XINUSE: the components that are not in their initial configuration.
u64 in_use(const Vcpu& cpu) {
  u64 xmm = 0, upper = 0;
  for (const core::VectorRegister& v : cpu.state.vec) {
    xmm |= v.q[0] | v.q[1];
    upper |= v.q[2] | v.q[3];
  }
  return (x87_initial(cpu.state.x87) ? 0 : kXcr0X87) | (xmm ? kXcr0Sse : 0) | (upper ? kXcr0Avx : 0);
}

using UpperHalves = std::array<std::array<u64, 2>, 16>;  // AVX component: bits 128-255 of YMM0-15
static_assert(sizeof(UpperHalves) == core::kXsaveAvxSize);

enum class Form { kPlain, kOptimized, kCompact };

// XSAVE writes all requested components; XSAVEOPT and XSAVEC only those in use.
template <Form kForm, bool kWide, Feature kFeature>
bool xsave(Vcpu& cpu, const Insn& insn) {
  if (!xsave_ready(cpu, kFeature)) return false;
  constexpr u32 kBase = core::kXsaveLegacySize + core::kXsaveHeaderSize;
  const u64 requested = cpu.state.xcr0 & edx_eax(cpu);
  const u32 size = kBase + (requested & kXcr0Avx ? core::kXsaveAvxSize : 0);
  u64 la;
  if (!aligned_address(cpu, insn, size, 64, mmu::Access::kWrite, la)) return false;
  struct {
    Bytes legacy;
    Header header;
  } area;
  if (!cpu.mmu.probe(la, size, mmu::Access::kWrite) || !cpu.mmu.read_bytes(la, &area, kBase))
    return memory_fault(cpu, insn.segment);

  u64 used = in_use(cpu);
  if (kForm == Form::kCompact && cpu.state.mxcsr != kMxcsrDefault) used |= kXcr0Sse;
  const u64 written = kForm == Form::kPlain ? requested : requested & used;
  if (written & kXcr0X87) put_x87(cpu.state.x87, area.legacy, kWide);
  if (written & kXcr0Sse) put_xmm(cpu.state, vector_count(cpu), area.legacy);
  if (kForm == Form::kCompact ? written & kXcr0Sse : requested & (kXcr0Sse | kXcr0Avx))
    put_mxcsr(cpu.state.mxcsr, area.legacy);
  if (kForm == Form::kCompact) {
    area.header.xstate_bv = requested & used;
    area.header.xcomp_bv = requested | kCompacted;
  } else {
    area.header.xstate_bv = (area.header.xstate_bv & ~requested) | (requested & used);
  }
  // AVX is the only component beyond the legacy region, so its offset is the same in both formats.
  if (written & kXcr0Avx) {
    UpperHalves upper{};
    for (u32 i = 0; i < vector_count(cpu); ++i) std::memcpy(&upper[i], &cpu.state.vec[i].q[2], 16);
    if (!cpu.mmu.write_bytes(la + core::kXsaveAvxOffset, upper.data(), vector_count(cpu) * 16))
      return memory_fault(cpu, insn.segment);
  }
  return (cpu.mmu.write_bytes(la, &area.legacy, kSoftwareOffset) &&
          cpu.mmu.write_bytes(la + core::kXsaveLegacySize, &area.header, 2 * sizeof(u64))) ||
         memory_fault(cpu, insn.segment);
}

bool header_valid(const Vcpu& cpu, const Header& h) {
  u64 reserved = 0;
  for (const u64 word : h.reserved) reserved |= word;
  if (h.xcomp_bv & kCompacted) {
    const u64 components = h.xcomp_bv & ~kCompacted;
    return cpu.model.has(Feature::kXsavec) && !reserved && !(components & ~cpu.state.xcr0) &&
           !(h.xstate_bv & ~components);
  }
  return !h.xcomp_bv && !h.reserved[0] && !(h.xstate_bv & ~cpu.state.xcr0);
}

template <bool kWide>
bool xrstor(Vcpu& cpu, const Insn& insn) {
  if (!xsave_ready(cpu, Feature::kXsave)) return false;
  auto& s = cpu.state;
  constexpr u32 kBase = core::kXsaveLegacySize + core::kXsaveHeaderSize;
  const u64 requested = s.xcr0 & edx_eax(cpu);
  const u32 size = kBase + (requested & kXcr0Avx ? core::kXsaveAvxSize : 0);
  u64 la;
  if (!aligned_address(cpu, insn, size, 64, mmu::Access::kRead, la)) return false;
  struct {
    Bytes legacy;
    Header header;
  } area;
  if (!cpu.mmu.read_bytes(la, &area, kBase)) return memory_fault(cpu, insn.segment);
  const Header& header = area.header;
  if (!header_valid(cpu, header)) return cpu.raise(Vector::kGP);

  const bool compact = header.xcomp_bv & kCompacted;
  const u64 loaded = requested & header.xstate_bv;
  const bool load_mxcsr = compact ? loaded & kXcr0Sse : requested & (kXcr0Sse | kXcr0Avx);
  if (load_mxcsr && mxcsr_of(area.legacy) & ~kMxcsrMask) return cpu.raise(Vector::kGP);
  UpperHalves upper{};
  if (loaded & kXcr0Avx && !cpu.mmu.read_bytes(la + core::kXsaveAvxOffset, upper.data(), sizeof upper))
    return memory_fault(cpu, insn.segment);

  if (loaded & kXcr0X87)
    take_x87(cpu.state.x87, area.legacy, kWide);
  else if (requested & kXcr0X87)
    s.x87 = {};
  if (load_mxcsr)
    s.mxcsr = mxcsr_of(area.legacy);
  else if (requested & kXcr0Sse)
    s.mxcsr = kMxcsrDefault;
  if (requested & kXcr0Sse) {
    if (!(loaded & kXcr0Sse)) std::memset(area.legacy.data() + kXmmOffset, 0, 16 * 16);
    take_xmm(cpu.state, vector_count(cpu), area.legacy);
  }
  if (requested & kXcr0Avx)
    for (u32 i = 0; i < vector_count(cpu); ++i) std::memcpy(&s.vec[i].q[2], &upper[i], 16);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Extended control registers.

bool xgetbv(Vcpu& cpu, const Insn&) {
  if (!xsave_enabled(cpu, Feature::kXsave)) return false;
  auto& s = cpu.state;
  const u32 index = static_cast<u32>(s.gpr[core::kRcx]);
  if (index > 1 || (index == 1 && !cpu.model.has(Feature::kXgetbv1))) return cpu.raise(Vector::kGP);
  const u64 value = index == 0 ? s.xcr0 : s.xcr0 & in_use(cpu);
  s.gpr[core::kRax] = value & 0xffff'ffff;
  s.gpr[core::kRdx] = value >> 32;
  return true;
}

bool xsetbv(Vcpu& cpu, const Insn&) {
  if (!xsave_enabled(cpu, Feature::kXsave)) return false;
  auto& s = cpu.state;
  const u64 value = edx_eax(cpu);
  const bool valid = static_cast<u32>(s.gpr[core::kRcx]) == 0 && value & kXcr0X87 &&
                     !(value & ~cpu.model.xcr0_mask()) && (!(value & kXcr0Avx) || value & kXcr0Sse);
  if (s.cpl != 0 || !valid) return cpu.raise(Vector::kGP);
  s.xcr0 = value;
  return true;
}

constexpr Row kRows[] = {
    row<fxsave<false>>(ZYDIS_MNEMONIC_FXSAVE),
    row<fxsave<true>>(ZYDIS_MNEMONIC_FXSAVE64),
    row<fxrstor<false>>(ZYDIS_MNEMONIC_FXRSTOR),
    row<fxrstor<true>>(ZYDIS_MNEMONIC_FXRSTOR64),
    row<xsave<Form::kPlain, false, Feature::kXsave>>(ZYDIS_MNEMONIC_XSAVE),
    row<xsave<Form::kPlain, true, Feature::kXsave>>(ZYDIS_MNEMONIC_XSAVE64),
    row<xsave<Form::kOptimized, false, Feature::kXsaveopt>>(ZYDIS_MNEMONIC_XSAVEOPT),
    row<xsave<Form::kOptimized, true, Feature::kXsaveopt>>(ZYDIS_MNEMONIC_XSAVEOPT64),
    row<xsave<Form::kCompact, false, Feature::kXsavec>>(ZYDIS_MNEMONIC_XSAVEC),
    row<xsave<Form::kCompact, true, Feature::kXsavec>>(ZYDIS_MNEMONIC_XSAVEC64),
    row<xrstor<false>>(ZYDIS_MNEMONIC_XRSTOR),
    row<xrstor<true>>(ZYDIS_MNEMONIC_XRSTOR64),
    row<xgetbv>(ZYDIS_MNEMONIC_XGETBV),
    row_ends<xsetbv>(ZYDIS_MNEMONIC_XSETBV),
};

}  // namespace

const Rows kXsaveRows = kRows;

}  // namespace doppel::interp
