// Differential tests of single instructions: every form of an instruction family, in many random states, on
// each engine and on the host's own processor. This is what they share: the order of trials, the
// comparison, the command line. A family says what its forms are and what state suits them. Complements the
// random programs of fuzz_main.cpp, which reach a given form with a given operand only by chance.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "jit/insn.hpp"
#include "tests/interp/machine_state.hpp"

namespace doppel::tests {

// A stream of numbers that is a function of its seed (splitmix64).
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}
  u64 operator()() {
    u64 z = state_ += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }
  u64 below(u64 limit) { return (*this)() % limit; }
  bool one_in(u64 n) { return below(n) == 0; }
  template <class T, std::size_t N>
  const T& pick(const T (&values)[N]) {
    return values[below(N)];
  }

 private:
  u64 state_;
};

// One shape of an instruction: what varies between its trials are registers and values.
struct Form {
  ZydisMnemonic mnemonic;
  ZydisISASet isa_set;
  std::string text;  // its name and operands, for --only
};

class Family {
 public:
  virtual ~Family() = default;
  // Finds all forms; what is in `rows` and has none fails the test.
  [[nodiscard]] virtual const std::vector<Form>& forms() const = 0;
  [[nodiscard]] virtual std::span<const std::span<const jit::Row>> rows() const = 0;
  // The program of a trial. With increasing `round`, immediates take all their values.
  [[nodiscard]] virtual Program make(std::size_t form, u32 round, Random& random) const = 0;
  // Makes equal what may differ between two processors.
  virtual void forgive(const Form& form, const Program& program, Outcome& guest, Outcome& host) const = 0;
};

// Does what the command line says and prints what differs; the status for main().
[[nodiscard]] int test_family(const Family& family, const std::string& name, int argc, char** argv);

}  // namespace doppel::tests
