// Data movement between vector registers, MMX registers, general registers and memory; MXCSR.
// Source: Intel SDM Vol. 2, the instructions' pages; SSE4a: AMD APM Vol. 4.
#include "jit/interp/families.hpp"
#include "jit/interp/sse_masked.hpp"
#include "jit/interp/string.hpp"

namespace doppel::interp {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// Whole registers.

enum class Alignment { kAny, kNatural };

template <Form F, Alignment A>
bool load_register(Vcpu& cpu, const Insn& insn) {
  if (!available<F>(cpu)) return false;
  Bits<kWidth<F>> value{};
  if (insn.op[1].kind != OperandKind::kMemory) {
    value = read_register<F>(cpu, insn.op[1].reg);
  } else if constexpr (A == Alignment::kNatural) {
    if (!load_aligned(cpu, insn, value)) return false;
  } else {
    if (!load(cpu, insn, value)) return false;
  }
  write_register<F>(cpu, insn.op[0].reg, value);
  return true;
}
template <Form F, Alignment A>
bool store_register(Vcpu& cpu, const Insn& insn) {
  if (!available<F>(cpu)) return false;
  const auto value = read_register<F>(cpu, insn.op[1].reg);
  bool stored;
  if constexpr (A == Alignment::kNatural)
    stored = store_aligned(cpu, insn, value);
  else
    stored = store(cpu, insn, value);
  if (stored && F == Form::kMmx) touch_mmx(cpu);
  return stored;
}
template <Form F, Alignment A>
Handler bind_move_form(const Insn& insn) {
  return insn.op[0].kind == OperandKind::kMemory ? run_next<store_register<F, A>>
                                                 : run_next<load_register<F, A>>;
}
template <Alignment A>
Handler bind_move(const Insn& insn) {
  return bind_move_form<Form::kSse, A>(insn);
}
template <Alignment A>
Handler bind_move_vex(const Insn& insn) {
  return has_ymm(insn) ? bind_move_form<Form::kVex256, A>(insn) : bind_move_form<Form::kVex128, A>(insn);
}
template <Alignment A>
constexpr RowArray<2> move(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return {{{legacy, Flow::kNext, bind_move<A>}, {vex, Flow::kNext, bind_move_vex<A>}}};
}

// ---------------------------------------------------------------------------------------------------------------
// MOVD, MOVQ, MOVQ2DQ, MOVDQ2Q: a scalar between any two places, zero-extended into vector registers.

template <class T>
struct MoveScalar {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    const Operand &to = insn.op[0], &from = insn.op[1];
    if (F == Form::kMmx && (to.kind == OperandKind::kVector || from.kind == OperandKind::kVector) &&
        !available<Form::kSse>(cpu))
      return false;
    if (!available<F>(cpu)) return false;

    T value{};
    if (from.kind == OperandKind::kVector)
      value = read_low<T>(cpu, from.reg);
    else if (from.kind == OperandKind::kMmx)
      value = static_cast<T>(cpu.state.x87.physical[from.reg].significand);
    else if (!read_rm(cpu, insn, from, value))
      return false;

    if (to.kind == OperandKind::kVector)
      write_register<F == Form::kMmx ? Form::kSse : F>(cpu, to.reg, bits(std::array<u64, 2>{value, 0}));
    else if (to.kind == OperandKind::kMmx)
      write_mmx(cpu, to.reg, value);
    else if (!write_rm(cpu, insn, to, value))
      return false;
    if (from.kind == OperandKind::kMmx) touch_mmx(cpu);
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form < F == Form::kVex256 ? Form::kVex128 : F > ;
  };
};

// ---------------------------------------------------------------------------------------------------------------
// MOVSS, MOVSD: between registers only the low lane moves; from memory the rest becomes zero.

