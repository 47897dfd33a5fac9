// A bare machine that runs programs in long mode under translator_kernel.S, with or without a translator. The
// same program leaves the same Outcome in all of them; the tests compare.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "jit/x64/translator.hpp"
#include "tests/jit/translator_program.hpp"

namespace doppel::tests::translator {

struct Engine {
  std::string name;
  bool translates = true;
  jit::x64::Optimisations optimisations{.hot_runs = 0};
  u64 cache_size = u64{8} << 20;
  bool interrupted = false;  // by a timer, at any moment
  bool stepped = false;      // runs by step() only, and notices stores into the program's code
  // Where 64-bit user code runs: translated; in a stub process; there, but nothing where it stands.
  enum class User : u8 { kTranslated, kDirect, kRelocated } user = User::kTranslated;
};

struct Outcome {
  bool finished = false;  // the processor halted, or shut down
  std::vector<Record> records;
  std::array<u64, 16> gpr{};
  std::array<core::VectorRegister, 16> vec{};
  core::X87State x87;
  u32 mxcsr = 0;
  u64 rip = 0, cr0 = 0, cr2 = 0, cr3 = 0, fs_base = 0, gs_base = 0;
  std::vector<u8> memory;  // from kProgram to kProgramEnd
  std::vector<u8> tables;  // both spaces' page tables
  bool accessed_bits_count = true;
  u64 interrupts = 0;
};

// What differs, a line each; at most a few of a kind. `undefined`: flags without a defined value in each
// record.
[[nodiscard]] std::string differences(const Outcome& expected, const Outcome& actual,
                                      const std::vector<u64>& undefined);

class Machine {
 public:
  explicit Machine(const Engine& engine);
  ~Machine();

  // Puts the program into memory and the processor at its start.
  void load(const Program& program, const Image& image);
  // Runs what was loaded to its end.
  [[nodiscard]] Outcome run();
  [[nodiscard]] Outcome outcome() const;

  // For running a loaded program step by step.
  [[nodiscard]] jit::Vcpu& cpu();
  // True: the program has ended.
  [[nodiscard]] bool step();
  // Whether the program's code was stored into since the last call.
  [[nodiscard]] bool code_written();
  // Copies code bytes at a linear address of the program, as the processor would fetch them now. Returns how
  // many.
  [[nodiscard]] std::size_t code_at(u64 linear, std::span<u8> out) const;
  [[nodiscard]] u64 record_count() const;
  [[nodiscard]] u64 stub(core::Vector vector) const;  // where the kernel takes it
  // Forgets all blocks and translations.
  void clear();
  [[nodiscard]] const core::CpuModel& model() const;
  [[nodiscard]] std::map<std::string, u64> counters() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// While one lives, programs that run for seconds are stopped, and machines with Engine::interrupted get
// interrupts. `where` is printed if a program cannot be stopped or crashes the process.
class Watchdog {
 public:
  enum class Crash : u8 { kReported, kQuiet };
  explicit Watchdog(Crash crash = Crash::kReported);
  ~Watchdog();
  static void describe(const std::string& where);
};

}  // namespace doppel::tests::translator
