#include "jit/x64/trampolines.hpp"

#include <cstddef>

#include "core/log.hpp"
#include "jit/x64/registers.hpp"
#include "mmu/tlb.hpp"

namespace doppel::jit::x64 {
namespace {

using namespace asmjit::x86;
using core::CpuState;
using Forward = HostAssembler::Forward;

constexpr std::array<Gp, 6> kCalleeSaved = {rbx, rbp, r12, r13, r14, r15};

// Host registers that hold guest registers and that C++ functions may change.
constexpr bool caller_saved(u8 host) {
  return host <= 2 || (host >= 6 && host <= 11);
}

// `shift`: how far RSP is below the state (8 inside a called trampoline).
Mem shifted(Mem m, i32 shift) {
  m.addOffset(shift);
  return m;
}

void move_registers(HostAssembler& a, bool store, i32 shift, bool only_caller_saved) {
  for (u32 guest = 0; guest < 16; ++guest) {
    if (kHostOf[guest] == kInMemory || (only_caller_saved && !caller_saved(kHostOf[guest]))) continue;
    const Mem home = shifted(gpr_home(guest), shift);
    if (store)
      a.mov(home, gpq(kHostOf[guest]));
    else
      a.mov(gpq(kHostOf[guest]), home);
  }
}

void emit_enter(HostAssembler& a) {
  for (const Gp& reg : kCalleeSaved) a.push(reg);
  a.mov(ptr(rdi, offsetof(CpuState, translator.host_rsp)), rsp);
  a.stmxcsr(dword_ptr(rdi, offsetof(CpuState, translator.host_mxcsr)));
  a.mov(rsp, rdi);
  a.mov(kScratch0, rsi);
  a.ldmxcsr(DOPPEL_STATE(mxcsr, 4));
  move_registers(a, false, 0, false);
  a.jmp(kScratch0);
}

// Registers are in CpuState and the host's MXCSR is loaded: back to enter()'s caller.
void emit_return(HostAssembler& a) {
  a.mov(rsp, DOPPEL_STATE(translator.host_rsp, 8));
  for (auto it = kCalleeSaved.rbegin(); it != kCalleeSaved.rend(); ++it) a.pop(*it);
  a.ret();
}

void move_vectors(HostAssembler& a, bool store, i32 shift, bool avx) {
  for (u32 number = 0; number < 16; ++number) {
    const Mem home = shifted(vector_home(number, avx ? 32 : 16), shift);
    if (avx && store)
      a.vmovups(home, ymm(number));
    else if (avx)
      a.vmovups(ymm(number), home);
    else if (store)
      a.movups(home, xmm(number));
    else
      a.movups(xmm(number), home);
  }
}

// Vector registers to CpuState, if they hold the guest's.
void move_vectors_out(HostAssembler& a, i32 shift, bool avx) {
  Forward out;
  const Mem resident = shifted(DOPPEL_STATE(translator.vectors_resident, 4), shift);
  a.cmp(resident, 0);
  a.jump_if(CondCode::kE, out);
  move_vectors(a, true, shift, avx);
  if (avx) a.vzeroupper();
  a.mov(resident, 0);
  a.land(out);
}

constexpr i32 kPushed = 8;  // the return address in a called trampoline

void emit_move_vectors_in(HostAssembler& a, u32 needed, bool avx) {
  Forward done, loaded;
  const Mem resident = shifted(DOPPEL_STATE(translator.vectors_resident, 4), kPushed);
  a.mov(kScratch0.r32(), shifted(DOPPEL_STATE(translator.usable, 4), kPushed));
  a.test(kScratch0.r32(), kSseUsable);
  a.jump_if(CondCode::kZ, done);
  a.cmp(resident, 0);
  a.jump_if(CondCode::kNE, loaded);
  move_vectors(a, false, kPushed, avx);
  a.land(loaded);
  a.and_(kScratch0.r32(), kSseUsable | kAvxUsable);
  a.mov(resident, kScratch0.r32());
  a.test(kScratch0.r32(), needed);
  a.land(done);
  a.ret();
}

void emit_exit(HostAssembler& a, bool avx) {
  move_registers(a, true, 0, false);
  move_vectors_out(a, 0, avx);
  a.stmxcsr(DOPPEL_STATE(mxcsr, 4));
  a.ldmxcsr(DOPPEL_STATE(translator.host_mxcsr, 4));
  emit_return(a);
}

void emit_plain_call(HostAssembler& a, u64 function) {
  a.lea(rdi, ptr(rsp, kPushed));
  a.mov(rsi, kScratch0);
  a.sub(rsp, 8);
  a.mov(rax, function);
  a.call(rax);
  a.add(rsp, 8);
}

void emit_stack_page(HostAssembler& a) {
  constexpr u32 kIndexMask = (mmu::kTlbEntries - 1) * sizeof(mmu::TlbEntry);
  Forward done;
  a.and_(kScratch0, -4096);
  a.and_(kScratch1, -4096);
  a.cmp(kScratch0, kScratch1);
  a.jump_if(CondCode::kNE, done);
  a.shr(kScratch1, 12 - 5);
  a.and_(kScratch1.r32(), kIndexMask);
  a.add(kScratch1, shifted(DOPPEL_STATE(tlb, 8), kPushed));
  a.cmp(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, write)));
  a.jump_if(CondCode::kNE, done);
  a.cmp(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, read)));
  a.jump_if(CondCode::kNE, done);
  a.mov(shifted(DOPPEL_STATE(translator.stack_page, 8), kPushed), kScratch0);
  a.mov(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, addend)));
  a.mov(shifted(DOPPEL_STATE(translator.stack_addend, 8), kPushed), kScratch0);
  a.land(done);
  a.ret();
}

