#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr u64 kNan = 0x7ff8'0000'0000'0000;

constexpr Case kSseMoveCases[] = {
    {"movaps xmm0, xmm1", {.xmm1 = Xmm{1, 2}}, {.xmm0 = Xmm{1, 2}}},
    {"movups [data+1], xmm0", {.xmm0 = Xmm{1, 2}, .mem = {0, 0, 0}}, {.mem = {0x100, 0x200, 0}}},
    {"movd xmm0, eax", {.rax = 0x1'8000'0000}, {.xmm0 = Xmm{0x8000'0000, 0}}},
    {"movq rax, xmm0", {.xmm0 = Xmm{5, 6}}, {.rax = 5}},
    {"movq xmm0, xmm1", {.xmm0 = Xmm{1, 2}, .xmm1 = Xmm{3, 4}}, {.xmm0 = Xmm{3, 0}}},
    {"movss xmm0, xmm1", {.xmm0 = floats(1, 2, 3, 4), .xmm1 = floats(5)}, {.xmm0 = floats(5, 2, 3, 4)}},
    {"movss xmm0, [data]", {.xmm0 = floats(1, 2, 3, 4), .mem = {0x7}}, {.xmm0 = Xmm{7, 0}}},
    {"movsd xmm0, xmm1", {.xmm0 = Xmm{1, 2}, .xmm1 = Xmm{3, 4}}, {.xmm0 = Xmm{3, 2}}},
    {"movhlps xmm0, xmm1", {.xmm0 = Xmm{1, 2}, .xmm1 = Xmm{3, 4}}, {.xmm0 = Xmm{4, 2}}},
    {"movhps [data], xmm0", {.xmm0 = Xmm{1, 2}, .mem = {0}}, {.mem = {2}}},
    {"movlpd xmm0, [data]", {.xmm0 = Xmm{1, 2}, .mem = {9}}, {.xmm0 = Xmm{9, 2}}},
    {"movddup xmm0, xmm1", {.xmm1 = Xmm{3, 4}}, {.xmm0 = Xmm{3, 3}}},
    {"movmskpd eax, xmm0", {.xmm0 = doubles(1, -1)}, {.rax = 2}},
    {"pmovmskb eax, xmm0", {.xmm0 = Xmm{0x80, 1ull << 63}}, {.rax = 0x8001}},
    {"maskmovdqu xmm0, xmm1", {.rdi = kDataAt, .xmm0 = Xmm{0x1122, 0}, .xmm1 = Xmm{0x80, 0}, .mem = {0}}, {.mem = {0x22}}},
    {"lddqu xmm0, [data+8]", {.mem = {0, 1, 2}}, {.xmm0 = Xmm{1, 2}}},
};
INSTRUCTION_CASES("sse moves", kUser64, kSseMoveCases);

constexpr Case kSseIntegerCases[] = {
    {"paddb xmm0, xmm1", {.xmm0 = Xmm{0xff01, 0}, .xmm1 = Xmm{0x0101, 1}}, {.xmm0 = Xmm{0x0002, 1}}},
    {"paddsw xmm0, xmm1", {.xmm0 = Xmm{0x7fff, 0}, .xmm1 = Xmm{1, 0}}, {.xmm0 = Xmm{0x7fff, 0}}},
    {"psubusb xmm0, [data]", {.xmm0 = Xmm{0x05, 0x10}, .mem = {0x06, 0x01}}, {.xmm0 = Xmm{0, 0x0f}}},
    {"paddq xmm0, xmm0", {.xmm0 = Xmm{1ull << 63, 3}}, {.xmm0 = Xmm{0, 6}}},
    {"pmuludq xmm0, xmm1", {.xmm0 = Xmm{0xffff'ffff, 2}, .xmm1 = Xmm{0xffff'ffff, 3}}, {.xmm0 = Xmm{0xffff'fffe'0000'0001, 6}}},
    {"pmaddwd xmm0, xmm0", {.xmm0 = Xmm{0x0002'0003, 0}}, {.xmm0 = Xmm{13, 0}}},
    {"psadbw xmm0, xmm1", {.xmm0 = Xmm{0x0a05, 1}, .xmm1 = Xmm{0x0507, 0}}, {.xmm0 = Xmm{7, 1}}},
    {"pcmpeqd xmm0, xmm0", {}, {.xmm0 = Xmm{~u64{0}, ~u64{0}}}},
    {"pcmpgtb xmm0, xmm1", {.xmm0 = Xmm{0x01ff, 0}, .xmm1 = Xmm{0xff01, 0}}, {.xmm0 = Xmm{0xff00, 0}}},
    {"psllq xmm0, 64", {.xmm0 = Xmm{1, 1}}, {.xmm0 = Xmm{0, 0}}},
    {"psrad xmm0, 40", {.xmm0 = Xmm{0x8000'0000, 1}}, {.xmm0 = Xmm{0xffff'ffff, 0}}},
    {"psllw xmm0, xmm1", {.xmm0 = Xmm{0x8001, 0}, .xmm1 = Xmm{1, 99}}, {.xmm0 = Xmm{2, 0}}},
    {"psrldq xmm0, 9", {.xmm0 = Xmm{0, 0x1122'3344}}, {.xmm0 = Xmm{0x11'2233, 0}}},
    {"pshufd xmm0, xmm1, 0x1b", {.xmm1 = dwords(1, 2, 3, 4)}, {.xmm0 = dwords(4, 3, 2, 1)}},
    {"pshufb xmm0, xmm1", {.xmm0 = Xmm{0x0706'0504'0302'0100, 0}, .xmm1 = Xmm{0x8000'0102'0304'0506, 0}}, {.xmm0 = Xmm{0x0000'0102'0304'0506, 0}}},
    {"palignr xmm0, xmm1, 8", {.xmm0 = Xmm{1, 2}, .xmm1 = Xmm{3, 4}}, {.xmm0 = Xmm{4, 1}}},
    {"punpckhqdq xmm0, xmm1", {.xmm0 = Xmm{1, 2}, .xmm1 = Xmm{3, 4}}, {.xmm0 = Xmm{2, 4}}},
    {"packusdw xmm0, xmm1", {.xmm0 = dwords(0x1'0000, 0xffff'ffff, 5, 6), .xmm1 = Xmm{0, 0}}, {.xmm0 = Xmm{0x0006'0005'0000'ffff, 0}}},
    {"pinsrq xmm0, rax, 1", {.rax = 7, .xmm0 = Xmm{1, 2}}, {.xmm0 = Xmm{1, 7}}},
    {"pextrb eax, xmm0, 15", {.xmm0 = Xmm{0, 0xab00'0000'0000'0000}}, {.rax = 0xab}},
    {"pmulld xmm0, xmm0", {.xmm0 = dwords(0x1'0001, 2, 3, 4)}, {.xmm0 = dwords(0x2'0001, 4, 9, 16)}},
    {"pmovsxbq xmm0, xmm1", {.xmm1 = Xmm{0x01ff, 0}}, {.xmm0 = Xmm{~u64{0}, 1}}},
    {"ptest xmm0, xmm1", {.flags = kCf | kOf, .xmm0 = Xmm{1, 0}, .xmm1 = Xmm{2, 0}}, {.flags = kZf}},
    {"ptest xmm0, xmm1", {.xmm0 = Xmm{3, 0}, .xmm1 = Xmm{2, 0}}, {.flags = kCf}},
    {"pblendvb xmm1, xmm2, xmm0", {.xmm0 = Xmm{0x80, 0}, .xmm1 = Xmm{0x1111, 1}, .xmm2 = Xmm{0x2222, 2}}, {.xmm1 = Xmm{0x1122, 1}}},
    {"phminposuw xmm0, xmm1", {.xmm1 = Xmm{0x0005'0003'0004'0009, ~u64{0}}}, {.xmm0 = Xmm{0x2'0003, 0}}},
    {"crc32 eax, bl", {.rax = 0, .rbx = 0x80}, {.rax = 0x82f6'3b78}},
    {"pcmpistri xmm0, xmm1, 0x08", {.flags = kCf | kZf | kSf | kOf, .xmm0 = Xmm{0x4443'4241, 0}, .xmm1 = Xmm{0x4443'4241, 0}}, {.rcx = 0}},
    {"pcmpestri xmm0, xmm1, 0x0c", {.rax = 2, .rdx = 8, .flags = kCf | kZf | kSf, .xmm0 = Xmm{0x4342, 0}, .xmm1 = Xmm{0x4443'4241, 0}}, {.rcx = 1}},
};
INSTRUCTION_CASES("sse integers", kUser64, kSseIntegerCases);

constexpr Case kSseFloatCases[] = {
    {"addps xmm0, xmm1", {.xmm0 = floats(1, 2, 3, 4), .xmm1 = floats(10, 20, 30, 40)}, {.xmm0 = floats(11, 22, 33, 44)}},
    {"addss xmm0, xmm1", {.xmm0 = floats(1, 2, 3, 4), .xmm1 = floats(10, 20)}, {.xmm0 = floats(11, 2, 3, 4)}},
    {"mulsd xmm0, [data]", {.xmm0 = doubles(1.5, 7), .mem = {std::bit_cast<u64>(4.0)}}, {.xmm0 = doubles(6, 7)}},
    {"subpd xmm0, xmm1", {.xmm0 = doubles(1, 2), .xmm1 = doubles(0.5, 4)}, {.xmm0 = doubles(0.5, -2)}},
    {"divsd xmm0, xmm1", {.xmm0 = doubles(1), .xmm1 = doubles(3)}, {.xmm0 = Xmm{0x3fd5'5555'5555'5555, 0}, .mxcsr = 0x1fa0}},
    {"divsd xmm0, xmm1", {.xmm0 = doubles(1), .xmm1 = doubles(3), .mxcsr = 0x5f80}, {.xmm0 = Xmm{0x3fd5'5555'5555'5556, 0}, .mxcsr = 0x5fa0}},
    {"divsd xmm0, xmm1", {.xmm0 = doubles(1), .xmm1 = doubles(0)}, {.xmm0 = Xmm{0x7ff0'0000'0000'0000, 0}, .mxcsr = 0x1f84}},
    {"mulsd xmm0, xmm0", {.xmm0 = doubles(0x1p-600)}, {.xmm0 = doubles(0), .mxcsr = 0x1fb0}},
    {"addsd xmm0, xmm1", {.xmm0 = Xmm{1, 0}, .xmm1 = doubles(0), .mxcsr = 0x1fc0}, {.xmm0 = doubles(0)}},
    {"sqrtsd xmm0, xmm1", {.xmm0 = doubles(7, 8), .xmm1 = doubles(-1)}, {.xmm0 = Xmm{0xfff8'0000'0000'0000, 0x4020'0000'0000'0000}, .mxcsr = 0x1f81}},
    {"minsd xmm0, xmm1", {.xmm0 = doubles(0), .xmm1 = doubles(-0.0)}, {.xmm0 = doubles(-0.0)}},
    {"maxsd xmm0, xmm1", {.xmm0 = Xmm{kNan, 0}, .xmm1 = doubles(5)}, {.xmm0 = doubles(5), .mxcsr = 0x1f81}},
    {"haddpd xmm0, xmm1", {.xmm0 = doubles(1, 2), .xmm1 = doubles(3, 4)}, {.xmm0 = doubles(3, 7)}},
    {"addsubps xmm0, xmm1", {.xmm0 = floats(1, 1, 1, 1), .xmm1 = floats(1, 2, 3, 4)}, {.xmm0 = floats(0, 3, -2, 5)}},
    {"dppd xmm0, xmm1, 0x31", {.xmm0 = doubles(1, 2), .xmm1 = doubles(3, 4)}, {.xmm0 = doubles(11, 0)}},
    {"roundsd xmm0, xmm1, 1", {.xmm0 = doubles(9, 9), .xmm1 = doubles(-1.5)}, {.xmm0 = doubles(-2, 9), .mxcsr = 0x1fa0}},
    {"cmpltsd xmm0, xmm1", {.xmm0 = doubles(1, 5), .xmm1 = doubles(2)}, {.xmm0 = Xmm{~u64{0}, 0x4014'0000'0000'0000}}},
    {"cmpunordps xmm0, xmm1", {.xmm0 = Xmm{0x7fc0'0000, 0}, .xmm1 = Xmm{0, 0}}, {.xmm0 = Xmm{0xffff'ffff, 0}}},
    {"ucomisd xmm0, xmm1", {.flags = kOf | kSf | kAf, .xmm0 = doubles(1), .xmm1 = doubles(2)}, {.flags = kCf}},
    {"comisd xmm0, xmm1", {.xmm0 = Xmm{kNan, 0}, .xmm1 = doubles(2)}, {.flags = kCf | kPf | kZf, .mxcsr = 0x1f81}},
    {"cvtsi2sd xmm0, rax", {.rax = ~u64{0}, .xmm0 = Xmm{1, 2}}, {.xmm0 = Xmm{0xbff0'0000'0000'0000, 2}}},
    {"cvttsd2si rax, xmm0", {.xmm0 = doubles(-2.75)}, {.rax = ~u64{1}, .mxcsr = 0x1fa0}},
    {"cvtsd2si eax, xmm0", {.xmm0 = doubles(2.5)}, {.rax = 2, .mxcsr = 0x1fa0}},
    {"cvtsd2si eax, xmm0", {.xmm0 = doubles(1e10)}, {.rax = 0x8000'0000, .mxcsr = 0x1f81}},
    {"cvtss2sd xmm0, xmm1", {.xmm0 = Xmm{1, 2}, .xmm1 = floats(1.5f)}, {.xmm0 = Xmm{0x3ff8'0000'0000'0000, 2}}},
    {"cvtdq2pd xmm0, xmm1", {.xmm1 = dwords(1, 0xffff'ffff, 9, 9)}, {.xmm0 = doubles(1, -1)}},
    {"cvtpd2dq xmm0, xmm1", {.xmm1 = doubles(3, -4)}, {.xmm0 = dwords(3, 0xffff'fffc, 0, 0)}},
    {"andnps xmm0, xmm1", {.xmm0 = Xmm{0xf0, 0}, .xmm1 = Xmm{0xff, ~u64{0}}}, {.xmm0 = Xmm{0x0f, ~u64{0}}}},
    {"shufps xmm0, xmm1, 0xe4", {.xmm0 = floats(1, 2, 3, 4), .xmm1 = floats(5, 6, 7, 8)}, {.xmm0 = floats(1, 2, 7, 8)}},
    {"unpcklps xmm0, xmm1", {.xmm0 = floats(1, 2, 3, 4), .xmm1 = floats(5, 6, 7, 8)}, {.xmm0 = floats(1, 5, 2, 6)}},
    {"insertps xmm0, xmm1, 0x41", {.xmm0 = floats(1, 2, 3, 4), .xmm1 = floats(5, 6, 7, 8)}, {.xmm0 = floats(0, 2, 3, 4)}},
    {"stmxcsr [data]", {.mxcsr = 0x9fc0, .mem = {0}}, {.mem = {0x9fc0}}},
    {"ldmxcsr [data]", {.mem = {0x7f80}}, {.mxcsr = 0x7f80}},
};
INSTRUCTION_CASES("sse floats", kUser64, kSseFloatCases);

}  // namespace doppel::tests
