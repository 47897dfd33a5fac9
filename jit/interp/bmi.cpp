// Bit manipulation on general registers: POPCNT, LZCNT, TZCNT, BMI1, BMI2, ADX, and CRC32.
// Undefined flags are cleared. Source: Intel SDM Vol. 2, the instructions' pages.
#include <array>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/semantics.hpp"

namespace doppel::interp {
namespace {

// VEX-encoded instructions do not exist in real and virtual-8086 mode.
bool vex_available(Vcpu& cpu) {
  const auto& s = cpu.state;
  if (!core::protected_mode(s) || core::virtual_8086(s)) [[unlikely]]
    return cpu.raise(Vector::kUD);
  return true;
}

// Calls S::run<T> with the unsigned type of the destination's size.
template <class S>
Handler bind_sized(const Insn& insn) {
  return by_size(insn.op[0].size, []<class T>() -> Handler { return run_next<S::template run<T>>; });
}
template <class S>
constexpr Row sized(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, bind_sized<S>};
}

// ---------------------------------------------------------------------------------------------------------------
// Counts.

struct Popcnt {
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!read_rm(cpu, insn, insn.op[1], source)) return false;
    core::set_arithmetic_flags(cpu.state, source == 0 ? core::kZf : 0);
    write_gpr(cpu, insn.op[0].reg, static_cast<T>(std::popcount(source)));
    return true;
  }
};
template <auto Count>
struct CountZeros {  // LZCNT, TZCNT: CF for a zero source, ZF for a zero result
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!read_rm(cpu, insn, insn.op[1], source)) return false;
    const T count = static_cast<T>(Count(source));
    core::set_arithmetic_flags(cpu.state, (source == 0 ? core::kCf : 0) | (count == 0 ? core::kZf : 0));
    write_gpr(cpu, insn.op[0].reg, count);
    return true;
  }
};
constexpr auto kLeading = []<class T>(T x) { return std::countl_zero(x); };
constexpr auto kTrailing = []<class T>(T x) { return std::countr_zero(x); };

// ---------------------------------------------------------------------------------------------------------------
// BMI1.

struct Andn {
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[2], source)) return false;
    const T result = static_cast<T>(~read_gpr<T>(cpu, insn.op[1].reg) & source);
    flags_logic(cpu.state, result);
    write_gpr(cpu, insn.op[0].reg, result);
    return true;
  }
};
// BLSI, BLSR, BLSMSK. CF tells whether the source is zero; for BLSI, whether it is not.
template <auto F, bool kCarryIfZero>
struct LowestBit {
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[1], source)) return false;
    const T result = static_cast<T>(F(source));
    flags_explicit(cpu.state, result, (source == 0) == kCarryIfZero, false, false);
    write_gpr(cpu, insn.op[0].reg, result);
    return true;
  }
};
constexpr auto kIsolate = [](auto x) { return x & (0 - x); };
constexpr auto kReset = [](auto x) { return x & (x - 1); };
constexpr auto kMaskUpTo = [](auto x) { return x ^ (x - 1); };

template <class T>
constexpr T low_bits(u32 count) {
  return count >= kBits<T> ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << count) - 1);
}

struct Bextr {
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[1], source)) return false;
    const u64 control = read_gpr<T>(cpu, insn.op[2].reg);
    const u32 start = control & 0xff, length = control >> 8 & 0xff;
    const T result = start < kBits<T> ? static_cast<T>((source >> start) & low_bits<T>(length)) : T{0};
    flags_logic(cpu.state, result);
    write_gpr(cpu, insn.op[0].reg, result);
    return true;
  }
};

// ---------------------------------------------------------------------------------------------------------------
// BMI2.

struct Bzhi {
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[1], source)) return false;
    const u32 count = read_gpr<T>(cpu, insn.op[2].reg) & 0xff;
    const T result = source & low_bits<T>(count);
    flags_explicit(cpu.state, result, count >= kBits<T>, false, false);
    write_gpr(cpu, insn.op[0].reg, result);
    return true;
  }
};
template <auto F>
struct WithMask {  // PDEP, PEXT
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T mask{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[2], mask)) return false;
    write_gpr(cpu, insn.op[0].reg, F(read_gpr<T>(cpu, insn.op[1].reg), mask));
    return true;
  }
};
constexpr auto kDeposit = []<class T>(T source, T mask) {
  T result = 0;
  for (; mask != 0; mask &= mask - 1, source >>= 1)
    if (source & 1) result |= mask & (0 - mask);
  return result;
};
constexpr auto kExtract = []<class T>(T source, T mask) {
  T result = 0;
  for (T bit = 1; mask != 0; mask &= mask - 1, bit = static_cast<T>(bit << 1))
    if (source & mask & (0 - mask)) result |= bit;
  return result;
};
struct Mulx {  // the high half wins if both destinations are the same register
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[2], source)) return false;
    const u128 product = static_cast<u128>(read_gpr<T>(cpu, core::kRdx * 8)) * source;
    write_gpr(cpu, insn.op[1].reg, static_cast<T>(product));
    write_gpr(cpu, insn.op[0].reg, static_cast<T>(product >> kBits<T>));
    return true;
  }
};
template <auto F>
struct ShiftBy {  // SARX, SHLX, SHRX by register; RORX by immediate
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!vex_available(cpu) || !read_rm(cpu, insn, insn.op[1], source)) return false;
    const bool immediate = insn.op[2].kind == OperandKind::kImmediate;
    const u64 count = immediate ? insn.imm : read_gpr<T>(cpu, insn.op[2].reg);
    write_gpr(cpu, insn.op[0].reg, static_cast<T>(F(source, static_cast<u32>(count & (kBits<T> - 1)))));
    return true;
  }
};
constexpr auto kArithmeticRight = []<class T>(T x, u32 n) {
  return static_cast<std::make_signed_t<T>>(x) >> n;
};
constexpr auto kLeft = [](auto x, u32 n) { return x << n; };
constexpr auto kRight = [](auto x, u32 n) { return x >> n; };
constexpr auto kRotateRight = [](auto x, u32 n) { return std::rotr(x, static_cast<int>(n)); };

