// x87 control: control and status words, tags, initialisation, waiting, and the environment and state images
// in their four formats. Source: SDM Vol. 1, "x87 FPU Control Instructions" and figures 8-9 to 8-12.
#include <array>

#include "jit/interp/families.hpp"
#include "jit/interp/x87.hpp"

namespace doppel::interp {
namespace x87 {

// Reads the instruction again: prefixes, then the escape opcode D8-DF and ModRM.
void record_opcode(Vcpu& cpu, const Insn& insn) {
  auto& s = cpu.state;
  const u64 base = core::code64(s) ? 0 : s.segment[core::kCs].base;
  u8 previous = 0;
  for (u32 i = 0; i < insn.length; ++i) {
    mmu::Mmu::Code code;
    if (!cpu.mmu.fetch(base + s.gpr[core::kGprRip] + insn.offset + i, code)) s.fault.pending = false;
    if (!code.host) return;  // no longer readable: FOP keeps its value
    if ((previous & 0xf8) == 0xd8) {
      s.x87.opcode = static_cast<u16>((previous & 7) << 8 | *code.host);
      return;
    }
    previous = *code.host;
  }
}

}  // namespace x87

namespace {

using namespace x87;

// ---------------------------------------------------------------------------------------------------------------
// Words, tags, initialisation.

bool fninit(Vcpu& cpu, const Insn&) {
  if (!available(cpu)) return false;
  reset(cpu.state.x87);
  return true;
}

bool fnclex(Vcpu& cpu, const Insn&) {
  if (!available(cpu)) return false;
  cpu.state.x87.status &= kConditions;
  return true;
}

bool fldcw(Vcpu& cpu, const Insn& insn) {
  u16 value = 0;
  if (!ready(cpu) || !load<u16>(cpu, insn, value)) return false;
  cpu.state.x87.control = control_word(value);
  update_summary(cpu.state.x87);
  return true;
}

bool fnstcw(Vcpu& cpu, const Insn& insn) {
  return available(cpu) && store<u16>(cpu, insn, cpu.state.x87.control);
}

bool fnstsw(Vcpu& cpu, const Insn& insn) {
  return available(cpu) && write_rm<u16>(cpu, insn, insn.op[0], status_word(cpu.state.x87));
}

template <bool kPop>
bool ffree(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  mark_empty(x, insn.op[0].reg);
  if constexpr (kPop) pop(x);
  return complete(cpu, insn, 0);
}

// FINCSTP, FDECSTP.
template <u32 kStep>
bool rotate(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  x.top = physical(x, kStep);
  return complete(cpu, insn, 0);
}

bool fnop(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  record_pointers(cpu, insn);
  return true;
}

// FENI, FDISI and FSETPM of older coprocessors.
bool obsolete(Vcpu& cpu, const Insn&) {
  return available(cpu);
}

bool fwait(Vcpu& cpu, const Insn&) {
  constexpr u64 kBoth = core::kCr0Mp | core::kCr0Ts;
  if ((cpu.state.cr0 & kBoth) == kBoth) return cpu.raise(Vector::kNM);
  return no_error_pending(cpu);
}

// ---------------------------------------------------------------------------------------------------------------
// The environment: seven words, or seven doublewords whose unused upper halves are ones.

constexpr u32 kWords = 7, kRegisterBytes = 80;

// Tags of two bits: valid, zero, special, empty.
u16 tag_word(const X87State& x) {
  u32 tags = 0;
  for (u32 r = 0; r < 8; ++r) {
    const X87Register& value = x.physical[r];
    const u16 exponent = value.sign_exponent & 0x7fff;
    u32 tag = 0;
    if (!((x.valid >> r) & 1))
      tag = 3;
    else if (exponent == 0 && value.significand == 0)
      tag = 1;
    else if (exponent == 0 || exponent == 0x7fff || !(value.significand >> 63))
      tag = 2;
    tags |= tag << (2 * r);
  }
  return static_cast<u16>(tags);
}
void set_tag_word(X87State& x, u16 tags) {
  x.valid = 0;
  for (u32 r = 0; r < 8; ++r)
    if (((tags >> (2 * r)) & 3) != 3) x.valid |= static_cast<u8>(1u << r);
}

// Real and virtual-8086 mode images hold linear addresses, others selector and offset.
bool linear_format(const Vcpu& cpu) {
  return core::real_mode(cpu.state) || core::virtual_8086(cpu.state);
}

std::array<u32, kWords> environment(const Vcpu& cpu, bool wide) {
  const X87State& x = cpu.state.x87;
  std::array<u32, kWords> e{x.control, status_word(x), tag_word(x)};
  if (linear_format(cpu)) {
    const u32 instruction = static_cast<u32>(x.instruction) + (u32{x.instruction_segment} << 4);
    const u32 data = static_cast<u32>(x.data) + (u32{x.data_segment} << 4);
    e[3] = instruction & 0xffff;
    e[4] = (instruction >> 16 & (wide ? 0xffff : 0xf)) << 12 | x.opcode;
    e[5] = data & 0xffff;
    e[6] = (data >> 16 & (wide ? 0xffff : 0xf)) << 12;
  } else {
    e[3] = static_cast<u32>(x.instruction);
    e[4] = x.instruction_segment | (wide ? u32{x.opcode} << 16 : 0);
    e[5] = static_cast<u32>(x.data);
    e[6] = x.data_segment;
  }
  if (wide) {
    constexpr u32 kOnes = 0xffff'0000;
    for (u32 i = 0; i < 3; ++i) e[i] |= kOnes;
    if (linear_format(cpu))
      e[3] |= kOnes, e[5] |= kOnes;
    else
      e[6] |= kOnes;
  }
  return e;
}

void set_environment(Vcpu& cpu, const std::array<u32, kWords>& e, bool wide) {
  X87State& x = cpu.state.x87;
  x.control = control_word(static_cast<u16>(e[0]));
  set_status_word(x, static_cast<u16>(e[1]));
  set_tag_word(x, static_cast<u16>(e[2]));
  if (linear_format(cpu)) {
    const u32 high = wide ? 0x0fff'f000 : 0xf000;
    x.instruction = (e[3] & 0xffff) | (e[4] & high) << 4;
    x.data = (e[5] & 0xffff) | (e[6] & high) << 4;
    x.instruction_segment = x.data_segment = 0;
    x.opcode = e[4] & 0x7ff;
  } else {
    x.instruction = e[3];
    x.instruction_segment = static_cast<u16>(e[4]);
    x.data = e[5];
    x.data_segment = static_cast<u16>(e[6]);
    if (wide) x.opcode = (e[4] >> 16) & 0x7ff;  // 16-bit protected-mode images have none
  }
}

// An image of the environment, and of the registers if kRegisters, as it is in memory.
template <bool kRegisters>
struct Image {
  std::array<u8, kWords * 4 + (kRegisters ? kRegisterBytes : 0)> bytes{};
  u32 word_size, size;

