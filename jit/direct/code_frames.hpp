// Which physical pages hold code that may run directly, and as what. A page without sensitive instructions
// (code_scan.hpp) is executed where it is. Of one that has some, a copy is executed in which they are HLT,
// which faults; that takes a host that can map pages for execution only, so that nobody reads the copy.
// Findings are watched: the first store to the page takes them back.
#pragma once

#include <vector>

#include "jit/block_cache.hpp"
#include "jit/direct/patched_pages.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit::direct {

class CodeFrames {
 public:
  // Throws std::system_error.
  CodeFrames(Vcpu& cpu, BlockCache& blocks);

  enum class Kind : u8 {
    kUnknown,
    kPlain,    // to be executed in place
    kPatched,  // to be executed from the copy at patched_offset()
    kNever,
  };
  // Looks at the page of RAM if it is unknown; then it is watched.
  Kind examine(u64 physical);
  [[nodiscard]] Kind kind(u64 physical) const;
  [[nodiscard]] u64 patched_offset(u64 physical) const { return patched_.offset_of(physical); }
  [[nodiscard]] int patched_fd() const { return patched_.fd(); }

  // The page has changed.
  void forget(u64 physical);
  void forget_all();

 private:
  [[nodiscard]] Kind& at(u64 physical);
  [[nodiscard]] Kind look(u64 page);

  Vcpu& cpu_;
  BlockCache& blocks_;
  Decoder decoder_;
  PatchedPages patched_;
  std::vector<Kind> kinds_;  // by page of RAM
};

}  // namespace doppel::jit::direct
