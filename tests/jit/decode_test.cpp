#include "jit/decode.hpp"

#include <doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "jit/vcpu.hpp"

namespace doppel::jit {
namespace {

core::CpuModel model_of(const std::string& text) {
  return std::get<core::CpuModel>(core::parse_cpu_model(text));
}
const core::CpuModel& max_model() {
  static const core::CpuModel model = model_of("max");
  return model;
}

Decoder::Result decode(u32 code_bits, std::span<const u8> bytes, Insn& insn,
                       const core::CpuModel& model = max_model(), u16 offset = 0) {
  static core::Counters counters;
  return Decoder(model, code_bits, counters).decode(bytes, offset, insn);
}

std::string address_text(const Insn& insn) {
  constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::string text = fmt::format("[{}:", kSegments[insn.segment]);
  if (insn.base != core::kGprZero) text += insn.base == core::kGprRip ? "rip" : fmt::format("g{}", insn.base);
  if (insn.index != core::kGprZero) text += fmt::format("+g{}*{}", insn.index, 1 << insn.scale);
  if (insn.disp != 0) text += fmt::format("{:+#x}", insn.disp);
  return text + fmt::format("]{}", insn.address_size);
}

// "add 8 | g8/8 [ds:g3+g1*4+0x10]8/8": mnemonic, operand size, operands with their sizes (g: a byte offset
// into CpuState::gpr or, in addresses, a slot), then the flags that apply.
std::string describe(const Insn& insn) {
  std::string text =
      fmt::format("{} {} |", ZydisMnemonicGetString(static_cast<ZydisMnemonic>(insn.mnemonic)), insn.op_size);
  for (const Operand& op : insn.op) {
    std::string operand;
    switch (op.kind) {
      case OperandKind::kNone:
        continue;
      case OperandKind::kMemory:
        operand = address_text(insn);
        break;
      case OperandKind::kImmediate:
        operand = fmt::format("{:#x}", insn.imm);
        break;
      default: {
        constexpr const char* kNames[] = {"", "g", "", "", "s", "cr", "dr", "st", "mm", "v"};
        operand = fmt::format("{}{}", kNames[static_cast<u8>(op.kind)], op.reg);
      }
    }
    text += fmt::format(" {}/{}", operand, op.size);
  }
  constexpr std::pair<InsnFlags, const char*> kFlags[] = {{kLock, " lock"},           {kRep, " rep"},
                                                          {kRepne, " repne"},         {kSegmentBase, " base"},
                                                          {kSegmented, " segmented"}, {kFar, " far"}};
  for (const auto& [flag, name] : kFlags)
    if (insn.flags & flag) text += name;
  return text;
}

struct Case {
  u32 code_bits;
  std::vector<u8> bytes;
  const char* text;
};

}  // namespace

TEST_CASE("operands, sizes and addresses in the three code sizes") {
  for (const Case& c : {
           // The same bytes mean different registers, sizes and addresses.
           Case{64, {0x01, 0xd8}, "add 4 | g0/4 g24/4"},
           Case{32, {0x01, 0xd8}, "add 4 | g0/4 g24/4"},
           Case{16, {0x01, 0xd8}, "add 2 | g0/2 g24/2"},
           Case{64, {0x66, 0x01, 0xd8}, "add 2 | g0/2 g24/2"},
           Case{16, {0x66, 0x01, 0xd8}, "add 4 | g0/4 g24/4"},
           Case{64, {0x48, 0x01, 0xd8}, "add 8 | g0/8 g24/8"},
           Case{64, {0x4d, 0x01, 0xd8}, "add 8 | g64/8 g88/8"},
           Case{32, {0x48}, "dec 4 | g0/4"},
           Case{64, {0x8b, 0x44, 0x8b, 0x10}, "mov 4 | g0/4 [ds:g3+g1*4+0x10]8/4"},
           Case{64, {0x67, 0x8b, 0x44, 0x8b, 0x10}, "mov 4 | g0/4 [ds:g3+g1*4+0x10]4/4"},
           Case{32, {0x8b, 0x44, 0x8b, 0xf0}, "mov 4 | g0/4 [ds:g3+g1*4-0x10]4/4 segmented"},
           Case{16, {0x8b, 0x40, 0x10}, "mov 2 | g0/2 [ds:g3+g6*1+0x10]2/2 segmented"},
           Case{16, {0x8b, 0x46, 0x10}, "mov 2 | g0/2 [ss:g5+0x10]2/2 segmented"},
           Case{16, {0x8b, 0x06, 0x34, 0x12}, "mov 2 | g0/2 [ds:+0x1234]2/2 segmented"},
           Case{32, {0x8b, 0x05, 0x34, 0x12, 0, 0}, "mov 4 | g0/4 [ds:+0x1234]4/4 segmented"},
           Case{64, {0x8b, 0x05, 0x34, 0x12, 0, 0}, "mov 4 | g0/4 [ds:rip+0x123a]8/4"},
           Case{64, {0x8b, 0x04, 0x25, 0x34, 0x12, 0, 0}, "mov 4 | g0/4 [ds:+0x1234]8/4"},
           Case{64, {0x48, 0xa1, 1, 2, 3, 4, 5, 6, 7, 0x88}, "mov 8 | g0/8 [ds:-0x77f8f9fafbfcfdff]8/8"},
           // Byte registers.
           Case{64, {0x00, 0xe0}, "add 1 | g0/1 g1/1"},         // AL, AH
           Case{64, {0x40, 0x00, 0xe0}, "add 1 | g0/1 g32/1"},  // AL, SPL
           Case{64, {0x45, 0x00, 0xf8}, "add 1 | g64/1 g120/1"},
           Case{32, {0x00, 0xff}, "add 1 | g25/1 g25/1"},  // BH
           // Segments: default, overridden, ignored.
           Case{64, {0x64, 0x8b, 0x00}, "mov 4 | g0/4 [fs:g0]8/4 base"},
           Case{64, {0x65, 0x8b, 0x00}, "mov 4 | g0/4 [gs:g0]8/4 base"},
           Case{64, {0x8b, 0x45, 0x00}, "mov 4 | g0/4 [ss:g5]8/4"},
           Case{32, {0x2e, 0x8b, 0x00}, "mov 4 | g0/4 [cs:g0]4/4 segmented"},
           Case{32, {0x36, 0x8b, 0x00}, "mov 4 | g0/4 [ss:g0]4/4 segmented"},
           Case{32, {0x26, 0xa5}, "movsd 4 | segmented"},
           // Immediates, sign-extended.
           Case{64, {0x48, 0x83, 0xc0, 0xff}, "add 8 | g0/8 0xffffffffffffffff/1"},
           Case{64, {0x48, 0xb8, 8, 7, 6, 5, 4, 3, 2, 1}, "mov 8 | g0/8 0x102030405060708/8"},
           Case{64, {0xb8, 0xff, 0xff, 0xff, 0xff}, "mov 4 | g0/4 0xffffffffffffffff/4"},
           Case{64, {0x6a, 0x80}, "push 8 | 0xffffffffffffff80/1"},
           Case{64, {0xeb, 0xfe}, "jmp 8 | 0xfffffffffffffffe/1"},
           Case{64, {0xe8, 0, 0, 0, 0x80}, "call 8 | 0xffffffff80000000/4"},
           // Branches ignore the operand-size prefix only as AMD's processors do not.
           Case{64, {0x66, 0xe8, 0, 0x80}, "call 2 | 0xffffffffffff8000/2"},
           Case{32, {0x9a, 0x78, 0x56, 0x34, 0x12, 0xcd, 0xab}, "call 4 | 0x12345678/6 segmented far"},
           Case{16, {0xea, 0x34, 0x12, 0xcd, 0xab}, "jmp 2 | 0x1234/4 far"},
           Case{32, {0xff, 0x28}, "jmp 4 | [ds:g0]4/6 segmented far"},
           Case{64, {0x48, 0xcb}, "ret 8 | far"},
           // Prefixes that belong to the operation, and those that mean nothing.
           Case{64, {0xf0, 0x01, 0x00}, "add 4 | [ds:g0]8/4 g0/4 lock"},
           Case{64, {0xf3, 0x48, 0xa5}, "movsq 8 | rep"},
           Case{64, {0xf2, 0xae}, "scasb 1 | repne"},
           Case{64, {0xf3, 0x90}, "pause 4 |"},
           // Other registers.
           Case{64, {0x0f, 0x20, 0xd8}, "mov 8 | g0/8 cr3/8"},
           Case{64, {0x44, 0x0f, 0x22, 0xc0}, "mov 8 | cr8/8 g0/8"},
           Case{32, {0x0f, 0x23, 0xf8}, "mov 4 | dr7/4 g0/4"},
           Case{64, {0x8e, 0xd0}, "mov 4 | s2/2 g0/2"},
           Case{64, {0xd8, 0xc2}, "fadd 4 | st0/10 st2/10"},
           Case{64, {0x0f, 0xfc, 0xca}, "paddb 4 | mm1/8 mm2/8"},
           Case{64, {0xc4, 0x41, 0x25, 0xfc, 0xd4}, "vpaddb 4 | v10/32 v11/32 v12/32"},
           Case{64, {0xd3, 0xe0}, "shl 4 | g0/4 g8/1"},
       }) {
    Insn insn;
    CAPTURE(std::string(c.text));
    CHECK(decode(c.code_bits, c.bytes, insn) != Decoder::Result::kTruncated);
    CHECK(describe(insn) == c.text);
    CHECK(insn.length == c.bytes.size());
    CHECK(((insn.flags & kCode64) != 0) == (c.code_bits == 64));
  }
}

TEST_CASE("RIP-relative addresses count from the block's first byte") {
  const std::vector<u8> bytes = {0x8b, 0x05, 0x10, 0, 0, 0};
  Insn insn;
  CHECK(decode(64, bytes, insn, max_model(), 100) == Decoder::Result::kNext);
  CHECK(insn.offset == 100);
  CHECK(insn.disp == 0x10 + 100 + 6);
}

TEST_CASE("second immediates") {
  Insn insn;
  CHECK(decode(64, std::vector<u8>{0xc8, 0x34, 0x12, 0x05}, insn) != Decoder::Result::kTruncated);  // ENTER
  CHECK(insn.imm == 0x1234);
  CHECK(insn.imm2 == 5);
  CHECK(decode(16, std::vector<u8>{0xea, 0x34, 0x12, 0xcd, 0xab}, insn) == Decoder::Result::kLast);
  CHECK(insn.imm2 == 0xabcd);
}

TEST_CASE("arithmetic flags that are read and written") {
  struct Flags {
    std::vector<u8> bytes;
    u8 read, written;
  };
  for (const Flags& c : {Flags{{0x01, 0xd8}, 0, kAllFlags},              // ADD
                         Flags{{0x11, 0xd8}, kFlagC, kAllFlags},         // ADC
                         Flags{{0xff, 0xc0}, 0, kAllFlags & ~kFlagC},    // INC
                         Flags{{0x0f, 0x47, 0xc1}, kFlagC | kFlagZ, 0},  // CMOVA
                         Flags{{0x7c, 0x00}, kFlagS | kFlagO, 0},        // JL
                         Flags{{0x89, 0xd8}, 0, 0},                      // MOV
                         Flags{{0xf5}, kFlagC, kFlagC},                  // CMC
                         Flags{{0x9c}, kAllFlags, 0},                    // PUSHF
                         Flags{{0x9d}, 0, kAllFlags}}) {                 // POPF
    Insn insn;
    CHECK(decode(64, c.bytes, insn) != Decoder::Result::kTruncated);
    CAPTURE(describe(insn));
    CHECK(insn.flags_read == c.read);
    CHECK(insn.flags_written == c.written);
  }
}

TEST_CASE("what ends a block") {
  struct End {
    u32 code_bits;
    std::vector<u8> bytes;
    bool last;
  };
  for (const End& c : {End{64, {0x90}, false},
                       End{64, {0x74, 0x10}, false},       // JZ falls through inside the block
                       End{64, {0xeb, 0x10}, true},        // JMP
                       End{64, {0xe8, 0, 0, 0, 0}, true},  // CALL
                       End{64, {0xff, 0xd0}, true},        // CALL RAX
                       End{64, {0xc3}, true},              // RET
                       End{64, {0xcd, 0x80}, true},        // INT
                       End{64, {0x0f, 0x05}, true},        // SYSCALL
                       End{64, {0xf4}, true},              // HLT
                       End{64, {0xfb}, true},              // STI: an interrupt may be due
                       End{64, {0x9d}, true},              // POPF
                       End{64, {0x0f, 0x22, 0xd8}, true},  // MOV CR3
                       End{64, {0x0f, 0x23, 0xf8}, true},  // MOV DR7
                       End{32, {0x8e, 0xd8}, true},        // MOV DS
                       End{32, {0x8e, 0xd0}, true},        // MOV SS
                       End{32, {0x8c, 0xd8}, false},       // from a segment register
                       End{64, {0x0f, 0x01, 0x38}, true},  // INVLPG
                       End{64, {0x0f, 0x0b}, true},        // UD2
                       End{64, {0x06}, true},              // no such instruction
                       End{64, {0xf3, 0xaa}, false}}) {    // REP STOSB
    Insn insn;
    const auto result = decode(c.code_bits, c.bytes, insn);
    CAPTURE(describe(insn));
    CHECK(result == (c.last ? Decoder::Result::kLast : Decoder::Result::kNext));
  }
}

TEST_CASE("bytes that end too early, and instructions that are too long") {
  Insn insn;
  const std::vector<u8> mov = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8};
  for (std::size_t length = 1; length < mov.size(); ++length)
    CHECK(decode(64, std::span(mov).first(length), insn) == Decoder::Result::kTruncated);
  CHECK(decode(64, mov, insn) == Decoder::Result::kNext);

