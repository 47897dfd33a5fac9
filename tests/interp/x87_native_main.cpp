// Every form of the x87 instructions, and of those that save and restore the x87 state, against the host's
// processor.
#include <algorithm>
#include <cstring>
#include <map>

#include "jit/interp/families.hpp"
#include "tests/interp/instruction_facts.hpp"
#include "tests/interp/native_cpu.hpp"
#include "tests/interp/single_instruction.hpp"

namespace doppel::tests {
namespace {

const interp::Rows kRows[] = {interp::kX87MoveRows, interp::kX87ArithmeticRows, interp::kX87ControlRows,
                              interp::kX87TranscendentalRows};

constexpr u8 kFwait = 0x9b, kSmallOperand = 0x66, kRexW = 0x48, kTwoByte = 0x0f;
constexpr u16 kExceptions = 0x3f;
constexpr u8 kBasedOnRsi = 0x46;  // ModRM of [RSI + disp8]

// The bytes of an instruction; those of a memory form lack the displacement.
struct X87Form {
  Mode mode;
  bool memory;
  std::vector<std::vector<u8>> variants;  // the same instruction with other register numbers and prefixes
};

// -------------------------------------------------------------------------------------------------------------------
// Values.

constexpr core::X87Register kOddReals[] = {
    {0, 0},
    {1ull << 63, 0x3fff},      // 1
    {1ull << 63, 0x7fff},      // infinity
    {3ull << 62, 0x7fff},      // quiet NaN
    {3ull << 62 | 5, 0x7fff},  // another
    {1ull << 63 | 5, 0x7fff},  // signalling NaN
    {1, 0},                    // denormals
    {~u64{0} >> 1, 0},
    {1ull << 63, 0},                  // pseudo-denormal
    {1ull << 62, 0x3fff},             // unnormal
    {5, 0x7fff},                      // pseudo-NaN
    {0, 0x7fff},                      // pseudo-infinity
    {~u64{0}, 0x7ffe},                // the largest
    {1ull << 63, 1},                  // the smallest normal one
    {0xc90f'daa2'2168'c235, 0x4000},  // pi
    {~u64{0}, 0x401d},                // about 2^31
    {1ull << 63, 0x403e},             // 2^63
    {~u64{0}, 0x403d},
    {~u64{0} << 11, 0x43fe},          // the largest double
    {~u64{0} << 10, 0x43fe},          // between it and infinity
    {1ull << 63, 0x3bce},             // a denormal double
    {~u64{0} << 40, 0x407e},          // the largest float
    {1ull << 63, 0x3f6b},             // a denormal float
    {0xde0b'6b3a'763f'ffff, 0x403a},  // the largest packed decimal
};
constexpr u64 kOddMemory[] = {0,
                              1ull << 63,
                              1,
                              0x8000'0000,
                              0x7ff0'0000'0000'0000,
                              0xfff0'0000'0000'0001,
                              0x7ff8'0000'0000'0000,
                              0x3ff0'0000'0000'0000,
                              0x000f'ffff'ffff'ffff,
                              0x7fef'ffff'ffff'ffff,
                              0x7f80'0000'3f80'0000,
                              0xff80'0001'7fc0'0000,
                              0x0000'0001'7f80'0001,
                              0x0123'4567'8901'2345};

core::X87Register random_real(Random& random) {
  core::X87Register r;
  if (random.one_in(3)) {
    r = random.pick(kOddReals);
  } else {
    constexpr u16 kOne = 0x3fff;
    r.significand = random() | 1ull << 63;
    if (random.one_in(3)) r.significand &= ~u64{0} << random.below(64);  // a short one: exact results
    const u64 exponent = random.one_in(4) ? random.below(0x7fff) : kOne - 70 + random.below(140);
    r.sign_exponent = static_cast<u16>(exponent);
  }
  r.sign_exponent |= static_cast<u16>(random() & 0x8000);
  return r;
}

u64 random_packed_decimal(Random& random) {
  u64 word = 0;
  for (u32 digit = 0; digit < 16; ++digit) word = word << 4 | random.below(10);
  return word;
}

// -------------------------------------------------------------------------------------------------------------------

// Where a saved image has the last instruction's opcode and pointers: AMD's processors write them only while
// an exception is pending, Intel's always.
struct Range {
  u32 begin, end;
};
std::vector<Range> unportable_bytes(const ZydisDecodedInstruction& d) {
  switch (d.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
      return {d.operand_width == 16 ? Range{6, 14} : Range{12, 26}};
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      return {{6, 24}, {28, 32}};  // and the mask of MXCSR
    default:
      return {};
  }
}

class X87Family final : public Family {
 public:
  X87Family() {
    for (const Mode mode : {Mode::kUser64, Mode::kUser32}) {
      if (!native_available(mode)) continue;
      const bool code64 = mode == Mode::kUser64;
      add(mode, false, {kFwait});
      for (u8 opcode = 0xd8; opcode != 0xe0; ++opcode) {
        for (u32 modrm = 0xc0; modrm < 0x100; ++modrm) add(mode, false, {opcode, static_cast<u8>(modrm)});
        for (u8 reg = 0; reg < 8; ++reg) {
          const u8 modrm = static_cast<u8>(kBasedOnRsi | reg << 3);
          add(mode, true, {opcode, modrm});
          add(mode, true, {kSmallOperand, opcode, modrm});
          if (code64) add(mode, true, {kRexW, opcode, modrm});
        }
      }
      for (u8 reg = 0; reg < 2; ++reg) {  // FXSAVE, FXRSTOR
        const u8 modrm = static_cast<u8>(kBasedOnRsi | reg << 3);
        add(mode, true, {kTwoByte, 0xae, modrm});
        if (code64) add(mode, true, {kRexW, kTwoByte, 0xae, modrm});
      }
    }
  }

  [[nodiscard]] const std::vector<Form>& forms() const override { return forms_; }
  [[nodiscard]] std::span<const interp::Rows> rows() const override { return kRows; }

  [[nodiscard]] Program make(std::size_t number, u32, Random& random) const override {
    const X87Form& form = details_[number];
    Program program;
    program.mode = form.mode;
    fill(program, random);
    program.code = form.variants[random.below(form.variants.size())];
    if (form.memory) program.code.push_back(static_cast<u8>(random() & (random.one_in(8) ? 0x7f : 0x40)));
    // The exceptions of one instruction are raised by the next.
    if (random.one_in(2)) program.code.push_back(kFwait);
    const ZydisMnemonic mnemonic = forms_[number].mnemonic;
    if (mnemonic == ZYDIS_MNEMONIC_FXRSTOR || mnemonic == ZYDIS_MNEMONIC_FXRSTOR64) {
      constexpr u32 kMxcsr = 24;
      for (u32 at = 0; at + kMxcsr < kFilled; at += 64) std::memset(&program.data[at + kMxcsr + 2], 0, 2);
    }
    return program;
  }

  void forgive(const Form&, const Program& program, Outcome& guest, Outcome& host) const override {
    ZydisDecodedInstruction d;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(code_bits(program.mode)), nullptr,
                                                    program.code.data(), program.code.size(), &d)))
      return;
    const u64 operand =
        program.initial.gpr[core::kRsi] + static_cast<u64>(d.raw.disp.value) - layout(program.mode).data;
    for (const Range range : unportable_bytes(d))
      std::copy(host.data.begin() + static_cast<i64>(operand + range.begin),
                host.data.begin() + static_cast<i64>(operand + range.end),
                guest.data.begin() + static_cast<i64>(operand + range.begin));
  }

 private:
  static constexpr u32 kFilled = 1024;  // bytes of the data; RSI points at the first

  void add(Mode mode, bool memory, const std::vector<u8>& bytes) {
    std::vector<u8> code = bytes;
    if (memory) code.push_back(0);
    ZydisDecodedInstruction d;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    Form form{ZYDIS_MNEMONIC_INVALID, ZYDIS_ISA_SET_X87, {}};
    if (ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder(code_bits(mode)), code.data(), code.size(), &d, operands))) {
      form.mnemonic = d.mnemonic;
      form.isa_set = d.meta.isa_set;
      form.text = ZydisMnemonicGetString(d.mnemonic);
      for (u8 i = 0; i < d.operand_count_visible; ++i)
        form.text +=
            (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY ? " m" : " r") + std::to_string(operands[i].size);
      form.text += " op" + std::to_string(d.opcode);  // aliases are forms of their own
    } else {
      form.text = "invalid " + std::to_string(bytes[0]) + " " + std::to_string(bytes.back());
    }
    form.text += mode == Mode::kUser64 ? " 64" : " 32";
    const auto [known, is_new] = by_text_.try_emplace(form.text, forms_.size());
    if (is_new) {
      forms_.push_back(form);
      details_.push_back({mode, memory, {}});
    }
    details_[known->second].variants.push_back(bytes);
  }

