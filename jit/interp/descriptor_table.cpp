#include "jit/interp/descriptor_table.hpp"

#include <array>

#include "jit/interp/families.hpp"

namespace doppel::interp {

using core::CpuState;

namespace {

// Whether long mode gives this system descriptor 16 bytes.
bool is_long_system(const Descriptor& d) {
  switch (d.type()) {
    case SystemType::kLdt:
    case SystemType::kTss32:
    case SystemType::kTss32Busy:
    case SystemType::kCallGate32:
      return true;
    default:
      return false;
  }
}

}  // namespace

Lookup lookup_descriptor(Vcpu& cpu, u16 selector, Descriptor& out) {
  constexpr u16 kTableIndicator = 4;
  const CpuState& s = cpu.state;
  const bool local = selector & kTableIndicator;
  if (local && !(s.ldtr.attributes & core::kSegPresent)) return Lookup::kOutside;
  const u64 base = local ? s.ldtr.base : s.gdtr.base;
  const u32 limit = local ? s.ldtr.limit : s.gdtr.limit;
  const u32 last = selector | 7u;
  if (last > limit) return Lookup::kOutside;

  out = {};
  const u64 address = table_address(s, base, selector & ~u64{7});
  if (!cpu.mmu.read_system<u64>(address, out.low)) return Lookup::kFaulted;
  if (core::long_mode(s) && !out.is_segment() && is_long_system(out)) {
    if (last + 8 > limit) return Lookup::kOutside;
    if (!cpu.mmu.read_system<u64>(address + 8, out.high)) return Lookup::kFaulted;
    constexpr u64 kUpperType = u64{0x1f} << 40;  // must be zero: an 8-byte descriptor cannot follow unnoticed
    if (out.high & kUpperType) return Lookup::kOutside;
  }
  return Lookup::kFound;
}

bool require_descriptor(Vcpu& cpu, u16 selector, Vector vector, Descriptor& out) {
  const Lookup result = lookup_descriptor(cpu, selector, out);
  if (result == Lookup::kOutside) return cpu.raise(vector, selector_error(selector));
  return result == Lookup::kFound;
}

bool mark_accessed(Vcpu& cpu, u16 selector, Descriptor& descriptor) {
  constexpr u64 kAccessedBit = u64{core::kSegAccessed} << 40;
  if (descriptor.low & kAccessedBit) return true;
  descriptor.low |= kAccessedBit;
  const CpuState& s = cpu.state;
  const u64 base = selector & 4 ? s.ldtr.base : s.gdtr.base;
  return cpu.mmu.write_system<u8>(table_address(s, base, (selector & ~u64{7}) + 5),
                                  static_cast<u8>(descriptor.low >> 40));
}

u64 gdt_access_byte(const CpuState& s, u16 selector) {
  return table_address(s, s.gdtr.base, (selector & ~u64{7}) + 5);
}

// ---------------------------------------------------------------------------------------------------------------

namespace {

bool privileged(Vcpu& cpu) {
  return cpu.state.cpl == 0 || cpu.raise(Vector::kGP);
}
// LLDT, SLDT, LTR and STR do not exist in real and virtual-8086 mode.
bool segmented_protection(Vcpu& cpu) {
  const CpuState& s = cpu.state;
  return (core::protected_mode(s) && !core::virtual_8086(s)) || cpu.raise(Vector::kUD);
}
bool umip_allows(Vcpu& cpu) {
  return !(cpu.state.cr4 & core::kCr4Umip) || cpu.state.cpl == 0 || cpu.raise(Vector::kGP);
}

template <core::DescriptorTable CpuState::*kTable>
bool load_table(Vcpu& cpu, const Insn& insn) {
  if (!privileged(cpu)) return false;
  core::DescriptorTable table;
  if (insn.flags & jit::kCode64) {
    std::array<u8, 10> image{};
    if (!load(cpu, insn, image)) return false;
    std::memcpy(&table.limit, image.data(), 2);
    std::memcpy(&table.base, image.data() + 2, 8);
    if (!mmu::canonical(cpu.state, table.base)) return cpu.raise(Vector::kGP);
  } else {
    std::array<u8, 6> image{};
    if (!load(cpu, insn, image)) return false;
    std::memcpy(&table.limit, image.data(), 2);
    std::memcpy(&table.base, image.data() + 2, 4);
    if (insn.op_size == 2) table.base &= 0xff'ffff;
  }
  cpu.state.*kTable = table;
  return true;
}

template <std::size_t kSize>
bool store_image(Vcpu& cpu, const Insn& insn, const core::DescriptorTable& table) {
  std::array<u8, kSize> image;
  std::memcpy(image.data(), &table.limit, 2);
  std::memcpy(image.data() + 2, &table.base, kSize - 2);
  return store(cpu, insn, image);
}

template <core::DescriptorTable CpuState::*kTable>
bool store_table(Vcpu& cpu, const Insn& insn) {
  if (!umip_allows(cpu)) return false;
  const core::DescriptorTable& table = cpu.state.*kTable;
  return insn.flags & jit::kCode64 ? store_image<10>(cpu, insn, table) : store_image<6>(cpu, insn, table);
}

// A register takes the selector zero-extended to the operand size, memory always 16 bits.
template <core::SegmentRegister CpuState::*kRegister>
bool store_selector(Vcpu& cpu, const Insn& insn) {
  if (!segmented_protection(cpu) || !umip_allows(cpu)) return false;
  const u16 selector = (cpu.state.*kRegister).selector;
  if (insn.op[0].kind == OperandKind::kMemory) return store<u16>(cpu, insn, selector);
  by_size(insn.op_size, [&]<class T>() { write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(selector)); });
  return true;
}

bool lldt(Vcpu& cpu, const Insn& insn) {
  u16 selector = 0;
  if (!segmented_protection(cpu) || !privileged(cpu) || !read_rm(cpu, insn, insn.op[0], selector))
    return false;
  if (null_selector(selector)) {
    cpu.state.ldtr = {.selector = selector};
    return true;
  }
  Descriptor d;
  if (selector & 4) return cpu.raise(Vector::kGP, selector_error(selector));
  if (!require_descriptor(cpu, selector, Vector::kGP, d)) return false;
  if (d.is_segment() || d.type() != SystemType::kLdt || !mmu::canonical(cpu.state, d.base()))
    return cpu.raise(Vector::kGP, selector_error(selector));
  if (!d.present()) return cpu.raise(Vector::kNP, selector_error(selector));
  cpu.state.ldtr = segment_register(selector, d);
  return true;
}

bool ltr(Vcpu& cpu, const Insn& insn) {
  u16 selector = 0;
  if (!segmented_protection(cpu) || !privileged(cpu) || !read_rm(cpu, insn, insn.op[0], selector))
    return false;
  if (null_selector(selector)) return cpu.raise(Vector::kGP);
  Descriptor d;
  if (selector & 4) return cpu.raise(Vector::kGP, selector_error(selector));
  if (!require_descriptor(cpu, selector, Vector::kGP, d)) return false;
  const bool available =
      d.type() == SystemType::kTss32 || (d.type() == SystemType::kTss16 && !core::long_mode(cpu.state));
  if (d.is_segment() || !available || !mmu::canonical(cpu.state, d.base()))
    return cpu.raise(Vector::kGP, selector_error(selector));
  if (!d.present()) return cpu.raise(Vector::kNP, selector_error(selector));
  d.low |= u64{kTssBusyBit} << 40;
  if (!cpu.mmu.write_system<u8>(gdt_access_byte(cpu.state, selector), static_cast<u8>(d.low >> 40)))
    return false;
  cpu.state.tr = segment_register(selector, d);
  return true;
}

constexpr Row kRows[] = {
    row<load_table<&CpuState::gdtr>>(ZYDIS_MNEMONIC_LGDT),
    row<load_table<&CpuState::idtr>>(ZYDIS_MNEMONIC_LIDT),
    row<store_table<&CpuState::gdtr>>(ZYDIS_MNEMONIC_SGDT),
    row<store_table<&CpuState::idtr>>(ZYDIS_MNEMONIC_SIDT),
    row<lldt>(ZYDIS_MNEMONIC_LLDT),
    row<ltr>(ZYDIS_MNEMONIC_LTR),
    row<store_selector<&CpuState::ldtr>>(ZYDIS_MNEMONIC_SLDT),
    row<store_selector<&CpuState::tr>>(ZYDIS_MNEMONIC_STR),
};

}  // namespace

const Rows kDescriptorTableRows = kRows;

}  // namespace doppel::interp
