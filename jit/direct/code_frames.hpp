// Which physical pages hold code that may run directly. Instructions that show user code the host instead of
// the guest (CPUID, XGETBV, ...) do not fault there, so a page that has one runs translated. A page found to
// have none is watched: the first store to it takes the finding back.
#pragma once

#include <vector>

#include "jit/block_cache.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit::direct {

class CodeFrames {
 public:
  CodeFrames(Vcpu& cpu, BlockCache& blocks);

  // Whether the page of RAM may be executed directly. The page is watched from now on if it may.
  [[nodiscard]] bool executable(u64 physical);
  // The same, if that is known already; false if not.
  [[nodiscard]] bool known_executable(u64 physical) const { return state(physical) == State::kPlain; }
  // The page has changed.
  void forget(u64 physical) { at(physical) = State::kUnknown; }
  void forget_all();

 private:
  enum class State : u8 { kUnknown, kPlain, kSensitive };
  [[nodiscard]] State& at(u64 physical);
  [[nodiscard]] State state(u64 physical) const;

  Vcpu& cpu_;
  BlockCache& blocks_;
  Decoder decoder_;
  std::vector<State> states_;  // by page of RAM
};

// Whether the page has an instruction that user code must not run on the host. Exposed for its test.
[[nodiscard]] bool has_sensitive_instruction(std::span<const u8> page, const Decoder& decoder);

}  // namespace doppel::jit::direct
