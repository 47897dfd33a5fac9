// Random 16- and 32-bit programs in compatibility mode as a function of a seed and a number: loops, calls,
// both kinds of addressing, segments with limits, string instructions, code that changes itself. The 64-bit
// ones are the Generator's.
#pragma once

#include <initializer_list>
#include <random>
#include <vector>

#include "tests/interp/fuzz_encoding.hpp"
#include "tests/jit/translator_program.hpp"

namespace doppel::tests::translator {

class CompatGenerator {
 public:
  CompatGenerator(const core::CpuModel& model, u32 bits);

  [[nodiscard]] Program make(u64 seed, u64 number);

 private:
  struct Address {
    std::vector<u8> bytes;  // ModRM with an empty reg field, SIB, displacement
    bool prefixed = false;  // 67
  };

  [[nodiscard]] u64 random(u64 below) { return engine_() % below; }
  [[nodiscard]] bool chance(u32 percent) { return random(100) < percent; }
  [[nodiscard]] u32 integer() { return static_cast<u32>(corner_integer(engine_)); }
  [[nodiscard]] u32 pointer();  // into the data, as an offset in DS
  [[nodiscard]] bool small() const { return program_.bits == 16; }

  void fill_state();
  void emit(Item item);
  void emit_bytes(std::vector<u8> bytes);
  void emit_jump(u8 opcode, Label target);
  void emit_move(u8 reg, u32 value);  // MOV r32, imm32, or r16 in 16-bit code
  void bind(Label label) { pending_.push_back(label); }
  void emit_body(u32 elements, u32 depth);
  void emit_element(u32 depth);
  void emit_branch();
  void emit_loop(u32 depth);
  void emit_stack();
  void emit_string();
  void emit_patch();
  void emit_system();
  void emit_generic();
  [[nodiscard]] Address any_address();
  [[nodiscard]] bool allowed(const std::vector<u8>& bytes) const;

  u32 bits_;
  std::vector<const std::vector<Encoding>*> encodings_;
  std::mt19937_64 engine_;
  Program program_;
  std::vector<Label> pending_;
  std::vector<Label> forward_;    // places ahead in this body
  std::vector<Label> functions_;  // still to be emitted, callable
  Label patched_ = kNoLabel, exit_ = kNoLabel;
};

}  // namespace doppel::tests::translator
