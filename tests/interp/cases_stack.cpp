#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr Case kStackCases[] = {
    {"push rax", {.rax = 5, .rsp = kDataAt + 8, .mem = {0}}, {.rsp = kDataAt, .mem = {5}}},
    {"push rsp", {.rsp = kDataAt + 8}, {.rsp = kDataAt, .mem = {kDataAt + 8}}},
    {"push -2", {.rsp = kDataAt + 8}, {.rsp = kDataAt, .mem = {~u64{1}}}},
    {"push 0x7fffffff", {.rsp = kDataAt + 8}, {.rsp = kDataAt, .mem = {0x7fff'ffff}}},
    {"push qword ptr [rsp]", {.rsp = kDataAt + 8, .mem = {0, 9}}, {.rsp = kDataAt, .mem = {9, 9}}},
    {"push ax", {.rax = 0x1'2345, .rsp = kDataAt + 8, .mem = {0}}, {.rsp = kDataAt + 6, .mem = {0x2345ull << 48}}},
    {"pop rax", {.rsp = kDataAt, .mem = {7}}, {.rax = 7, .rsp = kDataAt + 8}},
    {"pop ax", {.rax = 0x1'0000, .rsp = kDataAt, .mem = {0xffff'1234}}, {.rax = 0x1'1234, .rsp = kDataAt + 2}},
    {"pop rsp", {.rsp = kDataAt, .mem = {0x1234}}, {.rsp = 0x1234}},
    // The address of POP's memory operand uses the stack pointer after the pop.
    {"pop qword ptr [rsp]", {.rsp = kDataAt, .mem = {7, 0}}, {.rsp = kDataAt + 8, .mem = {7, 7}}},
    {"pushfq", {.rsp = kDataAt + 8, .flags = kCf | kZf | kDf}, {.rsp = kDataAt, .mem = {0x202 | kCf | kZf | kDf}}},
    {"popfq", {.rsp = kDataAt, .mem = {0xcd5}}, {.rsp = kDataAt + 8, .flags = kCf | kPf | kAf | kZf | kSf | kDf | kOf}},
    // CPL 3 with IOPL 0: neither IF nor IOPL change, and no fault.
    {"popfq; pushfq", {.rsp = kDataAt, .mem = {0x3000}}, {.flags = 0, .mem = {0x202}}},
    {"popfw", {.rsp = kDataAt, .mem = {0x41}}, {.rsp = kDataAt + 2, .flags = kCf | kZf}},
    {"enter 16, 0", {.rbp = 77, .rsp = kDataAt + 32, .mem = {0, 0, 0, 0}}, {.rbp = kDataAt + 24, .rsp = kDataAt + 8, .mem = {0, 0, 0, 77}}},
    {"enter 8, 1", {.rbp = 77, .rsp = kDataAt + 32, .mem = {0, 0, 0, 0}}, {.rbp = kDataAt + 24, .rsp = kDataAt + 8, .mem = {0, 0, kDataAt + 24, 77}}},
    {"enter 0, 2", {.rbp = kDataAt + 48, .rsp = kDataAt + 32, .mem = {0, 0, 0, 0, 0, 99}}, {.rbp = kDataAt + 24, .rsp = kDataAt + 8, .mem = {0, kDataAt + 24, 99, kDataAt + 48, 0, 99}}},
    {"leave", {.rbp = kDataAt + 8, .rsp = 0, .mem = {0, 0x55}}, {.rbp = 0x55, .rsp = kDataAt + 16}},
    {"push rax", {.rsp = kDataAt}, {.fault = 14, .error = 6, .cr2 = kDataAt - 8}},
    {"pop rax", {.rsp = kDataAt + 8192}, {.fault = 14, .error = 4, .cr2 = kDataAt + 8192}},
    {"push rax", {.rsp = 0x8000'0000'0000'0000}, {.fault = 12}},
    {"leave", {.rbp = 0x4000'0000'0000'0000}, {.fault = 12}},
};
INSTRUCTION_CASES("push, pop, enter, leave", kUser64, kStackCases);

constexpr Case kStack32Cases[] = {
    {"push eax", {.rax = 5, .rsp = kDataAt + 8, .mem = {0}}, {.rsp = kDataAt + 4, .mem = {0x5'0000'0000}}},
    {"push 0x1234", {.rsp = kDataAt + 8, .mem = {0}}, {.rsp = kDataAt + 4, .mem = {0x1234'0000'0000}}},
    {"pushw 0x1234", {.rsp = kDataAt + 8, .mem = {0}}, {.rsp = kDataAt + 6, .mem = {0x1234ull << 48}}},
    {"push cs; pop eax", {.rsp = kDataAt + 4, .mem = {0}}, {.rax = 0x23, .mem = {0x23}}},
    {"push ss", {.rsp = kDataAt + 4, .mem = {0}}, {.rsp = kDataAt, .mem = {0x2b}}},
    {"pusha", {.rax = 1, .rbx = 4, .rcx = 2, .rdx = 3, .rsi = 6, .rdi = 7, .rbp = 5, .rsp = kDataAt + 32, .mem = {0, 0, 0, 0}}, {.rsp = kDataAt, .mem = {0x6'0000'0007, (kDataAt + 32) << 32 | 5, 0x3'0000'0004, 0x1'0000'0002}}},
    {"popa", {.rsp = kDataAt, .mem = {0x6'0000'0007, 0xdead'0000'0005, 0x3'0000'0004, 0x1'0000'0002}}, {.rax = 1, .rbx = 4, .rcx = 2, .rdx = 3, .rsi = 6, .rdi = 7, .rbp = 5, .rsp = kDataAt + 32}},
    {"pushf", {.rsp = kDataAt + 4, .flags = kSf, .mem = {0}}, {.rsp = kDataAt, .mem = {0x202 | kSf}}},
    {"enter 4, 1", {.rbp = 9, .rsp = kDataAt + 16, .mem = {0, 0}}, {.rbp = kDataAt + 12, .rsp = kDataAt + 4, .mem = {0, 0x9'0000'0000 | (kDataAt + 12)}}},
    {"leave", {.rbp = kDataAt, .mem = {0x1234}}, {.rbp = 0x1234, .rsp = kDataAt + 4}},
    {"pop dword ptr [esp]", {.rsp = kDataAt, .mem = {0x7}}, {.rsp = kDataAt + 4, .mem = {0x7'0000'0007}}},
    {"inc eax; dec ecx", {.rax = 0xffff'ffff, .rcx = 1}, {.rax = 0, .rcx = 0, .flags = kZf | kPf}},
    {"mov eax, [data]; mov [data+4], ax", {.mem = {0x1234'5678}}, {.rax = 0x1234'5678, .mem = {0x5678'1234'5678}}},
    {"lea eax, [ebx+esi*8-1]", {.rbx = 0xffff'ffff, .rsi = 1}, {.rax = 6}},
    {"addr16 lea eax, [bx+si+5]", {.rbx = 0xffff, .rsi = 0x1'0001}, {.rax = 5}},
    {"mov eax, fs:[data]", {}, {.fault = 13}},
    {"mov eax, [0xfffffffe]", {}, {.fault = 13}},
    {"mov eax, [0xfffffffc]", {}, {.fault = 14, .error = 4, .cr2 = 0xffff'fffc}},
};
INSTRUCTION_CASES("32-bit stack and addressing", kUser32, kStack32Cases);

constexpr Case kControlFlowCases[] = {
    {"jmp 1f; mov eax, 1; 1: mov ebx, 2", {}, {.rbx = 2}},
    {"jz 1f; mov eax, 1; 1: nop", {.flags = kZf}, {}},
    {"jz 1f; mov eax, 1; 1: nop", {}, {.rax = 1}},
    {"jbe 1f; mov eax, 1; 1: nop", {.flags = kCf}, {}},
    {"jge 1f; mov eax, 1; 1: nop", {.flags = kSf | kOf}, {}},
    {"jg 1f; mov eax, 1; 1: nop", {.flags = kZf}, {.rax = 1}},
    {"jnp 1f; mov eax, 1; 1: nop", {.flags = kPf}, {.rax = 1}},
    {"jo 1f; .skip 200, 0x90; 1: nop", {.flags = kOf}, {}},
    {"jrcxz 1f; mov eax, 1; 1: nop", {.rcx = 0}, {}},
    {"jecxz 1f; mov eax, 1; 1: nop", {.rcx = 0x1'0000'0000}, {}},
    {"1: inc rax; loop 1b", {.rax = 0, .rcx = 5}, {.rax = 5, .rcx = 0, .flags = kPf}},
    {"1: dec rax; loopnz 1b", {.rax = 3, .rcx = 10}, {.rax = 0, .rcx = 7, .flags = kZf | kPf}},
    {"1: cmp rax, rax; loopz 1b", {.rcx = 3}, {.rcx = 0, .flags = kZf | kPf}},
    {"call 1f; 1: pop rax", {.rsp = kDataAt + 8}, {.rax = 0x1000'0005, .mem = {0x1000'0005}}},
    {"lea rax, [rip+4]; call rax; jmp 3f; 1: ret; 3: nop", {.rsp = kDataAt + 8}, {.rax = 0x1000'000b, .mem = {0x1000'0009}}},
    {"call [data+8]; jmp 3f; ret 16; 3: nop", {.rsp = kDataAt + 8, .mem = {0, 0x1000'0009}}, {.rsp = kDataAt + 24, .mem = {0x1000'0007, 0x1000'0009}}},
    {"jmp [data]; nop; nop; nop", {.mem = {0x1000'0009}}, {}},
    {"mov rax, [rip]; nop; nop; nop; nop; nop; nop; nop; nop", {}, {.rax = 0x9090'9090'9090'9090}},
    {"lea rax, [rip-7]", {}, {.rax = 0x1000'0000}},
    {"lea eax, [rip+0x7fffffff]", {}, {.rax = 0x9000'0005}},
    {"lea ax, [rbx+rcx]", {.rax = 0x1'0000, .rbx = 0xffff, .rcx = 2}, {.rax = 0x1'0001}},
    {"lea rax, [ebx+ecx]", {.rbx = 0xffff'ffff, .rcx = 2}, {.rax = 1}},
    {"mov rax, 0x1122334455667788", {}, {.rax = 0x1122'3344'5566'7788}},
    {"mov rax, -1", {}, {.rax = ~u64{0}}},
    {"mov eax, -1", {}, {.rax = 0xffff'ffff}},
    {"mov ah, bl", {.rax = 0, .rbx = 0x12}, {.rax = 0x1200}},
    {"movabs al, [data]", {.rax = 0, .mem = {0x77}}, {.rax = 0x77}},
    {"movabs [data], rax", {.rax = 5}, {.mem = {5}}},
    {"movbe eax, [data]", {.mem = {0x1122'3344}}, {.rax = 0x4433'2211}},
    {"movnti [data], rax", {.rax = 5}, {.mem = {5}}},
    {"xlatb", {.rax = 0xff05, .rbx = kDataAt, .mem = {0x6600'0000'0000}}, {.rax = 0xff66}},
    // Code that changes itself, ahead and in the running block.
    {"mov byte ptr [rip+1], 0x2a; mov al, 1", {.rax = 0}, {.rax = 0x2a}},
    {"lahf", {.rax = 0, .flags = kCf | kZf}, {.rax = 0x4300}},
    {"sahf", {.rax = 0xff00, .flags = kOf}, {.flags = kOf | kSf | kZf | kAf | kPf | kCf}},
    {"cmc", {.flags = kCf}, {.flags = 0}},
    {"stc; std", {}, {.flags = kCf | kDf}},
    {"clc; cld", {.flags = kCf | kDf}, {.flags = 0}},
};
INSTRUCTION_CASES("control flow and moves", kUser64, kControlFlowCases);

constexpr Case kDecimalCases[] = {
    {"daa", {.rax = 0x3b}, {.rax = 0x41, .flags = kAf | kPf}},
    {"daa", {.rax = 0x9a}, {.rax = 0, .flags = kCf | kZf | kAf | kPf}},
    {"daa", {.rax = 0x15, .flags = kCf | kAf}, {.rax = 0x7b, .flags = kCf | kAf | kPf}},
    {"das", {.rax = 0x2f, .flags = kAf}, {.rax = 0x29, .flags = kAf}},
    {"das", {.rax = 0x00, .flags = kCf | kAf}, {.rax = 0x9a, .flags = kCf | kSf | kAf | kPf}},
    {"aaa", {.rax = 0x000b}, {.rax = 0x0101, .flags = kCf | kAf}},
    {"aaa", {.rax = 0x00fa}, {.rax = 0x0200, .flags = kCf | kAf}},
    {"aaa", {.rax = 0x0015}, {.rax = 0x0005, .flags = 0}},
    {"aas", {.rax = 0x0200, .flags = kAf}, {.rax = 0x000a, .flags = kCf | kAf}},
    {"aas", {.rax = 0x0209}, {.rax = 0x0209, .flags = 0}},
    {"aam", {.rax = 63}, {.rax = 0x0603, .flags = kPf}},
    {"aam 16", {.rax = 0x80}, {.rax = 0x0800, .flags = kZf | kPf}},
    {"aam 0", {.rax = 63}, {.fault = 0}},
    {"aad", {.rax = 0x0603}, {.rax = 63, .flags = kPf}},
    {"aad 7", {.rax = 0x1000'0201}, {.rax = 0x1000'000f, .flags = kPf}},
    {".byte 0xd6", {.rax = 0, .flags = kCf}, {.rax = 0xff}},
};
INSTRUCTION_CASES("decimal", kUser32, kDecimalCases);

}  // namespace doppel::tests
