#include "jit/interp/segment.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"

namespace doppel::interp {

using core::CpuState;
using core::SegmentRegister;

namespace {

constexpr u16 kRealAttributes = core::kSegPresent | core::kSegS | core::kSegWritable | core::kSegAccessed;

u8 requested_privilege(u16 selector) {
  return selector & 3;
}

}  // namespace

bool segment_permits(const CpuState& s, const SegmentRegister& r, u64 offset, u32 size, mmu::Access access) {
  const u64 last = offset + size - 1;
  if (core::real_mode(s)) return last <= r.limit;
  if (!(r.attributes & core::kSegPresent)) return false;
  const bool type_allows =
      access == mmu::Access::kWrite ? is_writable_data(r.attributes) : is_readable(r.attributes);
  if (!type_allows) return false;
  const bool expand_down = (r.attributes & (core::kSegCode | core::kSegExpandDown)) == core::kSegExpandDown;
  if (!expand_down) return last <= r.limit;
  const u64 top = r.attributes & core::kSegDb ? 0xffff'ffff : 0xffff;
  return offset > r.limit && last <= top;
}

bool segmented_address(Vcpu& cpu, core::Segment segment, u64 offset, u32 size, mmu::Access access, u64& la) {
  const SegmentRegister& r = cpu.state.segment[segment];
  if (!segment_permits(cpu.state, r, offset, size, access)) [[unlikely]]
    return cpu.raise(segment == core::kSs ? Vector::kSS : Vector::kGP);
  la = (r.base + offset) & 0xffff'ffff;
  return true;
}

SegmentRegister real_segment(const SegmentRegister& old, u16 selector) {
  SegmentRegister out = old;
  if (!(old.attributes & core::kSegPresent)) {
    out.limit = 0xffff;
    out.attributes = kRealAttributes;
  }
  out.selector = selector;
  out.base = u64{selector} << 4;
  return out;
}

SegmentRegister virtual_8086_segment(u16 selector) {
  return {u64{selector} << 4, 0xffff, selector, kRealAttributes | 3u << core::kSegDplShift};
}

bool check_stack_segment(Vcpu& cpu, u16 selector, u8 cpl, Vector on_error, bool null_allowed,
                         SegmentRegister& out) {
  if (null_selector(selector)) {
    if (!null_allowed || cpl == 3 || requested_privilege(selector) != cpl) return cpu.raise(on_error);
    out = {.selector = selector};
    return true;
  }
  Descriptor d;
  if (!require_descriptor(cpu, selector, on_error, d)) return false;
  if (requested_privilege(selector) != cpl || d.dpl() != cpl || !is_writable_data(d.attributes()))
    return cpu.raise(on_error, selector_error(selector));
  if (!d.present()) return cpu.raise(Vector::kSS, selector_error(selector));
  if (!mark_accessed(cpu, selector, d)) return false;
  out = segment_register(selector, d);
  return true;
}

bool check_data_segment(Vcpu& cpu, u16 selector, u8 cpl, Vector on_error, SegmentRegister& out) {
  if (null_selector(selector)) {
    out = {.selector = selector};
    return true;
  }
  Descriptor d;
  if (!require_descriptor(cpu, selector, on_error, d)) return false;
  const bool any_privilege = is_code(d.attributes()) && is_conforming(d.attributes());
  if (!is_readable(d.attributes()) ||
      (!any_privilege && std::max(requested_privilege(selector), cpl) > d.dpl()))
    return cpu.raise(on_error, selector_error(selector));
  if (!d.present()) return cpu.raise(Vector::kNP, selector_error(selector));
  if (!mark_accessed(cpu, selector, d)) return false;
  out = segment_register(selector, d);
  return true;
}

namespace {

[[nodiscard]] bool load_without_shadow(Vcpu& cpu, core::Segment segment, u16 selector) {
  CpuState& s = cpu.state;
  SegmentRegister& target = s.segment[segment];
  if (core::real_mode(s)) {
    target = real_segment(target, selector);
    return true;
  }
  if (core::virtual_8086(s)) {
    target = virtual_8086_segment(selector);
    return true;
  }
  SegmentRegister loaded;
  const bool ok = segment == core::kSs
                      ? check_stack_segment(cpu, selector, s.cpl, Vector::kGP, core::code64(s), loaded)
                      : check_data_segment(cpu, selector, s.cpl, Vector::kGP, loaded);
  if (!ok) return false;
  target = loaded;
  return true;
}

}  // namespace

bool load_segment(Vcpu& cpu, core::Segment segment, u16 selector) {
  if (!load_without_shadow(cpu, segment, selector)) return false;
  if (segment == core::kSs) {
    cpu.state.interrupt_shadow = true;
    cpu.state.attention = 1;
  }
  return true;
}

void null_inaccessible_segments(CpuState& s) {
  for (const core::Segment i : {core::kEs, core::kDs, core::kFs, core::kGs}) {
    const u16 attributes = s.segment[i].attributes;
    const bool any_privilege = is_code(attributes) && is_conforming(attributes);
    if ((attributes & core::kSegPresent) && !any_privilege && core::dpl(s.segment[i]) < s.cpl)
      s.segment[i] = {};
  }
}

void code_segment_changed(Vcpu& cpu) {
  CpuState& s = cpu.state;
  const SegmentRegister& cs = s.segment[core::kCs];
  const bool is64 = core::long_mode(s) && (cs.attributes & core::kSegL);
  s.code_bits = is64 ? 64 : cs.attributes & core::kSegDb ? 32 : 16;
  s.cpl = core::real_mode(s)      ? 0
          : core::virtual_8086(s) ? 3
                                  : static_cast<u8>(requested_privilege(cs.selector));
  cpu.mmu.mode_changed();
}

SegmentRegister flat_code_segment(u16 selector, FlatCode size) {
  const u32 attributes = core::kSegPresent | core::kSegS | core::kSegCode | core::kSegReadable |
                         core::kSegAccessed | core::kSegG | (selector & 3u) << core::kSegDplShift |
                         (size == FlatCode::k64 ? core::kSegL : core::kSegDb);
  return {0, 0xffff'ffff, selector, static_cast<u16>(attributes)};
}

SegmentRegister flat_stack_segment(u16 selector) {
  const u32 attributes = kRealAttributes | core::kSegG | core::kSegDb | (selector & 3u) << core::kSegDplShift;
  return {0, 0xffff'ffff, selector, static_cast<u16>(attributes)};
}

void load_rflags(CpuState& s, u64 value) {
  // RF only holds off instruction breakpoints.
  if (!core::breakpoints_enabled(s)) value &= ~core::kRf;
  core::set_rflags(s, value);
  constexpr u64 kNeedDispatcher = core::kTf | core::kRf;
  if ((value & kNeedDispatcher) || ((value & core::kIf) && s.pending.load(std::memory_order_relaxed) != 0))
    s.attention = 1;
}

// ---------------------------------------------------------------------------------------------------------------

namespace {

// LDS, LES, LFS, LGS, LSS: offset first, selector above it.
template <core::Segment kSegment>
bool load_far_pointer(Vcpu& cpu, const Insn& insn) {
  return by_size(insn.op_size, [&]<class T>() {
    std::array<u8, sizeof(T) + 2> image{};
    if (!load(cpu, insn, image)) return false;
    T offset;
    u16 selector;
    std::memcpy(&offset, image.data(), sizeof offset);
    std::memcpy(&selector, image.data() + sizeof offset, sizeof selector);
    if (!load_without_shadow(cpu, kSegment, selector)) return false;
    write_gpr<T>(cpu, insn.op[0].reg, offset);
    return true;
  });
}

bool protected_only(Vcpu& cpu) {
  return !real_segments(cpu.state) || cpu.raise(Vector::kUD);
}

// LAR, LSL, VERR and VERW report what a load of the selector would meet in ZF instead of faulting.
// `legacy_types`, `long_types`: the system descriptor types the instruction accepts, one bit each.
enum class Probe : u8 { kDenied, kGranted, kFaulted };

Probe probe_selector(Vcpu& cpu, u16 selector, u32 legacy_types, u32 long_types, Descriptor& d) {
  if (null_selector(selector)) return Probe::kDenied;
  switch (lookup_descriptor(cpu, selector, d)) {
    case Lookup::kOutside:
      return Probe::kDenied;
    case Lookup::kFaulted:
      return Probe::kFaulted;
    case Lookup::kFound:
      break;
  }
  if (d.is_segment()) {
    if (is_code(d.attributes()) && is_conforming(d.attributes())) return Probe::kGranted;
  } else {
    const u32 types = core::long_mode(cpu.state) ? long_types : legacy_types;
    if (!(types >> static_cast<u32>(d.type()) & 1)) return Probe::kDenied;
  }
  return std::max(requested_privilege(selector), cpu.state.cpl) <= d.dpl() ? Probe::kGranted : Probe::kDenied;
}

void set_zf(Vcpu& cpu, bool value) {
  set_flags(cpu.state, core::kZf, value ? core::kZf : 0);
}

constexpr u32 kLarLegacy = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
constexpr u32 kLarLong = 1u << 2 | 1u << 9 | 1u << 11 | 1u << 12;
constexpr u32 kLslLegacy = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11;
constexpr u32 kLslLong = 1u << 2 | 1u << 9 | 1u << 11;

u32 access_rights(const Descriptor& d) {
  return static_cast<u32>(d.low >> 32) & 0x00ff'ff00;
}
u32 limit_of(const Descriptor& d) {
  return d.limit();
}

template <u32 (*kValue)(const Descriptor&), u32 kLegacyTypes, u32 kLongTypes>
bool load_attribute(Vcpu& cpu, const Insn& insn) {
  u16 selector = 0;
  if (!protected_only(cpu) || !read_rm(cpu, insn, insn.op[1], selector)) return false;
  Descriptor d;
  const Probe result = probe_selector(cpu, selector, kLegacyTypes, kLongTypes, d);
  if (result == Probe::kFaulted) return false;
  if (result == Probe::kGranted)
    by_size(insn.op_size, [&]<class T>() { write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(kValue(d))); });
  set_zf(cpu, result == Probe::kGranted);
  return true;
}

template <bool (*kAcceptable)(u32 attributes)>
bool verify(Vcpu& cpu, const Insn& insn) {
  u16 selector = 0;
  if (!protected_only(cpu) || !read_rm(cpu, insn, insn.op[0], selector)) return false;
  Descriptor d;
  const Probe result = probe_selector(cpu, selector, 0, 0, d);
  if (result == Probe::kFaulted) return false;
  set_zf(cpu, result == Probe::kGranted && kAcceptable(d.attributes()));
  return true;
}

bool arpl(Vcpu& cpu, const Insn& insn) {
  u16 selector = 0;
  if (!protected_only(cpu) || !read_rm(cpu, insn, insn.op[0], selector)) return false;
  const u16 wanted = read_gpr<u16>(cpu, insn.op[1].reg) & 3;
  const bool adjust = requested_privilege(selector) < wanted;
  if (adjust && !write_rm(cpu, insn, insn.op[0], static_cast<u16>((selector & ~3) | wanted))) return false;
  set_zf(cpu, adjust);
  return true;
}

bool swapgs(Vcpu& cpu, const Insn&) {
  CpuState& s = cpu.state;
  if (s.cpl != 0) return cpu.raise(Vector::kGP);
  std::swap(s.segment[core::kGs].base, s.kernel_gs_base);
  return true;
}

template <core::Segment kSegment>
bool read_base(Vcpu& cpu, const Insn& insn) {
  if (!(cpu.state.cr4 & core::kCr4Fsgsbase)) return cpu.raise(Vector::kUD);
  const u64 base = cpu.state.segment[kSegment].base;
  by_size(insn.op[0].size, [&]<class T>() { write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(base)); });
  return true;
}

template <core::Segment kSegment>
bool write_base(Vcpu& cpu, const Insn& insn) {
  if (!(cpu.state.cr4 & core::kCr4Fsgsbase)) return cpu.raise(Vector::kUD);
  const u64 base =
      insn.op[0].size == 8 ? read_gpr<u64>(cpu, insn.op[0].reg) : read_gpr<u32>(cpu, insn.op[0].reg);
  if (!mmu::canonical(cpu.state, base)) return cpu.raise(Vector::kGP);
  cpu.state.segment[kSegment].base = base;
  return true;
}

constexpr Row kRows[] = {
    row_ends<load_far_pointer<core::kDs>>(ZYDIS_MNEMONIC_LDS),
    row_ends<load_far_pointer<core::kEs>>(ZYDIS_MNEMONIC_LES),
    row_ends<load_far_pointer<core::kFs>>(ZYDIS_MNEMONIC_LFS),
    row_ends<load_far_pointer<core::kGs>>(ZYDIS_MNEMONIC_LGS),
    row_ends<load_far_pointer<core::kSs>>(ZYDIS_MNEMONIC_LSS),
    row<load_attribute<access_rights, kLarLegacy, kLarLong>>(ZYDIS_MNEMONIC_LAR),
    row<load_attribute<limit_of, kLslLegacy, kLslLong>>(ZYDIS_MNEMONIC_LSL),
    row<verify<is_readable>>(ZYDIS_MNEMONIC_VERR),
    row<verify<is_writable_data>>(ZYDIS_MNEMONIC_VERW),
    row<arpl>(ZYDIS_MNEMONIC_ARPL),
    row<swapgs>(ZYDIS_MNEMONIC_SWAPGS),
    row<read_base<core::kFs>>(ZYDIS_MNEMONIC_RDFSBASE),
    row<read_base<core::kGs>>(ZYDIS_MNEMONIC_RDGSBASE),
    row<write_base<core::kFs>>(ZYDIS_MNEMONIC_WRFSBASE),
    row<write_base<core::kGs>>(ZYDIS_MNEMONIC_WRGSBASE),
};

}  // namespace

const Rows kSegmentRows = kRows;

}  // namespace doppel::interp