  std::vector<u8> prefixed(14, 0x66);
  CHECK(decode(64, prefixed, insn) == Decoder::Result::kTruncated);
  prefixed.push_back(0x90);
  CHECK(decode(64, prefixed, insn) == Decoder::Result::kNext);
  CHECK(insn.length == 15);
  prefixed.insert(prefixed.begin(), 0x66);
  CHECK(decode(64, prefixed, insn) == Decoder::Result::kLast);  // raises #GP
}

TEST_CASE("instructions of features that the model lacks do not exist") {
  struct Needs {
    std::vector<u8> bytes;
    const char* feature;
  };
  for (const Needs& c :
       {Needs{{0xc5, 0xf5, 0xfc, 0xca}, "avx2"}, Needs{{0x66, 0x0f, 0x38, 0xdc, 0xca}, "aes"},
        Needs{{0xf3, 0x0f, 0xb8, 0xc1}, "popcnt"}, Needs{{0x0f, 0x38, 0xf0, 0x00}, "movbe"},
        Needs{{0xc4, 0xe2, 0x70, 0xf2, 0xc2}, "bmi1"}, Needs{{0xd8, 0xc1}, "fpu"}}) {
    CAPTURE(std::string(c.feature));
    const auto without = model_of(std::string("max,-") + c.feature);
    Insn insn;
    CHECK(decode(64, c.bytes, insn) == Decoder::Result::kNext);
    CHECK(decode(64, c.bytes, insn, without) == Decoder::Result::kLast);  // raises #UD
  }
  // LZCNT and TZCNT were BSR and BSF before.
  const auto old = model_of("x86-64-v2");
  Insn insn;
  CHECK(decode(64, std::vector<u8>{0xf3, 0x0f, 0xbd, 0xc1}, insn) == Decoder::Result::kNext);
  CHECK(describe(insn) == "lzcnt 4 | g0/4 g8/4");
  CHECK(decode(64, std::vector<u8>{0xf3, 0x0f, 0xbd, 0xc1}, insn, old) == Decoder::Result::kNext);
  CHECK(describe(insn) == "bsr 4 | g0/4 g8/4");
  CHECK(decode(64, std::vector<u8>{0xf3, 0x0f, 0xbc, 0xc1}, insn, old) == Decoder::Result::kNext);
  CHECK(describe(insn) == "bsf 4 | g0/4 g8/4");
}

