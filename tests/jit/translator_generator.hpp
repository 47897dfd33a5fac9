// Random programs as a function of a seed and a number: loops, calls, indirect jumps, all kinds of operands,
// code that changes itself, faults, services of the kernel. Where a program's outcome depends on undefined
// flags is found out later, by running it (translator_reference).
#pragma once

#include <bitset>
#include <initializer_list>
#include <random>

#include "tests/interp/fuzz_encoding.hpp"
#include "tests/jit/translator_program.hpp"

namespace doppel::tests::translator {

class Generator {
 public:
  explicit Generator(const core::CpuModel& model);

  [[nodiscard]] Program make(u64 seed, u64 number);

 private:
  using Registers = std::bitset<16>;
  using MnemonicEncodings = std::vector<const std::vector<Encoding>*>;

  // An address in the making: ModRM with an empty reg field, SIB, displacement.
  struct Address {
    std::vector<u8> bytes;
    u8 rex = 0;
    u8 segment = 0;  // prefix
    bool address32 = false;
    bool rip_relative = false;
    Label label = kNoLabel;
    u64 target = 0;  // of a RIP-relative one; added to the label's
  };
  // Something that stores into code can change: `offset` into the item, `bytes` that may get any value, or
  // one of which bit `flip` may change.
  struct Patch {
    Label label;
    u8 offset = 0, bytes = 4, flip = 0;
  };

  // --- Chance.
  [[nodiscard]] u64 random(u64 below) { return engine_() % below; }
  [[nodiscard]] bool chance(u32 percent) { return random(100) < percent; }
  template <class T>
  [[nodiscard]] const T& pick(std::initializer_list<T> values) {
    return *(values.begin() + random(values.size()));
  }
  [[nodiscard]] u64 integer() { return corner_integer(engine_); }
  [[nodiscard]] u64 vector_word();
  [[nodiscard]] u64 pointer();          // into the data
  [[nodiscard]] u64 special_address();  // near or in pages that fault, of code, nowhere
  [[nodiscard]] u8 free_register();
  [[nodiscard]] u8 free_register_but(Registers without);
  [[nodiscard]] bool are_free(std::initializer_list<u8> registers) const;

  // --- The program as a whole.
  void choose_registers();
  void fill_state();
  void fill_data();
  void emit_functions();
  void emit_overlays();

  // --- Emission into section_.
  void emit(Item item);
  void emit_bytes(std::vector<u8> bytes) { emit(bytes_item(std::move(bytes))); }
  static Item bytes_item(std::vector<u8> bytes);
  void emit_jump(u8 opcode, Label target, bool prefers_short);
  void emit_move(u8 reg, u64 value);                   // MOV r64, imm64
  void emit_lea(u8 reg, Label label, u64 addend = 0);  // RIP-relative
  void bind(Label label) { pending_.push_back(label); }
  void bind_stored(Label label) { pending_stored_.push_back(label); }

  // --- Elements of a body.
  void emit_body(u32 elements, u32 depth);
  void emit_element(u32 depth);
  void emit_exit();
  void emit_branch();
  void emit_loop(u32 depth);
  void emit_backward();
  void emit_call();
  void emit_indirect();
  void emit_switch();
  void emit_stack();
  void emit_patch();
  void emit_patch_target();
  void emit_string();
  void emit_special_access();
  void emit_system();
  void emit_kernel_only();
  void emit_flags();
  void emit_gap();

  // --- One instruction.
  [[nodiscard]] bool emit_from(const MnemonicEncodings& mnemonics, const Address* address = nullptr);
  void emit_generic();
  [[nodiscard]] Address any_address();
  [[nodiscard]] Address based(u8 base, int index, u32 scale, i64 displacement);
  [[nodiscard]] bool allowed(std::span<const u8> bytes, bool memory) const;

  Encodings encodings_;
  MnemonicEncodings common_, flag_producers_, integer_, sse_, avx_, old_floating_;

  std::mt19937_64 engine_;
  Program program_;
  Section* section_ = nullptr;
  std::vector<Label> pending_, pending_stored_;  // bound to the next item
  std::array<u8, 3> pointers_{};
  u8 small_ = 0;
  std::array<u8, 2> counters_{};
  Registers reserved_;  // not written but by purpose
  std::vector<Label> functions_;
  std::size_t next_function_ = 0;  // the body being emitted calls only functions from here on
  std::vector<Patch> patches_;     // that some item of the program is or will be the target of
  std::vector<Patch> unbound_patches_;
  std::vector<Label> anchors_;  // places behind us in this body
  std::vector<Label> forward_;  // places ahead in this body
  Label exit_ = kNoLabel, slots_ = kNoLabel, overlay_ = kNoLabel;
  u32 gaps_ = 0, patching_ = 0, vectors_ = 0;
};

}  // namespace doppel::tests::translator
