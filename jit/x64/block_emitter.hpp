// Emits the host code of one block. Guest instructions are emitted again as themselves, with host registers
// and checked memory operands put in; what this file's families do not know is a call of the interpreter's
// handler.
//
// Flags: guest arithmetic flags live in host EFLAGS between instructions; only where they are needed across
// something that clobbers EFLAGS are they saved to translator.flags. At block boundaries live flags are in
// memory. Vectors: guest XMM/YMM n is host XMM/YMM n; like the x87 registers they move into the host at their
// first use and stay there until C++ code runs.
#pragma once

#include <asmjit/x86.h>

#include <functional>
#include <optional>
#include <vector>

#include "core/cpuid.hpp"
#include "core/large_deque.hpp"
#include "jit/block.hpp"
#include "jit/x64/host_assembler.hpp"
#include "jit/x64/registers.hpp"
#include "jit/x64/trampolines.hpp"

namespace doppel::jit::x64 {

struct Translation;

// A way out of a block that the translator can join to what comes next.
struct LinkSite {
  enum class Kind : u8 {
    kNear,     // a direct jump within the guest page: patched to go straight to the target's translation
    kFar,      // a direct jump to another guest page: through each processor's FarLink
    kCareful,  // to the same block from the instruction `target` on, without shared checks: patched
  };
  Kind kind = Kind::kNear;
  bool linked = false;
  bool global = false;          // kFar: the link holds in all address spaces
  u16 target = 0;               // page offset of the guest target; kCareful: index of the instruction
  u32 number = 0;               // kFar: of the FarLink
  u64 page = 0;                 // physical page of both ends; not for kFar
  u64 field = 0;                // executable address of the patched jump's displacement; not for kFar
  u64 stub = 0;                 // where the jump goes while it is not linked
  Block* block = nullptr;       // that it leaves; nullptr: forgotten meanwhile
  Translation* tail = nullptr;  // kCareful: where it goes
  LinkSite* sibling = nullptr;  // the next one of the same translation
};

// Where a processor goes on from a far jump while `context` and `linear_page` are the running ones. Read by
// emitted code, written by the processor's thread; another one may put 0 in `context`.
struct FarLink {
  u64 context;  // 0: none
  u64 linear_page;
  u64 code;
  i32 patience;  // misses until the jump asks to be linked again
};
static_assert(sizeof(FarLink) == 32, "numbers become displacements of 32 bits");
inline constexpr u32 kMostFarLinks = u32{2} << 20;

// Optimisations that can be switched off one by one, to find a miscompile.
struct Optimisations {
  u32 hot_runs = 8;            // interpreted runs before a block is translated, which takes as long as 50
  bool native_integer = true;  // else the interpreter runs every instruction that is not control flow
  bool native_vector = true;
  bool native_x87 = true;
  bool flag_liveness = true;  // else flags are live everywhere
  bool chaining = true;       // else every jump goes through the jump cache
  bool shared_checks = true;  // else every memory access has a soft-TLB check of its own
  bool inline_lookup = true;  // else all computed jumps look for their target at one place
  bool long_blocks = true;    // else every instruction is a block
  bool jump_cache = true;     // else every jump that is not chained goes through the dispatcher
};

// Sites stay where they are: emitted code holds their addresses.
using LinkSites = core::LargeDeque<LinkSite>;

// What the emitter has to know about the world.
struct EmitterContext {
  const Trampolines& trampolines;
  const Optimisations& optimisations;
  bool avx = false;     // the guest's CPU model has it, so vector registers are 32 bytes
  bool shared = false;  // with other processors: PAUSE is the interpreter's, patches happen in running code
  bool kernel = false;  // found at CPL 0: jumps to other pages expect global ones
  // Flags that the code at `page_offset` of the block's page reads before it writes them.
  std::function<u8(Block& block, u16 page_offset)> flags_live_at;
  // Whether the instruction there continues on the next page: its block depends on that page's mapping too.
  std::function<bool(Block& block, u16 page_offset)> crosses_page;
  LinkSites& sites;  // where the emitter puts new ones
  u32& far_links;    // numbers given
};

class BlockEmitter {
 public:
  // Both outlive it.
  BlockEmitter(HostAssembler& assembler, const EmitterContext& context);

  // The block from its instruction number `first` on, at the code cache's cursor; without shared checks if
  // `careful`.
  void emit(Block& block, u16 first, bool careful);

  // --- Of the block that was emitted last.
  // Its first site; the others follow as siblings.
  [[nodiscard]] LinkSite* sites() const { return sites_; }
  // Executable addresses of its code, and of the part that leaves at the first instruction: entered when the
  // block has been invalidated.
  [[nodiscard]] u64 entry() const { return entry_; }
  [[nodiscard]] u64 dead_entry() const { return dead_entry_; }

