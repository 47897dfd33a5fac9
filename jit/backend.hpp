// What the dispatcher asks of a host backend. A backend translates hot blocks and runs them; whatever it
// cannot do it leaves to the interpreter. Implemented by one folder per host architecture.
#pragma once

#include <string>

#include "jit/block.hpp"

namespace doppel::jit {

class Backend {
 public:
  virtual ~Backend() = default;

  // Whether `block` can run translated now, translating it if it has become hot. `linear` is where it was
  // found.
  [[nodiscard]] virtual bool ready(Block& block) = 0;
  // Runs translated code from CpuState::rip, where `block` is ready, until something needs the dispatcher: an
  // event (CpuState::attention), a fault (CpuState::fault), or code that is not translated. RIP says where it
  // stopped.
  virtual void run(Block& block) = 0;
  // The block's bytes changed: its translation is never entered again. By any processor's thread, with the
  // lock of the blocks (BlockStore) held.
  virtual void forget(Block& block) = 0;
  // The translation of a 4 KiB page of linear addresses may have changed: places found there before are to be
  // looked for again.
  virtual void forget_page(u64 linear_page) = 0;
  // All blocks are gone, and BlockCache::watch() is forgotten. The same; no processor runs guest code.
  virtual void clear() = 0;
  // Bytes of a page that BlockCache::watch() was called for change; it is no longer watched.
  virtual void watched_page_written(u64 /*physical*/) {}
  // The dispatcher is about to deliver an external interrupt.
  virtual void interrupting() {}
  // Moves event counts that are kept privately for speed into the machine's counters.
  virtual void publish_counters() = 0;
  // Disassembly of the block's translation, or nothing if it has none.
  [[nodiscard]] virtual std::string listing(const Block& block) const = 0;
  // The dispatcher runs a single instruction itself, the block's first: when stepping, or in an interrupt
  // shadow.
  virtual void stepping(const Block&) {}
};

}  // namespace doppel::jit
