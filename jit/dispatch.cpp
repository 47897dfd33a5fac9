#include "jit/dispatch.hpp"

#include "core/log.hpp"
#include "jit/interp/control_register.hpp"
#include "jit/interp/interrupt.hpp"
#include "jit/interp/reset.hpp"

namespace doppel::jit {

using core::Activity;
using core::CpuState;

u64 Dispatcher::linear_rip() const {
  const CpuState& s = cpu_.state;
  return s.code_bits == 64 ? s.rip : (s.segment[core::kCs].base + s.rip) & 0xffff'ffff;
}

// Everything besides the linear address on which the translation of RIP to a block depends.
u64 Dispatcher::context() const {
  const CpuState& s = cpu_.state;
  return (cpu_.mmu.generation() << 24) + (blocks_.generation() << 10) + (u64{s.code_bits} << 2) + s.cpl;
}

Block* Dispatcher::block_at(u64 linear) {
  JumpCacheEntry& entry = jump_cache_[(linear ^ (linear >> 12)) % kJumpCacheEntries];
  const u64 now = context();
  if (entry.linear == linear && entry.context == now && entry.page_flushes == page_flushes_ &&
      entry.block->valid) [[likely]]
    return entry.block;
  Block* block = blocks_.find(linear);
  if (block && block->kept && block->second_page == kNoPage)
    entry = {linear, context(), page_flushes_, block};
  return block;
}

void Dispatcher::run_block(const Block& block) {
  CpuState& s = cpu_.state;
  s.gpr[core::kGprRip] = s.rip;
  const Insn* insn = block.insns;
  do insn = insn->run(cpu_, insn);
  while (insn != nullptr);
  instructions_ += static_cast<u64>(cpu_.last - block.insns + 1);
}

Dispatcher::Exit Dispatcher::run(u64 max_instructions) {
  CpuState& s = cpu_.state;
  const u64 limit = max_instructions > ~u64{0} - instructions_ ? ~u64{0} : instructions_ + max_instructions;
  s.attention = 1;  // whatever happened while nobody ran
  while (true) {
    if (s.attention.load(std::memory_order_relaxed)) [[unlikely]] {
      Exit exit;
      if (service(exit)) return exit;
      if (s.interrupt_shadow || stepping_needed()) {
        stepping_needed() ? run_single() : run_shadowed();
        s.attention = 1;
        if (instructions_ >= limit) return Exit::kBudget;
        continue;
      }
    }
    if (Block* block = block_at(linear_rip())) [[likely]] {
      if (s.code_bits != 64 && s.rip + block->bytes - 1 > s.segment[core::kCs].limit) [[unlikely]]
        run_single();
      else if (backend_ && backend_->ready(*block))
        backend_->run(*block);
      else
        run_block(*block);
    }
    if (s.fault.pending) [[unlikely]]
      interp::deliver_fault(cpu_);
    if (instructions_ >= limit) [[unlikely]]
      return Exit::kBudget;
  }
}

Dispatcher::Exit Dispatcher::step() {
  Exit exit;
  if (service(exit)) return exit;
  run_single();
  return Exit::kBudget;
}

bool Dispatcher::stepping_needed() const {
  const CpuState& s = cpu_.state;
  return (s.rflags & core::kTf) || core::breakpoints_enabled(s);
}

// The instruction in an interrupt shadow, without what run_single() looks for.
void Dispatcher::run_shadowed() {
  CpuState& s = cpu_.state;
  const Block* block = block_at(linear_rip());
  if (block && s.code_bits != 64) return run_single();
  s.interrupt_shadow = false;
  if (block) {
    Insn first[2] = {block->insns[0], {}};
    if (!block->valid) return run_single();  // dropped by another processor just now
    if (backend_) backend_->stepping(*block);
    first[1].run = end_of_block;
    first[1].offset = first[0].length;
    first[1].flags = first[0].flags;
    s.gpr[core::kGprRip] = s.rip;
    const Insn* insn = first;
    do insn = insn->run(cpu_, insn);
    while (insn != nullptr);
    ++instructions_;
  }
  if (s.fault.pending) interp::deliver_fault(cpu_);
}

// One instruction with everything the fast path leaves out: CS limit, instruction breakpoints, RF, TF,
// shadows. Source: SDM Vol. 3B, "Debug Exceptions"; priority as in Vol. 3A, "Priority Among Concurrent
// Events".
void Dispatcher::run_single() {
  CpuState& s = cpu_.state;
  bool trap = s.rflags & core::kTf;
  const bool resume = s.rflags & core::kRf;
  s.interrupt_shadow = false;
  s.debug_hits = 0;
  s.attention = 1;  // a repeated string instruction stops after one element

  const u64 linear = linear_rip();
  if (!resume) {
    if (const u64 hits = interp::code_breakpoint(cpu_, linear)) {
      s.raise(core::Vector::kDB, 0, hits);
      interp::deliver_fault(cpu_);
      return;
    }
  }
  const Block* block = blocks_.find(linear, 1);
  if (block && s.code_bits != 64 && s.rip + block->bytes - 1 > s.segment[core::kCs].limit)
    s.raise(core::Vector::kGP);
  if (!s.fault.pending) {
    if (backend_) backend_->stepping(*block);
    // A software interrupt takes TF with it: no trap after its delivery.
    const u16 mnemonic = block->insns[0].mnemonic;
    if (mnemonic == ZYDIS_MNEMONIC_INT || mnemonic == ZYDIS_MNEMONIC_INT3 ||
        mnemonic == ZYDIS_MNEMONIC_INTO || mnemonic == ZYDIS_MNEMONIC_INT1)
      trap = false;
    run_block(*block);
    if (s.pending.load(std::memory_order_relaxed) & core::kPendingExclusive)
      return;  // it has done nothing yet
    // A REP instruction that was interrupted leaves RIP where it is and keeps RF.
    if (!s.fault.pending && resume && s.rip != s.gpr[core::kGprRip]) s.rflags &= ~core::kRf;
  }
  if (s.fault.pending) {
    interp::deliver_fault(cpu_);
    return;
  }
  constexpr u64 kSingleStep = 1u << 14;  // DR6.BS
  const u64 hits = s.debug_hits | (trap ? kSingleStep : 0);
  s.debug_hits = 0;
  if (hits != 0 && s.activity != Activity::kShutdown) {
    s.raise(core::Vector::kDB, 0, hits);
    interp::deliver_fault(cpu_);
  }
}

// The instruction at RIP, while no other processor runs.
void Dispatcher::run_exclusive() {
  blocks_.begin_exclusive();
  cpu_.exclusive = true;
  stepping_needed() ? run_single() : run_shadowed();
  cpu_.exclusive = false;
  blocks_.end_exclusive();
}

bool Dispatcher::service(Exit& exit) {
  CpuState& s = cpu_.state;
  s.attention.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const u32 pending = s.pending.load(std::memory_order_acquire);

  if (pending & core::kPendingStop) {
    s.pending.fetch_and(~core::kPendingStop);
    exit = Exit::kStopped;
    return true;
  }
  if (pending & core::kPendingCoherence) {
    s.pending.fetch_and(~core::kPendingCoherence);
    blocks_.serve_others();
  }
  if (pending & core::kPendingRoom) {
    s.pending.fetch_and(~core::kPendingRoom);
    blocks_.make_room();
  }
  if (pending & core::kPendingExclusive) {
    s.pending.fetch_and(~core::kPendingExclusive);
    run_exclusive();
  }
  if (pending & core::kPendingInit) {
    s.pending.fetch_and(~core::kPendingInit);
    interp::initialize(cpu_);
  }
  if (pending & core::kPendingSipi) {
    s.pending.fetch_and(~core::kPendingSipi);
    interp::start_up(cpu_, cpu_.interrupts.startup_vector());
  }
  const bool interrupted =
      s.activity != Activity::kWaitForSipi && s.activity != Activity::kShutdown && take_interrupt();
  if (s.fault.pending) interp::deliver_fault(cpu_);

  switch (s.activity) {
    case Activity::kRunning:
      if (!(pending & core::kPendingYield)) return false;
      s.pending.fetch_and(~core::kPendingYield);
      exit = Exit::kYield;
      return !interrupted;
    case Activity::kShutdown:
      exit = Exit::kShutdown;
      return true;
    default:
      exit = Exit::kIdle;
      return true;
  }
}

// Delivers the interrupt that is due, if any; delivery wakes a halted processor.
bool Dispatcher::take_interrupt() {
  CpuState& s = cpu_.state;
  if (s.interrupt_shadow) return false;
  const u32 pending = s.pending.load(std::memory_order_acquire);
  if ((pending & core::kPendingNmi) && !s.nmi_blocked) {
    s.pending.fetch_and(~core::kPendingNmi);
    s.nmi_blocked = true;
    if (!interp::deliver_event(cpu_, static_cast<u8>(core::Vector::kNMI), interp::EventKind::kNmi, 0))
      interp::deliver_fault(cpu_);
    return true;
  }
  if ((pending & core::kPendingIntr) && (s.rflags & core::kIf)) {
    s.pending.fetch_and(~core::kPendingIntr);
    const auto vector = cpu_.interrupts.acknowledge();
    if (!vector) return false;
    // Another one may wait behind it; it is looked at when IF is next set.
    if (cpu_.interrupts.interrupt_ready()) s.notify(core::kPendingIntr);
    core::log(core::LogCategory::kInterrupt, "external interrupt {:#x} at rip {:#x}", *vector, s.rip);
    if (backend_) backend_->interrupting();
    if (!interp::deliver_event(cpu_, *vector, interp::EventKind::kExternal, 0)) interp::deliver_fault(cpu_);
    return true;
  }
  return false;
}

}  // namespace doppel::jit
