// What the processors of one machine owe each other about memory: a page that one of them makes code from is
// write-protected by all before its bytes are read; a store to code reaches everybody's blocks; a change of
// the memory map reaches everybody's TLB. Blocks and TLBs belong to their processor's thread. Another one
// asks for what is to be done and gets that thread out of guest code; or does it itself while that thread
// rests.
//
// Of a store to bytes that another processor has decoded, that processor learns before anything that the
// storing one does afterwards: its attention flag is set first, and it looks at that before it takes an
// interrupt, before a serializing instruction ends and at each indirect jump. A processor that is alone has
// no Member.
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
    struct Store {
      u64 pa, size;
    };
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
    std::vector<Store> stores_;
    bool too_many_stores_ = false;  // stores_ lacks some
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
  // Bytes of RAM were stored to: drops the blocks of all but `self` that were made from them.
  void invalidate_others(const Member* self, u64 pa, u64 size);
  // What physical addresses mean has changed: flushes the TLBs of all but `self`.
  void flush_others(const Member* self);

 private:
  std::vector<std::unique_ptr<Member>> members_;
  std::mutex exclusive_;  // held between begin_exclusive() and end_exclusive()
};

}  // namespace doppel::jit
