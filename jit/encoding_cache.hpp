// Decodings that are known, by the bytes that decide an instruction's form: prefixes, opcode, ModRM and SIB.
// Displacement and immediate, which follow them, are filled in at each use. Programs use a few thousand
// forms, so nearly all decoding ends here. Asked and filled by the Decoder only; it must not know blocks.
#pragma once

#include <bitset>
#include <vector>

#include "core/populated_allocator.hpp"
#include "jit/insn.hpp"

namespace doppel::jit {

class EncodingCache {
 public:
  // The first bytes of an instruction, up to where displacement and immediate begin.
  struct Head {
    u64 key = 0;    // the bytes, little-endian, and their number in the highest byte
    u8 length = 0;  // 0: of a form that is not kept
  };
  struct Entry {
    u64 key = 0;
    Insn insn;                                     // as first seen
    u8 displacement_size = 0, immediate_size = 0;  // in bytes
    bool immediate_signed = false;

    // The instruction at `bytes`, which begin with the entry's head, `offset` bytes into its block.
    void fill(const u8* bytes, u16 offset, Insn& to) const;
  };
  // Of the one-byte map, then of the two-byte map (0F): whether there is any instruction, and whether ModRM
  // follows.
  struct Opcodes {
    std::bitset<512> exists, has_modrm;
  };

  explicit EncodingCache(u32 code_bits);

  // `bytes`: kLongestInsn of them.
  [[nodiscard]] Head head(const u8* bytes) const;
  // nullptr: not known.
  [[nodiscard]] const Entry* find(const Head& head) const {
    const Entry& entry = entries_[slot_of(head)];
    return head.length != 0 && entry.key == head.key ? &entry : nullptr;
  }
  // Keeps what `bytes` were decoded to, if the form allows it.
  void keep(const u8* bytes, const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands,
            const Insn& insn);

 private:
  // Direct-mapped. Starts small: most machines of tests run a handful of instructions.
  static constexpr u32 kFewestBits = 9, kMostBits = 14;
  [[nodiscard]] std::size_t slot_of(const Head& head) const {
    return head.key * 0x9e3779b97f4a7c15ull >> (64 - bits_);
  }

  u32 code_bits_;
  const Opcodes& opcodes_;
  u32 bits_ = kFewestBits;
  u32 kept_ = 0;  // since it has had this size
  std::vector<Entry, core::PopulatedAllocator<Entry>> entries_{std::size_t{1} << kFewestBits};
};

}  // namespace doppel::jit
