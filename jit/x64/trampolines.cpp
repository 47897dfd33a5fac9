#include "jit/x64/trampolines.hpp"

#include <cstddef>

#include "core/log.hpp"
#include "jit/x64/registers.hpp"

namespace doppel::jit::x64 {
namespace {

using namespace asmjit::x86;
using core::CpuState;

constexpr std::array<Gp, 6> kCalleeSaved = {rbx, rbp, r12, r13, r14, r15};

// Host registers that hold guest registers and that C++ functions may change.
constexpr bool caller_saved(u8 host) {
  return host <= 2 || (host >= 6 && host <= 11);
}

// `shift`: how far RSP is below the state (8 inside a called trampoline).
void move_registers(Assembler& a, bool store, i32 shift, bool only_caller_saved) {
  for (u32 guest = 0; guest < 16; ++guest) {
    if (kHostOf[guest] == kInMemory || (only_caller_saved && !caller_saved(kHostOf[guest]))) continue;
    Mem home = gpr_home(guest);
    home.addOffset(shift);
    if (store)
      a.mov(home, gpq(kHostOf[guest]));
    else
      a.mov(gpq(kHostOf[guest]), home);
  }
}

Mem shifted(Mem m, i32 shift) {
  m.addOffset(shift);
  return m;
}

void emit_enter(Assembler& a) {
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
void emit_return(Assembler& a) {
  a.mov(rsp, DOPPEL_STATE(translator.host_rsp, 8));
  for (auto it = kCalleeSaved.rbegin(); it != kCalleeSaved.rend(); ++it) a.pop(*it);
  a.ret();
}

void emit_exit(Assembler& a) {
  move_registers(a, true, 0, false);
  a.stmxcsr(DOPPEL_STATE(mxcsr, 4));
  a.ldmxcsr(DOPPEL_STATE(translator.host_mxcsr, 4));
  emit_return(a);
}

// Calls `function`(CpuState*, kScratch0); its result goes to kScratch0.
void emit_call(Assembler& a, u64 function) {
  constexpr i32 kPushed = 8;  // the return address
  move_registers(a, true, kPushed, true);
  a.lea(rdi, ptr(rsp, kPushed));
  a.mov(rsi, kScratch0);
  a.sub(rsp, 8);
  a.mov(rax, function);
  a.call(rax);
  a.add(rsp, 8);
  a.mov(kScratch0, rax);
  move_registers(a, false, kPushed, true);
  a.test(kScratch0, kScratch0);
  a.ret();
}

// Common to both ways of running an instruction: everything to CpuState, the call, the verdict in EAX.
void emit_run(Assembler& a, u64 function, i32 shift, bool plain) {
  move_registers(a, true, shift, false);
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

Trampolines make_trampolines(CodeCache& cache, const Callbacks& callbacks) {
  asmjit::CodeHolder code;
  code.init(asmjit::Environment::host(), cache.cursor());
  Assembler a(&code);
  asmjit::Label exit = a.newLabel(), lookup = a.newLabel();
  Trampolines t;
  const auto here = [&] { return cache.cursor() + a.offset(); };

  t.enter = reinterpret_cast<decltype(t.enter)>(
      here());  // executable memory of the cache, calling convention as declared
  emit_enter(a);

  t.exit = here();
  a.bind(exit);
  emit_exit(a);

  t.fill = here();
  emit_call(a, reinterpret_cast<u64>(callbacks.fill));
  t.move_x87_in = here();
  emit_call(a, reinterpret_cast<u64>(callbacks.move_x87_in));

  for (const bool plain : {false, true}) {
    asmjit::Label leave = a.newLabel(), leave_call = a.newLabel(), resume = a.newLabel(),
                  resume_call = a.newLabel();
    (plain ? t.run_plain_in_block : t.run_in_block) = here();
    emit_run(a, reinterpret_cast<u64>(callbacks.run_in_block), 8, plain);
    a.cmp(eax, static_cast<u32>(After::kLeave));
    a.je(leave_call);
    a.ja(resume_call);
    if (!plain) a.ldmxcsr(shifted(DOPPEL_STATE(mxcsr, 4), 8));
    move_registers(a, false, 8, false);
    a.ret();

    a.bind(leave_call);
    a.add(rsp, 8);
    a.bind(leave);
    if (plain) {
      a.stmxcsr(DOPPEL_STATE(mxcsr, 4));
      a.ldmxcsr(DOPPEL_STATE(translator.host_mxcsr, 4));
    }
    a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
    emit_return(a);

    // Goes on at CpuState::rip.
    a.bind(resume_call);
    a.add(rsp, 8);
    a.bind(resume);
    if (!plain) a.ldmxcsr(DOPPEL_STATE(mxcsr, 4));
    move_registers(a, false, 0, false);
    a.mov(kScratch0, DOPPEL_STATE(rip, 8));
    a.jmp(lookup);

    (plain ? t.run_plain_and_leave : t.run_and_leave) = here();
    emit_run(a, reinterpret_cast<u64>(callbacks.run_and_leave), 0, plain);
    a.cmp(eax, static_cast<u32>(After::kLeave));
    a.je(leave);
    a.jmp(resume);
  }

  // RIP in kScratch0:
  //   entry = jump_cache[(rip ^ rip >> 12) % entries]; if entry.rip == rip and entry.context == context: jump
  t.lookup = here();
  a.bind(lookup);
  asmjit::Label miss = a.newLabel();
  a.mov(DOPPEL_STATE(rip, 8), kScratch0);
  a.cmp(DOPPEL_STATE(attention, 4), 0);
  a.jne(miss);
  a.mov(kScratch1, kScratch0);
  a.shr(kScratch1, 12);
  a.xor_(kScratch1, kScratch0);
  a.and_(kScratch1.r32(), kJumpCacheEntries - 1);
  a.shl(kScratch1.r32(), 5);
  a.add(kScratch1, DOPPEL_STATE(translator.jump_cache, 8));
  a.cmp(ptr(kScratch1, offsetof(JumpCacheEntry, rip)), kScratch0);
  a.jne(miss);
  a.and_(kScratch0, -4096);
  a.mov(DOPPEL_STATE(translator.code_page, 8), kScratch0);
  a.mov(kScratch0, DOPPEL_STATE(translator.context, 8));
  asmjit::Label hit = a.newLabel();
  a.cmp(ptr(kScratch1, offsetof(JumpCacheEntry, context)), kScratch0);
  a.je(hit);
  a.mov(kScratch0, DOPPEL_STATE(translator.global_context, 8));
  a.cmp(ptr(kScratch1, offsetof(JumpCacheEntry, context)), kScratch0);
  a.jne(miss);
  a.bind(hit);
  a.jmp(ptr(kScratch1, offsetof(JumpCacheEntry, code), 8));
  a.bind(miss);
  a.mov(DOPPEL_STATE(translator.link_site, 8), 0);
  a.jmp(exit);

  DOPPEL_CHECK(!code.hasUnresolvedLinks(), "trampolines");
  const auto& buffer = code.textSection()->buffer();
  cache.append({buffer.data(), buffer.size()});
  return t;
}

}  // namespace doppel::jit::x64
