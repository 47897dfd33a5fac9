#include "tests/interp/instruction_case.hpp"

namespace doppel::tests {

constexpr int kDE = 0, kBP = 3, kOFTrap = 4, kBR = 5, kUD = 6, kSS = 12, kGP = 13, kPF = 14, kMF = 16,
              kAC = 17, kXM = 19;

constexpr Case kUserFaultCases[] = {
    {"nop; int3", {}, {.fault = kBP}},
    {"ud2", {}, {.fault = kUD}},
    {"hlt", {}, {.fault = kGP}},
    {"cli", {}, {.fault = kGP}},
    {"sti", {}, {.fault = kGP}},
    {"in al, 0x80", {}, {.fault = kGP}},
    {"out dx, eax", {.rdx = 0x80}, {.fault = kGP}},
    {"rep insb", {.rcx = 0}, {.fault = kGP}},
    {"mov rax, cr0", {}, {.fault = kGP}},
    {"mov cr3, rax", {}, {.fault = kGP}},
    {"mov dr7, rax", {}, {.fault = kGP}},
    {"rdmsr", {.rcx = 0xc000'0080}, {.fault = kGP}},
    {"wbinvd", {}, {.fault = kGP}},
    {"invlpg [data]", {}, {.fault = kGP}},
    {"clts", {}, {.fault = kGP}},
    {"lgdt [data]", {}, {.fault = kGP}},
    {"int 0x40", {}, {.fault = kGP, .error = 0x40 * 8 + 2}},
    {"mov rax, [0x20000000]", {}, {.fault = kPF, .error = 4, .cr2 = 0x2000'0000}},
    {"mov [data+8188], rax", {}, {.fault = kPF, .error = 6, .cr2 = kDataAt + 8192}},
    {"add [rbx], rax", {.rbx = 0x2000'0000}, {.fault = kPF, .error = 6, .cr2 = 0x2000'0000}},
    {"cmp [rbx], rax", {.rbx = 0x2000'0000}, {.fault = kPF, .error = 4, .cr2 = 0x2000'0000}},
    {"mov rax, [rbx]", {.rbx = 0x8000'0000'0000}, {.fault = kGP}},
    {"mov [rbp], rax", {.rbp = 0x8000'0000'0000}, {.fault = kSS}},
    {"mov rax, [rsp+8]", {.rsp = 0xffff'7fff'ffff'0000}, {.fault = kSS}},
    {"mov rax, [rbx]", {.rbx = 0x7fff'ffff'fffc}, {.fault = kGP}},
    {"jmp rax", {.rax = 0x8000'0000'0000'0000}, {.fault = kGP}},
    {"mov rcx, 5; div ebx", {.rax = 1, .rbx = 0, .rdx = 0}, {.rcx = 5, .fault = kDE}},
    {"movaps xmm0, [data+8]", {}, {.fault = kGP}},
    {"movntdq [data+8], xmm0", {}, {.fault = kGP}},
    {"movdqu xmm0, [data+1]; movdqu [data+17], xmm0",
     {.xmm0 = Xmm{}, .mem = {0x1100, 0x2200, 0x3300, 0, 0}},
     {.xmm0 = Xmm{0x11, 0x22}, .mem = {0x1100, 0x2200, 0x1100, 0x2200, 0}}},
    {".byte 0xf0, 0x90", {}, {.fault = kUD}},                      // LOCK NOP
    {".byte 0xf0, 0x01, 0xd8", {}, {.fault = kUD}},                // LOCK ADD EAX, EBX
    {".byte 0xf0, 0x8b, 0x03", {.rbx = kDataAt}, {.fault = kUD}},  // LOCK MOV EAX, [RBX]
    {".byte 0xf0, 0x39, 0x03", {.rbx = kDataAt}, {.fault = kUD}},  // LOCK CMP
    {".byte 0x0f, 0xff", {}, {.fault = kUD}},
    {".byte 0x06", {}, {.fault = kUD}},        // PUSH ES has no 64-bit form
    {".byte 0x27", {}, {.fault = kUD}},        // nor has DAA
    {".byte 0x8d, 0xc0", {}, {.fault = kUD}},  // LEA of a register
    {".byte 0x0f, 0xa7, 0xc0", {}, {.fault = kUD}},
    {".fill 14, 1, 0x66; .byte 0x90, 0x90", {}, {}},  // 15 bytes are an instruction
    {"mov r15, 1; mov rax, [rbx]",
     {.rbx = 0x2000'0000},
     {.r15 = 1, .fault = kPF, .error = 4, .cr2 = 0x2000'0000}},
};
INSTRUCTION_CASES("faults", kUser64, kUserFaultCases);

constexpr Case kUser32FaultCases[] = {
    {"bound eax, [data]", {.rax = 5, .mem = {0xa'0000'0001}}, {}},
    {"bound eax, [data]", {.rax = 11, .mem = {0xa'0000'0001}}, {.fault = kBR}},
    {"bound eax, [data]", {.rax = 0xffff'ffff, .mem = {0xa'0000'0000}}, {.fault = kBR}},
    {"into", {}, {}},
    {"into", {.flags = kOf}, {.fault = kOFTrap}},
    {"ud2", {}, {.fault = kUD}},
    {"div bl", {.rax = 0x1000, .rbx = 1}, {.fault = kDE}},
    {"mov ax, 0x1234; mov ds, ax", {.rax = 0}, {.rax = 0x1234, .fault = kGP, .error = 0x1234}},
    {"arpl ax, bx", {.rax = 0x10, .rbx = 3}, {.rax = 0x13, .flags = kZf}},
    {"arpl ax, bx", {.rax = 0x13, .rbx = 1}, {.flags = 0}},
    {".byte 0xff, 0xff", {}, {.fault = kUD}},
    {"mov eax, cs:[data]", {.mem = {7}}, {.rax = 7}},
    {"mov cs:[data], eax", {}, {.fault = kGP}},
};
INSTRUCTION_CASES("32-bit faults", kUser32, kUser32FaultCases);

constexpr Case kAlignmentCases[] = {
    {"mov eax, [data+1]", {.flags = core::kAc}, {.fault = kAC}},
    {"mov [data+2], rax", {.flags = core::kAc}, {.fault = kAC}},
    {"movzx eax, word ptr [data+3]", {.flags = core::kAc}, {.fault = kAC}},
    {"mov rax, [data+8]", {.flags = core::kAc, .mem = {0, 3}}, {.rax = 3}},
    {"mov al, [data+1]", {.rax = 0, .flags = core::kAc, .mem = {0x0500}}, {.rax = 5}},
};
INSTRUCTION_CASES("alignment checks", kUser64, kAlignmentCases);

constexpr Case kKernelAlignmentCases[] = {
    {"mov eax, [data+1]", {.flags = core::kAc, .mem = {0x11'2233'4455}}, {.rax = 0x1122'3344}},
};
INSTRUCTION_CASES("alignment checks are for users", kKernel64, kKernelAlignmentCases);

constexpr Case kFloatFaultCases[] = {
    {"divsd xmm0, xmm1",
     {.xmm0 = doubles(1), .xmm1 = doubles(0), .mxcsr = 0x1d80},
     {.mxcsr = 0x1d84, .fault = kXM}},
    {"addsd xmm0, xmm1", {.xmm0 = doubles(1), .xmm1 = doubles(2), .mxcsr = 0}, {.xmm0 = doubles(3)}},
    {"fld1; fdiv qword ptr [data]; fwait",
     {.fcw = 0x37b, .mem = {0}},
     {.st = {1.0}, .fsw = 0x8084, .fault = kMF}},
    {"ldmxcsr [data]", {.mem = {0x1'0000}}, {.fault = kGP}},
};
INSTRUCTION_CASES("floating-point exceptions", kUser64, kFloatFaultCases);

}  // namespace doppel::tests
