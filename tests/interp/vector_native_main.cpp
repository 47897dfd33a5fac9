// Every form of the MMX, SSE, AVX, FMA, F16C, crypto and BMI instructions against the host's processor.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "jit/interp/families.hpp"
#include "tests/interp/fuzz_encoding.hpp"
#include "tests/interp/instruction_facts.hpp"
#include "tests/interp/single_instruction.hpp"

namespace doppel::tests {
namespace {

constexpr u8 kRexBit = 0x40, kRexW = 8, kRexR = 4, kRexX = 2, kRexB = 1;

const interp::Rows kRows[] = {interp::kSseMoveRows,    interp::kSseIntegerRows, interp::kSseFloatRows,
                              interp::kSseShuffleRows, interp::kSseConvertRows, interp::kSseCompareRows,
                              interp::kSseStringRows,  interp::kFmaRows,        interp::kMmxRows,
                              interp::kCryptoRows,     interp::kBmiRows};

// -------------------------------------------------------------------------------------------------------------------
// Forms.

struct Variant {
  Encoding encoding;
  u8 rex_w = 0;
};
struct VectorForm {
  std::vector<Variant> variants;  // the same instruction with other register numbers
  bool vvvv = false;              // whether VEX.vvvv is an operand
  bool immediate = false;
  u8 first_immediate = 0;  // a form with an immediate is there eight times, for 32 immediates each
};
constexpr u32 kImmediates = 32;

struct Decoded {
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  [[nodiscard]] bool from(const std::vector<u8>& bytes) {
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&decoder(64), bytes.data(), bytes.size(), &instruction, operands));
  }
};

// VGATHER*, VPGATHER*: VEX.66.0F38 90 to 93. The index register must hold small numbers.
bool is_gather(const Encoding& e) {
  return e.vex && e.map == 2 && e.opcode >= 0x90 && e.opcode <= 0x93;
}

std::vector<u8> smallest(const Variant& v, u8 vvvv) {
  Fields fields;
  fields.rex = static_cast<u8>(v.rex_w ? kRexBit | kRexW : 0);
  fields.vex_vvvv = vvvv;
  fields.address = is_gather(v.encoding) ? std::vector<u8>{0x04, 0x3e} : std::vector<u8>{0x06};
  fields.tail.assign(8, 0);
  return encode(v.encoding, fields);
}

// Calls `visit` with every opcode of the maps that hold vector instructions, in every shape.
template <class F>
void for_each_encoding(F visit) {
  constexpr u8 kPrefixes[] = {0x00, 0x66, 0xf2, 0xf3};
  for (const u8 prefix : kPrefixes)
    for (u8 map = 1; map <= 3; ++map)
      for (u32 opcode = 0; opcode < 256; ++opcode)
        for (u8 vex_wl = 0; vex_wl < 5; ++vex_wl) {
          Encoding e{.prefix = prefix, .map = map, .opcode = static_cast<u8>(opcode)};
          e.vex = vex_wl != 4;
          e.vex_w = e.vex && (vex_wl & 1);
          e.vex_l = e.vex && (vex_wl & 2);
          visit(e);  // no ModRM
          e.modrm = true;
          for (u8 modrm = 0; modrm < 64; ++modrm) {
            e.reg = modrm >> 3;
            e.rm = modrm & 7;
            e.memory = false;
            visit(e);
            e.memory = true;
            if (e.rm == 0) visit(e);
          }
        }
}

// What makes two encodings the same form: all but the numbers of registers.
std::string shape(const Decoded& d) {
  std::string text = ZydisMnemonicGetString(d.instruction.mnemonic);
  text += d.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? " vex" : "";
  text += ' ' + std::to_string(d.instruction.opcode);
  for (u8 i = 0; i < d.instruction.operand_count_visible; ++i) {
    const ZydisDecodedOperand& op = d.operands[i];
    text += ' ' + std::to_string(op.type) + '.' + std::to_string(op.size);
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER)
      text += '.' + std::to_string(ZydisRegisterGetClass(op.reg.value));
  }
  return text;
}

// -------------------------------------------------------------------------------------------------------------------
// Values.

constexpr u32 kOddFloats[] = {0,           0x8000'0000, 0x7f80'0000, 0xff80'0000, 0x7fc0'0000, 0xffc1'2345,
                              0x7f80'0001, 0xffa0'0001, 1,           0x8000'0001, 0x007f'ffff, 0x0080'0000,
                              0x7f7f'ffff, 0xff7f'ffff, 0x3f80'0000, 0xbf80'0000, 0x4f00'0000, 0xcf00'0000,
                              0x4eff'ffff, 0x5f00'0000, 0xdf00'0000, 0x3f00'0000, 0x3eff'ffff, 0x477f'e000,
                              0x477f'f000, 0x3880'0000, 0x387f'ffff, 0x4b00'0001};