  explicit Image(const Insn& insn)
      : word_size(insn.op[0].size == kWords * 2 || insn.op[0].size == kWords * 2 + kRegisterBytes ? 2 : 4),
        size(kWords * word_size + (kRegisters ? kRegisterBytes : 0)) {}
  [[nodiscard]] bool wide() const { return word_size == 4; }
  u8* st(u32 i) { return bytes.data() + kWords * word_size + i * 10; }

  [[nodiscard]] bool load(Vcpu& cpu, const Insn& insn) {
    u64 la;
    if (!linear_address(cpu, insn, effective_address(cpu, insn), size, mmu::Access::kRead, la)) return false;
    return cpu.mmu.read_bytes(la, bytes.data(), size) || memory_fault(cpu, insn.segment);
  }
  [[nodiscard]] bool store(Vcpu& cpu, const Insn& insn) {
    const auto words = environment(cpu, wide());
    for (u32 i = 0; i < kWords; ++i) std::memcpy(bytes.data() + i * word_size, &words[i], word_size);
    u64 la;
    if (!linear_address(cpu, insn, effective_address(cpu, insn), size, mmu::Access::kWrite, la)) return false;
    return cpu.mmu.write_bytes(la, bytes.data(), size) || memory_fault(cpu, insn.segment);
  }
  void apply(Vcpu& cpu) {
    std::array<u32, kWords> words{};
    for (u32 i = 0; i < kWords; ++i) std::memcpy(&words[i], bytes.data() + i * word_size, word_size);
    set_environment(cpu, words, wide());
  }
};

bool fnstenv(Vcpu& cpu, const Insn& insn) {
  if (!available(cpu)) return false;
  Image<false> image(insn);
  if (!image.store(cpu, insn)) return false;
  cpu.state.x87.control |= kExceptions;
  update_summary(cpu.state.x87);
  return true;
}

bool fldenv(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  Image<false> image(insn);
  if (!image.load(cpu, insn)) return false;
  image.apply(cpu);
  return true;
}

bool fnsave(Vcpu& cpu, const Insn& insn) {
  if (!available(cpu)) return false;
  X87State& x = cpu.state.x87;
  Image<true> image(insn);
  for (u32 i = 0; i < 8; ++i) {
    std::memcpy(image.st(i), &get(x, i).significand, 8);
    std::memcpy(image.st(i) + 8, &get(x, i).sign_exponent, 2);
  }
  if (!image.store(cpu, insn)) return false;
  reset(x);
  return true;
}

bool frstor(Vcpu& cpu, const Insn& insn) {
  if (!ready(cpu)) return false;
  X87State& x = cpu.state.x87;
  Image<true> image(insn);
  if (!image.load(cpu, insn)) return false;
  image.apply(cpu);
  for (u32 i = 0; i < 8; ++i) {
    X87Register& value = x.physical[physical(x, i)];
    std::memcpy(&value.significand, image.st(i), 8);
    std::memcpy(&value.sign_exponent, image.st(i) + 8, 2);
  }
  return true;
}

constexpr Row kRows[] = {
    row<fninit>(ZYDIS_MNEMONIC_FNINIT),
    row<fnclex>(ZYDIS_MNEMONIC_FNCLEX),
    row<fldcw>(ZYDIS_MNEMONIC_FLDCW),
    row<fnstcw>(ZYDIS_MNEMONIC_FNSTCW),
    row<fnstsw>(ZYDIS_MNEMONIC_FNSTSW),
    row<fnstenv>(ZYDIS_MNEMONIC_FNSTENV),
    row<fldenv>(ZYDIS_MNEMONIC_FLDENV),
    row<fnsave>(ZYDIS_MNEMONIC_FNSAVE),
    row<frstor>(ZYDIS_MNEMONIC_FRSTOR),
    row<ffree<false>>(ZYDIS_MNEMONIC_FFREE),
    row<ffree<true>>(ZYDIS_MNEMONIC_FFREEP),
    row<rotate<1>>(ZYDIS_MNEMONIC_FINCSTP),
    row<rotate<7>>(ZYDIS_MNEMONIC_FDECSTP),
    row<fnop>(ZYDIS_MNEMONIC_FNOP),
    row<fwait>(ZYDIS_MNEMONIC_FWAIT),
    row<obsolete>(ZYDIS_MNEMONIC_FENI8087_NOP),
    row<obsolete>(ZYDIS_MNEMONIC_FDISI8087_NOP),
    row<obsolete>(ZYDIS_MNEMONIC_FSETPM287_NOP),
};

}  // namespace

const Rows kX87ControlRows = kRows;

}  // namespace doppel::interp