  // A linear address that one or two instructions compute, keeping EFLAGS.
  enum class AddressKind : u8 {
    kRegisters,  // base + index << scale + disp
    kSegment,    // base of the segment `base` + disp; 64-bit code
    kCodePage,   // translator.code_page + disp; 64-bit code
    kComputed,   // none of these
  };
  struct Address {
    u8 base = 0, index = 0, scale = 0;
    i64 disp = 0;
    AddressKind kind = AddressKind::kComputed;
  };
  // Offsets of each instruction's code, then of the out-of-line code.
  [[nodiscard]] const std::vector<u32>& starts() const { return starts_; }

 private:
  enum class Flags { kHost, kMemory };  // where the live ones are

  // Bytes from an address' registers, and how many accesses of the block use them; 0: a computed address.
  struct Range {
    i64 low = 0, high = 0;
    bool write = false;
    u32 users = 0;
  };
  // A check that later accesses through the same registers share.
  struct Share {
    Address address;
    Range range;     // of displacements when the check was made
    i64 moved;       // what the registers have been moved by since
    u32 alignment;   // known to hold
    i64 aligned_at;  // at this displacement; 0: none
    u32 home;        // translator.shared_addends
  };
  // A soft-TLB miss: queued and emitted after the block.
  struct SlowAccess {
    HostAssembler::Forward entry;
    u64 resume;
    const Insn* insn;
    Address address;
    u32 access;  // translator.access
    Range range;
  };
  struct SlowResidence {  // the guest's x87 or vector state moves into the host's registers
    HostAssembler::Forward entry;
    u64 resume;
    u64 trampoline;
    const Insn* insn;
  };
  struct SlowInsn {  // run in the interpreter, then leave
    HostAssembler::Forward entry;
    const Insn* insn;
  };
  struct SlowExit {  // of a conditional branch
    HostAssembler::Forward entry;
    i64 target;  // page offset, may lie outside the page
    bool backward;
    Flags flags;
  };
  struct SlowBranch {  // of a conditional branch that is a link site itself
    HostAssembler::Forward stub;
    LinkSite* site;
  };
  struct SlowLookup {  // of a computed jump whose target is not in the jump cache
    HostAssembler::Forward entry, reload;
    const Insn* unchecked;  // the target may not be canonical: then this instruction is run, RSP put back
    i32 undo_rsp;
  };
  static constexpr u32 kAccessWrites = 0x100;  // in translator.access

  // --- Analysis.
  void find_live_flags();
  [[nodiscard]] u8 live_at_target(i64 page_offset) const;

  // --- One instruction. False: this family does not do it.
  void emit_insn(const Insn& insn);
  [[nodiscard]] bool emit_control_flow(const Insn& insn);
  [[nodiscard]] bool emit_stack(const Insn& insn);
  [[nodiscard]] bool emit_string(const Insn& insn);
  [[nodiscard]] bool emit_integer(const Insn& insn);
  [[nodiscard]] bool emit_divide(const Insn& insn);
  [[nodiscard]] bool emit_bit_string(const Insn& insn);
  void emit_compare_exchange_pair(const Insn& insn);
  [[nodiscard]] bool emit_kernel(const Insn& insn);
  // Else the interpreter runs it, to which the result leads. Clobbers EFLAGS.
  HostAssembler::Forward& only_at_cpl0(const Insn& insn);
  [[nodiscard]] bool emit_interrupts_on(const Insn& insn);
  void emit_time_stamp(const Insn& insn);
  void emit_flags_push(const Insn& insn);
  void emit_flags_pop(const Insn& insn);
  [[nodiscard]] bool emit_mxcsr(const Insn& insn);
  [[nodiscard]] bool emit_vector(const Insn& insn);
  [[nodiscard]] bool emit_x87(const Insn& insn);
  void emit_interpreted(const Insn& insn);
  void load_run_arguments(const Insn& insn);  // as the trampolines that run an instruction want them
  void run_and_leave(const Insn& insn);       // in the interpreter
  // Where to jump for that; valid until the next one is asked for.
  [[nodiscard]] HostAssembler::Forward& slow_insn(const Insn& insn);

  // --- Flags.
  [[nodiscard]] u8 live_after(const Insn& insn) const { return live_after_[index_of(insn)]; }
  [[nodiscard]] u8 needed_by(const Insn& insn) const;
  void save_flags();             // EFLAGS to memory; they stay in EFLAGS. Clobbers kScratch1.
  void flags_to_host();          // the reverse. Clobbers kScratch1.
  void before_clobber(u8 live);  // EFLAGS are about to be lost; `live` are still needed

