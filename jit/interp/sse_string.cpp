// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. Source: Intel SDM Vol. 2B, "Imm8 Control Byte Operation for
// PCMPESTRI / PCMPESTRM / PCMPISTRI / PCMPISTRM".
#include "jit/interp/families.hpp"
#include "jit/interp/sse_forms.hpp"

namespace doppel::interp {
namespace {

// The immediate.
constexpr u8 kWords = 1u << 0, kSigned = 1u << 1, kNegate = 1u << 4, kNegateValidOnly = 1u << 5,
             kHighIndexOrMask = 1u << 6;
enum class Aggregation : u8 { kAny, kRanges, kEach, kOrdered };
constexpr Aggregation aggregation(u8 imm) {
  return static_cast<Aggregation>(imm >> 2 & 3);
}

struct String {
  Bits<16> text;
  u32 length;  // elements before the end

  [[nodiscard]] i32 element(u32 i, u8 imm) const {
    if (imm & kWords) return imm & kSigned ? lanes<i16>(text)[i] : lanes<u16>(text)[i];
    return imm & kSigned ? lanes<i8>(text)[i] : lanes<u8>(text)[i];
  }
};

// Length of a string that ends at a zero element.
u32 implicit_length(Bits<16> text, u8 imm) {
  const u32 count = imm & kWords ? 8 : 16;
  const String string{text, count};
  for (u32 i = 0; i < count; ++i)
    if (string.element(i, imm) == 0) return i;
  return count;
}
// From EAX or EDX (RAX, RDX): the absolute value, at most the element count.
u32 explicit_length(i64 length, u8 imm) {
  const u64 magnitude =
      static_cast<u64>(length < 0 ? 0 - static_cast<u64>(length) : static_cast<u64>(length));
  const u32 count = imm & kWords ? 8 : 16;
  return magnitude < count ? static_cast<u32>(magnitude) : count;
}

// Whether element `at` of the second string takes part in a match ("IntRes1" of the manual).
bool matches(const String& pattern, const String& text, u32 at, u32 count, u8 imm) {
  switch (aggregation(imm)) {
    case Aggregation::kAny:
      if (at >= text.length) return false;
      for (u32 i = 0; i < pattern.length; ++i)
        if (pattern.element(i, imm) == text.element(at, imm)) return true;
      return false;
    case Aggregation::kRanges:
      if (at >= text.length) return false;
      for (u32 i = 0; i + 1 < pattern.length; i += 2) {
        const i32 value = text.element(at, imm);
        if (value >= pattern.element(i, imm) && value <= pattern.element(i + 1, imm)) return true;
      }
      return false;
    case Aggregation::kEach:
      if (at >= text.length || at >= pattern.length) return at >= text.length && at >= pattern.length;
      return pattern.element(at, imm) == text.element(at, imm);
    case Aggregation::kOrdered:
      break;
  }
  for (u32 i = 0; i < pattern.length && at + i < count; ++i)
    if (at + i >= text.length || pattern.element(i, imm) != text.element(at + i, imm)) return false;
  return true;
}

// "IntRes2".
u32 compare(const String& pattern, const String& text, u8 imm) {
  const u32 count = imm & kWords ? 8 : 16;
  u32 result = 0;
  for (u32 at = 0; at < count; ++at) {
    bool bit = matches(pattern, text, at, count, imm);
    if ((imm & kNegate) && (!(imm & kNegateValidOnly) || at < text.length)) bit = !bit;
    result |= u32{bit} << at;
  }
  return result;
}

// kMask: the result goes to XMM0, else an index to ECX.
template <bool kExplicit, bool kMask>
struct CompareStrings {
  template <Form F>
  [[gnu::noinline]] static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    Bits<16> second{};
    if (insn.op[1].kind != OperandKind::kMemory)
      second = read_vector<16>(cpu, insn.op[1].reg);
    else if (!load(cpu, insn, second))
      return false;

    const u8 imm = static_cast<u8>(insn.imm);
    const auto length = [&](Bits<16> text, u8 gpr) {
      if constexpr (!kExplicit) return implicit_length(text, imm);
      const i64 value = insn.op_size == 8 ? read_gpr<i64>(cpu, gpr) : read_gpr<i32>(cpu, gpr);
      return explicit_length(value, imm);
    };
    const Bits<16> first = read_vector<16>(cpu, insn.op[0].reg);
    const String pattern{first, length(first, core::kRax * 8)}, text{second, length(second, core::kRdx * 8)};
    const u32 count = imm & kWords ? 8 : 16;
    const u32 result = compare(pattern, text, imm);

    core::set_arithmetic_flags(cpu.state,
                               (result != 0 ? core::kCf : 0) | (text.length < count ? core::kZf : 0) |
                                   (pattern.length < count ? core::kSf : 0) | (result & 1 ? core::kOf : 0));
    if constexpr (kMask)
      write_register<F>(cpu, 0, mask(result, imm));
    else
      write_gpr<u32>(cpu, core::kRcx * 8, index(result, count, imm));
    return true;
  }
  static u32 index(u32 result, u32 count, u8 imm) {
    if (result == 0) return count;
    return static_cast<u32>(imm & kHighIndexOrMask ? std::bit_width(result) - 1 : std::countr_zero(result));
  }
  static Bits<16> mask(u32 result, u8 imm) {
    if (!(imm & kHighIndexOrMask)) return bits(std::array<u64, 2>{result, 0});
    Bits<16> expanded{};
    for (u32 i = 0; i < 16; ++i) expanded.byte[i] = result >> (imm & kWords ? i / 2 : i) & 1 ? 0xff : 0;
    return expanded;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

constexpr auto kTable = join_rows(
    sse_vex128<CompareStrings<true, false>::In>(ZYDIS_MNEMONIC_PCMPESTRI, ZYDIS_MNEMONIC_VPCMPESTRI),
    sse_vex128<CompareStrings<true, true>::In>(ZYDIS_MNEMONIC_PCMPESTRM, ZYDIS_MNEMONIC_VPCMPESTRM),
    sse_vex128<CompareStrings<false, false>::In>(ZYDIS_MNEMONIC_PCMPISTRI, ZYDIS_MNEMONIC_VPCMPISTRI),
    sse_vex128<CompareStrings<false, true>::In>(ZYDIS_MNEMONIC_PCMPISTRM, ZYDIS_MNEMONIC_VPCMPISTRM));

}  // namespace

constinit const Rows kSseStringRows{kTable};

}  // namespace doppel::interp
