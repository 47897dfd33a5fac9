// Every encoding that the random differential test may use, found by asking the decoder library about all
// opcodes: nothing is listed by hand but what must stay out. Used by the program generator.
#pragma once

#include <map>
#include <random>
#include <string_view>
#include <vector>

#include "core/cpuid.hpp"
#include "core/types.hpp"
#include "jit/zydis.hpp"

namespace doppel::tests {

// One opcode with the ModRM fields that choose the operation. A memory form leaves ModRM.mod and rm open.
struct Encoding {
  u8 prefix = 0;  // 0x66, 0xf2, 0xf3 or none; part of the opcode or an operand-size prefix
  u8 map = 0;     // 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a
  u8 opcode = 0;
  u8 reg = 0, rm = 0;
  bool modrm = false, memory = false;
  bool vex = false, vex_w = false, vex_l = false;  // VEX.pp follows from `prefix`
};

// What the generator chooses beside the encoding.
struct Fields {
  u8 rex = 0;              // REX prefix (or the same bits of VEX), 0 for none
  u8 vex_vvvv = 0;         // as a register number
  bool address32 = false;  // 67 prefix
  bool lock = false;
  std::vector<u8> address;  // ModRM (mod and rm filled, reg zero), SIB and displacement of a memory form
  std::vector<u8> tail;     // what follows, at least as long as any immediate
};
[[nodiscard]] std::vector<u8> encode(const Encoding& encoding, const Fields& fields);

// The encodings that `model` claims, by mnemonic, without those whose outcome is not a function of the
// program's state or that leave the program's control. `code_bits` is 32 or 64.
using Encodings = std::map<ZydisMnemonic, std::vector<Encoding>>;
[[nodiscard]] Encodings find_encodings(const core::CpuModel& model, u32 code_bits);

// A 64-bit value of a kind that finds bugs: ends of ranges, powers of two, small ones, any.
[[nodiscard]] u64 corner_integer(std::mt19937_64& engine);

// Whether all processors agree on what this instruction, which has a usable encoding, does.
[[nodiscard]] bool is_portable(const ZydisDecodedInstruction& instruction);

}  // namespace doppel::tests
