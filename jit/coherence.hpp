// What the processors of one machine owe each other about memory: a page that one of them makes code from is
// write-protected by all before its bytes are read; a store to a page that somebody watches is told; a change
// of the memory map reaches everybody's TLB. A TLB belongs to its processor's thread. Another one asks for
// what is to be done and gets that thread out of guest code; or does it itself while that thread rests. A
// processor that is alone has no Member.
//
// Blocks and translations are common to all (jit/block_store.hpp): a store to code has dropped them when it
// ends. Another processor that is in such a block meanwhile leaves it at its end at the latest, as a
// processor may that fetched the old bytes before; it comes back to none without looking at the new ones.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/types.hpp"

namespace doppel::jit {

class BlockCache;
struct Vcpu;

class Coherence {
 public:
  // One processor. Made by join(); used by its own thread, but where the comment says otherwise.
  class Member {
   public:
    Member(Vcpu& cpu, BlockCache& blocks, std::function<void()> interrupt)
        : cpu_(cpu), blocks_(blocks), interrupt_(std::move(interrupt)) {}

    // Does what others asked for. Outside of blocks.
    void serve();
    // The thread leaves its blocks and its TLB alone between the two: others may see to them. resume() waits
    // while another one is exclusive.
    void rest();
    void resume();

   private:
    friend class Coherence;
    // With `gate_` held, by the owner or while it rests.
    void protect_requested();
    void do_all();
    // With `gate_` held, by another: what was asked for is done now, or soon.
    void attend() { resting_ ? do_all() : interrupt_(); }

    Vcpu& cpu_;
    BlockCache& blocks_;
    std::function<void()> interrupt_;  // gets the thread out of guest code; from any thread
    std::mutex gate_;
    std::condition_variable changed_;  // the next two
    bool resting_ = true;              // until its thread begins
    bool stopped_ = false;             // may not resume
    std::vector<u64> pages_to_protect_;
    std::vector<u64> pages_written_;  // that its backend watched
    bool flush_ = false;
    u64 asked_ = 0;               // pages asked for, ever
    std::atomic<u64> served_{0};  // of those
  };

  // All processors join before any of them runs.
  Member& join(Vcpu& cpu, BlockCache& blocks, std::function<void()> interrupt);

  // No processor but `self` can store to the page of RAM unseen when this returns. `self` serves the like
  // meanwhile.
  void protect(Member& self, u64 page);
  // No other processor runs guest code between the two. Outside of blocks.
  void begin_exclusive(Member& self);
  void end_exclusive(Member& self);
  // Bytes of a page of RAM were stored to that the backend of `member` watched.
  void tell_page_written(Member& member, u64 page);
  // What physical addresses mean has changed: flushes the TLBs of all but `self`.
  void flush_others(const Member* self);

 private:
  std::vector<std::unique_ptr<Member>> members_;
  std::mutex exclusive_;  // held between begin_exclusive() and end_exclusive()
};

}  // namespace doppel::jit