// Calls `function`(CpuState*, kScratch0); its result goes to kScratch0.
void emit_call(HostAssembler& a, u64 function, bool avx) {
  Forward vectors;
  move_registers(a, true, kPushed, true);
  a.cmp(shifted(DOPPEL_STATE(translator.vectors_resident, 4), kPushed), 0);
  a.jump_if(CondCode::kNE, vectors);
  emit_plain_call(a, function);
  const u64 done = a.here();
  a.mov(kScratch0, rax);
  move_registers(a, false, kPushed, true);
  a.test(kScratch0, kScratch0);
  a.ret();
  a.land(vectors);
  move_vectors(a, true, kPushed, avx);
  if (avx) a.vzeroupper();
  emit_plain_call(a, function);
  move_vectors(a, false, kPushed, avx);
  a.jump(done);
}

// Common to both ways of running an instruction: everything to CpuState, the call, the verdict in EAX.
void emit_run(HostAssembler& a, u64 function, i32 shift, bool plain, bool avx) {
  move_registers(a, true, shift, false);
  move_vectors_out(a, shift, avx);
  a.mov(shifted(gpr_home(core::kGprRip), shift), kScratch1);
  if (!plain) {
    a.stmxcsr(shifted(DOPPEL_STATE(mxcsr, 4), shift));
    a.ldmxcsr(shifted(DOPPEL_STATE(translator.host_mxcsr, 4), shift));
  }
  a.lea(rdi, ptr(rsp, shift));
  a.mov(rsi, kScratch0);
  if (shift != 0) a.sub(rsp, 8);
  a.mov(rax, function);
  a.call(rax);
  if (shift != 0) a.add(rsp, 8);
}

}  // namespace

//   entry = jump_cache[(rip ^ rip >> 12) % entries];
//   if entry.rip == rip and nothing asks for attention and entry.context == context:
//     code_page = page of rip;  jump entry.code
void emit_jump_cache_probe(HostAssembler& a, bool global, HostAssembler::Forward& miss,
                           HostAssembler::Forward& reload) {
  a.mov(kScratch1, kScratch0);
  a.shr(kScratch1, 12);
  a.xor_(kScratch1.r32(), kScratch0.r32());
  a.and_(kScratch1.r32(), kJumpCacheEntries - 1);
  a.shl(kScratch1.r32(), 5);
  a.add(kScratch1, DOPPEL_STATE(translator.jump_cache, 8));
  a.cmp(ptr(kScratch1, offsetof(JumpCacheEntry, rip)), kScratch0);
  a.jump_if(CondCode::kNE, miss);
  a.cmp(DOPPEL_STATE(attention, 4), 0);
  a.jump_if(CondCode::kNE, miss);
  a.and_(kScratch0, -4096);
  a.mov(DOPPEL_STATE(translator.code_page, 8), kScratch0);
  a.mov(kScratch0, global ? DOPPEL_STATE(translator.global_context, 8) : DOPPEL_STATE(translator.context, 8));
  a.cmp(ptr(kScratch1, offsetof(JumpCacheEntry, context)), kScratch0);
  a.jump_if(CondCode::kNE, reload);
  a.jmp(ptr(kScratch1, offsetof(JumpCacheEntry, code), 8));
}

