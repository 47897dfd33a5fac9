// Direct execution: user code that computes for long runs on the host's own processor, in stub processes,
// instead of translated. A Backend around the translator, which keeps running everything else: the guest's
// kernel, and user code that enters it often, for which a change of processes costs more than it saves. The
// two share all state, so guest code moves between them at any instruction.
//
// It is chosen where the guest returns from its kernel to user code, by what the last times brought.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "jit/backend.hpp"
#include "jit/block_cache.hpp"
#include "jit/direct/shadow_space.hpp"
#include "mmu/mmu.hpp"

namespace doppel::jit::direct {

class DirectRunner final : public Backend, public mmu::FlushObserver {
 public:
  // `inner` runs what does not run directly.
  DirectRunner(Vcpu& cpu, BlockCache& blocks, std::unique_ptr<Backend> inner);
  ~DirectRunner() override;

  [[nodiscard]] bool ready(Block& block) override;
  void run(Block& block) override;
  void interrupting() override;
  void forget(Block& block) override { inner_->forget(block); }
  void forget_page(u64 linear_page) override { inner_->forget_page(linear_page); }
  void clear() override;
  void watched_page_written(u64 physical) override;
  void publish_counters() override;
  [[nodiscard]] std::string listing(const Block& block) const override { return inner_->listing(block); }

  void flushed_page(u64 la) override;
  void flushed_space(u16 pcid) override;
  void flushed_all() override;
  void code_page_protected(u64 physical) override;

  // CpuState::attention was set: leaves user code that runs directly. Any thread.
  void interrupt();

  // Whether the model has all instructions that user code could find on a host, as far as guests are ever
  // shown them: those of a model that lacks some would not fault.
  [[nodiscard]] static bool suits(const core::CpuModel& model);

  // For tests: no code runs where it is, only relocated.
  void relocate_all() { code_.refuse_all(); }
  void drop_all() { spaces_.clear(); }
  // Runs directly now, and at each return to user code, however short; for tests. `credit`: of each run, for
  // copying code.
  void insist(u64 credit = ~u64{0}) {
    insist_ = credit;
    grant(0);
  }

 private:
  // What is known of an address space's user code. Times in nanoseconds.
  struct History {
    bool runs = false;   // directly, in general
    u64 promised = 0;    // time without many kernel entries
    i64 saved = 0;       // by a run, of the last ones
    u64 credit = 0;      // time that copying code may take
    bool broke = false;  // the last run ended for lack of it
    u32 losses = 0;      // of all copies, lately: each halves what copying may take
    u64 pause = 0, pause_until = 0;
  };

  struct SpaceCounts {
    u64 pages_mapped = 0, relocated_blocks = 0, times_cleared = 0;
    void add(const ShadowSpace& space);
  };

  [[nodiscard]] bool worthwhile();
  static void count_losses(History& history, ShadowSpace& space, u64 ran);
  void judge(History& history, u64 all, u64 ran);
  void grant(i64 entries);
  [[nodiscard]] bool run_directly();
  [[nodiscard]] ShadowSpace* current_space();
  void ended(const std::optional<StubProcess::Stop>& stop);
  void leave_breakpoint();
  void let_interrupt(const StubProcess* stub);
  void drop(const ShadowSpace& space);
  [[nodiscard]] u64 root() const { return cpu_.state.cr3 & core::kPageMask; }

  Vcpu& cpu_;
  std::unique_ptr<Backend> inner_;
  CodeFrames code_;
  WritableFrames writable_;
  std::vector<std::unique_ptr<ShadowSpace>> spaces_;
  std::unordered_map<u64, History> history_;  // by root of the page tables
  std::vector<u8> image_;                     // of vector registers
  std::mutex running_lock_;
  const StubProcess* running_ = nullptr;  // that interrupt() stops
  bool wanted_ = false, possible_ = true;
  std::optional<u64> insist_;
  const core::Counters::Counter& translated_;
  u64 uses_ = 0, last_look_ = 0, last_translated_ = 0;
  i64 granted_ = 0;  // returns to user code until the next look, from the last one on
  u64 runs_ = 0, ran_ = 0, overhead_ = 0, system_calls_ = 0, faults_ = 0, left_at_fault_ = 0, exceptions_ = 0,
      interruptions_ = 0, over_credit_ = 0, stubs_ = 0;
  SpaceCounts dropped_;  // of spaces that are gone
};

}  // namespace doppel::jit::direct
