// asmjit's Assembler, writing straight into the code cache, with jumps of its own: their displacements always
// have 4 bytes, and targets that come later cost no more than the jump. Used by the trampolines and by the
// emitters, which must not bind asmjit labels.
#pragma once

#include <asmjit/x86.h>

#include "jit/x64/code_cache.hpp"

namespace doppel::jit::x64 {

class HostAssembler : public asmjit::x86::Assembler {
 public:
  // A place that comes later. Jumps to it form a list through their displacements.
  struct Forward {
    u64 last_field = 0;  // executable address of the last jump's displacement; 0: no jump yet
  };

  // `cache` outlives it.
  explicit HostAssembler(CodeCache& cache);
  ~HostAssembler() override;

  // Executable address of the next byte.
  [[nodiscard]] u64 here() const { return base_ + offset(); }
  // Goes on at the code cache's cursor.
  void begin() { setOffset(cache_.used()); }
  // What was written since begin() becomes part of the cache.
  void end();

  void jump(Forward& to);
  void jump_if(asmjit::x86::CondCode condition, Forward& to);
  void land(const Forward& jumps);  // they come here
  // To executable addresses of the cache.
  void jump(u64 to);
  void jump_if(asmjit::x86::CondCode condition, u64 to);
  void call_to(u64 to);

 private:
  // An opcode of 1 or 2 bytes (the second in bits 8-15) and the displacement to `to`.
  void put_branch(u32 opcode, u64 to);
  void put_forward(u32 opcode, Forward& to);

  CodeCache& cache_;
  const u64 base_;
  u32 open_ = 0;  // forward jumps that have not landed
  asmjit::CodeHolder code_;
};

}  // namespace doppel::jit::x64
