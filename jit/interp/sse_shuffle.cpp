// Instructions that move lanes about: shuffles, unpacks, packs, blends, inserts, extracts, widening moves,
// bit fields (SSE4a) and the AVX2 permutes. Source: Intel SDM Vol. 2, the instructions' pages; SSE4a: AMD APM
// Vol. 4.
#include <algorithm>
#include <limits>

#include "jit/interp/families.hpp"
#include "jit/interp/sse_forms.hpp"

namespace doppel::interp {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// Interleaving and narrowing, within each 16-byte part.

template <class T, bool kHigh>
struct Unpack {
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b) {
    const auto x = lanes<T>(a), y = lanes<T>(b);
    Lanes<T, B> result;
    const u32 from = kHigh ? static_cast<u32>(result.size() / 2) : 0;
    for (u32 i = 0; i < result.size() / 2; ++i) {
      result[2 * i] = x[from + i];
      result[2 * i + 1] = y[from + i];
    }
    return bits(result);
  }
};

// The low unpacks of MMX registers read only 4 bytes of memory.
template <class T>
struct UnpackLow {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if constexpr (F == Form::kMmx) {
      if (insn.op[1].kind == OperandKind::kMemory) {
        if (!available<F>(cpu)) return false;
        u32 half{};
        if (!load(cpu, insn, half)) return false;
        const u8 to = insn.op[0].reg;
        const auto second = std::bit_cast<Bits<8>>(u64{half});
        write_register<F>(cpu, to, Unpack<T, false>::apply(read_register<F>(cpu, to), second));
        return true;
      }
    }
    return two_sources<EachPart<Unpack<T, false>>, F>(cpu, insn);
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

template <class From, class To>
struct Pack {
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b) {
    const auto x = lanes<From>(a), y = lanes<From>(b);
    const auto narrow = [](From value) {
      return static_cast<To>(
          std::clamp<From>(value, std::numeric_limits<To>::min(), std::numeric_limits<To>::max()));
    };
    Lanes<To, B> result;
    for (u32 i = 0; i < x.size(); ++i) {
      result[i] = narrow(x[i]);
      result[x.size() + i] = narrow(y[i]);
    }
    return bits(result);
  }
};

// ---------------------------------------------------------------------------------------------------------------
// Shuffles by immediate or by mask.

struct ShuffleBytes {  // PSHUFB
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> mask) {
    Bits<B> result;
    for (u32 i = 0; i < B; ++i) result.byte[i] = mask.byte[i] & 0x80 ? u8{0} : a.byte[mask.byte[i] & (B - 1)];
    return result;
  }
};
struct ShuffleDwords {  // PSHUFD
  static Bits<16> apply(Bits<16> a, u8 imm) {
    const auto x = lanes<u32>(a);
    return bits(std::array{x[imm & 3], x[imm >> 2 & 3], x[imm >> 4 & 3], x[imm >> 6]});
  }
};
template <u32 kFrom>
struct ShuffleWords {  // PSHUFLW, PSHUFHW, PSHUFW: the four words from kFrom on
  template <u32 B>
  static Bits<B> apply(Bits<B> a, u8 imm) {
    const auto x = lanes<u16>(a);
    auto result = x;
    for (u32 i = 0; i < 4; ++i) result[kFrom + i] = x[kFrom + (imm >> (2 * i) & 3)];
    return bits(result);
  }
};
struct ShuffleSingles {  // SHUFPS
  static Bits<16> apply(Bits<16> a, Bits<16> b, u8 imm) {
    const auto x = lanes<u32>(a), y = lanes<u32>(b);
    return bits(std::array{x[imm & 3], x[imm >> 2 & 3], y[imm >> 4 & 3], y[imm >> 6]});
  }
};
struct ShuffleDoubles {  // SHUFPD: two immediate bits for each part
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b, u8 imm) {
    const auto x = lanes<u64>(a), y = lanes<u64>(b);
    Lanes<u64, B> result;
    for (u32 i = 0; i < result.size(); ++i) result[i] = (i % 2 ? y : x)[(i & ~1u) + (imm >> i & 1)];
    return bits(result);
  }
};
struct AlignRight {  // PALIGNR
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b, u8 imm) {
    Bits<B> result{};
    for (u32 i = 0; i < B; ++i) {
      const u32 from = i + imm;
      if (from < B)
        result.byte[i] = b.byte[from];
      else if (from < 2 * B)
        result.byte[i] = a.byte[from - B];
    }
    return result;
  }
};