// Forms that are known take another way than those that are met for the first time, or with less than 15
// bytes at hand.
TEST_CASE("known forms decode as at first") {
  std::mt19937_64 random(7);
  constexpr u8 kPrefixes[] = {0x66, 0x67, 0x64, 0x2e, 0xf0, 0xf2, 0xf3, 0x48, 0x44, 0x4f, 0xc4, 0xc5};
  for (const u32 code_bits : {16u, 32u, 64u}) {
    core::Counters counters;
    const Decoder decoder(max_model(), code_bits, counters);
    u32 compared = 0, equal = 0;
    for (u32 i = 0; i < 200'000; ++i) {
      std::array<u8, 15> bytes;
      for (u8& byte : bytes) byte = static_cast<u8>(random());
      u32 at = 0;
      while (random() % 3 == 0 && at < 4) bytes[at++] = kPrefixes[random() % std::size(kPrefixes)];
      if (random() % 3 == 0) bytes[at++] = 0x0f;
      Insn first, again;
      const auto offset = static_cast<u16>(random() % 100);
      const auto result = decoder.decode(std::span(bytes).first(14), offset, first);
      if (result == Decoder::Result::kTruncated) continue;
      (void)decoder.decode(bytes, 0, again);  // known from here on
      again = {};
      const bool same =
          decoder.decode(bytes, offset, again) == result && std::memcmp(&first, &again, sizeof first) == 0;
      ++compared;
      equal += same;
      if (!same) {
        CAPTURE(code_bits);
        CAPTURE(fmt::format("{:02x}", fmt::join(bytes, " ")));
        CHECK(describe(first) == describe(again));
      }
    }
    CHECK(compared > 100'000);
    CHECK(equal == compared);
  }
}

}  // namespace doppel::jit
