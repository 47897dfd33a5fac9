// ROL ROR RCL RCR SHL SHR SAR SHLD SHRD. Undefined flags follow what AMD and Intel processors do where they
// agree.
#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/bind.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/modify.hpp"

namespace doppel::interp {
namespace {

using core::CpuState;

// A shift: new value of `a` moved by `count` (masked, not zero), and its flags. `carry` is CF before.
template <class T>
constexpr T kSignBit = static_cast<T>(T{1} << (kBits<T> - 1));

template <class T>
bool top(T value) {
  return value & kSignBit<T>;
}

struct Shl {
  template <class T>
  static T result(T a, u32 count, bool) {
    return count >= kBits<T> ? T{0} : static_cast<T>(a << count);
  }
  template <class T>
  static void flags(CpuState& s, T a, T r, u32 count, bool) {
    const bool carry = count <= kBits<T> && (a >> (kBits<T> - count) & 1);
    flags_explicit<T>(s, r, carry, top(r) != carry, false);
  }
};
struct Shr {
  template <class T>
  static T result(T a, u32 count, bool) {
    return count >= kBits<T> ? T{0} : static_cast<T>(a >> count);
  }
  template <class T>
  static void flags(CpuState& s, T a, T r, u32 count, bool) {
    const bool carry = count <= kBits<T> && (a >> (count - 1) & 1);
    flags_explicit<T>(s, r, carry, top(a) && count == 1, false);
  }
};
struct Sar {
  template <class T>
  static T result(T a, u32 count, bool) {
    using Signed = std::make_signed_t<T>;
    return static_cast<T>(static_cast<Signed>(a) >> (count >= kBits<T> ? kBits<T> - 1 : count));
  }
  template <class T>
  static void flags(CpuState& s, T a, T r, u32 count, bool) {
    const bool carry = count > kBits<T> ? top(a) : static_cast<std::make_signed_t<T>>(a) >> (count - 1) & 1;
    flags_explicit<T>(s, r, carry, false, false);
  }
};
struct Rol {
  template <class T>
  static T result(T a, u32 count, bool) {
    count %= kBits<T>;
    return count == 0 ? a : static_cast<T>(a << count | a >> (kBits<T> - count));
  }
  template <class T>
  static void flags(CpuState& s, T, T r, u32, bool) {
    set_cf(s, r & 1);
    set_of(s, top(r) != static_cast<bool>(r & 1));
  }
};
struct Ror {
  template <class T>
  static T result(T a, u32 count, bool) {
    count %= kBits<T>;
    return count == 0 ? a : static_cast<T>(a >> count | a << (kBits<T> - count));
  }
  template <class T>
  static void flags(CpuState& s, T, T r, u32, bool) {
    set_cf(s, top(r));
    set_of(s, top(r) != top(static_cast<T>(r << 1)));
  }
};
// Rotates through CF: a value of w + 1 bits.
struct Rcl {
  template <class T>
  static T result(T a, u32 count, bool carry) {
    for (count %= kBits<T> + 1; count != 0; --count) {
      const bool out = top(a);
      a = static_cast<T>(a << 1 | carry);
      carry = out;
    }
    return a;
  }
  template <class T>
  static void flags(CpuState& s, T a, T r, u32 count, bool carry) {
    count %= kBits<T> + 1;
    const bool out = count == 0 ? carry : a >> (kBits<T> - count) & 1;
    set_cf(s, out);
    set_of(s, top(r) != out);
  }
};
struct Rcr {
  template <class T>
  static T result(T a, u32 count, bool carry) {
    for (count %= kBits<T> + 1; count != 0; --count) {
      const bool out = a & 1;
      a = static_cast<T>(a >> 1 | static_cast<T>(static_cast<T>(carry) << (kBits<T> - 1)));
      carry = out;
    }
    return a;
  }
  template <class T>
  static void flags(CpuState& s, T a, T r, u32 count, bool carry) {
    count %= kBits<T> + 1;
    set_cf(s, count == 0 ? carry : a >> (count - 1) & 1);
    set_of(s, top(r) != top(static_cast<T>(r << 1)));
  }
};

template <class T>
u32 masked_count(Vcpu& cpu, const Insn& insn, const Operand& op) {
  const u32 count =
      op.kind == OperandKind::kImmediate ? static_cast<u32>(insn.imm) : read_gpr<u8>(cpu, op.reg);
  return count & (sizeof(T) == 8 ? 63 : 31);
}

template <class Op, class T>
bool shift(Vcpu& cpu, const Insn& insn) {
  const u32 count = masked_count<T>(cpu, insn, insn.op[1]);
  const bool carry = core::cf(cpu.state.lazy);
  T a{};
  if (!modify<T>(cpu, insn, insn.op[0], [&](T old) {
        a = old;
        return count == 0 ? old : Op::template result<T>(old, count, carry);
      }))
    return false;
  if (count != 0) Op::template flags<T>(cpu.state, a, Op::template result<T>(a, count, carry), count, carry);
  return true;
}

template <class Op>
constexpr Row shift_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, [](const Insn& insn) -> Handler {
            return by_size(insn.op_size, []<class T>() -> Handler { return run_next<shift<Op, T>>; });
          }};
}