// ---------------------------------------------------------------------------------------------------------------
// Blends: by immediate bit, which wraps around for 16 words; by the sign bits of a third register, which is
// XMM0 in legacy forms.

template <class T>
struct Blend {
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> b, u8 imm) {
    auto result = lanes<T>(a);
    for (u32 i = 0; i < result.size(); ++i)
      if (imm >> (i & 7) & 1) result[i] = lanes<T>(b)[i];
    return bits(result);
  }
};
template <class T>
struct BlendVariable {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    Bits<kWidth<F>> second{};
    if (!read_source<F>(cpu, insn, insn.op[kFirst<F> + 1], second)) return false;
    const auto mask = lanes<T>(read_register<F>(cpu, kIsVex<F> ? insn.op[3].reg : u8{0}));
    auto result = lanes<T>(read_register<F>(cpu, insn.op[kFirst<F>].reg));
    for (u32 i = 0; i < result.size(); ++i)
      if (mask[i] >> (8 * sizeof(T) - 1)) result[i] = lanes<T>(second)[i];
    write_register<F>(cpu, insn.op[0].reg, bits(result));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// ---------------------------------------------------------------------------------------------------------------
// Single lanes.

template <class T>
struct Insert {  // PINSRB, PINSRW, PINSRD, PINSRQ
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    T lane{};
    if (!read_rm(cpu, insn, insn.op[kFirst<F> + 1], lane)) return false;
    auto value = lanes<T>(read_register<F>(cpu, insn.op[kFirst<F>].reg));
    value[insn.imm % value.size()] = lane;
    write_register<F>(cpu, insn.op[0].reg, bits(value));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};
template <class T>
struct Extract {  // PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS: zero-extended into a general register
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    const auto value = lanes<T>(read_register<F>(cpu, insn.op[1].reg));
    const T lane = value[insn.imm % value.size()];
    if (insn.op[0].kind == OperandKind::kMemory) return store(cpu, insn, lane);
    write_gpr<u64>(cpu, insn.op[0].reg, lane);
    if constexpr (F == Form::kMmx) touch_mmx(cpu);
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};
template <Form F>
struct InsertSingle {  // INSERTPS: bits 6-7 pick the source lane of a register, 4-5 the place, 0-3 clear
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    const Operand& source = insn.op[kFirst<F> + 1];
    u32 lane{};
    if (source.kind == OperandKind::kMemory) {
      if (!load(cpu, insn, lane)) return false;
    } else {
      lane = lanes<u32>(read_vector<16>(cpu, source.reg))[insn.imm >> 6 & 3];
    }
    auto value = lanes<u32>(read_vector<16>(cpu, insn.op[kFirst<F>].reg));
    value[insn.imm >> 4 & 3] = lane;
    for (u32 i = 0; i < 4; ++i)
      if (insn.imm >> i & 1) value[i] = 0;
    write_register<F>(cpu, insn.op[0].reg, bits(value));
    return true;
  }
  static constexpr Semantics run = run_form;
};

// ---------------------------------------------------------------------------------------------------------------
// PMOVSX, PMOVZX: as many elements as fit the destination, read from that many bytes.

