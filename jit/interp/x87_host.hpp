// 80-bit arithmetic: each function executes one real x87 instruction on the operands in a Frame, under the
// guest's control word, and reports the status word it leaves. So precision, rounding, NaN rules, C1 and the
// results of unmasked exceptions are the hardware's own. Only the x87 families call this; it knows nothing
// of the register stack. A host without an 80-bit FPU gets a second version of this file that computes with
// MPFR.
#pragma once

#include "core/cpu_state.hpp"

#if !defined(__x86_64__)
#error "x87 arithmetic is only available on hosts with an x87"
#endif

namespace doppel::interp::x87_host {

struct Frame {
  core::X87Register st[2];  // ST0 and ST1 before and after
  u16 control = 0;
  u16 status = 0;  // out: exception and condition flags of this instruction alone
  // The memory operand, in or out; integers and reals as the instruction's memory form has them.
  alignas(16) u8 memory[16] = {};
};

using Operation = void (*)(Frame&);

// FNCLEX, FNSTSW and FLDCW do not wait, so an exception that the guest has unmasked is only reported in the
// status word: it is cleared before the next waiting instruction could deliver it to this process. FLD and
// FSTP of 80-bit operands are exact and raise nothing. The host's stack is empty before and after (as its
// ABI wants between functions); FSTP of an empty register under the quiet control word is harmless.
#define DOPPEL_X87_OPERATION(name, load, instruction, unload)                                        \
  inline void name(Frame& f) {                                                                       \
    static constexpr u16 kQuiet = 0x37f;                                                             \
    asm volatile(                                                                                    \
        "fnclex\n\tfldcw %[control]\n\t" load "\n\t" instruction                                     \
        "\n\tfnstsw %[status]\n\tfnclex\n\tfldcw %[quiet]\n\t" unload                                \
        : [st0] "+m"(f.st[0]), [st1] "+m"(f.st[1]), [memory] "+m"(f.memory), [status] "=m"(f.status) \
        : [control] "m"(f.control), [quiet] "m"(kQuiet)                                              \
        : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc");                \
  }

// By stack effect: ST0 alone; ST0 and ST1; ST0 and perhaps a push; ST0, ST1 and perhaps a pop; a load; a
// store of ST0 that perhaps pops.
#define DOPPEL_X87_ONE(name, instruction) \
  DOPPEL_X87_OPERATION(name, "fldt %[st0]", instruction, "fstpt %[st0]")
#define DOPPEL_X87_TWO(name, instruction) \
  DOPPEL_X87_OPERATION(name, "fldt %[st1]\n\tfldt %[st0]", instruction, "fstpt %[st0]\n\tfstpt %[st1]")
#define DOPPEL_X87_PUSH(name, instruction) \
  DOPPEL_X87_OPERATION(name, "fldt %[st0]", instruction, "fstpt %[st0]\n\tfstpt %[st1]")
#define DOPPEL_X87_POP(name, instruction) \
  DOPPEL_X87_OPERATION(name, "fldt %[st1]\n\tfldt %[st0]", instruction, "fstpt %[st0]\n\tffree %%st(0)")
#define DOPPEL_X87_LOAD(name, instruction) DOPPEL_X87_OPERATION(name, "", instruction, "fstpt %[st0]")
#define DOPPEL_X87_STORE(name, instruction) \
  DOPPEL_X87_OPERATION(name, "fldt %[st0]", instruction, "ffree %%st(0)")

// ST0 = ST0 op ST1, and with a memory operand of each kind.
#define DOPPEL_X87_ARITHMETIC(name)                        \
  DOPPEL_X87_TWO(f##name, "f" #name " %%st(1), %%st")      \
  DOPPEL_X87_ONE(f##name##_m32, "f" #name "s %[memory]")   \
  DOPPEL_X87_ONE(f##name##_m64, "f" #name "l %[memory]")   \
  DOPPEL_X87_ONE(fi##name##_m16, "fi" #name "s %[memory]") \
  DOPPEL_X87_ONE(fi##name##_m32, "fi" #name "l %[memory]")
DOPPEL_X87_ARITHMETIC(add)
DOPPEL_X87_ARITHMETIC(sub)
DOPPEL_X87_ARITHMETIC(subr)
DOPPEL_X87_ARITHMETIC(mul)
DOPPEL_X87_ARITHMETIC(div)
DOPPEL_X87_ARITHMETIC(divr)
#undef DOPPEL_X87_ARITHMETIC

DOPPEL_X87_TWO(fcom, "fcom %%st(1)")
DOPPEL_X87_TWO(fucom, "fucom %%st(1)")
DOPPEL_X87_ONE(fcom_m32, "fcoms %[memory]")
DOPPEL_X87_ONE(fcom_m64, "fcoml %[memory]")
DOPPEL_X87_ONE(ficom_m16, "ficoms %[memory]")
DOPPEL_X87_ONE(ficom_m32, "ficoml %[memory]")
DOPPEL_X87_ONE(ftst, "ftst")
DOPPEL_X87_ONE(fxam, "fxam")

DOPPEL_X87_ONE(fsqrt, "fsqrt")
DOPPEL_X87_ONE(frndint, "frndint")
DOPPEL_X87_TWO(fscale, "fscale")
DOPPEL_X87_TWO(fprem, "fprem")
DOPPEL_X87_TWO(fprem1, "fprem1")
DOPPEL_X87_PUSH(fxtract, "fxtract")

DOPPEL_X87_ONE(f2xm1, "f2xm1")
DOPPEL_X87_ONE(fsin, "fsin")
DOPPEL_X87_ONE(fcos, "fcos")
DOPPEL_X87_PUSH(fsincos, "fsincos")
DOPPEL_X87_PUSH(fptan, "fptan")
DOPPEL_X87_POP(fpatan, "fpatan")
DOPPEL_X87_POP(fyl2x, "fyl2x")
DOPPEL_X87_POP(fyl2xp1, "fyl2xp1")

DOPPEL_X87_LOAD(fld_m32, "flds %[memory]")
DOPPEL_X87_LOAD(fld_m64, "fldl %[memory]")
DOPPEL_X87_LOAD(fild_m16, "filds %[memory]")
DOPPEL_X87_LOAD(fild_m32, "fildl %[memory]")
DOPPEL_X87_LOAD(fild_m64, "fildll %[memory]")
DOPPEL_X87_LOAD(fbld, "fbld %[memory]")
DOPPEL_X87_LOAD(fld1, "fld1")
DOPPEL_X87_LOAD(fldl2t, "fldl2t")
DOPPEL_X87_LOAD(fldl2e, "fldl2e")
DOPPEL_X87_LOAD(fldpi, "fldpi")
DOPPEL_X87_LOAD(fldlg2, "fldlg2")
DOPPEL_X87_LOAD(fldln2, "fldln2")
DOPPEL_X87_LOAD(fldz, "fldz")

DOPPEL_X87_STORE(fst_m32, "fsts %[memory]")
DOPPEL_X87_STORE(fst_m64, "fstl %[memory]")
DOPPEL_X87_STORE(fist_m16, "fists %[memory]")
DOPPEL_X87_STORE(fist_m32, "fistl %[memory]")
DOPPEL_X87_STORE(fistp_m64, "fistpll %[memory]")
DOPPEL_X87_STORE(fisttp_m16, "fisttps %[memory]")
DOPPEL_X87_STORE(fisttp_m32, "fisttpl %[memory]")
DOPPEL_X87_STORE(fisttp_m64, "fisttpll %[memory]")
DOPPEL_X87_STORE(fbstp, "fbstp %[memory]")

#undef DOPPEL_X87_OPERATION
#undef DOPPEL_X87_ONE
#undef DOPPEL_X87_TWO
#undef DOPPEL_X87_PUSH
#undef DOPPEL_X87_POP
#undef DOPPEL_X87_LOAD
#undef DOPPEL_X87_STORE

}  // namespace doppel::interp::x87_host
