// Which physical pages hold code that may run directly, and as what. A page without sensitive instructions
// (code_scan.hpp) is executed where it is. Of one that has some, a copy is executed in which they are HLT,
// which faults; that takes a host that can map pages for execution only, so that nobody reads the copy.
// Findings are watched: the first store to the page takes them back.
#pragma once

#include <optional>
#include <vector>

#include "jit/block_cache.hpp"
#include "jit/direct/code_scan.hpp"
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
    kNever,    // RelocatedCode may do
  };
  // Before anything is looked at.
  void set_host_hides_time(bool hides) { host_.time = hides; }
  // Looks at the page of RAM if it is unknown; then it is watched.
  Kind examine(u64 physical);
  [[nodiscard]] Kind kind(u64 physical) const;
  [[nodiscard]] u64 patched_offset(u64 physical) const { return patched_.offset_of(physical); }
  [[nodiscard]] int patched_fd() const { return patched_.fd(); }

  // Nothing is executed in place from now on; for tests.
  void refuse_all() { refuse_all_ = true; }
  [[nodiscard]] bool refuses_all() const { return refuse_all_; }

  // The physical address of what the MMU gives direct access to, if it is RAM.
  [[nodiscard]] std::optional<u64> physical_of(const u8* host) const;

  // The page has changed.
  void forget(u64 physical);
  void forget_all();

 private:
  [[nodiscard]] Kind& at(u64 physical);
  [[nodiscard]] Kind look(u64 page);

  Vcpu& cpu_;
  BlockCache& blocks_;
  Decoder decoder_;
  HostHides host_;
  PatchedPages patched_;
  std::vector<Kind> kinds_;  // by page of RAM
  bool refuse_all_ = false;
};

}  // namespace doppel::jit::direct
