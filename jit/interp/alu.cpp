// ADD ADC SUB SBB CMP AND OR XOR TEST, INC DEC NEG NOT.
#include <array>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/bind.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/modify.hpp"

namespace doppel::interp {
namespace {

using core::CpuState;

// Each operation: the result of a op b, and its flags.
struct Add {
  static constexpr bool kWrites = true, kReadsCarry = false;
  template <class T>
  static T result(T a, T b, bool) {
    return static_cast<T>(a + b);
  }
  template <class T>
  static void flags(CpuState& s, T a, T b, T r) {
    flags_add<T>(s, a, b, r);
  }
};
struct Adc : Add {
  static constexpr bool kReadsCarry = true;
  template <class T>
  static T result(T a, T b, bool carry) {
    return static_cast<T>(a + b + carry);
  }
};
struct Sub {
  static constexpr bool kWrites = true, kReadsCarry = false;
  template <class T>
  static T result(T a, T b, bool) {
    return static_cast<T>(a - b);
  }
  template <class T>
  static void flags(CpuState& s, T a, T b, T r) {
    flags_sub<T>(s, a, b, r);
  }
};
struct Sbb : Sub {
  static constexpr bool kReadsCarry = true;
  template <class T>
  static T result(T a, T b, bool carry) {
    return static_cast<T>(a - b - carry);
  }
};
struct Cmp : Sub {
  static constexpr bool kWrites = false;
};
struct Logic {
  static constexpr bool kWrites = true, kReadsCarry = false;
  template <class T>
  static void flags(CpuState& s, T, T, T r) {
    flags_logic<T>(s, r);
  }
};
struct And : Logic {
  template <class T>
  static T result(T a, T b, bool) {
    return a & b;
  }
};
struct Or : Logic {
  template <class T>
  static T result(T a, T b, bool) {
    return a | b;
  }
};
struct Xor : Logic {
  template <class T>
  static T result(T a, T b, bool) {
    return a ^ b;
  }
};
struct Test : And {
  static constexpr bool kWrites = false;
};

enum class Source { kRegister, kMemory, kImmediate };

template <class Op>
bool carry_in(const Vcpu& cpu) {
  if constexpr (Op::kReadsCarry) return core::cf(cpu.state.lazy);
  return false;
}

template <class T, Source S>
[[gnu::always_inline]] inline bool source(Vcpu& cpu, const Insn& insn, T& b) {
  if constexpr (S == Source::kImmediate) {
    b = static_cast<T>(insn.imm);
  } else if constexpr (S == Source::kRegister) {
    b = read_gpr<T>(cpu, insn.op[1].reg);
  } else {
    return load<T>(cpu, insn, b);
  }
  return true;
}

// Destination is a register.
template <class Op, class T, Source S>
bool to_register(Vcpu& cpu, const Insn& insn) {
  T b{};
  if (!source<T, S>(cpu, insn, b)) return false;
  const T a = read_gpr<T>(cpu, insn.op[0].reg);
  const T r = Op::template result<T>(a, b, carry_in<Op>(cpu));
  Op::template flags<T>(cpu.state, a, b, r);
  if constexpr (Op::kWrites) write_gpr<T>(cpu, insn.op[0].reg, r);
  return true;
}

// Destination is memory.
template <class Op, class T, Source S>
bool to_memory(Vcpu& cpu, const Insn& insn) {
  T b{};
  if (!source<T, S>(cpu, insn, b)) return false;
  const bool carry = carry_in<Op>(cpu);
  T a{};
  if constexpr (Op::kWrites) {
    if (!modify_at<T>(cpu, insn, effective_address(cpu, insn), [&](T old) {
          a = old;
          return Op::template result<T>(old, b, carry);
        }))
      return false;
  } else {
    if (!load<T>(cpu, insn, a)) return false;
  }
  Op::template flags<T>(cpu.state, a, b, Op::template result<T>(a, b, carry));
  return true;
}

template <class Op>
Handler bind_alu(const Insn& insn) {
  return by_size(insn.op_size, [&]<class T>() -> Handler {
    const bool immediate = insn.op[1].kind == OperandKind::kImmediate;
    if (insn.op[0].kind == OperandKind::kMemory)
      return immediate ? run_next<to_memory<Op, T, Source::kImmediate>>
                       : run_next<to_memory<Op, T, Source::kRegister>>;
    if (immediate) return run_next<to_register<Op, T, Source::kImmediate>>;
    return insn.op[1].kind == OperandKind::kMemory ? run_next<to_register<Op, T, Source::kMemory>>
                                                   : run_next<to_register<Op, T, Source::kRegister>>;
  });
}

template <class Op>
constexpr Row alu_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, bind_alu<Op>};
}

// INC and DEC keep CF.
template <class T, bool kIncrement>
bool step(Vcpu& cpu, const Insn& insn) {
  T a{};
  if (!modify<T>(cpu, insn, insn.op[0], [&](T old) {
        a = old;
        return static_cast<T>(kIncrement ? old + 1 : old - 1);
      }))
    return false;
  const bool carry = core::cf(cpu.state.lazy);
  if constexpr (kIncrement)
    flags_explicit<T>(cpu.state, static_cast<T>(a + 1), carry,
                      a == static_cast<T>(static_cast<T>(~T{0}) >> 1), (a & 15) == 15);
  else
    flags_explicit<T>(cpu.state, static_cast<T>(a - 1), carry, a == static_cast<T>(T{1} << (kBits<T> - 1)),
                      (a & 15) == 0);
  return true;
}
template <class T>
bool inc(Vcpu& cpu, const Insn& insn) {
  return step<T, true>(cpu, insn);
}
template <class T>
bool dec(Vcpu& cpu, const Insn& insn) {
  return step<T, false>(cpu, insn);
}

template <class T>
bool neg(Vcpu& cpu, const Insn& insn) {
  T a{};
  if (!modify<T>(cpu, insn, insn.op[0], [&](T old) {
        a = old;
        return static_cast<T>(-old);
      }))
    return false;
  flags_sub<T>(cpu.state, T{0}, a, static_cast<T>(-a));
  return true;
}

template <class T>
bool bitwise_not(Vcpu& cpu, const Insn& insn) {
  return modify<T>(cpu, insn, insn.op[0], [](T old) { return static_cast<T>(~old); });
}

constexpr Row kRows[] = {
    alu_row<Add>(ZYDIS_MNEMONIC_ADD),
    alu_row<Adc>(ZYDIS_MNEMONIC_ADC),
    alu_row<Sub>(ZYDIS_MNEMONIC_SUB),
    alu_row<Sbb>(ZYDIS_MNEMONIC_SBB),
    alu_row<Cmp>(ZYDIS_MNEMONIC_CMP),
    alu_row<And>(ZYDIS_MNEMONIC_AND),
    alu_row<Or>(ZYDIS_MNEMONIC_OR),
    alu_row<Xor>(ZYDIS_MNEMONIC_XOR),
    alu_row<Test>(ZYDIS_MNEMONIC_TEST),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_INC, inc),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_DEC, dec),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_NEG, neg),
    DOPPEL_SIZED_ROW(ZYDIS_MNEMONIC_NOT, bitwise_not),
};

}  // namespace

const Rows kAluRows = kRows;

}  // namespace doppel::interp
