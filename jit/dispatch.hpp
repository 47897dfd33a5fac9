// Runs a vCPU: finds the block at RIP, runs it, delivers what it raised, takes interrupts between blocks, and
// steps single instructions where traps, breakpoints or interrupt shadows ask for it. Called by the vCPU's
// thread.
#pragma once

#include <array>
#include <memory>
#include <utility>

#include "jit/block_cache.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit {

class Dispatcher {
 public:
  // `store`: of blocks, shared with other processors; nullptr: its own.
  explicit Dispatcher(Vcpu& cpu, std::shared_ptr<BlockStore> store = nullptr)
      : cpu_(cpu), blocks_(cpu, std::move(store)) {
    cpu.mmu.on_code_page_flush([this](u64 linear_page) {
      ++page_flushes_;
      if (backend_) backend_->forget_page(linear_page);
    });
  }

  enum class Exit {
    kStopped,   // kPendingStop was set
    kIdle,      // HLT or wait-for-SIPI with nothing pending: wait for CpuState::pending, then call again
    kShutdown,  // triple fault
    kBudget,    // `max_instructions` were run
    kYield,     // the guest spins: let others run, then call again
  };

  // Runs until something above happens. The budget is checked between blocks.
  [[nodiscard]] Exit run(u64 max_instructions = ~u64{0});
  // Runs one instruction, or delivers one event that is due before it.
  [[nodiscard]] Exit step();

  // Hot blocks run in `backend` from now on; nullptr: all in the interpreter.
  void set_backend(Backend* backend) {
    backend_ = backend;
    blocks_.set_backend(backend);
  }

  [[nodiscard]] BlockCache& blocks() { return blocks_; }
  [[nodiscard]] u64 instructions() const { return instructions_; }

 private:
  struct JumpCacheEntry {
    u64 linear = ~u64{0};
    u64 context = 0, page_flushes = 0;
    Block* block = nullptr;
  };
  static constexpr u32 kJumpCacheEntries = 4096;

  [[nodiscard]] Block* block_at(u64 linear);
  [[nodiscard]] u64 context() const;
  // Deals with CpuState::attention. True: the caller leaves run() with `exit`.
  [[nodiscard]] bool service(Exit& exit);
  void run_exclusive();
  // Whether one was delivered.
  bool take_interrupt();
  [[nodiscard]] bool stepping_needed() const;
  void run_single();
  void run_shadowed();
  void run_block(const Block& block);
  [[nodiscard]] u64 linear_rip() const;

  Vcpu& cpu_;
  BlockCache blocks_;
  Backend* backend_ = nullptr;
  std::array<JumpCacheEntry, kJumpCacheEntries> jump_cache_{};
  u64 page_flushes_ = 0;  // of pages that code was fetched from
  u64 instructions_ = 0;
};

}  // namespace doppel::jit