// ---------------------------------------------------------------------------------------------------------------
// ADCX, ADOX: addition with CF, or OF, as the only flag in and out.

template <bool kOverflow>
struct AddWithFlag {
  template <class T>
  static bool run(Vcpu& cpu, const Insn& insn) {
    T source{};
    if (!read_rm(cpu, insn, insn.op[1], source)) return false;
    const bool carry_in = kOverflow ? core::of(cpu.state.lazy) : core::cf(cpu.state.lazy);
    const u128 sum = static_cast<u128>(read_gpr<T>(cpu, insn.op[0].reg)) + source + carry_in;
    const bool carry_out = (sum >> kBits<T>) != 0;
    kOverflow ? set_of(cpu.state, carry_out) : set_cf(cpu.state, carry_out);
    write_gpr(cpu, insn.op[0].reg, static_cast<T>(sum));
    return true;
  }
};

// ---------------------------------------------------------------------------------------------------------------
// CRC32: the polynomial 0x11edc6f41, bits reflected.

constexpr auto kCrcTable = [] {
  std::array<u32, 256> table{};
  for (u32 i = 0; i < 256; ++i) {
    u32 crc = i;
    for (u32 bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f6'3b78 : 0);
    table[i] = crc;
  }
  return table;
}();

template <class T>
bool crc32(Vcpu& cpu, const Insn& insn) {
  T source{};
  if (!read_rm(cpu, insn, insn.op[1], source)) return false;
  u32 crc = read_gpr<u32>(cpu, insn.op[0].reg);
  for (u32 i = 0; i < sizeof(T); ++i)
    crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<u32>(source >> (8 * i))) & 0xff];
  write_gpr<u32>(cpu, insn.op[0].reg, crc);
  return true;
}
Handler bind_crc32(const Insn& insn) {
  return by_size(insn.op[1].size, []<class T>() -> Handler { return run_next<crc32<T>>; });
}

constexpr Row kTable[] = {
    sized<Popcnt>(ZYDIS_MNEMONIC_POPCNT),
    sized<CountZeros<kLeading>>(ZYDIS_MNEMONIC_LZCNT),
    sized<CountZeros<kTrailing>>(ZYDIS_MNEMONIC_TZCNT),
    sized<Andn>(ZYDIS_MNEMONIC_ANDN),
    sized<LowestBit<kIsolate, false>>(ZYDIS_MNEMONIC_BLSI),
    sized<LowestBit<kReset, true>>(ZYDIS_MNEMONIC_BLSR),
    sized<LowestBit<kMaskUpTo, true>>(ZYDIS_MNEMONIC_BLSMSK),
    sized<Bextr>(ZYDIS_MNEMONIC_BEXTR),
    sized<Bzhi>(ZYDIS_MNEMONIC_BZHI),
    sized<WithMask<kDeposit>>(ZYDIS_MNEMONIC_PDEP),
    sized<WithMask<kExtract>>(ZYDIS_MNEMONIC_PEXT),
    sized<Mulx>(ZYDIS_MNEMONIC_MULX),
    sized<ShiftBy<kArithmeticRight>>(ZYDIS_MNEMONIC_SARX),
    sized<ShiftBy<kLeft>>(ZYDIS_MNEMONIC_SHLX),
    sized<ShiftBy<kRight>>(ZYDIS_MNEMONIC_SHRX),
    sized<ShiftBy<kRotateRight>>(ZYDIS_MNEMONIC_RORX),
    sized<AddWithFlag<false>>(ZYDIS_MNEMONIC_ADCX),
    sized<AddWithFlag<true>>(ZYDIS_MNEMONIC_ADOX),
    {ZYDIS_MNEMONIC_CRC32, Flow::kNext, bind_crc32},
};

}  // namespace

constinit const Rows kBmiRows{kTable};

}  // namespace doppel::interp
