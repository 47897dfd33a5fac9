// One program on every engine: the reference says what must come out, the block interpreter and the
// translator in its variants are compared with it. Failures are made as small as they get.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "tests/jit/translator_machine.hpp"
#include "tests/jit/translator_reference.hpp"

namespace doppel::tests::translator {

// The translator as it is used and with each optimisation off, with a small code cache, under interrupts; and
// the interpreter running whole blocks.
[[nodiscard]] std::vector<Engine> all_engines();

struct Failure {
  std::string engine;
  std::string differences;
};

// Runs it in a process of its own, under a watchdog: false if it returns false, crashes or does not end.
[[nodiscard]] bool survives(const std::function<bool()>& run);

class Differential {
 public:
  explicit Differential(const std::vector<Engine>& engines);

  // Runs `program` on the reference, repairing its use of undefined flags.
  [[nodiscard]] Reference prepare(Program& program, Image& image);
  // Compares engine `index`.
  [[nodiscard]] std::optional<Failure> compare(std::size_t index, const Program& program, const Image& image,
                                               const Reference& reference);
  // A smaller program with a failure of the same engine, which starts without translations.
  [[nodiscard]] Program shrink(std::size_t index, const Program& program);
  // Prints everything there is to say about a program that fails.
  void print(std::size_t index, Program program);

  [[nodiscard]] std::size_t engines() const { return machines_.size(); }
  [[nodiscard]] const std::string& name(std::size_t index) const { return engines_[index].name; }
  [[nodiscard]] const core::CpuModel& model() const { return reference_.model(); }
  // Forgets all blocks and translations, so that what follows does not depend on what was before.
  void clear();
  [[nodiscard]] Machine& machine(std::size_t index) { return *machines_[index]; }

 private:
  [[nodiscard]] bool fails(std::size_t index, const Program& program);

  std::vector<Engine> engines_;
  Machine reference_;
  std::vector<std::unique_ptr<Machine>> machines_;
};

}  // namespace doppel::tests::translator