  static void fill(Program& program, Random& random) {
    MachineState& s = program.initial;
    for (auto& st : s.st) st = random_real(random);
    if (random.one_in(8)) s.st[1] = s.st[0];
    if (random.one_in(8)) s.st[1] = {s.st[0].significand, static_cast<u16>(s.st[0].sign_exponent ^ 0x8000)};

    constexpr u16 kDefault = 0x37f, kFixed = 0x40, kPrecisionAndRounding = 0xf00, kConditionsAndTop = 0x7f00,
                  kSummaryAndBusy = 0x8080;
    s.fcw = kDefault;
    if (!random.one_in(4))
      s.fcw = static_cast<u16>(kFixed | kExceptions | (random() & kPrecisionAndRounding));
    if (random.one_in(2)) s.fcw &= static_cast<u16>(~kExceptions | random());
    s.fsw = static_cast<u16>(random() & (kConditionsAndTop | kExceptions | kFixed));
    // What is pending and not masked would be raised before the instruction.
    if (!random.one_in(8)) s.fsw &= static_cast<u16>(~kExceptions | s.fcw);
    if (s.fsw & ~s.fcw & kExceptions) s.fsw |= kSummaryAndBusy;
    s.ftw = static_cast<u8>(random.one_in(2)   ? 0xff
                            : random.one_in(2) ? random()
                                               : random() | 3u << (s.fsw >> 11 & 7));

    for (u32 at = 0; at < kFilled; at += 16) {
      u64 low = random(), high = random();
      switch (random.below(4)) {
        case 0:
          low = random.pick(kOddMemory);
          break;
        case 1: {
          const core::X87Register real = random_real(random);
          low = real.significand;
          high = real.sign_exponent;
          break;
        }
        case 2:
          low = random_packed_decimal(random);
          high = random_packed_decimal(random) & (random.one_in(2) ? 0x80ff : 0xff);
          break;
        default:
          break;
      }
      std::memcpy(&program.data[at], &low, 8);
      std::memcpy(&program.data[at + 8], &high, 8);
    }
    for (u64& gpr : s.gpr) gpr = random() & (program.mode == Mode::kUser64 ? ~u64{0} : 0xffff'ffff);
    s.gpr[core::kRsi] = layout(program.mode).data;
    s.rflags = core::kFlagsFixed | (random() & core::kArithmeticFlags);
  }

  std::vector<Form> forms_;
  std::vector<X87Form> details_;  // of the form of the same number
  std::map<std::string, std::size_t> by_text_;
};

}  // namespace
}  // namespace doppel::tests

int main(int argc, char** argv) {
  return doppel::tests::test_family(doppel::tests::X87Family(), "x87_native", argc, argv);
}
