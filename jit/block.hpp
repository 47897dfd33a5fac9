// A run of decoded instructions within one page of guest physical memory (the last one may continue on the
// next page). Conditional branches that are not taken fall through inside the block; everything else that
// changes control, modes or translations ends it. Made by BlockCache, kept by BlockStore, run by the
// Dispatchers of all processors.
#pragma once

#include "core/published.hpp"
#include "jit/insn.hpp"

namespace doppel::jit {

// A block ends at the first conditional branch after this many instructions, at the latest after the maximum:
// what lies behind branches is often entered in the middle, and would be decoded twice.
inline constexpr u32 kUsualBlockInsns = 20, kMaxBlockInsns = 64;
inline constexpr u64 kNoPage = ~u64{0};

struct Block {
  u64 physical = 0;           // of the first byte
  u64 second_page = kNoPage;  // physical page of the bytes beyond the first page, if any
  Insn* insns = nullptr;      // `count` instructions and a sentinel that leaves the block
  u32 bytes = 0;              // of all instructions
  u16 count = 0;
  u8 code_bits = 0;
  bool kept = false;                   // in the store; else the next look for a block overwrites it
  core::Published<bool> valid = true;  // false once its bytes may have changed
  u16 depends_begin = 0,
      depends_end = 0;            // page offsets of all bytes that it and its translation were made from
  u16 second_depends_end = 0;     // of the second page, from its start
  core::Published<u32> runs = 0;  // before translation, more or less
  core::Published<void*> translation = nullptr;  // the backend's, or nullptr
  core::Published<Block*> next_in_bucket = nullptr;
};

// Handler of the sentinel: RIP is the byte after the last instruction.
const Insn* end_of_block(Vcpu& cpu, const Insn* insn);
// Takes the place of every handler of a block whose bytes changed: leaves before the instruction.
const Insn* stale_block(Vcpu& cpu, const Insn* insn);

}  // namespace doppel::jit