// SHLD, SHRD. A 16-bit count above 16 is undefined; processors rotate the 32 bits of both operands and the
// first again.
template <class T, bool kLeft>
T double_shift_result(T a, T b, u32 count) {
  if constexpr (sizeof(T) == 2) {
    const u64 wide = u64{a} << 32 | u64{b} << 16 | a;
    return static_cast<T>(kLeft ? wide << count >> 32 : wide >> count);
  } else {
    return static_cast<T>(kLeft ? a << count | b >> (kBits<T> - count)
                                : a >> count | b << (kBits<T> - count));
  }
}
template <class T, bool kLeft>
bool double_shift(Vcpu& cpu, const Insn& insn) {
  const u32 count = masked_count<T>(cpu, insn, insn.op[2]);
  const T b = read_gpr<T>(cpu, insn.op[1].reg);
  T a{};
  if (!modify<T>(cpu, insn, insn.op[0], [&](T old) {
        a = old;
        return count == 0 ? old : double_shift_result<T, kLeft>(old, b, count);
      }))
    return false;
  if (count == 0) return true;
  const T r = double_shift_result<T, kLeft>(a, b, count);
  bool carry;
  if (count <= kBits<T>)
    carry = kLeft ? a >> (kBits<T> - count) & 1 : a >> (count - 1) & 1;
  else
    carry = kLeft ? b >> (2 * kBits<T> - count) & 1 : b >> (count - kBits<T> - 1) & 1;
  flags_explicit<T>(cpu.state, r, carry, top(a) != top(r), false);
  return true;
}
template <bool kLeft>
Handler bind_double_shift(const Insn& insn) {
  switch (insn.op_size) {
    case 2:
      return run_next<double_shift<u16, kLeft>>;
    case 4:
      return run_next<double_shift<u32, kLeft>>;
    default:
      return run_next<double_shift<u64, kLeft>>;
  }
}

constexpr Row kRows[] = {
    shift_row<Rol>(ZYDIS_MNEMONIC_ROL),
    shift_row<Ror>(ZYDIS_MNEMONIC_ROR),
    shift_row<Rcl>(ZYDIS_MNEMONIC_RCL),
    shift_row<Rcr>(ZYDIS_MNEMONIC_RCR),
    shift_row<Shl>(ZYDIS_MNEMONIC_SHL),
    shift_row<Shr>(ZYDIS_MNEMONIC_SHR),
    shift_row<Sar>(ZYDIS_MNEMONIC_SAR),
    {ZYDIS_MNEMONIC_SHLD, Flow::kNext, bind_double_shift<true>},
    {ZYDIS_MNEMONIC_SHRD, Flow::kNext, bind_double_shift<false>},
};

}  // namespace

const Rows kShiftRows = kRows;

}  // namespace doppel::interp
