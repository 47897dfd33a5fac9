// AES-NI, PCLMULQDQ and the SHA extensions. Sources: Intel SDM Vol. 2, the instructions' pages; FIPS 197;
// FIPS 180-4.
#include "jit/interp/families.hpp"
#include "jit/interp/sse_forms.hpp"

namespace doppel::interp {
namespace {

// ---------------------------------------------------------------------------------------------------------------
// AES: the state is 4 columns of 4 bytes; arithmetic in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.

constexpr u8 multiply(u8 a, u8 b) {
  u32 x = a, result = 0;
  for (u32 bit = 0; bit < 8; ++bit) {
    if (b >> bit & 1) result ^= x;
    x = x << 1 ^ (x & 0x80 ? 0x11b : 0);
  }
  return static_cast<u8>(result);
}

struct SubstitutionBoxes {
  std::array<u8, 256> forward{}, inverse{};
};
constexpr SubstitutionBoxes kBoxes = [] {
  SubstitutionBoxes boxes;
  // 3 generates the multiplicative group: p runs over it while q is the inverse of p.
  u8 p = 1, q = 1;
  do {
    p = multiply(p, 3);
    q = multiply(q, 0xf6);
    const u8 s =
        static_cast<u8>(q ^ std::rotl(q, 1) ^ std::rotl(q, 2) ^ std::rotl(q, 3) ^ std::rotl(q, 4) ^ 0x63);
    boxes.forward[p] = s;
    boxes.inverse[s] = p;
  } while (p != 1);
  boxes.forward[0] = 0x63;
  boxes.inverse[0x63] = 0;
  return boxes;
}();

// Multiples of each byte by the coefficients of MixColumns and its inverse.
template <u8 kFactor>
constexpr auto kMultiples = [] {
  std::array<u8, 256> table{};
  for (u32 i = 0; i < 256; ++i) table[i] = multiply(static_cast<u8>(i), kFactor);
  return table;
}();

Bits<16> substitute(Bits<16> state, const std::array<u8, 256>& box) {
  for (u8& byte : state.byte) byte = box[byte];
  return state;
}
// Row r rotates by r columns: ShiftRows to the left, its inverse to the right.
template <bool kInverse>
Bits<16> shift_rows(Bits<16> state) {
  Bits<16> result{};
  for (u32 i = 0; i < 16; ++i) {
    const u32 row = i & 3;
    result.byte[i] = state.byte[(i + (kInverse ? 16 - 4 * row : 4 * row)) & 15];
  }
  return result;
}
template <u8 kA, u8 kB, u8 kC, u8 kD>
Bits<16> mix_columns(Bits<16> state) {
  Bits<16> result{};
  for (u32 i = 0; i < 16; ++i) {
    const auto byte = [&](u32 down) { return state.byte[(i & ~3u) + ((i + down) & 3)]; };
    result.byte[i] =
        kMultiples<kA>[byte(0)] ^ kMultiples<kB>[byte(1)] ^ kMultiples<kC>[byte(2)] ^ kMultiples<kD>[byte(3)];
  }
  return result;
}
Bits<16> mix(Bits<16> state) {
  return mix_columns<2, 3, 1, 1>(state);
}
Bits<16> unmix(Bits<16> state) {
  return mix_columns<14, 11, 13, 9>(state);
}
Bits<16> exclusive_or(Bits<16> a, Bits<16> b) {
  for (u32 i = 0; i < 16; ++i) a.byte[i] ^= b.byte[i];
  return a;
}

template <bool kLast>
struct Encrypt {
  static Bits<16> apply(Bits<16> state, Bits<16> key) {
    state = substitute(shift_rows<false>(state), kBoxes.forward);
    return exclusive_or(kLast ? state : mix(state), key);
  }
};
template <bool kLast>
struct Decrypt {
  static Bits<16> apply(Bits<16> state, Bits<16> key) {
    state = substitute(shift_rows<true>(state), kBoxes.inverse);
    return exclusive_or(kLast ? state : unmix(state), key);
  }
};
struct InverseMixColumns {
  static Bits<16> apply(Bits<16> a) { return unmix(a); }
};
struct KeyAssist {  // AESKEYGENASSIST
  static Bits<16> apply(Bits<16> a, u8 round_constant) {
    const auto x = lanes<u32>(substitute(a, kBoxes.forward));
    return bits(
        std::array{x[1], std::rotr(x[1], 8) ^ round_constant, x[3], std::rotr(x[3], 8) ^ round_constant});
  }
};

// ---------------------------------------------------------------------------------------------------------------
// PCLMULQDQ: immediate bits 0 and 4 choose the quadwords.

struct CarrylessMultiply {
  static Bits<16> apply(Bits<16> a, Bits<16> b, u8 imm) {
    const u64 x = lanes<u64>(a)[imm & 1], y = lanes<u64>(b)[imm >> 4 & 1];
    u128 product = 0;
    for (u32 bit = 0; bit < 64; ++bit)
      if (y >> bit & 1) product ^= static_cast<u128>(x) << bit;
    return bits(std::array{static_cast<u64>(product), static_cast<u64>(product >> 64)});
  }
};

// ---------------------------------------------------------------------------------------------------------------
// SHA-1: A is the highest doubleword.

struct Sha1Rounds {  // SHA1RNDS4
  static Bits<16> apply(Bits<16> state, Bits<16> message, u8 imm) {
    constexpr u32 kConstants[] = {0x5a82'7999, 0x6ed9'eba1, 0x8f1b'bcdc, 0xca62'c1d6};
    const auto s = lanes<u32>(state), w = lanes<u32>(message);
    u32 a = s[3], b = s[2], c = s[1], d = s[0], e = 0;
    for (u32 i = 0; i < 4; ++i) {
      const u32 f = (imm & 3) == 0   ? (b & c) ^ (~b & d)
                    : (imm & 3) == 2 ? (b & c) ^ (b & d) ^ (c & d)
                                     : b ^ c ^ d;
      const u32 next_a = f + std::rotl(a, 5) + w[3 - i] + e + kConstants[imm & 3];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next_a;
    }
    return bits(std::array{d, c, b, a});
  }
};
struct Sha1NextE {
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    auto result = lanes<u32>(b);
    result[3] += std::rotl(lanes<u32>(a)[3], 30);
    return bits(result);
  }
};
struct Sha1Message1 {
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    const auto x = lanes<u32>(a), y = lanes<u32>(b);
    return bits(std::array{y[2] ^ x[0], y[3] ^ x[1], x[0] ^ x[2], x[1] ^ x[3]});
  }
};
struct Sha1Message2 {
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    const auto x = lanes<u32>(a), y = lanes<u32>(b);
    const u32 w16 = std::rotl(x[3] ^ y[2], 1), w17 = std::rotl(x[2] ^ y[1], 1),
              w18 = std::rotl(x[1] ^ y[0], 1), w19 = std::rotl(x[0] ^ w16, 1);
    return bits(std::array{w19, w18, w17, w16});
  }
};

