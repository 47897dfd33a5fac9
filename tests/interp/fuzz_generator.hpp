// Random programs with random, corner-heavy initial state, a function of a seed and a number. Memory operands
// mostly hit the data area; branches go forward; every flag an instruction reads is defined.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "tests/interp/fuzz_encoding.hpp"
#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

struct FuzzInstruction {
  std::vector<u8> bytes;
  // A relative displacement in the last bytes, filled in when the program is laid out.
  u8 relative_bytes = 0;
  u32 skips = 0;  // instructions after this one that a taken branch passes over
};

struct FuzzProgram {
  std::vector<FuzzInstruction> instructions;
  Program program;  // its code is what lay_out() made of the instructions

  void lay_out();
  // Flags without a defined value where the program stopped, at address `rip`. `faulted`: before the
  // instruction there.
  [[nodiscard]] u64 undefined_flags(u64 rip, bool faulted) const;
  // Of an instruction that faulted, what processors leave in different states: makes `other` like `outcome`
  // there.
  void ignore_unspecified(const Outcome& outcome, Outcome& other) const;
};

class FuzzGenerator {
 public:
  FuzzGenerator(Encodings encodings, Mode mode, u32 max_instructions);

  [[nodiscard]] FuzzProgram make(u64 seed, u64 number);
  [[nodiscard]] const Encodings& encodings() const { return encodings_; }
  // Uses only the mnemonics for which `keep` is true.
  template <class F>
  void filter(F keep) {
    std::erase_if(encodings_, [&](const auto& entry) { return !keep(entry.first); });
    list_mnemonics();
  }

 private:
  struct Tracking;
  void list_mnemonics();
  [[nodiscard]] u64 random(u64 below) { return engine_() % below; }
  [[nodiscard]] bool chance(u32 percent) { return random(100) < percent; }
  [[nodiscard]] u64 integer() { return corner_integer(engine_); }
  [[nodiscard]] u64 vector_word();
  [[nodiscard]] core::X87Register real();
  [[nodiscard]] u64 pointer();
  void fill_state(MachineState& state);
  void fill_x87(MachineState& state);
  void fill_data(Data& data);
  [[nodiscard]] std::vector<u8> address(u8& rex, const Tracking& tracking);
  [[nodiscard]] bool instruction(FuzzInstruction& out, Tracking& tracking);

  Encodings encodings_;
  std::vector<const std::vector<Encoding>*> mnemonics_;
  Mode mode_;
  u32 max_instructions_;
  std::mt19937_64 engine_;
};

}  // namespace doppel::tests
