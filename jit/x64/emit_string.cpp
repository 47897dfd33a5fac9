// MOVS, STOS and LODS of one element, upwards; the interpreter does the rest, repeated ones a page at a time.
#include "jit/x64/block_emitter.hpp"
#include "jit/x64/mnemonic_facts.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

bool BlockEmitter::emit_string(const Insn& insn) {
  const auto form = string_form(insn);
  if (!form || insn.address_size != word_ || has_segment_base(insn)) return false;
  const auto [size, loads, stores] = *form;
  const Mem spilled = DOPPEL_STATE(translator.pushed, 8);
  // AL to RAX are the register for STOS and LODS; MOVS has none.
  const Gp value = loads && stores ? sized(static_cast<u8>(kScratch1.id()), size) : sized(core::kRax, size);

  before_clobber(needed_by(insn));
  a.test(DOPPEL_STATE(rflags, 4), static_cast<i32>(core::kDf));
  a.jump_if(CondCode::kNZ, slow_insn(insn));
  if (loads) {
    a.mov(value, guest_memory(insn, register_address(core::kRsi, 0), size, false));
    if (stores) a.mov(spilled, kScratch1);
  }
  if (stores) {
    const Mem to = guest_memory(insn, register_address(core::kRdi, 0), size, true);
    if (loads) a.mov(kScratch1, spilled);
    a.mov(to, value);
  }
  const i32 step = static_cast<i32>(size);
  if (loads) a.lea(word(rsi), ptr(rsi, step));
  if (stores) a.lea(word(rdi), ptr(rdi, step));
  return true;
}

}  // namespace doppel::jit::x64
