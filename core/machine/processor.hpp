// One processor of the machine: its state, what runs its code, and its wires. PcBoard has its local APIC. The
// thread that runs it owns all but wake(), which anybody may call.
#pragma once

#include <memory>

#include "core/machine/directed_yield.hpp"
#include "core/machine/machine.hpp"
#include "core/machine/pc_board.hpp"
#include "core/machine/vcpu_memory.hpp"
#include "jit/coherence.hpp"
#include "jit/dispatch.hpp"
#include "jit/verify.hpp"
#ifdef DOPPEL_TRANSLATOR_X64
#include "jit/direct/direct_runner.hpp"
#endif

namespace doppel::jit::x64 {
class Translations;
}

namespace doppel::machine {

// What the processors of one machine share, besides the board. With one processor the last two are not used.
struct SharedByProcessors {
  std::shared_ptr<jit::BlockStore> blocks;
  std::shared_ptr<jit::x64::Translations> translations;  // made by the first one, if any
  jit::Coherence coherence;
  DirectedYield directed_yield{};
};

class Processor {
 public:
  // Number `index` of `config.cpus`. `config`, `board` and `shared` outlive it. Throws ConfigError.
  Processor(u32 index, const MachineConfig& config, PcBoard& board, core::Counters& counters,
            SharedByProcessors& shared);

  // To its state at power-on; TLB and code are dropped, too. Its thread does not run guest code.
  void reset();
  // Makes it look up from guest code, or from its sleep.
  void wake(core::Pending reason);
  // Runs guest code, and sleeps where that has nothing to do, until wake(kPendingStop). False: it shut down
  // (triple fault).
  [[nodiscard]] bool run();
  // Sleeps until wake().
  void sleep();
  // The calling thread runs it from now on.
  void adopt();
  // In between, the calling thread leaves it alone: for long waits.
  void rest();
  void resume();

  [[nodiscard]] u32 index() const { return index_; }
  [[nodiscard]] jit::Vcpu& cpu() { return *memory_; }
  [[nodiscard]] jit::Dispatcher& dispatcher() { return dispatcher_; }
  [[nodiscard]] const jit::Dispatcher& dispatcher() const { return dispatcher_; }
  [[nodiscard]] bool runs_directly() const;
  // What --engine verify found; empty: nothing.
  [[nodiscard]] std::string difference() const;
  void publish_counters();

  // The one that the calling thread runs; nullptr: none.
  [[nodiscard]] static Processor* current() { return current_; }
  [[nodiscard]] jit::Coherence::Member* member() { return member_; }

 private:
  [[nodiscard]] std::unique_ptr<jit::Backend> choose_engine(const MachineConfig& config,
                                                            SharedByProcessors& shared);
  // The guest spins.
  void yield();

  static inline thread_local Processor* current_ = nullptr;

  const u32 index_;
  PcBoard& board_;
  core::CpuModel model_;
  VcpuMemory memory_;
  jit::Dispatcher dispatcher_;
  // Before `backend_`, which sets them.
  const jit::Verifier* verifier_ = nullptr;  // in `backend_`, with Engine::kVerify
#ifdef DOPPEL_TRANSLATOR_X64
  jit::direct::DirectRunner* direct_ = nullptr;  // `backend_`, if user code may run directly
#endif
  std::unique_ptr<jit::Backend> backend_;
  jit::Coherence::Member* member_ = nullptr;  // of `coherence`, with several processors
  DirectedYield& directed_yield_;
  DirectedYield::Seat seat_;
};

}  // namespace doppel::machine
