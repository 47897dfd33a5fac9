// A table of instruction tests: one case is assembly text, what is in the registers and memory before, and
// what is there afterwards. Each case runs on the interpreter and, in the user modes, on the host's own
// processor; both must match the expectation and each other. A cases_*.cpp file holds the tables of one
// instruction family.
#pragma once

#include <doctest.h>

#include <bit>
#include <initializer_list>
#include <optional>
#include <span>

#include "tests/interp/guest_cpu.hpp"
#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

using core::kAf, core::kCf, core::kDf, core::kOf, core::kPf, core::kSf, core::kZf;

// Where `data` is in 64- and 32-bit programs and in real mode: values for pointer registers.
inline constexpr u64 kDataAt = 0x1001'0000;
inline constexpr u64 kRealDataAt = 0x6000;

// An 80-bit number; doubles convert exactly.
struct Real {
  u64 significand = 0;
  u16 sign_exponent = 0;

  constexpr Real() = default;
  constexpr Real(u64 significand_bits, u16 sign_exponent_bits)
      : significand(significand_bits), sign_exponent(sign_exponent_bits) {}
  constexpr Real(double value) {  // NOLINT(google-explicit-constructor): cases list numbers
    const u64 bits = std::bit_cast<u64>(value), fraction = bits & ((u64{1} << 52) - 1);
    const u32 exponent = bits >> 52 & 0x7ff;
    const auto sign = static_cast<u16>(bits >> 63 << 15);
    if (exponent == 0 && fraction != 0) {
      const int shift = std::countl_zero(fraction);
      significand = fraction << shift;
      sign_exponent = static_cast<u16>(sign | (16383 - 1022 + 11 - shift));
    } else if (exponent != 0 || fraction != 0) {
      significand = u64{1} << 63 | fraction << 11;
      sign_exponent = static_cast<u16>(sign | (exponent == 0x7ff ? 0x7fff : exponent - 1023 + 16383));
    } else {
      sign_exponent = sign;
    }
  }
};

struct Xmm {
  u64 low = 0, high = 0;
};
constexpr Xmm doubles(double low, double high = 0) {
  return {std::bit_cast<u64>(low), std::bit_cast<u64>(high)};
}
constexpr Xmm dwords(u32 a, u32 b, u32 c, u32 d) {
  return {a | u64{b} << 32, c | u64{d} << 32};
}
constexpr Xmm floats(float a, float b = 0, float c = 0, float d = 0) {
  return dwords(std::bit_cast<u32>(a), std::bit_cast<u32>(b), std::bit_cast<u32>(c), std::bit_cast<u32>(d));
}

// Up to N values, as in `.mem = {1, 2}`.
template <class T, u32 N>
struct List {
  std::array<T, N> values{};
  u32 count = 0;

  constexpr List() = default;
  constexpr List(std::initializer_list<T> from) {
    for (const T& value : from) values.at(count++) = value;
  }
};

// Registers and memory of a case. Before: what is not given has a fixed pattern (flags: none set). After:
// what is not given must be as before, and flags that the instructions leave undefined are not looked at.
struct State {
  std::optional<u64> rax{}, rbx{}, rcx{}, rdx{}, rsi{}, rdi{}, rbp{}, rsp{}, r8{}, r9{}, r15{};
  std::optional<u64> flags{};
  std::optional<Xmm> xmm0{}, xmm1{}, xmm2{}, xmm7{};
  std::optional<u32> mxcsr{};
  List<Real, 8> st{};  // the registers in use, ST(0) first
  std::optional<u16> fcw{};
  std::optional<u16> fsw{};  // without TOP, which follows from `st`; after: if not given, it is not looked at
  List<u64, 8> mem{};        // the first quadwords at `data`
  // After only: the exception that the last instruction to run raised, its error code, and CR2.
  std::optional<int> fault{};
  u32 error = 0;
  u64 cr2 = 0;
};

// Intel's processors do otherwise: they are not asked.
inline constexpr bool kAsAmd = true;

struct Case {
  const char* code;
  State before{};
  State after{};
  bool as_amd = false;
};

class CaseTable {
 public:
  CaseTable(Mode mode, std::span<const Case> cases);
  void check() const;

 private:
  void check(Engine engine) const;

  Mode mode_;
  std::span<const Case> cases_;
  std::size_t first_;  // number of its first case among all tables' cases
};

// Makes a doctest case of an array of Case: INSTRUCTION_CASES("add and adc", kUser64, kAddCases);
#define INSTRUCTION_CASES(name, mode, cases)                                                    \
  static const ::doppel::tests::CaseTable table_of_##cases(::doppel::tests::Mode::mode, cases); \
  TEST_CASE(name " (" #mode ")") {                                                              \
    table_of_##cases.check();                                                                   \
  }                                                                                             \
  static_assert(true)

}  // namespace doppel::tests