Trampolines make_trampolines(HostAssembler& a, const Callbacks& callbacks, bool avx) {
  Trampolines t;
  a.begin();
  t.enter = reinterpret_cast<decltype(t.enter)>(
      a.here());  // executable memory of the cache, calling convention as declared
  emit_enter(a);

  t.exit = a.here();
  emit_exit(a, avx);

  t.fill = a.here();
  emit_call(a, reinterpret_cast<u64>(callbacks.fill), avx);
  t.move_x87_in = a.here();
  emit_call(a, reinterpret_cast<u64>(callbacks.move_x87_in), avx);
  t.read_tsc = a.here();
  emit_call(a, reinterpret_cast<u64>(callbacks.read_tsc), avx);
  t.stack_page = a.here();
  emit_stack_page(a);
  t.move_vectors_in = a.here();
  emit_move_vectors_in(a, kSseUsable, avx);
  t.move_avx_in = a.here();
  emit_move_vectors_in(a, kAvxUsable, avx);

  const u64 revalidate = a.here();
  emit_call(a, reinterpret_cast<u64>(callbacks.revalidate), avx);
  t.lookup = a.here();
  Forward miss, not_running, stale;
  a.mov(DOPPEL_STATE(rip, 8), kScratch0);
  emit_jump_cache_probe(a, false, miss, not_running);
  a.land(not_running);
  a.mov(kScratch0, DOPPEL_STATE(translator.global_context, 8));
  a.cmp(ptr(kScratch1, offsetof(JumpCacheEntry, context)), kScratch0);
  a.jump_if(CondCode::kNE, stale);
  a.jmp(ptr(kScratch1, offsetof(JumpCacheEntry, code), 8));
  a.land(stale);
  a.mov(kScratch0, DOPPEL_STATE(rip, 8));
  a.call_to(revalidate);
  a.jump_if(CondCode::kZ, miss);
  a.jmp(kScratch0);
  a.land(miss);
  a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
  a.jump(t.exit);

  for (const bool plain : {false, true}) {
    Forward leave_call, resume_call;
    (plain ? t.run_plain_in_block : t.run_in_block) = a.here();
    emit_run(a, reinterpret_cast<u64>(callbacks.run_in_block), 8, plain, avx);
    a.cmp(eax, static_cast<u32>(After::kLeave));
    a.jump_if(CondCode::kE, leave_call);
    a.jump_if(CondCode::kA, resume_call);
    if (!plain) a.ldmxcsr(shifted(DOPPEL_STATE(mxcsr, 4), 8));
    move_registers(a, false, 8, false);
    a.ret();

    a.land(leave_call);
    a.add(rsp, 8);
    const u64 leave = a.here();
    if (plain) {
      a.stmxcsr(DOPPEL_STATE(mxcsr, 4));
      a.ldmxcsr(DOPPEL_STATE(translator.host_mxcsr, 4));
    }
    a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
    emit_return(a);

    // Goes on at CpuState::rip.
    a.land(resume_call);
    a.add(rsp, 8);
    const u64 resume = a.here();
    if (!plain) a.ldmxcsr(DOPPEL_STATE(mxcsr, 4));
    move_registers(a, false, 0, false);
    a.mov(kScratch0, DOPPEL_STATE(rip, 8));
    a.jump(t.lookup);

    (plain ? t.run_plain_and_leave : t.run_and_leave) = a.here();
    emit_run(a, reinterpret_cast<u64>(callbacks.run_and_leave), 0, plain, avx);
    a.cmp(eax, static_cast<u32>(After::kLeave));
    a.jump_if(CondCode::kE, leave);
    a.jump(resume);
  }
  a.end();
  return t;
}

}  // namespace doppel::jit::x64