constexpr u64 kOddDoubles[] = {0,
                               1ull << 63,
                               0x7ff0'0000'0000'0000,
                               0xfff0'0000'0000'0000,
                               0x7ff8'0000'0000'0000,
                               0xfff8'0000'0001'2345,
                               0x7ff0'0000'0000'0001,
                               0xfff4'0000'0000'0001,
                               1,
                               0x000f'ffff'ffff'ffff,
                               0x0010'0000'0000'0000,
                               0x7fef'ffff'ffff'ffff,
                               0x3ff0'0000'0000'0000,
                               0xbff0'0000'0000'0000,
                               0x41df'ffff'ffc0'0000,
                               0x41e0'0000'0000'0000,
                               0xc1e0'0000'0020'0000,
                               0x43e0'0000'0000'0000,
                               0xc3e0'0000'0000'0000,
                               0x3fdf'ffff'ffff'ffff,
                               0x47ef'ffff'efff'ffff,
                               0x47ef'ffff'f000'0000,
                               0x380f'ffff'ffff'ffff,
                               0x36a0'0000'0000'0000};

u32 random_float(Random& random) {
  constexpr u32 kSign = 1u << 31, kFraction = (1u << 23) - 1;
  const auto bits = static_cast<u32>(random());
  switch (random.below(6)) {
    case 0:
    case 1:
      return random.pick(kOddFloats);
    case 2:  // near one
      return (bits & (kSign | kFraction)) | static_cast<u32>(120 + random.below(16)) << 23;
    case 3:  // an integer, or halfway between two
      return (bits & kSign) | static_cast<u32>(120 + random.below(40)) << 23 | (bits & 3);
    case 4:  // a denormal, or almost
      return bits & (kSign | (kFraction << 1 | 1));
    default:
      return bits;
  }
}
u64 random_double(Random& random) {
  constexpr u64 kSign = 1ull << 63, kFraction = (1ull << 52) - 1;
  const u64 bits = random();
  switch (random.below(7)) {
    case 0:
    case 1:
      return random.pick(kOddDoubles);
    case 2:
      return (bits & (kSign | kFraction)) | (1016 + random.below(16)) << 52;
    case 3:
      return (bits & kSign) | (1016 + random.below(60)) << 52 | (bits & 3);
    case 4:
      return bits & (kSign | (kFraction << 1 | 1));
    case 5:  // a denormal as a float
      return (bits & (kSign | kFraction)) | (1023 - 160 + random.below(60)) << 52;
    default:
      return bits;
  }
}

enum class Style : u8 { kRandom, kFloats, kDoubles, kBytes, kCounts };
constexpr u64 kStyles = 5;

u64 random_word(Random& random, Style style) {
  switch (style) {
    case Style::kFloats:
      return random_float(random) | u64{random_float(random)} << 32;
    case Style::kDoubles:
      return random_double(random);
    case Style::kBytes: {  // small ones, so that strings match and end, and those where saturation begins
      constexpr u8 kEdges[] = {0x7f, 0x80, 0xff, 0xfe};
      u64 word = 0;
      for (u32 i = 0; i < 8; ++i)
        word = word << 8 | (random.one_in(3) ? random.pick(kEdges) : random.below(4));
      return word;
    }
    case Style::kCounts:  // shift counts, below and above the limits
      return random.below(72) | (random.one_in(3) ? random.below(40) << 32 : 0);
    default:
      return random();
  }
}

u64 random_integer(Random& random) {
  switch (random.below(6)) {
    case 0:
      return random.below(24);
    case 1:
      return ~random.below(24);
    case 2:
      return random.below(80) | random.below(80) << 8;  // BEXTR's start and length
    case 3:
      return static_cast<u64>(static_cast<i32>(random()));
    case 4:
      return random_double(random);
    default:
      return random();
  }
}

u32 random_mxcsr(Random& random) {
  constexpr u32 kFlags = 0x3f, kDaz = 1u << 6, kMasks = 0x1f80, kRounding = 3u << 13, kFtz = 1u << 15;
  u32 mxcsr = kMasks | (static_cast<u32>(random()) & (kFlags | kRounding));
  if (random.one_in(3)) mxcsr |= kDaz;
  if (random.one_in(3)) mxcsr |= kFtz;
  if (random.one_in(3)) mxcsr &= ~(kFlags | (static_cast<u32>(random()) & kMasks));  // some exceptions trap
  return mxcsr;
}

// -------------------------------------------------------------------------------------------------------------------

class VectorFamily final : public Family {
 public:
  VectorFamily() {
    std::set<u16> wanted;
    for (const interp::Rows rows : kRows)
      for (const jit::Row& row : rows) wanted.insert(row.mnemonic);
    for_each_encoding([&](const Encoding& e) {
      for (const u8 rex_w : {u8{0}, kRexW}) {
        Decoded d;
        if ((e.vex && rex_w) || !decodes_as(d, {e, rex_w}) || !wanted.contains(d.instruction.mnemonic))
          continue;
        add_variant(d, {e, rex_w});
      }
    });
  }

  [[nodiscard]] const std::vector<Form>& forms() const override { return forms_; }
  [[nodiscard]] std::span<const interp::Rows> rows() const override { return kRows; }

  [[nodiscard]] Program make(std::size_t number, u32 round, Random& random) const override {
    const VectorForm& form = details_[number];
    const Variant& variant = form.variants[random.below(form.variants.size())];
    Program program;
    MachineState& s = program.initial;
    fill(program, random);

    Fields fields;
    fields.rex = static_cast<u8>(variant.rex_w | (random() & (kRexR | kRexB)));
    fields.vex_vvvv = static_cast<u8>(form.vvvv ? random.below(16) : 0);
    if (variant.encoding.memory) {
      fields.rex &= static_cast<u8>(~kRexB);
      // [RSI + disp8], mostly aligned.
      // AMD's processors do not check the alignment of SHA operands.
      const bool aligned = forms_[number].isa_set == ZYDIS_ISA_SET_SHA || !random.one_in(8);
      const u64 displacement = random() & (aligned ? 0xe0 : 0xff);
      fields.address = {0x46, static_cast<u8>(displacement)};
    }
    if (is_gather(variant.encoding)) {
      const auto index = static_cast<u8>(random.below(16));
      const u8 low_index = index & 7,
               sib = static_cast<u8>(random.below(4) << 6 | low_index << 3 | core::kRsi);
      fields.rex = static_cast<u8>((fields.rex & ~kRexX) | (index >= 8 ? kRexX : 0));
      fields.address = {0x44, sib, fields.address[1]};
      const bool quadwords = variant.encoding.opcode & 1;
      for (u64& q : s.vec[index].q) q = random.below(24) | (quadwords ? 0 : random.below(24) << 32);
    }
    if (fields.rex && !variant.encoding.vex) fields.rex |= kRexBit;
    fields.tail.assign(8, 0);
    fields.tail[0] = static_cast<u8>(form.immediate ? form.first_immediate + round % kImmediates : random());
    program.code = encode(variant.encoding, fields);
    Decoded d;
    if (d.from(program.code)) program.code.resize(d.instruction.length);
    return program;
  }

  void forgive(const Form& form, const Program&, Outcome& guest, Outcome& host) const override {
    // MXCSR.MM, which the model does not have.
    constexpr u32 kMisaligned = 1u << 17;
    if (form.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || form.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR)
      if (host.state.mxcsr & kMisaligned) guest = host;
    if (form.text.find("dpps") != std::string::npos) forgive_nans<u32>(guest, host);
    if (form.text.find("dppd") != std::string::npos) forgive_nans<u64>(guest, host);
    // With underflow unmasked, some set the precision flag, too.
    constexpr u32 kUnderflow = 1u << 4, kPrecision = 1u << 5, kUnderflowMask = 1u << 11;
    if (form.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH && (host.state.mxcsr & kUnderflow) &&
        !(host.state.mxcsr & kUnderflowMask))
      guest.state.mxcsr = (guest.state.mxcsr & ~kPrecision) | (host.state.mxcsr & kPrecision);
    if (form.text.find("rcp") == std::string::npos && form.text.find("rsqrt") == std::string::npos) return;
    // Approximations, of which the manuals promise a relative error below 1.5 * 2^-12 and makers choose the
    // rest.
    for (u32 i = 0; i < 16; ++i) {
      auto guest_lanes = std::bit_cast<std::array<float, 8>>(guest.state.vec[i]);
      const auto host_lanes = std::bit_cast<std::array<float, 8>>(host.state.vec[i]);
      for (u32 lane = 0; lane < 8; ++lane)
        if (std::abs(guest_lanes[lane] - host_lanes[lane]) <= std::abs(host_lanes[lane]) * 0x1p-10f)
          guest_lanes[lane] = host_lanes[lane];
      guest.state.vec[i] = std::bit_cast<core::VectorRegister>(guest_lanes);
    }
  }

 private:
  // Of several NaNs, makers let another be the sum.
  template <class Bits>
  static void forgive_nans(Outcome& guest, const Outcome& host) {
    using Lanes = std::array<Bits, sizeof(core::VectorRegister) / sizeof(Bits)>;
    constexpr Bits kInfinity = sizeof(Bits) == 4 ? Bits{0x7f80'0000} : static_cast<Bits>(0x7ffull << 52);
    constexpr auto is_nan = [](Bits bits) { return (bits & ~Bits{0} >> 1) > kInfinity; };
    for (u32 i = 0; i < 16; ++i) {
      auto guest_lanes = std::bit_cast<Lanes>(guest.state.vec[i]);
      const auto host_lanes = std::bit_cast<Lanes>(host.state.vec[i]);
      for (std::size_t lane = 0; lane < guest_lanes.size(); ++lane)
        if (is_nan(guest_lanes[lane]) && is_nan(host_lanes[lane])) guest_lanes[lane] = host_lanes[lane];
      guest.state.vec[i] = std::bit_cast<core::VectorRegister>(guest_lanes);
    }
  }

  static bool has_immediate(const Decoded& d) { return d.instruction.raw.imm[0].size == 8; }
  static u32 copies(const Decoded& d) { return has_immediate(d) ? 256 / kImmediates : 1; }

  // False too if what was decoded is another encoding, such as a prefix with what follows it.
  static bool decodes_as(Decoded& d, const Variant& v) {
    const Encoding& e = v.encoding;
    const auto kind = e.vex ? ZYDIS_INSTRUCTION_ENCODING_VEX : ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    // A gather's three registers must differ.
    return d.from(smallest(v, is_gather(e) ? 14 : 0)) && d.instruction.encoding == kind &&
           d.instruction.opcode == e.opcode &&
           ((d.instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0) == e.modrm;
  }

  void add_variant(const Decoded& d, const Variant& variant) {
    const auto [known, is_new] = by_shape_.try_emplace(shape(d), details_.size());
    if (is_new) {
      Decoded other;
      const VectorForm form{.vvvv = variant.encoding.vex && other.from(smallest(variant, 14)),
                            .immediate = has_immediate(d)};
      for (u32 copy = 0; copy < copies(d); ++copy) {
        forms_.push_back({d.instruction.mnemonic, d.instruction.meta.isa_set, shape(d)});
        details_.push_back(form);
        details_.back().first_immediate = static_cast<u8>(copy * kImmediates);
      }
    }
    for (u32 copy = 0; copy < copies(d); ++copy) details_[known->second + copy].variants.push_back(variant);
  }

  static void fill(Program& program, Random& random) {
    MachineState& s = program.initial;
    const auto style = static_cast<Style>(random.below(kStyles));
    const bool mixed = random.one_in(3);
    const auto next_style = [&] { return mixed ? static_cast<Style>(random.below(kStyles)) : style; };
    for (auto& vec : s.vec) {
      const Style own = next_style();
      for (u64& q : vec.q) q = random_word(random, own);
    }
    if (random.one_in(8)) std::fill_n(s.vec.begin(), 8, s.vec[8]);  // equal operands
    constexpr u32 kFilled = 512;                                    // of the data, around RSI
    const u64 middle = layout(Mode::kUser64).data + kFilled / 2;
    const Style own = next_style();
    for (u32 i = 0; i < kFilled; i += 8) {
      const u64 word = random_word(random, own);
      std::memcpy(&program.data[i], &word, 8);
    }
    for (u64& gpr : s.gpr) gpr = random_integer(random);
    s.gpr[core::kRsi] = middle;
    s.gpr[core::kRdi] = middle + random.below(3);
    s.rflags = core::kFlagsFixed | (random() & core::kArithmeticFlags);
    s.mxcsr = random_mxcsr(random);
    // MMX registers are x87 ones, and these instructions set TOP and all tags; a pending exception comes
    // first.
    constexpr u16 kPending = 0x80 /* ES */ | 1 /* IE */, kInvalidTraps = 0x37e;
    s.fsw = static_cast<u16>(random() & 0x7f00);
    s.ftw = static_cast<u8>(random());
    if (random.one_in(32)) s.fsw |= kPending | 0x8000 /* B */, s.fcw = kInvalidTraps;
    for (auto& st : s.st) st = {random_word(random, next_style()), static_cast<u16>(random())};
  }

  std::vector<Form> forms_;
  std::vector<VectorForm> details_;              // of the form of the same number
  std::map<std::string, std::size_t> by_shape_;  // the first of a form's copies
};

}  // namespace
}  // namespace doppel::tests

int main(int argc, char** argv) {
  return doppel::tests::test_family(doppel::tests::VectorFamily(), "vector_native", argc, argv);
}
