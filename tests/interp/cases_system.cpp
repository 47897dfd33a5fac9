#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr u64 kKernelCr0 = 0x8005'0033;

constexpr Case kKernelCases[] = {
    {"hlt", {}, {}},
    {"mov rax, cr0", {}, {.rax = kKernelCr0}},
    {"smsw eax", {}, {.rax = kKernelCr0}},
    {"mov cr2, rax; mov rbx, cr2", {.rax = 0x1234'5678'9abc}, {.rbx = 0x1234'5678'9abc}},
    {"mov cr0, rax", {.rax = kKernelCr0 & ~1ull}, {.fault = 13}},             // PG without PE
    {"mov cr0, rax", {.rax = kKernelCr0 | 1ull << 32}, {.fault = 13}},
    {"mov cr4, rax", {.rax = 1ull << 31}, {.fault = 13}},
    {"mov cr4, rax", {.rax = 0}, {.fault = 13}},                              // PAE off in long mode
    {"mov rax, cr1", {}, {.fault = 6}},
    {"rdmsr", {.rcx = 0xc000'0080}, {.rax = 0xd01, .rdx = 0}},
    {"wrmsr; xor eax, eax; xor edx, edx; rdmsr", {.rax = 0x5566'7788, .rcx = 0xc000'0082, .rdx = 0x7fff}, {.rdx = 0x7fff, .flags = kZf | kPf}},
    {"wrmsr", {.rax = 0, .rcx = 0xc000'0082, .rdx = 0x8000}, {.fault = 13}},
    {"rdmsr", {.rcx = 0x1234'5678}, {.fault = 13}},
    {"wrmsr; mov rbx, gs:[8]", {.rax = kDataAt, .rcx = 0xc000'0101, .rdx = 0, .mem = {0, 77}}, {.rbx = 77}},
    {"rdgsbase rax", {}, {.fault = 6}},                                       // CR4.FSGSBASE is clear
    {"int 0x30", {}, {.fault = 0x30}},
    {"int3", {}, {.fault = 3}},
    {"ud2", {}, {.fault = 6}},
    {"sgdt [data]", {.mem = {0, 0}}, {.mem = {0x8000'0000'1000'00ff, 0xffff}}},
    {"str ax", {.rax = 0}, {.rax = 0x40}},
    {"lar ebx, eax", {.rax = 0x23, .rbx = 0}, {.rbx = 0xcf'fb00, .flags = kZf}},
    {"lsl ebx, eax", {.rax = 0x2b, .rbx = 0}, {.rbx = 0xffff'ffff, .flags = kZf}},
    {"lar ebx, eax", {.rax = 0x1234, .flags = kZf}, {.flags = 0}},
    {"verw ax", {.rax = 0x23}, {.flags = 0}},
    {"verr ax", {.rax = 0x23}, {.flags = kZf}},
    {"mov ds, eax", {.rax = 0x1b}, {.fault = 13, .error = 0x18}},
    {"mov ds, eax", {.rax = 0x1234}, {.fault = 13, .error = 0x1234}},
    {"mov ss, eax", {.rax = 0}, {}},
    {"mov ss, eax", {.rax = 0x2b}, {.fault = 13, .error = 0x28}},
    {"mov rax, [0x20000000]", {}, {.fault = 14, .error = 0, .cr2 = 0x2000'0000}},
    {"mov [0x20000000], rax", {}, {.fault = 14, .error = 2, .cr2 = 0x2000'0000}},
    {"mov rax, rsp; push 0x18; push rax; pushfq; push 0x10; lea rbx, [rip+3]; push rbx; iretq", {.rsp = kDataAt + 40, .mem = {0, 0, 0, 0, 0}}, {.rax = kDataAt + 40, .rbx = 0x1000'0013, .mem = {0x1000'0013, 0x10, 0x202, kDataAt + 40, 0x18}}},
    {"push 0x10; push 0x10000009; retfq", {.rsp = kDataAt + 16, .mem = {0, 0}}, {.mem = {0x1000'0009, 0x10}}},
    {"invlpg [data]; wbinvd; clts", {}, {}},
    {"in al, 0x80", {.rax = 0}, {.rax = 0xff}},
    {"cli; sti; nop", {}, {}},
};
INSTRUCTION_CASES("system instructions", kKernel64, kKernelCases);

constexpr Case kKernel32Cases[] = {
    {"mov eax, cr0", {}, {.rax = kKernelCr0 & 0x7fff'ffff}},
    {".byte 0x9a; .long 0x10000009; .word 8; jmp 1f; retf; 1: nop", {}, {}},
    {".byte 0xea; .long 0x10000009; .word 8; nop; nop; mov al, 5", {.rax = 0}, {.rax = 5}},
    {"pushfd; push 8; push 0x10000009; iretd; mov al, 5", {.rax = 0}, {.rax = 5}},
    {"mov ds, eax; mov ebx, [data]", {.rax = 0}, {.fault = 13}},
    {"mov ss, eax", {.rax = 0}, {.fault = 13}},
    {"mov cs, eax", {}, {.fault = 6}},
    {"mov es, eax", {.rax = 0x1b}, {.fault = 13, .error = 0x18}},
    {"push ds; pop es; mov ebx, es:[data]", {.mem = {5}}, {.rbx = 5}},
    {"mov cs:[data], eax", {}, {.fault = 13}},
    {".byte 0xea; .long 0; .word 0x18", {}, {.fault = 13, .error = 0x18}},
    {".byte 0xea; .long 0; .word 0", {}, {.fault = 13}},
    {"int 0x80", {}, {.fault = 0x80}},
    {"into", {.flags = kOf}, {.fault = 4}},
    {"div bl", {.rax = 1, .rbx = 0}, {.fault = 0}},
    {"les ebx, [data]", {.mem = {0x18'1122'3344}}, {.rbx = 0x1122'3344}},
    {"sidt [data]", {.mem = {0}}, {.mem = {0x9000'07ff}}},
    {"sldt eax", {}, {.rax = 0}},
    {"in eax, dx", {.rdx = 0x1234}, {.rax = 0xffff'ffff}},
};
INSTRUCTION_CASES("32-bit system instructions", kKernel32, kKernel32Cases);

constexpr Case kRealCases[] = {
    {"mov ax, [data]", {.rax = 0, .mem = {0x1234}}, {.rax = 0x1234}},
    {"mov eax, [data]", {.mem = {0x1234'5678}}, {.rax = 0x1234'5678}},
    {"mov al, [bx+si+2]", {.rax = 0, .rbx = 0x5000, .rsi = 0x1000, .mem = {0x11'2233}}, {.rax = 0x11}},
    {"mov al, [bx+di]", {.rax = 0, .rbx = 0x7000, .rdi = 0xf000, .mem = {0x33}}, {.rax = 0x33}},  // wraps at 64 KiB
    {"mov ax, ss:[bp-2]", {.rax = 0, .rbp = 0x6002, .mem = {0x4455}}, {.rax = 0x4455}},
    {"mov eax, [ebx+ecx*4+0x6000]", {.rbx = 0, .rcx = 1, .mem = {0x8'0000'0000}}, {.rax = 8}},
    {"mov ds, ax; mov bl, [4]", {.rax = 0x600, .rbx = 0, .mem = {0xab'0000'0000}}, {.rbx = 0xab}},
    {"mov ax, [0xffff]", {}, {.fault = 13}},
    {"mov ebx, [eax]", {.rax = 0x1'0000}, {.fault = 13}},
    {"push ax; pop bx", {.rax = 0x1234, .rbx = 0}, {.rbx = 0x1234}},
    {"push eax", {.rax = 0x1234'5678, .rsp = kRealDataAt + 8, .mem = {0}}, {.rsp = kRealDataAt + 4, .mem = {0x1234'5678'0000'0000}}},
    {"push sp", {.rsp = kRealDataAt + 8, .mem = {0}}, {.rsp = kRealDataAt + 6, .mem = {0x6008ull << 48}}},
    {"push es; pop fs", {}, {}},
    // The frame of the INT3 at the end hides the upper part of what PUSHA left.
    {"pusha; popa", {.rbx = 4, .rsi = 6, .rdi = 7, .rbp = 5, .rsp = kRealDataAt + 16, .mem = {0, 0}}, {.mem = {0x6010'0005'0006'0007, 4}}},
    {"enter 4, 0; leave", {}, {}},
    {".byte 0x9a; .word 0x4007, 0; jmp 1f; retf; 1: nop", {}, {}},
    {".byte 0xea; .word 0x4006, 0; nop; mov al, 5", {.rax = 0}, {.rax = 5}},
    {"pushf; push 0; push 0x4007; iret; mov al, 5", {.rax = 0}, {.rax = 5}},
    {"call 1f; jmp 2f; 1: ret; 2: nop", {}, {}},
    {"int 0x20", {}, {.fault = 0x20}},
    {"int3", {}, {.fault = 3}},
    {"into", {.flags = kOf}, {.fault = 4}},
    {"bound ax, [data]", {.rax = 5, .mem = {0x4'0001}}, {.fault = 5}},
    {"div bl", {.rax = 1, .rbx = 0}, {.fault = 0}},
    {"idiv ebx", {.rax = 7, .rbx = 2, .rdx = 0}, {.rax = 3, .rdx = 1}},
    {"shl eax, 31", {.rax = 1}, {.rax = 0x8000'0000, .flags = kSf | kPf}},
    {"rep movsb", {.rcx = 2, .rsi = 0x6000, .rdi = 0x6004, .mem = {0x2211}}, {.rcx = 0, .rsi = 0x6002, .rdi = 0x6006, .mem = {0x2211'0000'2211}}},
    {"rep stosw", {.rax = 0x55aa, .rcx = 2, .rdi = 0x6004, .flags = kDf, .mem = {0}}, {.rcx = 0, .rdi = 0x6000, .mem = {0x55aa'55aa'0000}}},
    {"lodsb", {.rax = 0, .rsi = 0xffff}, {.rax = 0, .rsi = 0}},
    {"lds si, [data]", {.mem = {0x0600'1234}}, {.rsi = 0x1234}},
    {"xlatb", {.rax = 2, .rbx = 0x6000, .mem = {0x99'0000}}, {.rax = 0x99}},
    {"jcxz 1f; mov al, 1; 1: nop", {.rcx = 0}, {}},
    {"1: loop 1b", {.rcx = 3}, {.rcx = 0}},
    {"aam", {.rax = 63}, {.rax = 0x603, .flags = kPf}},
    {"in al, 0x80", {.rax = 0}, {.rax = 0xff}},
    {"lldt ax", {}, {.fault = 6}},
    {"arpl ax, bx", {}, {.fault = 6}},
    {"mov eax, cr0", {}, {.rax = 0x5'0032}},
    {"smsw ax", {.rax = 0}, {.rax = 0x32}},
    {"sidt [data]", {.mem = {0}}, {.mem = {0x3ff}}},
    {"hlt", {}, {}},
    {"movd xmm0, eax; paddd xmm0, xmm0; movd ebx, xmm0", {.rax = 21, .xmm0 = Xmm{}}, {.rbx = 42, .xmm0 = Xmm{42, 0}}},
    {"fild word ptr [data]; fistp word ptr [data+2]; fld1; fstp st(0)", {.mem = {0x7}}, {.mem = {0x7'0007}}},
};
INSTRUCTION_CASES("real mode", kReal16, kRealCases);

}  // namespace doppel::tests
