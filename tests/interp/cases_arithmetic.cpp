#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr Case kAddCases[] = {
    {"add al, bl", {.rax = 0xff, .rbx = 1}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"add al, bl", {.rax = 0x7f, .rbx = 1}, {.rax = 0x80, .flags = kOf | kSf | kAf}},
    {"add al, bl", {.rax = 0x80, .rbx = 0x80}, {.rax = 0, .flags = kCf | kOf | kZf | kPf}},
    {"add ah, al", {.rax = 0x8080}, {.rax = 0x0080, .flags = kCf | kOf | kZf | kPf}},
    {"add al, 0x10", {.rax = 0x1122'33f0}, {.rax = 0x1122'3300, .flags = kCf | kZf | kPf}},
    {"add ax, bx", {.rax = 0xdead'0000'ffff, .rbx = 1}, {.rax = 0xdead'0000'0000, .flags = kCf | kZf | kAf | kPf}},
    {"add ax, 0x7fff", {.rax = 0x0001}, {.rax = 0x8000, .flags = kOf | kSf | kAf | kPf}},
    {"add eax, ebx", {.rax = 0xdead'beef'7fff'ffff, .rbx = 1}, {.rax = 0x8000'0000, .flags = kOf | kSf | kAf | kPf}},
    {"add eax, ebx", {.rax = 0xffff'ffff, .rbx = 1}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"add rax, rbx",
     {.rax = 0x7fff'ffff'ffff'ffff, .rbx = 1},
     {.rax = 0x8000'0000'0000'0000, .flags = kOf | kSf | kAf | kPf}},
    {"add rax, -1", {.rax = 1}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"add rax, -1", {.rax = 0}, {.rax = ~u64{0}, .flags = kSf | kPf}},
    {"add r8, r15", {.r8 = 3, .r15 = 4}, {.r8 = 7, .flags = 0}},
    {"add r9b, sil", {.rsi = 0x101, .r9 = 0x1ff}, {.r9 = 0x100, .flags = kCf | kZf | kAf | kPf}},
    {"add byte ptr [data], 0x7f", {.mem = {0x1101}}, {.flags = kOf | kSf | kAf, .mem = {0x1180}}},
    {"add word ptr [data+2], ax", {.rax = 0xffff, .mem = {0xaa'0001'bbbb}}, {.flags = kCf | kZf | kAf | kPf, .mem = {0xaa'0000'bbbb}}},
    {"add dword ptr [rsi+rdi*4+4], 5", {.rsi = kDataAt, .rdi = 1, .mem = {0, 0xffff'ffff}}, {.flags = kCf | kAf, .mem = {0, 4}}},
    {"add rax, [data]", {.rax = 1, .mem = {2}}, {.rax = 3, .flags = kPf}},
    {"lock add qword ptr [data], rax", {.rax = 1, .mem = {~u64{0}}}, {.flags = kCf | kZf | kAf | kPf, .mem = {0}}},
    {"adc al, bl", {.rax = 0xff, .rbx = 0, .flags = kCf}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"adc al, bl", {.rax = 0xff, .rbx = 0xff, .flags = kCf}, {.rax = 0xff, .flags = kCf | kSf | kAf | kPf}},
    {"adc al, bl", {.rax = 0x7f, .rbx = 0, .flags = kCf}, {.rax = 0x80, .flags = kOf | kSf | kAf}},
    {"adc al, bl", {.rax = 1, .rbx = 1}, {.rax = 2, .flags = 0}},
    {"adc eax, 0", {.rax = 0xffff'ffff, .flags = kCf}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"adc rax, rbx", {.rax = ~u64{0}, .rbx = ~u64{0}, .flags = kCf}, {.rax = ~u64{0}, .flags = kCf | kSf | kAf | kPf}},
    {"adc word ptr [data], 0x7fff", {.flags = kCf, .mem = {0}}, {.flags = kOf | kSf | kAf | kPf, .mem = {0x8000}}},
    {"add rax, rcx; adc rdx, rbx", {.rax = ~u64{0}, .rbx = 2, .rcx = 1, .rdx = 3}, {.rax = 0, .rdx = 6, .flags = kPf}},
};
INSTRUCTION_CASES("add and adc", kUser64, kAddCases);

constexpr Case kSubCases[] = {
    {"sub al, bl", {.rax = 0, .rbx = 1}, {.rax = 0xff, .flags = kCf | kSf | kAf | kPf}},
    {"sub al, bl", {.rax = 0x80, .rbx = 1}, {.rax = 0x7f, .flags = kOf | kAf}},
    {"sub al, bl", {.rax = 0x7f, .rbx = 0xff}, {.rax = 0x80, .flags = kCf | kOf | kSf}},
    {"sub al, bl", {.rax = 0x42, .rbx = 0x42}, {.rax = 0, .flags = kZf | kPf}},
    {"sub ax, bx", {.rax = 0x1'0000, .rbx = 1}, {.rax = 0x1'ffff, .flags = kCf | kSf | kAf | kPf}},
    {"sub eax, ebx", {.rax = 0xffff'ffff'8000'0000, .rbx = 1}, {.rax = 0x7fff'ffff, .flags = kOf | kAf | kPf}},
    {"sub rax, 1", {.rax = 0x8000'0000'0000'0000}, {.rax = 0x7fff'ffff'ffff'ffff, .flags = kOf | kAf | kPf}},
    {"sub [data], rbx", {.rbx = 1, .mem = {0}}, {.flags = kCf | kSf | kAf | kPf, .mem = {~u64{0}}}},
    {"lock sub dword ptr [data], 1", {.mem = {0x5'0000'0001}}, {.flags = kZf | kPf, .mem = {0x5'0000'0000}}},
    {"sbb al, bl", {.rax = 0, .rbx = 0, .flags = kCf}, {.rax = 0xff, .flags = kCf | kSf | kAf | kPf}},
    {"sbb al, bl", {.rax = 0, .rbx = 0xff, .flags = kCf}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"sbb al, bl", {.rax = 0x80, .rbx = 0, .flags = kCf}, {.rax = 0x7f, .flags = kOf | kAf}},
    {"sbb eax, eax", {.flags = kCf}, {.rax = 0xffff'ffff, .flags = kCf | kSf | kAf | kPf}},
    {"sbb rax, rax", {}, {.rax = 0, .flags = kZf | kPf}},
    {"sbb rax, rbx", {.rax = 5, .rbx = 5, .flags = kCf}, {.rax = ~u64{0}, .flags = kCf | kSf | kAf | kPf}},
    {"cmp al, 5", {.rax = 5}, {.flags = kZf | kPf}},
    {"cmp eax, ebx", {.rax = 1, .rbx = 2}, {.flags = kCf | kSf | kAf | kPf}},
    {"cmp rax, rbx", {.rax = 1ull << 63, .rbx = 1}, {.flags = kOf | kAf | kPf}},
    {"cmp word ptr [data], -1", {.mem = {0xffff}}, {.flags = kZf | kPf}},
    {"cmp bh, cl", {.rbx = 0x1200, .rcx = 0x13}, {.flags = kCf | kSf | kAf | kPf}},
    {"neg al", {.rax = 0}, {.rax = 0, .flags = kZf | kPf}},
    {"neg al", {.rax = 0x80}, {.rax = 0x80, .flags = kCf | kOf | kSf}},
    {"neg ax", {.rax = 1}, {.rax = 0xffff, .flags = kCf | kSf | kAf | kPf}},
    {"neg eax", {.rax = 0x1'0000'0001}, {.rax = 0xffff'ffff, .flags = kCf | kSf | kAf | kPf}},
    {"neg rax", {.rax = 0x10}, {.rax = ~u64{0xf}, .flags = kCf | kSf | kPf}},
    {"lock neg qword ptr [data]", {.mem = {1}}, {.flags = kCf | kSf | kAf | kPf, .mem = {~u64{0}}}},
};
INSTRUCTION_CASES("sub, sbb, cmp, neg", kUser64, kSubCases);

constexpr Case kIncrementCases[] = {
    {"inc al", {.rax = 0xff, .flags = kCf}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"inc al", {.rax = 0x7f}, {.rax = 0x80, .flags = kOf | kSf | kAf}},
    {"inc eax", {.rax = 0xffff'ffff'ffff'ffff}, {.rax = 0, .flags = kZf | kAf | kPf}},
    {"inc rax", {.rax = 0xffff'ffff}, {.rax = 0x1'0000'0000, .flags = kAf | kPf}},
    {"dec ax", {.rax = 0x8000, .flags = kCf}, {.rax = 0x7fff, .flags = kCf | kOf | kAf | kPf}},
    {"dec rax", {.rax = 0}, {.rax = ~u64{0}, .flags = kSf | kAf | kPf}},
    {"dec dword ptr [data]", {.mem = {1}}, {.flags = kZf | kPf, .mem = {0}}},
    {"lock inc byte ptr [data+1]", {.mem = {0xffff}}, {.flags = kZf | kAf | kPf, .mem = {0x00ff}}},
    {"not al", {.rax = 0x0f, .flags = kCf | kZf}, {.rax = 0xf0}},
    {"not eax", {.rax = 0xffff'ffff'0000'0000}, {.rax = 0xffff'ffff}},
    {"lock not qword ptr [data]", {.mem = {0}}, {.mem = {~u64{0}}}},
};
INSTRUCTION_CASES("inc, dec, not", kUser64, kIncrementCases);

constexpr Case kLogicCases[] = {
    {"and al, bl", {.rax = 0xf0, .rbx = 0x3c, .flags = kCf | kOf}, {.rax = 0x30, .flags = kPf}},
    {"and eax, 0x80000000", {.rax = ~u64{0}}, {.rax = 0x8000'0000, .flags = kSf | kPf}},
    {"and rax, -16", {.rax = 0x1234}, {.rax = 0x1230, .flags = kPf}},
    {"lock and [data], rax", {.rax = 0xff, .mem = {0x1ff}}, {.flags = kPf, .mem = {0xff}}},
    {"or ax, bx", {.rax = 0x8000, .rbx = 1}, {.rax = 0x8001, .flags = kSf}},
    {"or [data], bl", {.rbx = 0x80, .mem = {0}}, {.flags = kSf, .mem = {0x80}}},
    {"xor eax, eax", {.flags = kCf | kOf | kSf}, {.rax = 0, .flags = kZf | kPf}},
    {"xor rax, -1", {.rax = 0}, {.rax = ~u64{0}, .flags = kSf | kPf}},
    {"test al, 1", {.rax = 2, .flags = kCf}, {.flags = kZf | kPf}},
    {"test rax, rax", {.rax = 1ull << 63}, {.flags = kSf | kPf}},
    {"test dword ptr [data], 0x100", {.mem = {0x100}}, {.flags = kPf}},
};
INSTRUCTION_CASES("and, or, xor, test", kUser64, kLogicCases);

constexpr Case kExchangeCases[] = {
    {"xchg al, ah", {.rax = 0x1234}, {.rax = 0x3412}},
    {"xchg eax, ebx", {.rax = ~u64{0}, .rbx = 5}, {.rax = 5, .rbx = 0xffff'ffff}},
    {"xchg rax, rbx", {.rax = 1, .rbx = 2}, {.rax = 2, .rbx = 1}},
    {"nop", {}, {}},
    {"xchg r8, rax", {.rax = 1, .r8 = 2}, {.rax = 2, .r8 = 1}},
    {"xchg [data], cx", {.rcx = 0x1111, .mem = {0x2222}}, {.rcx = 0x2222, .mem = {0x1111}}},
    {"xadd al, bl", {.rax = 0xff, .rbx = 2}, {.rax = 1, .rbx = 0xff, .flags = kCf | kAf}},
    {"xadd rax, rax", {.rax = 4}, {.rax = 8, .flags = 0}},
    {"lock xadd [data], eax", {.rax = 1, .mem = {0xffff'ffff}}, {.rax = 0xffff'ffff, .flags = kCf | kZf | kAf | kPf, .mem = {0}}},
    {"cmpxchg bl, cl", {.rax = 7, .rbx = 7, .rcx = 9}, {.rbx = 9, .flags = kZf | kPf}},
    {"cmpxchg bl, cl", {.rax = 6, .rbx = 7, .rcx = 9}, {.rax = 7, .flags = kCf | kSf | kAf | kPf}},
    {"cmpxchg ebx, ecx", {.rax = 0x5'0000'0007, .rbx = 0x6'0000'0007, .rcx = 9}, {.rbx = 9, .flags = kZf | kPf}},
    {"cmpxchg rbx, rcx", {.rax = 1, .rbx = 2, .rcx = 3}, {.rax = 2, .flags = kCf | kSf | kAf | kPf}},
    {"lock cmpxchg [data], rcx", {.rax = 1, .rcx = 3, .mem = {1}}, {.flags = kZf | kPf, .mem = {3}}},
    {"lock cmpxchg [data], cx", {.rax = 0xff'0001, .rcx = 3, .mem = {2}}, {.rax = 0xff'0002, .flags = kCf | kSf | kAf | kPf}},
    {"cmpxchg8b [data]", {.rax = 1, .rbx = 3, .rcx = 4, .rdx = 2, .mem = {0x2'0000'0001}}, {.flags = kZf, .mem = {0x4'0000'0003}}},
    {"lock cmpxchg8b [data]", {.rax = ~u64{0}, .rdx = ~u64{0}, .flags = kZf | kCf, .mem = {0x6'0000'0005}}, {.rax = 5, .rdx = 6, .flags = kCf}},
    {"cmpxchg16b [data]", {.rax = 1, .rbx = 3, .rcx = 4, .rdx = 2, .mem = {1, 2}}, {.flags = kZf, .mem = {3, 4}}},
    {"lock cmpxchg16b [data]", {.rax = 1, .rdx = 3, .flags = kZf | kOf, .mem = {7, 8}}, {.rax = 7, .rdx = 8, .flags = kOf}},
    {"cmpxchg16b [data+8]", {}, {.fault = 13}},
    {"bswap eax", {.rax = 0x1122'3344'5566'7788}, {.rax = 0x8877'6655}},
    {"bswap r8", {.r8 = 0x1122'3344'5566'7788}, {.r8 = 0x8877'6655'4433'2211}},
};
INSTRUCTION_CASES("xchg, xadd, cmpxchg, bswap", kUser64, kExchangeCases);

constexpr Case kMultiplyCases[] = {
    {"mul bl", {.rax = 0x10, .rbx = 0x10}, {.rax = 0x100, .flags = kCf | kOf}},
    {"mul bl", {.rax = 0xff02, .rbx = 3}, {.rax = 6, .flags = 0}},
    {"mul bx", {.rax = 0xffff, .rbx = 0xffff, .rdx = 0x5'0000}, {.rax = 1, .rdx = 0x5'fffe, .flags = kCf | kOf}},
    {"mul ebx", {.rax = 0xffff'ffff, .rbx = 2}, {.rax = 0xffff'fffe, .rdx = 1, .flags = kCf | kOf}},
    {"mul rbx", {.rax = ~u64{0}, .rbx = ~u64{0}}, {.rax = 1, .rdx = ~u64{1}, .flags = kCf | kOf}},
    {"mul qword ptr [data]", {.rax = 6, .mem = {7}}, {.rax = 42, .rdx = 0, .flags = 0}},
    {"imul bl", {.rax = 0x80, .rbx = 0xff}, {.rax = 0x80, .flags = kCf | kOf}},
    {"imul bl", {.rax = 0xff, .rbx = 0xff}, {.rax = 1, .flags = 0}},
    {"imul bx", {.rax = 0x8000, .rbx = 0x8000, .rdx = 0}, {.rax = 0, .rdx = 0x4000, .flags = kCf | kOf}},
    {"imul ebx", {.rax = 0xffff'ffff, .rbx = 5}, {.rax = 0xffff'fffb, .rdx = 0xffff'ffff, .flags = 0}},
    {"imul rbx", {.rax = ~u64{0}, .rbx = 2}, {.rax = ~u64{1}, .rdx = ~u64{0}, .flags = 0}},
    {"imul ax, bx", {.rax = 0x4000, .rbx = 2}, {.rax = 0x8000, .flags = kCf | kOf}},
    {"imul eax, ebx, -3", {.rbx = 7}, {.rax = 0xffff'ffeb, .flags = 0}},
    {"imul rax, [data], 0x10000", {.mem = {1ull << 47}}, {.rax = 1ull << 63, .flags = kCf | kOf}},
    {"imul r8, r9", {.r8 = 3, .r9 = ~u64{0}}, {.r8 = ~u64{2}, .flags = 0}},
};
INSTRUCTION_CASES("mul and imul", kUser64, kMultiplyCases);

constexpr Case kDivideCases[] = {
    {"div bl", {.rax = 0x0107, .rbx = 0x10}, {.rax = 0x0710}},
    {"div bl", {.rax = 0x1000, .rbx = 0x10}, {.fault = 0}},
    {"div bl", {.rax = 1, .rbx = 0}, {.fault = 0}},
    {"div bx", {.rax = 1, .rbx = 2, .rdx = 1}, {.rax = 0x8000, .rdx = 1}},
    {"div ebx", {.rax = 7, .rbx = 2, .rdx = 0xffff'ffff'0000'0001}, {.rax = 0x8000'0003, .rdx = 1}},
    {"div ebx", {.rax = 0, .rbx = 2, .rdx = 2}, {.fault = 0}},
    {"div rbx", {.rax = 5, .rbx = 1ull << 63, .rdx = 1}, {.rax = 2, .rdx = 5}},
    {"div rbx", {.rax = 0, .rbx = 1, .rdx = 1}, {.fault = 0}},
    {"div qword ptr [data]", {.rax = 100, .rdx = 0, .mem = {7}}, {.rax = 14, .rdx = 2}},
    {"idiv bl", {.rax = 0xfff9, .rbx = 2}, {.rax = 0xfffd}},
    {"idiv bl", {.rax = 0xff80, .rbx = 0xff}, {.fault = 0}},
    {"idiv bl", {.rax = 0xff80, .rbx = 1}, {.rax = 0x80}},
    {"idiv bx", {.rax = 0xfff9, .rbx = 0xfffe, .rdx = 0xffff}, {.rax = 3, .rdx = 0xffff}},
    {"idiv ebx", {.rax = 0x8000'0000, .rbx = ~u64{0}, .rdx = 0xffff'ffff}, {.fault = 0}},
    {"idiv ebx", {.rax = 7, .rbx = 0xffff'fffe, .rdx = 0}, {.rax = 0xffff'fffd, .rdx = 1}},
    {"idiv rbx", {.rax = 1ull << 63, .rbx = ~u64{0}, .rdx = ~u64{0}}, {.fault = 0}},
    {"idiv rbx", {.rax = ~u64{6}, .rbx = 2, .rdx = ~u64{0}}, {.rax = ~u64{2}, .rdx = ~u64{0}}},
    {"idiv rbx", {.rax = 1, .rbx = 0, .rdx = 0}, {.fault = 0}},
};
INSTRUCTION_CASES("div and idiv", kUser64, kDivideCases);

constexpr Case kWidenCases[] = {
    {"cbw", {.rax = 0x1'1180}, {.rax = 0x1'ff80}},
    {"cwde", {.rax = 0x1'8000}, {.rax = 0xffff'8000}},
    {"cdqe", {.rax = 0x8000'0000}, {.rax = 0xffff'ffff'8000'0000}},
    {"cwd", {.rax = 0x8000, .rdx = 0x1'0000}, {.rdx = 0x1'ffff}},
    {"cdq", {.rax = 0x7fff'ffff}, {.rdx = 0}},
    {"cdq", {.rax = 0x8000'0000}, {.rdx = 0xffff'ffff}},
    {"cqo", {.rax = 1ull << 63}, {.rdx = ~u64{0}}},
    {"movzx eax, bl", {.rbx = 0x1ff}, {.rax = 0xff}},
    {"movzx rax, word ptr [data]", {.mem = {0xf'8001}}, {.rax = 0x8001}},
    {"movzx ax, bh", {.rax = 0xffff'ffff, .rbx = 0x8100}, {.rax = 0xffff'0081}},
    {"movsx ax, bl", {.rax = 0x1'0000, .rbx = 0x80}, {.rax = 0x1'ff80}},
    {"movsx rax, bx", {.rbx = 0x8000}, {.rax = 0xffff'ffff'ffff'8000}},
    {"movsxd rax, ebx", {.rbx = 0x8000'0000}, {.rax = 0xffff'ffff'8000'0000}},
    {"movsx eax, byte ptr [data]", {.mem = {0xff}}, {.rax = 0xffff'ffff}},
};
INSTRUCTION_CASES("widening", kUser64, kWidenCases);

}  // namespace doppel::tests