template <class T>
struct MoveLowLane {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    const Operand &to = insn.op[0], &from = insn.op[1];
    if (to.kind == OperandKind::kMemory) return store(cpu, insn, read_low<T>(cpu, from.reg));
    Lanes<T, 16> value{};
    if (from.kind == OperandKind::kMemory) {
      T scalar{};
      if (!load(cpu, insn, scalar)) return false;
      value[0] = scalar;
    } else {
      value = lanes<T>(read_vector<16>(cpu, insn.op[F == Form::kSse ? 0 : 1].reg));
      value[0] = read_low<T>(cpu, insn.op[F == Form::kSse ? 1 : 2].reg);
    }
    write_register<F>(cpu, to.reg, bits(value));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

Handler bind_movsd(const Insn& insn) {
  for (const Operand& op : insn.op)
    if (op.kind == OperandKind::kVector) return run_next<MoveLowLane<u64>::run_form<Form::kSse>>;
  return bind_string_doubleword(insn);
}

// MOVLPS, MOVHPS, MOVLPD, MOVHPD: one half of a register, from or to memory.
template <u32 kHalf>
struct MoveHalf {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    if (insn.op[0].kind == OperandKind::kMemory)
      return store(cpu, insn, lanes<u64>(read_vector<16>(cpu, insn.op[1].reg))[kHalf]);
    u64 half{};
    if (!load(cpu, insn, half)) return false;
    auto value = lanes<u64>(read_vector<16>(cpu, insn.op[kFirst<F>].reg));
    value[kHalf] = half;
    write_register<F>(cpu, insn.op[0].reg, bits(value));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};
struct HighToLow {  // MOVHLPS
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    return bits(std::array{lanes<u64>(b)[1], lanes<u64>(a)[1]});
  }
};
struct LowToHigh {  // MOVLHPS
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    return bits(std::array{lanes<u64>(a)[0], lanes<u64>(b)[0]});
  }
};

// ---------------------------------------------------------------------------------------------------------------
// Copies of lanes.

// MOVSLDUP, MOVSHDUP, and MOVDDUP of YMM: each lane pair becomes its first (0) or second (1) lane twice.
template <class T, u32 kWhich>
struct Duplicate {
  template <u32 B>
  static Bits<B> apply(Bits<B> a) {
    auto value = lanes<T>(a);
    for (u32 i = 0; i < value.size(); i += 2) value[i] = value[i + 1] = value[i + kWhich];
    return bits(value);
  }
};
template <Form F>
struct DuplicateDouble {  // MOVDDUP: the XMM forms read only 8 bytes
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    u64 value{};
    if (!read_scalar(cpu, insn, insn.op[1], value)) return false;
    write_register<F>(cpu, insn.op[0].reg, bits(std::array{value, value}));
    return true;
  }
  static constexpr Semantics run = run_form;
};
template <>
struct DuplicateDouble<Form::kVex256> {
  static constexpr Semantics run = one_source<Duplicate<u64, 0>, Form::kVex256>;
};

// VBROADCASTSS and the like; T: what is copied to all lanes.
template <class T>
struct Broadcast {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    T value{};
    if (!read_scalar(cpu, insn, insn.op[1], value)) return false;
    Lanes<T, kWidth<F>> result;
    result.fill(value);
    write_register<F>(cpu, insn.op[0].reg, bits(result));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// ---------------------------------------------------------------------------------------------------------------
// Sign bits to a general register: MOVMSKPS, MOVMSKPD, PMOVMSKB.

template <class T>
struct MoveMask {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    const auto value = lanes<T>(read_register<F>(cpu, insn.op[1].reg));
    u32 mask = 0;
    for (u32 i = 0; i < value.size(); ++i) mask |= static_cast<u32>(value[i] >> (8 * sizeof(T) - 1)) << i;
    write_gpr<u32>(cpu, insn.op[0].reg, mask);
    if constexpr (F == Form::kMmx) touch_mmx(cpu);
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// ---------------------------------------------------------------------------------------------------------------
// Stores past the cache are plain stores here.

bool movnti(Vcpu& cpu, const Insn& insn) {
  if (insn.op[1].size == 8) return store(cpu, insn, read_gpr<u64>(cpu, insn.op[1].reg));
  return store(cpu, insn, read_gpr<u32>(cpu, insn.op[1].reg));
}
template <class T>
bool store_scalar(Vcpu& cpu, const Insn& insn) {  // MOVNTSS, MOVNTSD
  return available<Form::kSse>(cpu) && store(cpu, insn, read_low<T>(cpu, insn.op[1].reg));
}

// ---------------------------------------------------------------------------------------------------------------
// MXCSR, and the whole register file.

inline constexpr u32 kMxcsrReserved = 0xffff'0000;  // MM is not supported

template <Form F>
struct LoadMxcsr {
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    u32 value{};
    if (!load(cpu, insn, value)) return false;
    if (value & kMxcsrReserved) return cpu.raise(Vector::kGP);
    cpu.state.mxcsr = value;
    return true;
  }
  static constexpr Semantics run = run_form;
};
template <Form F>
struct StoreMxcsr {
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    return available<F>(cpu) && store(cpu, insn, cpu.state.mxcsr);
  }
  static constexpr Semantics run = run_form;
};

