// A program for the translator's tests as a list of items that can be dropped one by one: instructions,
// branches to labels, gaps up to the end of a page, tables. lay_out() makes bytes of it. Knows no engine.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/cpu_state.hpp"
#include "tests/jit/translator_layout.hpp"

namespace doppel::tests::translator {

using Label = int;
inline constexpr Label kNoLabel = -1;

// An address in the bytes of an item: of a label, or one that is known now.
struct Fixup {
  enum class Kind : u8 {
    kRipRelative32,
    kAbsolute64,
    kAbsolute32,
    kOffset16,  // from kCode
  };
  Kind kind = Kind::kRipRelative32;
  u8 offset = 0;  // in Item::bytes
  u8 next = 0;    // RIP-relative: offset of the instruction's end
  Label label = kNoLabel;
  u64 addend = 0;  // the address itself without a label
};

struct Item {
  enum class Kind : u8 {
    kBytes,  // `bytes`, one or more instructions
    kJump,   // JMP, Jcc (opcode 70-7f) or CALL (e8) to `target`, short where `prefers_short` and possible
    kShort,  // LOOP, LOOPE, LOOPNE, JRCXZ, or with 67 JECXZ; a NOP where `target` is too far away
    kGap,    // JMP to the place `bytes_left` before the end of a page
    kTable,  // jumped over: addresses of the labels in `table`
  };
  Kind kind = Kind::kBytes;
  std::vector<u8> bytes;
  std::vector<Fixup> fixups;
  u8 opcode = 0;
  bool prefers_short = false, address32 = false;
  u8 bytes_left = 0;
  Label target = kNoLabel;
  std::vector<Label> table;
  std::vector<Label> labels;  // bound to where the item starts
  std::vector<Label> stored;  // the same, for stores that change it
  u64 flags_hidden = 0;       // flags that the item's PUSHF does not make visible
  bool fixed = false;         // not dropped by shrinking
};

// Ends of a program's parts stay: their last item leaves.
struct Section {
  u64 start = 0;  // linear
  bool other_space = false;
  std::vector<Item> items;
};

struct InitialState {
  std::array<u64, 16> gpr{};
  u64 rflags = core::kFlagsFixed;
  std::array<core::VectorRegister, 16> vec{};
  u32 mxcsr = 0x1f80;
  core::X87State x87;
  u64 fs_base = 0, gs_base = 0;
};

struct Program {
  u32 bits = 64;     // of the code; 16 and 32 in compatibility mode
  bool user = true;  // CPL 3; always so with 16 and 32
  bool smap = false;
  std::vector<Section> sections;            // the first is entered at its start
  std::vector<u8> data;                     // kDataPages pages
  std::array<u64, kDataPages> data_page{};  // page-table bits
  InitialState initial;
  int labels = 0;

  [[nodiscard]] Label new_label() { return labels++; }
};

// The bytes of a program's pages as they lie in physical memory from kProgram on, up to the stack.
struct Image {
  std::vector<u8> bytes;
  std::vector<u8> lengths;  // per byte of linear code: length of the instruction that starts there, or 0
  struct Start {
    u64 address = 0;
    u32 section = 0, item = 0;
  };
  std::vector<Start> starts;  // of all items, by section and item
};
// Empty bytes: the program does not fit.
[[nodiscard]] Image lay_out(const Program& program);

[[nodiscard]] std::string listing(const Program& program);
[[nodiscard]] u32 instruction_count(const Program& program);

}  // namespace doppel::tests::translator
