#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr Real kInfinity{1ull << 63, 0x7fff}, kIndefinite{3ull << 62, 0xffff};
constexpr u64 kThree = std::bit_cast<u64>(3.0);

constexpr Case kX87MoveCases[] = {
    {"fld1", {}, {.st = {1.0}}},
    {"fldz; fld1", {}, {.st = {1.0, 0.0}}},
    {"fldpi", {}, {.st = {Real{0xc90f'daa2'2168'c235, 0x4000}}}},
    {"fld qword ptr [data]", {.st = {1.0}, .mem = {kThree}}, {.st = {3.0, 1.0}}},
    {"fld dword ptr [data]", {.mem = {0xbf00'0000}}, {.st = {-0.5}}},
    {"fld tbyte ptr [data]", {.mem = {0xc000'0000'0000'0000, 0x4000}}, {.st = {3.0}}},
    {"fld st(1)", {.st = {1.0, 2.0}}, {.st = {2.0, 1.0, 2.0}}},
    {"fild word ptr [data]", {.mem = {0xffff}}, {.st = {-1.0}}},
    {"fild qword ptr [data]", {.mem = {1ull << 62}}, {.st = {0x1p62}}},
    {"fbld [data]", {.mem = {0x1234, 0x8000}}, {.st = {-1234.0}}},
    {"fst qword ptr [data]", {.st = {3.0}, .mem = {0}}, {.mem = {kThree}}},
    {"fstp dword ptr [data]; fld1", {.st = {-0.5}, .mem = {0}}, {.st = {1.0}, .mem = {0xbf00'0000}}},
    {"fistp dword ptr [data]; fld1", {.st = {2.5}, .mem = {0}}, {.st = {1.0}, .mem = {2}}},
    {"fisttp qword ptr [data]; fld1", {.st = {-2.75}, .mem = {0}}, {.st = {1.0}, .mem = {~u64{1}}}},
    {"fist word ptr [data]", {.st = {40000.0}, .mem = {0}}, {.fsw = 1, .mem = {0x8000}}},
    {"fistp dword ptr [rax]",
     {.rax = 0x10, .fcw = 0x37e},
     {.fsw = 0, .fault = 14, .error = 6, .cr2 = 0x10},
     kAsAmd},
    {"fstp tbyte ptr [rax]",
     {.rax = 0x10, .fcw = 0x37e},
     {.fsw = 0, .fault = 14, .error = 6, .cr2 = 0x10},
     kAsAmd},
    {"fbstp [data]; fld1", {.st = {-98.0}, .mem = {0, 0}}, {.st = {1.0}, .mem = {0x98, 0x8000}}},
    {"fxch st(2)", {.st = {1.0, 2.0, 3.0}}, {.st = {3.0, 2.0, 1.0}}},
    {"fcmovb st, st(1)", {.flags = kCf, .st = {1.0, 2.0}}, {.st = {2.0, 2.0}}},
    {"fld st(1)", {.st = {1.0}}, {.st = {kIndefinite, 1.0}, .fsw = 0x41}},
    {"fnstcw [data]", {.mem = {0}}, {.mem = {0x37f}}},
    {"fldcw [data]", {.mem = {0x27f}}, {.fcw = 0x27f}},
    {"fnstsw ax", {.rax = 0x7'0000, .st = {1.0}}, {.rax = 0x7'3800}},
    {"fninit", {.fcw = 0x40, .fsw = 0x4500}, {.fcw = 0x37f, .fsw = 0}},
};
INSTRUCTION_CASES("x87 moves and control", kUser64, kX87MoveCases);

constexpr Case kX87ArithmeticCases[] = {
    {"fadd st, st(1)", {.st = {1.0, 2.0}}, {.st = {3.0, 2.0}}},
    {"faddp", {.st = {1.0, 2.0, 9.0}}, {.st = {3.0, 9.0}}},
    {"fsub qword ptr [data]", {.st = {1.0}, .mem = {kThree}}, {.st = {-2.0}}},
    {"fsubr qword ptr [data]", {.st = {1.0}, .mem = {kThree}}, {.st = {2.0}}},
    {"fmul st(1), st", {.st = {4.0, 2.5}}, {.st = {4.0, 10.0}}},
    {"fidiv word ptr [data]", {.st = {1.0}, .mem = {4}}, {.st = {0.25}}},
    {"fdiv st, st(1)", {.st = {1.0, 3.0}}, {.st = {Real{0xaaaa'aaaa'aaaa'aaab, 0x3ffd}, 3.0}, .fsw = 0x220}},
    {"fdiv st, st(1)",
     {.st = {1.0, 3.0}, .fcw = 0xf7f},
     {.st = {Real{0xaaaa'aaaa'aaaa'aaaa, 0x3ffd}, 3.0}, .fsw = 0x20}},
    // Precision control: 24 bits.
    {"fdiv st, st(1)",
     {.st = {1.0, 3.0}, .fcw = 0x7f},
     {.st = {Real{0xaaaa'ab00'0000'0000, 0x3ffd}, 3.0}, .fsw = 0x220}},
    {"fdiv st, st(1)", {.st = {1.0, 0.0}}, {.st = {kInfinity, 0.0}, .fsw = 4}},
    {"fdiv st, st(1)", {.st = {0.0, 0.0}}, {.st = {kIndefinite, 0.0}, .fsw = 1}},
    {"fchs", {.st = {0.0}}, {.st = {-0.0}}},
    {"fabs", {.st = {-2.0}}, {.st = {2.0}}},
    {"fsqrt", {.st = {9.0}}, {.st = {3.0}}},
    {"fsqrt", {.st = {-1.0}}, {.st = {kIndefinite}, .fsw = 1}},
    {"frndint", {.st = {2.5}}, {.st = {2.0}, .fsw = 0x20}},
    {"frndint", {.st = {2.5}, .fcw = 0xb7f}, {.st = {3.0}, .fsw = 0x220}},
    {"fscale", {.st = {3.0, 4.0}}, {.st = {48.0, 4.0}}},
    {"fxtract", {.st = {12.0}}, {.st = {1.5, 3.0}}},
    {"fprem", {.st = {7.0, 4.0}}, {.st = {3.0, 4.0}, .fsw = 0x200}},
    {"fprem1", {.st = {7.0, 4.0}}, {.st = {-1.0, 4.0}, .fsw = 0x4000}},
    {"f2xm1", {.st = {1.0}}, {.st = {1.0}}},
    {"fyl2x", {.st = {8.0, 2.0}}, {.st = {6.0}}},
    {"fcos", {.st = {0.0}}, {.st = {1.0}}},
    {"fptan", {.st = {0.0}}, {.st = {1.0, 0.0}}},
    {"fpatan", {.st = {1.0, 0.0}}, {.st = {0.0}}},
    {"fcom st(1)", {.st = {1.0, 2.0}}, {.fsw = 0x100}},
    {"fcom st(1)", {.st = {2.0, 2.0}}, {.fsw = 0x4000}},
    {"fcompp; fld1", {.st = {3.0, 2.0}}, {.st = {1.0}, .fsw = 0}},
    {"fucom st(1)", {.st = {kIndefinite, 2.0}}, {.fsw = 0x4500}},
    {"fcomi st, st(1)", {.flags = kOf | kZf, .st = {1.0, 2.0}}, {.flags = kCf}},
    {"fucomip st, st(1)", {.st = {2.0, 2.0}}, {.flags = kZf, .st = {2.0}}},
    {"fcomi st, st(1)", {.st = {kIndefinite, 2.0}}, {.flags = kCf | kPf | kZf, .fsw = 1}},
    {"ftst", {.st = {-1.0}}, {.fsw = 0x100}},
    {"fxam", {.st = {-1.0}}, {.fsw = 0x600}},
    {"fxam", {.st = {kInfinity}}, {.fsw = 0x500}},
    {"fxam", {.st = {0.0}}, {.fsw = 0x4000}},
    {"fxam", {}, {.fsw = 0x4100}},
};
INSTRUCTION_CASES("x87 arithmetic", kUser64, kX87ArithmeticCases);

constexpr Case kMmxCases[] = {
    {"movq mm0, [data]; paddb mm0, [data+8]; movq [data], mm0; emms",
     {.mem = {0xff01'7f80, 0x0101'0180}},
     {.mem = {0x0002'8000}}},
    {"movd mm1, eax; punpcklbw mm1, mm1; movq rbx, mm1; emms",
     {.rax = 0x0403'0201},
     {.rbx = 0x0404'0303'0202'0101}},
    {"movq mm2, rax; pmullw mm2, mm2; movq rax, mm2; emms",
     {.rax = 0x0002'0003'0004'0100},
     {.rax = 0x0004'0009'0010'0000}},
    {"movq mm3, rax; packsswb mm3, mm3; movd ecx, mm3; emms",
     {.rax = 0x7fff'8000'0001'ffff},
     {.rcx = 0x7f80'01ff}},
};
INSTRUCTION_CASES("mmx", kUser64, kMmxCases);

}  // namespace doppel::tests
