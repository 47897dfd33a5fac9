// Checks translated code against the interpreter while a guest runs: `--engine verify`. A Backend around
// another one. Each block runs translated; then registers and memory are put back, the interpreter runs the
// same instructions, and both outcomes are compared: registers, memory, the fault raised. The guest goes on
// from the interpreter's. At the first difference the vCPU is stopped and report() tells about it.
//
// What cannot be done twice is not compared: instructions of stands_alone() have blocks of their own and are
// interpreted; a block that reaches a device or changes its own code is left as the translation made it.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "jit/backend.hpp"
#include "jit/block_cache.hpp"
#include "jit/page_journal.hpp"
#include "jit/undefined_flags.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit {

class Verifier final : public Backend {
 public:
  // `inner` must return from run() after every block. `exact_flags`: it keeps all arithmetic flags. Without,
  // flags that nobody reads may be wrong, so flags are not compared; instead each engine goes on with its
  // own, and a flag that is wrong and read shows in a register, in memory or in the way taken.
  Verifier(Vcpu& cpu, BlockCache& blocks, std::unique_ptr<Backend> inner, bool exact_flags);
  ~Verifier() override;

  [[nodiscard]] bool ready(Block& block) override;
  void run(Block& block) override;
  void forget(Block& block) override;
  void forget_page(u64 linear_page) override;
  void clear() override;
  void publish_counters() override;
  [[nodiscard]] std::string listing(const Block& block) const override { return inner_->listing(block); }

  // Empty as long as nothing has differed.
  [[nodiscard]] const std::string& report() const { return report_; }

  // Whether the instruction has effects beyond registers and RAM, or an outcome that time or a device
  // decides.
  [[nodiscard]] static bool stands_alone(const Insn& insn);

 private:
  enum class Verdict { kSame, kDifferent, kNotComparable };

  [[nodiscard]] Verdict run_both(Block& block);
  void rewind();
  [[nodiscard]] bool interpret(const Block& block);
  [[nodiscard]] bool same(const Block& block);
  // After the instructions that the interpreter ran.
  [[nodiscard]] OpenFlags open_flags_after(const Block& block);
  [[nodiscard]] std::vector<u8> guest_code(const Block& block);
  void describe(const Block& block);
  [[nodiscard]] u64 device_accesses() const;

  Vcpu& cpu_;
  BlockCache& blocks_;
  std::unique_ptr<Backend> inner_;
  const bool exact_flags_;
  PageJournal journal_;
  core::CpuState before_, translated_;
  bool attention_ = false;     // somebody asked for it since run() began
  u32 interpreted_count_ = 0;  // instructions of the block
  std::unordered_map<const Block*, std::vector<OpenFlags>> open_flags_;
  // Where the last block ended, with the arithmetic flags that each engine gave it.
  u64 last_rip_ = 0, interpreted_flags_ = 0, translated_flags_ = 0;
  u64 compared_ = 0, again_ = 0, device_ = 0, code_changed_ = 0, undefined_ = 0;
  std::string report_;
};

}  // namespace doppel::jit
