// MOVS STOS LODS CMPS SCAS INS OUTS, with REP prefixes. A repeated one is interruptible after every element
// (or, on the fast paths, every chunk within a page), with RSI, RDI and RCX up to date, and restarts at the
// same RIP.
#include "jit/interp/string.hpp"

#include <algorithm>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/port.hpp"

namespace doppel::interp {
namespace {

constexpr u8 kCount = core::kRcx, kSource = core::kRsi, kDestination = core::kRdi;

u64 masked(const Vcpu& cpu, const Insn& insn, u8 reg) {
  return cpu.state.gpr[reg] & insn.address_mask();
}

// Adds `delta` to a register of the address size: 16-bit addressing keeps the upper bits, 32-bit clears them.
void advance(Vcpu& cpu, const Insn& insn, u8 reg, u64 delta) {
  u64& value = cpu.state.gpr[reg];
  const u64 mask = insn.address_mask();
  value = mask == 0xffff ? (value & ~mask) | ((value + delta) & mask) : (value + delta) & mask;
}

template <class T>
u64 step_of(const Vcpu& cpu) {
  return cpu.state.rflags & core::kDf ? ~u64{sizeof(T)} + 1 : u64{sizeof(T)};
}

// Linear address of the source (overridable segment) or of ES:rDI.
bool string_address(Vcpu& cpu, const Insn& insn, u8 segment, u64 offset, u32 size, mmu::Access access,
                    u64& la) {
  if (insn.flags & jit::kCode64) {
    la = offset + (segment >= core::kFs ? cpu.state.segment[segment].base : 0);
    return true;
  }
  return segmented_address(cpu, static_cast<core::Segment>(segment), offset, size, access, la);
}

template <class T>
bool load_source(Vcpu& cpu, const Insn& insn, T& value) {
  u64 la{};
  if (!string_address(cpu, insn, insn.segment, masked(cpu, insn, kSource), sizeof(T), mmu::Access::kRead, la))
    return false;
  return cpu.mmu.read<T>(la, value) || memory_fault(cpu, insn.segment);
}
template <class T>
bool destination(Vcpu& cpu, const Insn& insn, mmu::Access access, u64& la) {
  return string_address(cpu, insn, core::kEs, masked(cpu, insn, kDestination), sizeof(T), access, la);
}

// Each instruction: one element, registers advanced; nothing changed when it faults.
template <class T>
struct Movs {
  static constexpr bool kCompares = false;
  static bool one(Vcpu& cpu, const Insn& insn) {
    T value{};
    u64 la{};
    if (!load_source<T>(cpu, insn, value) || !destination<T>(cpu, insn, mmu::Access::kWrite, la) ||
        !cpu.mmu.write<T>(la, value))
      return false;
    advance(cpu, insn, kSource, step_of<T>(cpu));
    advance(cpu, insn, kDestination, step_of<T>(cpu));
    return true;
  }
};
template <class T>
struct Stos {
  static constexpr bool kCompares = false;
  static bool one(Vcpu& cpu, const Insn& insn) {
    u64 la{};
    if (!destination<T>(cpu, insn, mmu::Access::kWrite, la) || !cpu.mmu.write<T>(la, read_gpr<T>(cpu, 0)))
      return false;
    advance(cpu, insn, kDestination, step_of<T>(cpu));
    return true;
  }
};
template <class T>
struct Lods {
  static constexpr bool kCompares = false;
  static bool one(Vcpu& cpu, const Insn& insn) {
    T value{};
    if (!load_source<T>(cpu, insn, value)) return false;
    write_gpr<T>(cpu, 0, value);
    advance(cpu, insn, kSource, step_of<T>(cpu));
    return true;
  }
};
template <class T>
struct Cmps {
  static constexpr bool kCompares = true;
  static bool one(Vcpu& cpu, const Insn& insn) {
    T a{}, b{};
    u64 la{};
    if (!load_source<T>(cpu, insn, a) || !destination<T>(cpu, insn, mmu::Access::kRead, la) ||
        !cpu.mmu.read<T>(la, b))
      return false;
    flags_sub<T>(cpu.state, a, b, static_cast<T>(a - b));
    advance(cpu, insn, kSource, step_of<T>(cpu));
    advance(cpu, insn, kDestination, step_of<T>(cpu));
    return true;
  }
};
template <class T>
struct Scas {
  static constexpr bool kCompares = true;
  static bool one(Vcpu& cpu, const Insn& insn) {
    const T a = read_gpr<T>(cpu, 0);
    T b{};
    u64 la{};
    if (!destination<T>(cpu, insn, mmu::Access::kRead, la) || !cpu.mmu.read<T>(la, b)) return false;
    flags_sub<T>(cpu.state, a, b, static_cast<T>(a - b));
    advance(cpu, insn, kDestination, step_of<T>(cpu));
    return true;
  }
};
// The port is read only when the store cannot fault.
template <class T>
struct Ins {
  static constexpr bool kCompares = false;
  static bool permitted(Vcpu& cpu) {
    return port_permitted(cpu, read_gpr<u16>(cpu, core::kRdx * 8), sizeof(T));
  }
  static bool one(Vcpu& cpu, const Insn& insn) {
    const u16 port = read_gpr<u16>(cpu, core::kRdx * 8);
    u64 la{};
    if (!permitted(cpu) || !destination<T>(cpu, insn, mmu::Access::kWrite, la) ||
        !cpu.mmu.probe(la, sizeof(T), mmu::Access::kWrite))
      return false;
    if (!cpu.mmu.write<T>(la, static_cast<T>(cpu.ports.read(port, sizeof(T))))) return false;
    advance(cpu, insn, kDestination, step_of<T>(cpu));
    return true;
  }
};
template <class T>
struct Outs {
  static constexpr bool kCompares = false;
  static bool permitted(Vcpu& cpu) {
    return port_permitted(cpu, read_gpr<u16>(cpu, core::kRdx * 8), sizeof(T));
  }
  static bool one(Vcpu& cpu, const Insn& insn) {
    const u16 port = read_gpr<u16>(cpu, core::kRdx * 8);
    T value{};
    if (!permitted(cpu) || !load_source<T>(cpu, insn, value)) return false;
    cpu.ports.write(port, sizeof(T), value);
    advance(cpu, insn, kSource, step_of<T>(cpu));
    return true;
  }
};

// How many of `count` elements lie at ascending addresses from `offset` within one page and without wrapping,
// and their host address; zero when the general path has to do the next element.
template <class T>
u64 contiguous(Vcpu& cpu, const Insn& insn, u8 segment, u8 reg, u64 count, mmu::Access access, u8*& host) {
  const u64 offset = masked(cpu, insn, reg);
  u64 la{};
  if (!string_address(cpu, insn, segment, offset, sizeof(T), access, la)) {
    cpu.state.fault.pending = false;  // the general path raises it again
    return 0;
  }
  u64 elements = std::min(count, (core::kPageSize - la % core::kPageSize) / sizeof(T));
  if (elements == 0 || insn.address_mask() - offset < elements * sizeof(T)) return 0;
  if (!(insn.flags & jit::kCode64)) {
    u64 whole{};
    if (!string_address(cpu, insn, segment, offset, static_cast<u32>(elements * sizeof(T)), access, whole)) {
      cpu.state.fault.pending = false;
      return 0;
    }
  }
  host = cpu.mmu.direct(la, access);
  return host ? elements : 0;
}

// Elements done at once by REP MOVS and REP STOS on plain memory, forwards; registers are advanced.
template <class T>
u64 chunk(Vcpu& cpu, const Insn& insn, u64 count, Movs<T>*) {
  u8 *from = nullptr, *to = nullptr;
  u64 elements = contiguous<T>(cpu, insn, insn.segment, kSource, count, mmu::Access::kRead, from);
  if (elements == 0) return 0;
  elements = contiguous<T>(cpu, insn, core::kEs, kDestination, elements, mmu::Access::kWrite, to);
  const u64 bytes = elements * sizeof(T);
  if (elements == 0) return 0;
  if (to > from && to < from + bytes)  // repeats a pattern: what is stored is loaded again
    for (u64 i = 0; i < bytes; i += sizeof(T)) std::memmove(to + i, from + i, sizeof(T));
  else
    std::memmove(to, from, bytes);
  advance(cpu, insn, kSource, bytes);
  advance(cpu, insn, kDestination, bytes);
  return elements;
}
template <class T>
u64 chunk(Vcpu& cpu, const Insn& insn, u64 count, Stos<T>*) {
  u8* to = nullptr;
  const u64 elements = contiguous<T>(cpu, insn, core::kEs, kDestination, count, mmu::Access::kWrite, to);
  if (elements == 0) return 0;
  const T value = read_gpr<T>(cpu, 0);
  for (u64 i = 0; i < elements; ++i) std::memcpy(to + i * sizeof(T), &value, sizeof(T));
  advance(cpu, insn, kDestination, elements * sizeof(T));
  return elements;
}
template <class Other>
u64 chunk(Vcpu&, const Insn&, u64, Other*) {
  return 0;
}

template <class Op>
const Insn* repeated(Vcpu& cpu, const Insn* insn) {
  // INS and OUTS check the port even when the count is zero.
  if constexpr (requires { Op::permitted(cpu); })
    if (!Op::permitted(cpu)) return leave(cpu, insn);
  const bool forwards = !(cpu.state.rflags & core::kDf);
  while (const u64 count = masked(cpu, *insn, kCount)) {
    // Element by element while somebody waits for the end of one, as a single-step trap does.
    const bool attention = cpu.state.attention.load(std::memory_order_relaxed);
    const u64 done = forwards && !attention ? chunk(cpu, *insn, count, static_cast<Op*>(nullptr)) : 0;
    if (done == 0 && !Op::one(cpu, *insn)) return leave(cpu, insn);
    advance(cpu, *insn, kCount, ~(done == 0 ? u64{1} : done) + 1);
    if (Op::kCompares && core::zf(cpu.state.lazy) != static_cast<bool>(insn->flags & jit::kRep)) break;
    if (cpu.state.attention.load(std::memory_order_relaxed) && masked(cpu, *insn, kCount) != 0)
      return leave(cpu, insn);
  }
  return next(cpu, insn);
}

template <class Op>
Handler bind_string(const Insn& insn) {
  return insn.flags & (jit::kRep | jit::kRepne) ? Handler{repeated<Op>} : Handler{run_next<Op::one>};
}
template <class Op>
constexpr Row string_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, bind_string<Op>};
}

