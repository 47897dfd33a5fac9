// Emits the host code of one block. Guest instructions are emitted again as themselves, with host registers
// and checked memory operands put in; what this file's families do not know is a call of the interpreter's
// handler.
//
// Flags: guest arithmetic flags live in host EFLAGS between instructions; only where they are needed across
// something that clobbers EFLAGS are they saved to translator.flags. At block boundaries live flags are in
// memory. Vectors: guest XMM/YMM n is host XMM/YMM n, loaded at first use in the block, written back at every
// exit.
#pragma once

#include <asmjit/x86.h>

#include <functional>
#include <vector>

#include "core/cpuid.hpp"
#include "jit/block.hpp"
#include "jit/x64/registers.hpp"
#include "jit/x64/trampolines.hpp"

namespace doppel::jit::x64 {

// A direct jump to another place of the same guest page; patched to go straight to the target's translation.
struct LinkSite {
  u64 jump = 0;    // executable address of the 5-byte jump
  u64 stub = 0;    // where it goes while it is not linked
  u64 page = 0;    // physical page of both ends
  u16 target = 0;  // page offset of the guest target
  u32 needs = 0;   // register files that are usable when it is reached
  bool linked = false;
};

// Optimisations that can be switched off one by one, to find a miscompile.
struct Optimisations {
  u32 hot_runs = 3;            // interpreted runs before a block is translated
  bool native_integer = true;  // else the interpreter runs every instruction that is not control flow
  bool native_vector = true;
  bool native_x87 = true;
  bool flag_liveness = true;  // else flags are live everywhere
  bool chaining = true;       // else every jump goes through the jump cache
  bool long_blocks = true;    // else every instruction is a block
};

// What the emitter has to know about the world, and what it hands out.
struct EmitterContext {
  const Trampolines& trampolines;
  const Optimisations& optimisations;
  bool sse_usable = false, avx_usable = false, x87_usable = false;  // may be emitted as themselves
  // Flags that the code at `page_offset` of the block's page reads before it writes them.
  std::function<u8(u16 page_offset)> flags_live_at;
  // Whether the instruction there continues on the next page: its block depends on that page's mapping too.
  std::function<bool(u16 page_offset)> crosses_page;
};

class BlockEmitter {
 public:
  BlockEmitter(asmjit::x86::Assembler& assembler, const EmitterContext& context, const Block& block);

  void emit();

  [[nodiscard]] bool uses_sse() const { return uses_sse_; }
  [[nodiscard]] bool uses_avx() const { return uses_avx_; }
  [[nodiscard]] bool uses_x87() const { return uses_x87_; }
  // Offsets from the start of the emitted code in `jump` and `stub`.
  [[nodiscard]] std::vector<LinkSite>& sites() { return sites_; }
  // Offset of the code that leaves at the block's first instruction: entered when the block has been
  // invalidated.
  [[nodiscard]] u64 dead_entry() const { return dead_entry_; }

 private:
  enum class Flags { kHost, kMemory };  // where the live ones are

  // A soft-TLB miss: queued and emitted after the block.
  struct SlowAccess {
    asmjit::Label entry, resume;
    const Insn* insn;
    Mem address;   // computes the address again; not used when `spilled`
    bool spilled;  // the address is in translator.effective_address
    u32 access;    // translator.access
    u16 loaded, dirty;
  };
  struct SlowX87 {  // the guest's x87 state moves into the host's FPU
    asmjit::Label entry, resume;
    u16 loaded, dirty;
  };
  struct SlowInsn {  // run in the interpreter, then leave
    asmjit::Label entry;
    const Insn* insn;
    u16 dirty;
  };
  struct SlowExit {  // of a conditional branch
    asmjit::Label entry;
    i64 target;  // page offset, may lie outside the page
    bool backward;
    u16 dirty;
  };

  // --- Analysis.
  void find_live_flags();
  [[nodiscard]] u8 live_at_target(i64 page_offset) const;

  // --- One instruction. False: this family does not do it.
  void emit_insn(const Insn& insn);
  [[nodiscard]] bool emit_control_flow(const Insn& insn);
  [[nodiscard]] bool emit_stack(const Insn& insn);
  [[nodiscard]] bool emit_integer(const Insn& insn);
  [[nodiscard]] bool emit_divide(const Insn& insn);
  void emit_for_kernel(const Insn& insn);
  [[nodiscard]] bool emit_vector(const Insn& insn);
  void emit_zero_upper();
  [[nodiscard]] bool emit_x87(const Insn& insn);
  void emit_interpreted(const Insn& insn);
  void run_and_leave(const Insn& insn);  // in the interpreter

  // --- Flags.
  [[nodiscard]] u8 live_after(const Insn& insn) const { return live_after_[index_of(insn)]; }
  [[nodiscard]] u8 needed_by(const Insn& insn) const;
  void save_flags();             // EFLAGS to memory; they stay in EFLAGS. Clobbers kScratch1.
  void flags_to_host();          // the reverse. Clobbers kScratch1.
  void before_clobber(u8 live);  // EFLAGS are about to be lost; `live` are still needed

  // --- Memory.
  // Host address of the memory operand, checked for `size` bytes, in kScratch0. Clobbers kScratch1 and
  // EFLAGS.
  void check_access(const Insn& insn, u32 size, bool write, bool aligned = false);
  void check_address(const Insn& insn, const Mem& address, bool spilled, u32 size, bool write, bool aligned);
  // The operand's effective address as a host memory operand, when its registers allow that.
  [[nodiscard]] bool simple_address(const Insn& insn, Mem& out) const;
  // The effective (with_segment: linear) address in kScratch0. Clobbers kScratch1.
  void compute_address(const Insn& insn, bool with_segment);

  // --- Registers.
  [[nodiscard]] static bool high_byte(const Operand& op) {
    return op.kind == OperandKind::kGpr && op.reg % 8 == 1;
  }
  [[nodiscard]] static u8 host_of(const Operand& op) { return kHostOf[op.reg / 8]; }
  void load_guest(const Gp& host, u32 guest);
  void vector_load(u8 number);
  void reload(u16 loaded);  // the same registers again, after a call
  void write_back(u16 dirty);
  void forget_vectors() { loaded_ = dirty_ = 0; }

  // --- Leaving.
  void emit_jump(i64 page_offset, bool backward);  // to a target known now; vectors are written back
  void check_canonical(const Insn& insn);
  void emit_jump_to_rip(const Gp& rip);  // to a computed target
  void store_rip(i64 page_offset);
  void emit_cold_paths();

  [[nodiscard]] std::size_t index_of(const Insn& insn) const {
    return static_cast<std::size_t>(&insn - block_.insns);
  }
  [[nodiscard]] i64 page_offset_after(const Insn& insn) const {
    return page_offset_ + insn.offset + insn.length;
  }

  asmjit::x86::Assembler& a;
  const EmitterContext& context_;
  const Block& block_;
  const i64 page_offset_;  // of the block's first byte
  Flags flags_ = Flags::kMemory;
  u16 loaded_ = 0, dirty_ = 0;  // vector registers
  bool uses_sse_ = false, uses_avx_ = false, uses_x87_ = false;
  bool x87_resident_ = false;  // checked in this block, and nothing has moved it out since
  bool ended_ = false;         // control has left the block
  std::vector<u8> live_after_;
  std::vector<SlowAccess> slow_accesses_;
  std::vector<SlowX87> slow_x87_;
  std::vector<SlowInsn> slow_insns_;
  std::vector<SlowExit> slow_exits_;
  std::vector<LinkSite> sites_;
  u64 dead_entry_ = 0;
};

}  // namespace doppel::jit::x64