// VZEROUPPER, VZEROALL: of the registers that the mode can name.
template <u32 kFrom>
bool zero_registers(Vcpu& cpu, const Insn& insn) {
  if (!available<Form::kVex128>(cpu)) return false;
  const u32 count = insn.flags & jit::kCode64 ? 16 : 8;
  for (u32 reg = 0; reg < count; ++reg)
    for (u32 i = kFrom; i < 4; ++i) cpu.state.vec[reg].q[i] = 0;
  return true;
}
Handler bind_vzero(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_VZEROALL ? run_next<zero_registers<0>> : run_next<zero_registers<2>>;
}

constexpr auto kTable = join_rows(
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVAPS, ZYDIS_MNEMONIC_VMOVAPS),
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVAPD, ZYDIS_MNEMONIC_VMOVAPD),
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVDQA, ZYDIS_MNEMONIC_VMOVDQA),
    move<Alignment::kAny>(ZYDIS_MNEMONIC_MOVUPS, ZYDIS_MNEMONIC_VMOVUPS),
    move<Alignment::kAny>(ZYDIS_MNEMONIC_MOVUPD, ZYDIS_MNEMONIC_VMOVUPD),
    move<Alignment::kAny>(ZYDIS_MNEMONIC_MOVDQU, ZYDIS_MNEMONIC_VMOVDQU),
    move<Alignment::kAny>(ZYDIS_MNEMONIC_LDDQU, ZYDIS_MNEMONIC_VLDDQU),
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVNTPS, ZYDIS_MNEMONIC_VMOVNTPS),
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVNTPD, ZYDIS_MNEMONIC_VMOVNTPD),
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVNTDQ, ZYDIS_MNEMONIC_VMOVNTDQ),
    move<Alignment::kNatural>(ZYDIS_MNEMONIC_MOVNTDQA, ZYDIS_MNEMONIC_VMOVNTDQA),
    single<store_register<Form::kMmx, Alignment::kAny>>(ZYDIS_MNEMONIC_MOVNTQ),
    single<movnti>(ZYDIS_MNEMONIC_MOVNTI), single<store_scalar<u32>>(ZYDIS_MNEMONIC_MOVNTSS),
    single<store_scalar<u64>>(ZYDIS_MNEMONIC_MOVNTSD),

    mmx_sse_vex<MoveScalar<u32>::In>(ZYDIS_MNEMONIC_MOVD, ZYDIS_MNEMONIC_VMOVD),
    mmx_sse_vex<MoveScalar<u64>::In>(ZYDIS_MNEMONIC_MOVQ, ZYDIS_MNEMONIC_VMOVQ),
    single<MoveScalar<u64>::run_form<Form::kMmx>>(ZYDIS_MNEMONIC_MOVQ2DQ),
    single<MoveScalar<u64>::run_form<Form::kMmx>>(ZYDIS_MNEMONIC_MOVDQ2Q),
    sse_vex128<MoveLowLane<u32>::In>(ZYDIS_MNEMONIC_MOVSS, ZYDIS_MNEMONIC_VMOVSS),
    RowArray<2>{{{ZYDIS_MNEMONIC_MOVSD, Flow::kNext, bind_movsd},
                 {ZYDIS_MNEMONIC_VMOVSD, Flow::kNext, bind_vex128<MoveLowLane<u64>::In>}}},
    sse_vex128<MoveHalf<0>::In>(ZYDIS_MNEMONIC_MOVLPS, ZYDIS_MNEMONIC_VMOVLPS),
    sse_vex128<MoveHalf<0>::In>(ZYDIS_MNEMONIC_MOVLPD, ZYDIS_MNEMONIC_VMOVLPD),
    sse_vex128<MoveHalf<1>::In>(ZYDIS_MNEMONIC_MOVHPS, ZYDIS_MNEMONIC_VMOVHPS),
    sse_vex128<MoveHalf<1>::In>(ZYDIS_MNEMONIC_MOVHPD, ZYDIS_MNEMONIC_VMOVHPD),
    two_128<HighToLow>(ZYDIS_MNEMONIC_MOVHLPS, ZYDIS_MNEMONIC_VMOVHLPS),
    two_128<LowToHigh>(ZYDIS_MNEMONIC_MOVLHPS, ZYDIS_MNEMONIC_VMOVLHPS),

    one<Duplicate<u32, 0>>(ZYDIS_MNEMONIC_MOVSLDUP, ZYDIS_MNEMONIC_VMOVSLDUP),
    one<Duplicate<u32, 1>>(ZYDIS_MNEMONIC_MOVSHDUP, ZYDIS_MNEMONIC_VMOVSHDUP),
    sse_vex<DuplicateDouble>(ZYDIS_MNEMONIC_MOVDDUP, ZYDIS_MNEMONIC_VMOVDDUP),
    vex_only<Broadcast<u32>::In>(ZYDIS_MNEMONIC_VBROADCASTSS),
    vex_only<Broadcast<u64>::In>(ZYDIS_MNEMONIC_VBROADCASTSD),
    vex_only<Broadcast<Bits<16>>::In>(ZYDIS_MNEMONIC_VBROADCASTF128),
    vex_only<Broadcast<Bits<16>>::In>(ZYDIS_MNEMONIC_VBROADCASTI128),
    vex_only<Broadcast<u8>::In>(ZYDIS_MNEMONIC_VPBROADCASTB),
    vex_only<Broadcast<u16>::In>(ZYDIS_MNEMONIC_VPBROADCASTW),
    vex_only<Broadcast<u32>::In>(ZYDIS_MNEMONIC_VPBROADCASTD),
    vex_only<Broadcast<u64>::In>(ZYDIS_MNEMONIC_VPBROADCASTQ),

    sse_vex<MoveMask<u32>::In>(ZYDIS_MNEMONIC_MOVMSKPS, ZYDIS_MNEMONIC_VMOVMSKPS),
    sse_vex<MoveMask<u64>::In>(ZYDIS_MNEMONIC_MOVMSKPD, ZYDIS_MNEMONIC_VMOVMSKPD),
    mmx_sse_vex<MoveMask<u8>::In>(ZYDIS_MNEMONIC_PMOVMSKB, ZYDIS_MNEMONIC_VPMOVMSKB),

    sse_vex128<LoadMxcsr>(ZYDIS_MNEMONIC_LDMXCSR, ZYDIS_MNEMONIC_VLDMXCSR),
    sse_vex128<StoreMxcsr>(ZYDIS_MNEMONIC_STMXCSR, ZYDIS_MNEMONIC_VSTMXCSR),
    RowArray<2>{{{ZYDIS_MNEMONIC_VZEROUPPER, Flow::kNext, bind_vzero},
                 {ZYDIS_MNEMONIC_VZEROALL, Flow::kNext, bind_vzero}}},

    sse_vex128<MaskedBytes>(ZYDIS_MNEMONIC_MASKMOVDQU, ZYDIS_MNEMONIC_VMASKMOVDQU),
    vex_only<MaskedElements<u32>::In>(ZYDIS_MNEMONIC_VMASKMOVPS),
    vex_only<MaskedElements<u64>::In>(ZYDIS_MNEMONIC_VMASKMOVPD),
    vex_only<MaskedElements<u32>::In>(ZYDIS_MNEMONIC_VPMASKMOVD),
    vex_only<MaskedElements<u64>::In>(ZYDIS_MNEMONIC_VPMASKMOVQ),
    single<gather<u32, i32>>(ZYDIS_MNEMONIC_VGATHERDPS), single<gather<u64, i32>>(ZYDIS_MNEMONIC_VGATHERDPD),
    single<gather<u32, i64>>(ZYDIS_MNEMONIC_VGATHERQPS), single<gather<u64, i64>>(ZYDIS_MNEMONIC_VGATHERQPD),
    single<gather<u32, i32>>(ZYDIS_MNEMONIC_VPGATHERDD), single<gather<u64, i32>>(ZYDIS_MNEMONIC_VPGATHERDQ),
    single<gather<u32, i64>>(ZYDIS_MNEMONIC_VPGATHERQD), single<gather<u64, i64>>(ZYDIS_MNEMONIC_VPGATHERQQ));

}  // namespace

constinit const Rows kSseMoveRows{kTable};

}  // namespace doppel::interp