constexpr Row kRows[] = {
    string_row<Movs<u8>>(ZYDIS_MNEMONIC_MOVSB),  string_row<Movs<u16>>(ZYDIS_MNEMONIC_MOVSW),
    string_row<Movs<u64>>(ZYDIS_MNEMONIC_MOVSQ), string_row<Stos<u8>>(ZYDIS_MNEMONIC_STOSB),
    string_row<Stos<u16>>(ZYDIS_MNEMONIC_STOSW), string_row<Stos<u32>>(ZYDIS_MNEMONIC_STOSD),
    string_row<Stos<u64>>(ZYDIS_MNEMONIC_STOSQ), string_row<Lods<u8>>(ZYDIS_MNEMONIC_LODSB),
    string_row<Lods<u16>>(ZYDIS_MNEMONIC_LODSW), string_row<Lods<u32>>(ZYDIS_MNEMONIC_LODSD),
    string_row<Lods<u64>>(ZYDIS_MNEMONIC_LODSQ), string_row<Cmps<u8>>(ZYDIS_MNEMONIC_CMPSB),
    string_row<Cmps<u16>>(ZYDIS_MNEMONIC_CMPSW), string_row<Cmps<u64>>(ZYDIS_MNEMONIC_CMPSQ),
    string_row<Scas<u8>>(ZYDIS_MNEMONIC_SCASB),  string_row<Scas<u16>>(ZYDIS_MNEMONIC_SCASW),
    string_row<Scas<u32>>(ZYDIS_MNEMONIC_SCASD), string_row<Scas<u64>>(ZYDIS_MNEMONIC_SCASQ),
    string_row<Ins<u8>>(ZYDIS_MNEMONIC_INSB),    string_row<Ins<u16>>(ZYDIS_MNEMONIC_INSW),
    string_row<Ins<u32>>(ZYDIS_MNEMONIC_INSD),   string_row<Outs<u8>>(ZYDIS_MNEMONIC_OUTSB),
    string_row<Outs<u16>>(ZYDIS_MNEMONIC_OUTSW), string_row<Outs<u32>>(ZYDIS_MNEMONIC_OUTSD),
};

}  // namespace

Handler bind_string_doubleword(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_MOVSD ? bind_string<Movs<u32>>(insn) : bind_string<Cmps<u32>>(insn);
}

const Rows kStringRows = kRows;

}  // namespace doppel::interp
