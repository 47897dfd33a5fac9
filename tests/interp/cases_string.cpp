#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr Case kMoveStringCases[] = {
    {"movsb", {.rsi = kDataAt, .rdi = kDataAt + 8, .mem = {0x11, 0}}, {.rsi = kDataAt + 1, .rdi = kDataAt + 9, .mem = {0x11, 0x11}}},
    {"movsw", {.rsi = kDataAt, .rdi = kDataAt + 8, .flags = kDf, .mem = {0x2211, 0}}, {.rsi = kDataAt - 2, .rdi = kDataAt + 6, .mem = {0x2211, 0x2211}}},
    {"movsd", {.rsi = kDataAt, .rdi = kDataAt + 8, .mem = {~u64{0}, 0}}, {.rsi = kDataAt + 4, .rdi = kDataAt + 12, .mem = {~u64{0}, 0xffff'ffff}}},
    {"movsq", {.rsi = kDataAt, .rdi = kDataAt + 8, .mem = {5, 0}}, {.rsi = kDataAt + 8, .rdi = kDataAt + 16, .mem = {5, 5}}},
    {"rep movsb", {.rcx = 0, .rsi = 0, .rdi = 0}, {}},
    {"rep movsb", {.rcx = 5, .rsi = kDataAt, .rdi = kDataAt + 8, .mem = {0x1122'3344'5566'7788, 0}}, {.rcx = 0, .rsi = kDataAt + 5, .rdi = kDataAt + 13, .mem = {0x1122'3344'5566'7788, 0x44'5566'7788}}},
    // Overlapping: the first byte spreads.
    {"rep movsb", {.rcx = 7, .rsi = kDataAt, .rdi = kDataAt + 1, .mem = {0xab}}, {.rcx = 0, .rsi = kDataAt + 7, .rdi = kDataAt + 8, .mem = {0xabab'abab'abab'abab}}},
    {"rep movsb", {.rcx = 2, .rsi = kDataAt + 1, .rdi = kDataAt + 3, .flags = kDf, .mem = {0x4433'2211}}, {.rcx = 0, .rsi = kDataAt - 1, .rdi = kDataAt + 1, .mem = {0x2211'2211}}},
    {"rep movsq", {.rcx = 2, .rsi = kDataAt, .rdi = kDataAt + 16, .mem = {1, 2, 0, 0}}, {.rcx = 0, .rsi = kDataAt + 16, .rdi = kDataAt + 32, .mem = {1, 2, 1, 2}}},
    {"rep movsq", {.rcx = 1024, .rsi = kDataAt, .rdi = kDataAt}, {.rcx = 0, .rsi = kDataAt + 8192, .rdi = kDataAt + 8192}},
    // The end of the mapped data in the middle: what was moved stays moved.
    {"rep movsd", {.rcx = 5, .rsi = kDataAt + 8184, .rdi = kDataAt, .mem = {0}}, {.rcx = 3, .rsi = kDataAt + 8192, .rdi = kDataAt + 8, .mem = {0xe2ad'7843'0ed9'a46f}, .fault = 14, .error = 4, .cr2 = kDataAt + 8192}},
    {"rep stosq", {.rax = 7, .rcx = 3, .rdi = kDataAt + 8, .flags = kDf}, {.rcx = 1, .rdi = kDataAt - 8, .mem = {7, 7}, .fault = 14, .error = 6, .cr2 = kDataAt - 8}},
    {"stosb", {.rax = 0x1ff, .rdi = kDataAt, .mem = {0}}, {.rdi = kDataAt + 1, .mem = {0xff}}},
    {"stosd", {.rax = 0x1'0000'0002, .rdi = kDataAt + 4, .flags = kDf, .mem = {0, 0}}, {.rdi = kDataAt, .mem = {0x2'0000'0000, 0}}},
    {"rep stosw", {.rax = 0x1234, .rcx = 3, .rdi = kDataAt, .mem = {~u64{0}}}, {.rcx = 0, .rdi = kDataAt + 6, .mem = {0xffff'1234'1234'1234}}},
    {"rep stosb", {.rax = 0x55, .rcx = 8, .rdi = kDataAt + 7, .flags = kDf, .mem = {0, 0}}, {.rcx = 0, .rdi = kDataAt - 1, .mem = {0x5555'5555'5555'5555, 0}}},
    // A 32-bit address size: ECX counts, and the upper halves go.
    {"addr32 rep stosb", {.rax = 0x55, .rcx = 0x7'0000'0002, .rdi = 0x7'0000'0000 + kDataAt, .mem = {0}}, {.rcx = 0, .rdi = kDataAt + 2, .mem = {0x5555}}},
    {"lodsb", {.rax = 0x1ff, .rsi = kDataAt, .mem = {0x80}}, {.rax = 0x180, .rsi = kDataAt + 1}},
    {"lodsw", {.rax = 0x1'0000, .rsi = kDataAt, .mem = {0x8001}}, {.rax = 0x1'8001, .rsi = kDataAt + 2}},
    {"lodsd", {.rsi = kDataAt, .flags = kDf, .mem = {0x8000'0001}}, {.rax = 0x8000'0001, .rsi = kDataAt - 4}},
    {"rep lodsq", {.rcx = 2, .rsi = kDataAt, .mem = {1, 2}}, {.rax = 2, .rcx = 0, .rsi = kDataAt + 16}},
};
INSTRUCTION_CASES("movs, stos, lods", kUser64, kMoveStringCases);

constexpr Case kCompareStringCases[] = {
    {"cmpsb", {.rsi = kDataAt, .rdi = kDataAt + 1, .mem = {0x0102}}, {.rsi = kDataAt + 1, .rdi = kDataAt + 2, .flags = 0}},
    {"cmpsq", {.rsi = kDataAt, .rdi = kDataAt + 8, .mem = {1, 2}}, {.rsi = kDataAt + 8, .rdi = kDataAt + 16, .flags = kCf | kSf | kAf | kPf}},
    {"repe cmpsb", {.rcx = 8, .rsi = kDataAt, .rdi = kDataAt + 8, .mem = {0x4433'2211, 0x5533'2211}}, {.rcx = 4, .rsi = kDataAt + 4, .rdi = kDataAt + 12, .flags = kCf | kSf | kAf}},
    {"repe cmpsb", {.rcx = 3, .rsi = kDataAt, .rdi = kDataAt + 8, .mem = {0x33'2211, 0x33'2211}}, {.rcx = 0, .rsi = kDataAt + 3, .rdi = kDataAt + 11, .flags = kZf | kPf}},
    {"repe cmpsb", {.rcx = 0, .flags = kCf | kOf}, {}},
    {"repne cmpsw", {.rcx = 4, .rsi = kDataAt, .rdi = kDataAt + 8, .mem = {0x3'0002'0001, 0x3'0004'0005}}, {.rcx = 1, .rsi = kDataAt + 6, .rdi = kDataAt + 14, .flags = kZf | kPf}},
    {"scasb", {.rax = 0x41, .rdi = kDataAt, .mem = {0x41}}, {.rdi = kDataAt + 1, .flags = kZf | kPf}},
    {"repne scasb", {.rax = 0, .rcx = ~u64{0}, .rdi = kDataAt, .mem = {0x00'4242'4242}}, {.rcx = ~u64{5}, .rdi = kDataAt + 5, .flags = kZf | kPf}},
    {"repe scasd", {.rax = 7, .rcx = 4, .rdi = kDataAt, .mem = {0x7'0000'0007, 8}}, {.rcx = 1, .rdi = kDataAt + 12, .flags = kCf | kSf | kAf | kPf}},
    {"repne scasq", {.rax = 9, .rcx = 2, .rdi = kDataAt + 8, .flags = kDf, .mem = {9, 1}}, {.rcx = 0, .rdi = kDataAt - 8, .flags = kDf | kZf | kPf}},
};
INSTRUCTION_CASES("cmps and scas", kUser64, kCompareStringCases);

}  // namespace doppel::tests
