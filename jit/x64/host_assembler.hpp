// asmjit's Assembler, writing straight into the code cache, with short cuts for what most of it is: jumps,
// whose displacements always have 4 bytes and whose targets may come later at no cost, and moves, LEA and
// arithmetic of 4 and 8 bytes. asmjit encodes the rest. Used by the trampolines and by the emitters, which
// must not bind asmjit labels.
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

  using Error = asmjit::Error;
  using Gp = asmjit::x86::Gp;
  using Mem = asmjit::x86::Mem;
  using Imm = asmjit::Imm;

  // Executable address of the next byte.
  [[nodiscard]] u64 here() const { return base_ + offset(); }
  // Goes on at the code cache's cursor.
  void begin() { setOffset(cache_.used()); }
  // What was written since begin() becomes part of the cache.
  void end();

  void jump(Forward& to);
  void jump_if(asmjit::x86::CondCode condition, Forward& to);
  void land(const Forward& jumps);  // they come here
  // The displacement behind the next instruction's `opcode_bytes` does not leave 8 aligned bytes: it can be
  // patched while others execute it.
  void align_patched(u32 opcode_bytes);
  // An instruction of 5 bytes that does nothing, as patch_entry() replaces.
  void nop5();
  // To executable addresses of the cache.
  void jump(u64 to);
  void jump_if(asmjit::x86::CondCode condition, u64 to);
  void call_to(u64 to);

  // --- The same as asmjit's, faster.
  using Assembler::add, Assembler::and_, Assembler::cmp, Assembler::lea, Assembler::mov, Assembler::sub;
  void mov(const Gp& to, const Mem& from) { load(0x8b, to, from, asmjit::x86::Inst::kIdMov); }
  void mov(const Mem& to, const Gp& from) { store(0x89, to, from, asmjit::x86::Inst::kIdMov); }
  void mov(const Gp& to, const Gp& from) { registers(0x89, to, from, asmjit::x86::Inst::kIdMov); }
  void lea(const Gp& to, const Mem& from) { load(0x8d, to, from, asmjit::x86::Inst::kIdLea); }
  void add(const Gp& to, const Mem& from) { load(0x03, to, from, asmjit::x86::Inst::kIdAdd); }
  void sub(const Gp& to, const Mem& from) { load(0x2b, to, from, asmjit::x86::Inst::kIdSub); }
  void cmp(const Gp& to, const Mem& from) { load(0x3b, to, from, asmjit::x86::Inst::kIdCmp); }
  void and_(const Gp& to, i32 value) { immediate(4, to, value, asmjit::x86::Inst::kIdAnd); }
  void cmp(const Gp& to, i32 value) { immediate(7, to, value, asmjit::x86::Inst::kIdCmp); }
  Error emitOpArray(asmjit::InstId id, const asmjit::Operand_* operands, std::size_t count);

 private:
  // An opcode of 1 or 2 bytes (the second in bits 8-15) and the displacement to `to`.
  void put_branch(u32 opcode, u64 to);
  void put_forward(u32 opcode, Forward& to);

  // An instruction with a register and a memory operand: `id`, whose opcode for 4 and 8 bytes is `opcode`.
  void load(u8 opcode, const Gp& to, const Mem& from, asmjit::InstId id);
  void store(u8 opcode, const Mem& to, const Gp& from, asmjit::InstId id);
  // The opcode whose destination is ModRM's r/m.
  void registers(u8 opcode, const Gp& to, const Gp& from, asmjit::InstId id);
  // Arithmetic: opcode 81 or 83, `extension` in ModRM.
  void immediate(u8 extension, const Gp& to, i32 value, asmjit::InstId id);
  void put_memory(u8 opcode, bool wide, u32 reg, const Mem& memory);
  void put_registers(u8 opcode, bool wide, u32 reg, u32 rm);

  CodeCache& cache_;
  const u64 base_;
  u32 open_ = 0;  // forward jumps that have not landed
  asmjit::CodeHolder code_;
};

}  // namespace doppel::jit::x64
