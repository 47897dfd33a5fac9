#include "jit/interp/port.hpp"

#include "jit/interp/descriptor_table.hpp"
#include "jit/interp/families.hpp"

namespace doppel::interp {

using core::CpuState;

namespace {

// The TSS's bitmap: a clear bit permits the port. Two bytes are read, so the map ends with a byte of ones.
[[nodiscard]] bool bitmap_permits(Vcpu& cpu, u16 port, u32 width) {
  constexpr u32 kIoMapField = 0x66;
  const CpuState& s = cpu.state;
  const bool tss32 = (s.tr.attributes & core::kSegPresent) && (s.tr.attributes & 8);
  if (!tss32 || s.tr.limit < kIoMapField + 1) return cpu.raise(Vector::kGP);
  u16 map = 0, bits = 0;
  if (!cpu.mmu.read_system(table_address(s, s.tr.base, kIoMapField), map)) return false;
  const u32 at = map + port / 8u;
  if (at + 1 > s.tr.limit) return cpu.raise(Vector::kGP);
  if (!cpu.mmu.read_system(table_address(s, s.tr.base, at), bits)) return false;
  const u32 wanted = ((1u << width) - 1) << (port % 8);
  return (bits & wanted) == 0 || cpu.raise(Vector::kGP);
}

}  // namespace

bool port_permitted(Vcpu& cpu, u16 port, u32 width) {
  const CpuState& s = cpu.state;
  if (core::real_mode(s)) return true;
  const u32 iopl = (s.rflags >> 12) & 3;
  return (s.cpl <= iopl && !core::virtual_8086(s)) || bitmap_permits(cpu, port, width);
}

namespace {

u16 port_number(const Vcpu& cpu, const Insn& insn, const Operand& op) {
  return op.kind == OperandKind::kImmediate ? insn.imm & 0xff : read_gpr<u16>(cpu, op.reg);
}

bool in(Vcpu& cpu, const Insn& insn) {
  const Operand& target = insn.op[0];
  const u16 port = port_number(cpu, insn, insn.op[1]);
  if (!port_permitted(cpu, port, target.size)) return false;
  const u64 value = cpu.ports.read(port, target.size);
  by_size(target.size, [&]<class T>() { write_gpr<T>(cpu, target.reg, static_cast<T>(value)); });
  return true;
}

bool out(Vcpu& cpu, const Insn& insn) {
  const Operand& source = insn.op[1];
  const u16 port = port_number(cpu, insn, insn.op[0]);
  if (!port_permitted(cpu, port, source.size)) return false;
  const u64 value = by_size(source.size, [&]<class T>() -> u64 { return read_gpr<T>(cpu, source.reg); });
  cpu.ports.write(port, source.size, value);
  return true;
}

constexpr Row kRows[] = {
    row_ends<in>(ZYDIS_MNEMONIC_IN),
    row_ends<out>(ZYDIS_MNEMONIC_OUT),
};

}  // namespace

const Rows kPortRows = kRows;

}  // namespace doppel::interp
