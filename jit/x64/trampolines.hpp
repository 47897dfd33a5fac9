// The few pieces of host code that every translated block shares: entering and leaving translated code,
// soft-TLB misses, running one instruction in the interpreter, and finding the block for a computed RIP.
// Generated once per code cache.
#pragma once

#include <asmjit/x86.h>

#include "core/cpu_state.hpp"
#include "jit/insn.hpp"
#include "jit/x64/host_assembler.hpp"

namespace doppel::jit::x64 {

// Direct-mapped by RIP; filled by the translator. `code` is the entry of a translation. An entry whose
// context is not the running one may hold all the same: the callback `revalidate` sees.
struct JumpCacheEntry {
  u64 rip = ~u64{0};
  u64 context = 0;
  u64 code = 0;
  u64 made_from =
      0;  // the physical page that the translation was made from, plus its code size; 0: of two pages
};
static_assert(sizeof(JumpCacheEntry) == 32, "indexed with a shift by 5");
inline constexpr u32 kJumpCacheEntries = 65536;
// Index of a RIP: (rip XOR rip >> 12) modulo the number of entries.
inline u32 jump_cache_index(u64 rip) {
  return static_cast<u32>((rip ^ (rip >> 12)) % kJumpCacheEntries);
}

// What the C++ side of run_insn tells translated code to do next.
enum class After : u32 {
  kContinue = 0,  // with the next instruction of the block
  kLeave = 1,     // go to the dispatcher
  kLookup = 2,    // at CpuState::rip
};

// Called from the trampolines.
struct Callbacks {
  u8* (*fill)(core::CpuState*, u64 la);  // soft-TLB miss; nullptr: interpret
  u64 (*move_x87_in)(core::CpuState*);   // 0: x87 instructions would fault
  u64 (*read_tsc)(core::CpuState*);
  // The code for `rip`, which is in its jump-cache entry, if that holds in the running context; else 0.
  u64 (*revalidate)(core::CpuState*, u64 rip);
  After (*run_in_block)(core::CpuState*, const Insn*);
  After (*run_and_leave)(core::CpuState*, const Insn*);  // never kContinue
};

struct Trampolines {
  void (*enter)(core::CpuState*, u64 code) = nullptr;
  // Executable addresses. All expect guest registers in their host registers.
  u64 exit = 0;  // jump: CpuState::rip and link_site are set
  u64 fill =
      0;  // call: kScratch0 is the address, translator.access the kind; result in kScratch0, ZF: failed
  // call: makes the page from kScratch0 (first byte) to kScratch1 (last byte) the stack page. ZF: done, its
  // addend is in kScratch0.
  u64 stack_page = 0;
  // The plain ones are for instructions that neither use vector arithmetic nor touch MXCSR: they leave the
  // guest's loaded.
  u64 run_plain_in_block = 0, run_plain_and_leave = 0;
  u64 run_in_block = 0;   // call: kScratch0 is the Insn, kScratch1 the block's first RIP
  u64 run_and_leave = 0;  // jump: the same
  // call: keep everything but EFLAGS and scratch. ZF: not moved, the instruction faults.
  u64 move_x87_in = 0, move_vectors_in = 0, move_avx_in = 0;
  u64 read_tsc = 0;  // call: the time-stamp counter to kScratch0
  u64 lookup = 0;    // jump: kScratch0 is the RIP to go to
};

// Generates them at the code cache's cursor. `avx`: vector registers are 32 bytes.
[[nodiscard]] Trampolines make_trampolines(HostAssembler& a, const Callbacks& callbacks, bool avx);

// Jumps to the translation of the RIP in kScratch0, if the jump cache has it for the current (or global)
// context; else to `miss` with kScratch0 unchanged, or to `reload` with kScratch1 at an entry for that RIP.
void emit_jump_cache_probe(HostAssembler& a, bool global, HostAssembler::Forward& miss,
                           HostAssembler::Forward& reload);

}  // namespace doppel::jit::x64