  // --- Memory.
  // The host operand for the instruction's memory operand (for `address`), checked. It uses kScratch0 and
  // guest registers; kScratch1 is clobbered. Flags that the instruction needs survive in memory if EFLAGS
  // do not.
  [[nodiscard]] Mem guest_memory(const Insn& insn, u32 size, bool write, u32 alignment = 1);
  [[nodiscard]] Mem guest_memory(const Insn& insn, const Address& address, u32 size, bool write,
                                 u32 alignment = 1);
  // At RSP + disp.
  [[nodiscard]] Mem stack_memory(const Insn& insn, i64 disp, bool write);
  // The same for the address in kScratch0. Clobbers EFLAGS.
  [[nodiscard]] Mem computed_memory(const Insn& insn, u32 size, bool write, u32 alignment = 1);
  [[nodiscard]] Address operand_address(const Insn& insn) const;
  [[nodiscard]] Address register_address(u8 guest, i64 disp) const;
  void load_address(const Gp& to, const Address& address, i64 disp);
  void load_code_address(const Gp& to, i64 page_offset);
  void wrap(const Gp& address);  // to the width of linear addresses. Keeps EFLAGS
  void move_rsp(i64 by);         // Keeps EFLAGS
  // The part of the register that addresses and stack slots have.
  [[nodiscard]] Gp word(const Gp& reg) const { return word_ == 8 ? Gp(reg.r64()) : Gp(reg.r32()); }
  [[nodiscard]] bool has_segment_base(const Insn& insn) const;
  void check_segment(const Insn& insn);
  [[nodiscard]] Mem host_operand(const Address& address, u32 size);
  void compute_address(const Insn& insn, bool with_segment);
  void tlb_entry();
  void check_range(const Address& address, const Range& range, HostAssembler::Forward& otherwise);
  void check_stack(const Address& address, const Range& range, HostAssembler::Forward& otherwise);
  void check_alignment(const Insn& insn, const Gp& address, u32 alignment);
  void emit_slow_access(const SlowAccess& slow);

  [[nodiscard]] std::optional<Range> range_of(const Insn& insn, const Address& like) const;
  [[nodiscard]] Range plan_share(const Insn& insn, const Address& address, u32 size, bool write) const;
  [[nodiscard]] std::optional<i64> constant_move(const Insn& insn, const Address& address) const;
  [[nodiscard]] Share* find_share(const Address& address, u32 size, bool write);
  [[nodiscard]] Share* new_share(const Address& address, const Range& range);
  [[nodiscard]] static Mem share_home(const Share& share);
  void update_shares(const Insn& insn);

  // --- Registers.
  [[nodiscard]] static bool high_byte(const Operand& op) {
    return op.kind == OperandKind::kGpr && op.reg % 8 == 1;
  }
  [[nodiscard]] static u8 host_of(const Operand& op) { return kHostOf[op.reg / 8]; }
  void load_guest(const Gp& host, u32 guest);
  // The guest's vector registers are in the host's from here on (AVX ones too); what the instruction needs
  // of the flags is kept.
  void need_vectors(const Insn& insn, bool avx);
  void need_x87(const Insn& insn);
  void forget_residence() { vectors_checked_ = avx_checked_ = x87_checked_ = false; }

  // --- Leaving.
  void emit_jump(i64 page_offset, bool backward);  // to a target known now
  void emit_near_jump(u16 page_offset, bool backward, bool interrupt_shadow = false);
  void load_target(const Insn& insn);
  void emit_near_branch(asmjit::x86::CondCode condition, u16 target);
  void emit_far_jump(i64 page_offset, bool backward);
  void emit_careful_site(const Insn& insn);
  [[nodiscard]] LinkSite& new_site(LinkSite::Kind kind, u16 target = 0);
  void emit_exit_through(const LinkSite& site, i64 page_offset);
  void check_canonical(const Insn& insn);
  // To the computed target in kScratch0. `unchecked`: it may not be canonical; then that instruction is run
  // by the interpreter, with RSP moved back by `undo_rsp`.
  void emit_jump_to_rip(const Insn* unchecked = nullptr, i32 undo_rsp = 0);
  void emit_slow_lookup(const SlowLookup& slow);
  void store_rip(i64 page_offset);
  void emit_cold_paths();

  [[nodiscard]] std::size_t index_of(const Insn& insn) const {
    return static_cast<std::size_t>(&insn - block_->insns);
  }
  [[nodiscard]] i64 page_offset_after(const Insn& insn) const {
    return page_offset_ + insn.offset + insn.length;
  }

  HostAssembler& a;
  const EmitterContext& context_;
  // --- Of the block; emit() resets them.
  Block* block_ = nullptr;
  i64 page_offset_ = 0;  // of its first byte
  u32 word_ = 8;         // bytes of addresses and of stack slots: 4 in 32-bit code, whose segments are flat
  Flags flags_ = Flags::kMemory;
  bool vectors_checked_ = false, avx_checked_ = false, x87_checked_ = false;  // resident from here on
  bool ended_ = false;                                                        // control has left the block
  bool sharing_ = false;                                                      // shared checks
  std::vector<u8> live_after_;
  std::vector<Share> shares_;
  u32 next_share_ = 0;
  std::vector<SlowAccess> slow_accesses_;
  std::vector<SlowResidence> slow_residences_;
  std::vector<SlowInsn> slow_insns_;
  std::vector<SlowExit> slow_exits_;
  std::vector<SlowBranch> slow_branches_;
  std::vector<SlowLookup> slow_lookups_;
  LinkSite* sites_ = nullptr;
  u64 entry_ = 0, dead_entry_ = 0;
  std::vector<u32> starts_;
};

}  // namespace doppel::jit::x64
