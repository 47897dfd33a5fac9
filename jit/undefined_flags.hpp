// Arithmetic flags whose values the manuals leave open: two engines, or two processors, may disagree about
// them. Facts come from Zydis. Used by the Verifier, only where it has found a difference, and by tests.
#pragma once

#include <span>
#include <vector>

#include "core/types.hpp"
#include "jit/zydis.hpp"

namespace doppel::jit {

// Flags, as RFLAGS bits, that have no defined value after instructions which ran one after another.
class UndefinedFlags {
 public:
  // `maybe`: a branch may have passed over the instruction.
  void run(const ZydisDecodedInstruction& instruction, bool maybe = false);
  // Whether what the instruction does depends on one of them.
  [[nodiscard]] bool read_by(const ZydisDecodedInstruction& instruction) const;
  [[nodiscard]] u64 mask() const { return mask_; }

 private:
  u64 mask_ = 0;
};

struct OpenFlags {
  u64 undefined = 0;
  u64 saved = 0;      // those that were pushed or copied to a register
  bool read = false;  // an instruction decided by such a flag: what it did is open, too
};

// How things are behind each instruction of `code`, which is 64-bit code. All flags are defined at its start.
[[nodiscard]] std::vector<OpenFlags> open_flags(std::span<const u8> code);

}  // namespace doppel::jit
