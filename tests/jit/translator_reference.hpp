// The outcome that a program must have: every instruction decoded anew and interpreted on its own. On the way
// it watches for flags without a defined value: where the program looks at one, its outcome says nothing.
#pragma once

#include "tests/jit/translator_machine.hpp"

namespace doppel::tests::translator {

struct Reference {
  enum class Verdict : u8 {
    kGood,
    kReadsUndefinedFlags,
    kTooLong,
    kAmbiguous,
    kDoesNotFit,
  };
  Verdict verdict = Verdict::kGood;
  u64 at = 0;  // kReadsUndefinedFlags: linear address of the instruction
  Outcome outcome;
  std::vector<u64> undefined;  // in each record's RFLAGS
  std::vector<u64> stale;      // the same, where flags that nobody reads are not computed (docs/quirks.md)
  u64 steps = 0;               // of the program itself
};

[[nodiscard]] Reference run_reference(Machine& machine, const Program& program, const Image& image);

// The same after putting a comparison in front of whatever looks at undefined flags.
[[nodiscard]] Reference repair(Machine& machine, Program& program, Image& image);

}  // namespace doppel::tests::translator
