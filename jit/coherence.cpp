#include "jit/coherence.hpp"

#include <sched.h>

#include <utility>

#include "jit/block_cache.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit {

Coherence::Member& Coherence::join(Vcpu& cpu, BlockCache& blocks, std::function<void()> interrupt) {
  Member& member = *members_.emplace_back(std::make_unique<Member>(cpu, blocks, std::move(interrupt)));
  cpu.shared = true;
  blocks.share(*this, member);
  return member;
}

void Coherence::Member::protect_requested() {
  for (const u64 page : std::exchange(pages_to_protect_, {})) cpu_.mmu.protect_code_page(page);
  served_.store(asked_, std::memory_order_release);
}

void Coherence::Member::do_all() {
  protect_requested();
  for (const u64 page : std::exchange(pages_written_, {})) blocks_.watched_page_written(page, true);
  if (std::exchange(flush_, false)) cpu_.mmu.flush_all();
}

void Coherence::Member::serve() {
  rest();
  resume();
}

void Coherence::Member::rest() {
  const std::lock_guard guard(gate_);
  do_all();
  resting_ = true;
  changed_.notify_all();
}

void Coherence::Member::resume() {
  std::unique_lock lock(gate_);
  changed_.wait(lock, [this] { return !stopped_; });
  resting_ = false;
}

// Rests while it waits, so that others need not wait for it.
void Coherence::begin_exclusive(Member& self) {
  self.rest();
  exclusive_.lock();
  for (const auto& member : members_) {
    if (member.get() == &self) continue;
    const std::lock_guard guard(member->gate_);
    member->stopped_ = true;
    if (!member->resting_) member->interrupt_();
  }
  for (const auto& member : members_) {
    if (member.get() == &self) continue;
    std::unique_lock lock(member->gate_);
    member->changed_.wait(lock, [&] { return member->resting_; });
  }
  self.resume();
}

void Coherence::end_exclusive(Member& self) {
  for (const auto& member : members_) {
    if (member.get() == &self) continue;
    const std::lock_guard guard(member->gate_);
    member->stopped_ = false;
    member->changed_.notify_all();
  }
  exclusive_.unlock();
}

void Coherence::protect(Member& self, u64 page) {
  struct Wait {
    const Member* member;
    u64 ticket;
  };
  std::vector<Wait> waits;
  for (const auto& member : members_) {
    if (member.get() == &self || !member->cpu_.mmu.may_store(page)) continue;
    const std::lock_guard guard(member->gate_);
    member->pages_to_protect_.push_back(page);
    ++member->asked_;
    member->attend();
    waits.push_back({member.get(), member->asked_});
  }
  constexpr u32 kSpins = 2000;
  for (u32 spins = 0; !waits.empty(); ++spins) {
    std::erase_if(waits, [](const Wait& wait) {
      return wait.member->served_.load(std::memory_order_acquire) >= wait.ticket;
    });
    // The others may wait for this one in the same way.
    const std::lock_guard guard(self.gate_);
    self.protect_requested();
    if (spins > kSpins) ::sched_yield();
  }
}

void Coherence::tell_page_written(Member& member, u64 page) {
  const std::lock_guard guard(member.gate_);
  member.pages_written_.push_back(page);
  member.attend();
}

void Coherence::flush_others(const Member* self) {
  for (const auto& member : members_) {
    if (member.get() == self) continue;
    const std::lock_guard guard(member->gate_);
    member->flush_ = true;
    member->attend();
  }
}

}  // namespace doppel::jit