template <class From, class To>
struct Widen {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    constexpr std::size_t kCount = kWidth<F> / sizeof(To);
    std::array<From, kCount> narrow{};
    if (!read_scalar(cpu, insn, insn.op[1], narrow)) return false;
    Lanes<To, kWidth<F>> result;
    std::copy(narrow.begin(), narrow.end(), result.begin());
    write_register<F>(cpu, insn.op[0].reg, bits(result));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

// ---------------------------------------------------------------------------------------------------------------
// AVX and AVX2 permutes.

template <class T>
struct PermuteInPart {  // VPERMILPS, VPERMILPD: by immediate or by the low bits of each control lane
  static constexpr u32 kLanes = 16 / sizeof(T);
  template <u32 B>
  static Bits<B> apply(Bits<B> a, Bits<B> control) {
    const auto x = lanes<T>(a), c = lanes<T>(control);
    Lanes<T, B> result;
    for (u32 i = 0; i < result.size(); ++i)
      result[i] = x[(i & ~(kLanes - 1)) + (c[i] >> (sizeof(T) == 8 ? 1 : 0)) % kLanes];
    return bits(result);
  }
  template <u32 B>
  static Bits<B> apply(Bits<B> a, u8 imm) {
    const auto x = lanes<T>(a);
    Lanes<T, B> result;
    for (u32 i = 0; i < result.size(); ++i) {
      const u32 select = sizeof(T) == 8 ? imm >> i & 1 : imm >> (2 * (i & 3)) & 3;
      result[i] = x[(i & ~(kLanes - 1)) + select];
    }
    return bits(result);
  }
};
template <class T>
Handler bind_permute_in_part(const Insn& insn) {
  return insn.op[2].kind == OperandKind::kImmediate
             ? bind_vex<OneSource<PermuteInPart<T>>::template In>(insn)
             : bind_vex<TwoSources<PermuteInPart<T>>::template In>(insn);
}

struct PermuteDwords {  // VPERMD, VPERMPS: the first source is the control
  static Bits<32> apply(Bits<32> control, Bits<32> b) {
    auto result = lanes<u32>(control);
    for (u32& lane : result) lane = lanes<u32>(b)[lane & 7];
    return bits(result);
  }
};
struct PermuteQwords {  // VPERMQ, VPERMPD
  static Bits<32> apply(Bits<32> a, u8 imm) {
    const auto x = lanes<u64>(a);
    return bits(std::array{x[imm & 3], x[imm >> 2 & 3], x[imm >> 4 & 3], x[imm >> 6]});
  }
};
struct PermuteParts {  // VPERM2F128, VPERM2I128
  static Bits<32> apply(Bits<32> a, Bits<32> b, u8 imm) {
    const auto pick = [&](u32 control) {
      return control & 8 ? Bits<16>{} : part(control & 2 ? b : a, control & 1);
    };
    return join_parts(pick(imm), pick(imm >> 4u));
  }
};
bool insert_part(Vcpu& cpu, const Insn& insn) {  // VINSERTF128, VINSERTI128
  if (!available<Form::kVex256>(cpu)) return false;
  Bits<16> half{};
  if (!read_source<Form::kVex128>(cpu, insn, insn.op[2], half)) return false;
  const auto value = read_vector<32>(cpu, insn.op[1].reg);
  write_register<Form::kVex256>(
      cpu, insn.op[0].reg,
      insn.imm & 1 ? join_parts(part(value, 0), half) : join_parts(half, part(value, 1)));
  return true;
}
bool extract_part(Vcpu& cpu, const Insn& insn) {  // VEXTRACTF128, VEXTRACTI128
  if (!available<Form::kVex256>(cpu)) return false;
  const auto half = part(read_vector<32>(cpu, insn.op[1].reg), insn.imm & 1);
  if (insn.op[0].kind == OperandKind::kMemory) return store(cpu, insn, half);
  write_register<Form::kVex128>(cpu, insn.op[0].reg, half);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// EXTRQ, INSERTQ: bit fields of the low quadword; length 0 means 64. What leaves the quadword is undefined,
// and so is the high quadword of the result; here it is cut off, and zero.

struct Field {
  u32 length, index;
  [[nodiscard]] u64 mask() const { return length == 0 ? ~u64{0} : (u64{1} << length) - 1; }
};
Field field(u64 length, u64 index) {
  return {static_cast<u32>(length & 63), static_cast<u32>(index & 63)};
}

bool extrq(Vcpu& cpu, const Insn& insn) {
  if (!available<Form::kSse>(cpu)) return false;
  const u8 to = insn.op[0].reg;
  Field f = field(insn.imm, insn.imm2);
  if (insn.op[1].kind == OperandKind::kVector) {
    const u64 control = read_low<u64>(cpu, insn.op[1].reg);
    f = field(control, control >> 8);
  }
  const u64 value = read_low<u64>(cpu, to) >> f.index & f.mask();
  write_register<Form::kSse>(cpu, to, bits(std::array<u64, 2>{value, 0}));
  return true;
}
bool insertq(Vcpu& cpu, const Insn& insn) {
  if (!available<Form::kSse>(cpu)) return false;
  const u8 to = insn.op[0].reg;
  const auto source = lanes<u64>(read_vector<16>(cpu, insn.op[1].reg));
  const Field f = insn.op[2].kind == OperandKind::kImmediate ? field(insn.imm, insn.imm2)
                                                             : field(source[1], source[1] >> 8);
  const u64 value = (read_low<u64>(cpu, to) & ~(f.mask() << f.index)) | (source[0] & f.mask()) << f.index;
  write_register<Form::kSse>(cpu, to, bits(std::array<u64, 2>{value, 0}));
  return true;
}

template <class T>
constexpr auto unpack_low(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return mmx_sse_vex<UnpackLow<T>::template In>(legacy, vex);
}
template <class T>
constexpr auto unpack_high(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return two_mmx<EachPart<Unpack<T, true>>>(legacy, vex);
}
template <class From, class To>
constexpr auto widen(ZydisMnemonic legacy, ZydisMnemonic vex) {
  return sse_vex<Widen<From, To>::template In>(legacy, vex);
}

constexpr auto kTable = join_rows(
    unpack_low<u8>(ZYDIS_MNEMONIC_PUNPCKLBW, ZYDIS_MNEMONIC_VPUNPCKLBW),
    unpack_low<u16>(ZYDIS_MNEMONIC_PUNPCKLWD, ZYDIS_MNEMONIC_VPUNPCKLWD),
    unpack_low<u32>(ZYDIS_MNEMONIC_PUNPCKLDQ, ZYDIS_MNEMONIC_VPUNPCKLDQ),
    two<EachPart<Unpack<u64, false>>>(ZYDIS_MNEMONIC_PUNPCKLQDQ, ZYDIS_MNEMONIC_VPUNPCKLQDQ),
    unpack_high<u8>(ZYDIS_MNEMONIC_PUNPCKHBW, ZYDIS_MNEMONIC_VPUNPCKHBW),
    unpack_high<u16>(ZYDIS_MNEMONIC_PUNPCKHWD, ZYDIS_MNEMONIC_VPUNPCKHWD),
    unpack_high<u32>(ZYDIS_MNEMONIC_PUNPCKHDQ, ZYDIS_MNEMONIC_VPUNPCKHDQ),
    two<EachPart<Unpack<u64, true>>>(ZYDIS_MNEMONIC_PUNPCKHQDQ, ZYDIS_MNEMONIC_VPUNPCKHQDQ),
    two<EachPart<Unpack<u32, false>>>(ZYDIS_MNEMONIC_UNPCKLPS, ZYDIS_MNEMONIC_VUNPCKLPS),
    two<EachPart<Unpack<u64, false>>>(ZYDIS_MNEMONIC_UNPCKLPD, ZYDIS_MNEMONIC_VUNPCKLPD),
    two<EachPart<Unpack<u32, true>>>(ZYDIS_MNEMONIC_UNPCKHPS, ZYDIS_MNEMONIC_VUNPCKHPS),
    two<EachPart<Unpack<u64, true>>>(ZYDIS_MNEMONIC_UNPCKHPD, ZYDIS_MNEMONIC_VUNPCKHPD),
    two_mmx<EachPart<Pack<i16, i8>>>(ZYDIS_MNEMONIC_PACKSSWB, ZYDIS_MNEMONIC_VPACKSSWB),
    two_mmx<EachPart<Pack<i32, i16>>>(ZYDIS_MNEMONIC_PACKSSDW, ZYDIS_MNEMONIC_VPACKSSDW),
    two_mmx<EachPart<Pack<i16, u8>>>(ZYDIS_MNEMONIC_PACKUSWB, ZYDIS_MNEMONIC_VPACKUSWB),
    two<EachPart<Pack<i32, u16>>>(ZYDIS_MNEMONIC_PACKUSDW, ZYDIS_MNEMONIC_VPACKUSDW),

    two_mmx<EachPart<ShuffleBytes>>(ZYDIS_MNEMONIC_PSHUFB, ZYDIS_MNEMONIC_VPSHUFB),
    one<EachPart<ShuffleDwords>>(ZYDIS_MNEMONIC_PSHUFD, ZYDIS_MNEMONIC_VPSHUFD),
    one<EachPart<ShuffleWords<0>>>(ZYDIS_MNEMONIC_PSHUFLW, ZYDIS_MNEMONIC_VPSHUFLW),
    one<EachPart<ShuffleWords<4>>>(ZYDIS_MNEMONIC_PSHUFHW, ZYDIS_MNEMONIC_VPSHUFHW),
    single<one_source<ShuffleWords<0>, Form::kMmx>>(ZYDIS_MNEMONIC_PSHUFW),
    two<EachPart<ShuffleSingles>>(ZYDIS_MNEMONIC_SHUFPS, ZYDIS_MNEMONIC_VSHUFPS),
    two<ShuffleDoubles>(ZYDIS_MNEMONIC_SHUFPD, ZYDIS_MNEMONIC_VSHUFPD),
    two_mmx<EachPart<AlignRight>>(ZYDIS_MNEMONIC_PALIGNR, ZYDIS_MNEMONIC_VPALIGNR),

    two<Blend<u16>>(ZYDIS_MNEMONIC_PBLENDW, ZYDIS_MNEMONIC_VPBLENDW),
    two<Blend<u32>>(ZYDIS_MNEMONIC_BLENDPS, ZYDIS_MNEMONIC_VBLENDPS),
    two<Blend<u64>>(ZYDIS_MNEMONIC_BLENDPD, ZYDIS_MNEMONIC_VBLENDPD),
    two_vex<Blend<u32>>(ZYDIS_MNEMONIC_VPBLENDD),
    sse_vex<BlendVariable<u8>::In>(ZYDIS_MNEMONIC_PBLENDVB, ZYDIS_MNEMONIC_VPBLENDVB),
    sse_vex<BlendVariable<u32>::In>(ZYDIS_MNEMONIC_BLENDVPS, ZYDIS_MNEMONIC_VBLENDVPS),
    sse_vex<BlendVariable<u64>::In>(ZYDIS_MNEMONIC_BLENDVPD, ZYDIS_MNEMONIC_VBLENDVPD),

    sse_vex128<Insert<u8>::In>(ZYDIS_MNEMONIC_PINSRB, ZYDIS_MNEMONIC_VPINSRB),
    mmx_sse_vex<Insert<u16>::In>(ZYDIS_MNEMONIC_PINSRW, ZYDIS_MNEMONIC_VPINSRW),
    sse_vex128<Insert<u32>::In>(ZYDIS_MNEMONIC_PINSRD, ZYDIS_MNEMONIC_VPINSRD),
    sse_vex128<Insert<u64>::In>(ZYDIS_MNEMONIC_PINSRQ, ZYDIS_MNEMONIC_VPINSRQ),
    sse_vex128<Extract<u8>::In>(ZYDIS_MNEMONIC_PEXTRB, ZYDIS_MNEMONIC_VPEXTRB),
    mmx_sse_vex<Extract<u16>::In>(ZYDIS_MNEMONIC_PEXTRW, ZYDIS_MNEMONIC_VPEXTRW),
    sse_vex128<Extract<u32>::In>(ZYDIS_MNEMONIC_PEXTRD, ZYDIS_MNEMONIC_VPEXTRD),
    sse_vex128<Extract<u64>::In>(ZYDIS_MNEMONIC_PEXTRQ, ZYDIS_MNEMONIC_VPEXTRQ),
    sse_vex128<Extract<u32>::In>(ZYDIS_MNEMONIC_EXTRACTPS, ZYDIS_MNEMONIC_VEXTRACTPS),
    sse_vex128<InsertSingle>(ZYDIS_MNEMONIC_INSERTPS, ZYDIS_MNEMONIC_VINSERTPS),

    widen<i8, i16>(ZYDIS_MNEMONIC_PMOVSXBW, ZYDIS_MNEMONIC_VPMOVSXBW),
    widen<i8, i32>(ZYDIS_MNEMONIC_PMOVSXBD, ZYDIS_MNEMONIC_VPMOVSXBD),
    widen<i8, i64>(ZYDIS_MNEMONIC_PMOVSXBQ, ZYDIS_MNEMONIC_VPMOVSXBQ),
    widen<i16, i32>(ZYDIS_MNEMONIC_PMOVSXWD, ZYDIS_MNEMONIC_VPMOVSXWD),
    widen<i16, i64>(ZYDIS_MNEMONIC_PMOVSXWQ, ZYDIS_MNEMONIC_VPMOVSXWQ),
    widen<i32, i64>(ZYDIS_MNEMONIC_PMOVSXDQ, ZYDIS_MNEMONIC_VPMOVSXDQ),
    widen<u8, u16>(ZYDIS_MNEMONIC_PMOVZXBW, ZYDIS_MNEMONIC_VPMOVZXBW),
    widen<u8, u32>(ZYDIS_MNEMONIC_PMOVZXBD, ZYDIS_MNEMONIC_VPMOVZXBD),
    widen<u8, u64>(ZYDIS_MNEMONIC_PMOVZXBQ, ZYDIS_MNEMONIC_VPMOVZXBQ),
    widen<u16, u32>(ZYDIS_MNEMONIC_PMOVZXWD, ZYDIS_MNEMONIC_VPMOVZXWD),
    widen<u16, u64>(ZYDIS_MNEMONIC_PMOVZXWQ, ZYDIS_MNEMONIC_VPMOVZXWQ),
    widen<u32, u64>(ZYDIS_MNEMONIC_PMOVZXDQ, ZYDIS_MNEMONIC_VPMOVZXDQ),

    RowArray<2>{{{ZYDIS_MNEMONIC_VPERMILPS, Flow::kNext, bind_permute_in_part<u32>},
                 {ZYDIS_MNEMONIC_VPERMILPD, Flow::kNext, bind_permute_in_part<u64>}}},
    single<two_sources<PermuteDwords, Form::kVex256>>(ZYDIS_MNEMONIC_VPERMD),
    single<two_sources<PermuteDwords, Form::kVex256>>(ZYDIS_MNEMONIC_VPERMPS),
    single<one_source<PermuteQwords, Form::kVex256>>(ZYDIS_MNEMONIC_VPERMQ),
    single<one_source<PermuteQwords, Form::kVex256>>(ZYDIS_MNEMONIC_VPERMPD),
    single<two_sources<PermuteParts, Form::kVex256>>(ZYDIS_MNEMONIC_VPERM2F128),
    single<two_sources<PermuteParts, Form::kVex256>>(ZYDIS_MNEMONIC_VPERM2I128),
    single<insert_part>(ZYDIS_MNEMONIC_VINSERTF128), single<insert_part>(ZYDIS_MNEMONIC_VINSERTI128),
    single<extract_part>(ZYDIS_MNEMONIC_VEXTRACTF128), single<extract_part>(ZYDIS_MNEMONIC_VEXTRACTI128),

    single<extrq>(ZYDIS_MNEMONIC_EXTRQ), single<insertq>(ZYDIS_MNEMONIC_INSERTQ));

}  // namespace

constinit const Rows kSseShuffleRows{kTable};

}  // namespace doppel::interp