// SHA-256.

u32 sigma(u32 x, int a, int b, int shift) {
  return std::rotr(x, a) ^ std::rotr(x, b) ^ x >> shift;
}
u32 big_sigma(u32 x, int a, int b, int c) {
  return std::rotr(x, a) ^ std::rotr(x, b) ^ std::rotr(x, c);
}

bool sha256_rounds(Vcpu& cpu, const Insn& insn) {  // SHA256RNDS2, with XMM0
  if (!available<Form::kSse>(cpu)) return false;
  Bits<16> source{};
  if (!read_source<Form::kSse>(cpu, insn, insn.op[1], source)) return false;
  const auto s = lanes<u32>(source), t = lanes<u32>(read_vector<16>(cpu, insn.op[0].reg)),
             w = lanes<u32>(read_vector<16>(cpu, 0));
  u32 a = s[3], b = s[2], c = t[3], d = t[2], e = s[1], f = s[0], g = t[1], h = t[0];
  for (u32 i = 0; i < 2; ++i) {
    const u32 t1 = h + big_sigma(e, 6, 11, 25) + ((e & f) ^ (~e & g)) + w[i];
    const u32 t2 = big_sigma(a, 2, 13, 22) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  write_register<Form::kSse>(cpu, insn.op[0].reg, bits(std::array{f, e, b, a}));
  return true;
}
struct Sha256Message1 {
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    auto w = lanes<u32>(a);
    const u32 following[] = {w[1], w[2], w[3], lanes<u32>(b)[0]};
    for (u32 i = 0; i < 4; ++i) w[i] += sigma(following[i], 7, 18, 3);
    return bits(w);
  }
};
struct Sha256Message2 {
  static Bits<16> apply(Bits<16> a, Bits<16> b) {
    auto w = lanes<u32>(a);
    const auto y = lanes<u32>(b);
    w[0] += sigma(y[2], 17, 19, 10);
    w[1] += sigma(y[3], 17, 19, 10);
    w[2] += sigma(w[0], 17, 19, 10);
    w[3] += sigma(w[1], 17, 19, 10);
    return bits(w);
  }
};

template <class Op>
constexpr auto sha(ZydisMnemonic mnemonic) {
  return single<two_sources<Op, Form::kSse>>(mnemonic);
}

constexpr auto kTable =
    join_rows(two_128<Encrypt<false>>(ZYDIS_MNEMONIC_AESENC, ZYDIS_MNEMONIC_VAESENC),
              two_128<Encrypt<true>>(ZYDIS_MNEMONIC_AESENCLAST, ZYDIS_MNEMONIC_VAESENCLAST),
              two_128<Decrypt<false>>(ZYDIS_MNEMONIC_AESDEC, ZYDIS_MNEMONIC_VAESDEC),
              two_128<Decrypt<true>>(ZYDIS_MNEMONIC_AESDECLAST, ZYDIS_MNEMONIC_VAESDECLAST),
              one_128<InverseMixColumns>(ZYDIS_MNEMONIC_AESIMC, ZYDIS_MNEMONIC_VAESIMC),
              one_128<KeyAssist>(ZYDIS_MNEMONIC_AESKEYGENASSIST, ZYDIS_MNEMONIC_VAESKEYGENASSIST),
              two_128<CarrylessMultiply>(ZYDIS_MNEMONIC_PCLMULQDQ, ZYDIS_MNEMONIC_VPCLMULQDQ),
              sha<Sha1Rounds>(ZYDIS_MNEMONIC_SHA1RNDS4), sha<Sha1NextE>(ZYDIS_MNEMONIC_SHA1NEXTE),
              sha<Sha1Message1>(ZYDIS_MNEMONIC_SHA1MSG1), sha<Sha1Message2>(ZYDIS_MNEMONIC_SHA1MSG2),
              single<sha256_rounds>(ZYDIS_MNEMONIC_SHA256RNDS2),
              sha<Sha256Message1>(ZYDIS_MNEMONIC_SHA256MSG1), sha<Sha256Message2>(ZYDIS_MNEMONIC_SHA256MSG2));

}  // namespace

constinit const Rows kCryptoRows{kTable};

}  // namespace doppel::interp
