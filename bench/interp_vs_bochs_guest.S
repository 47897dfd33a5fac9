// The guest of interp_vs_bochs.py: one image that a PC BIOS starts as a boot sector (Bochs) and a Multiboot loader
// starts in 32-bit mode (Doppel). Runs one workload for so many iterations, in 32-bit protected mode or in long
// mode, paging on, interrupts off; all of it below 1 MiB. Around the loop it writes "@begin" and
// "@end XXXXXXXX" to port 0xe9, X a checksum in hexadecimal; then it leaves through port 0xf4 or halts.
// The script writes the parameters into the image. Linked at 0x7c00.

        .set    IMAGE, 0x7c00
        .set    SECTORS, 8              // the whole image, boot sector included
        .set    PORT_E9, 0xe9
        .set    DEBUG_EXIT, 0xf4
        .set    STACK, 0x7000           // apart from the page that holds code
        .set    PAGE_TABLES, 0x10000    // the root; the lower levels of long mode follow, a page each
        .set    ARRAY, 0x20000          // for the workloads, zeroed
        .set    ARRAY_SIZE, 32768 * 8

        .text
        .code16
        .globl  start
start:
        jmp     start16
        .balign 4
bits:           .long   32              // at offset 4: 32 or 64
workload:       .long   0               // index into the tables at the end
iterations:     .long   1

        .balign 4
multiboot_header:
        .set    FLAGS, 1 << 16          // the addresses below count
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
        .long   multiboot_header, start, 0, 0, start32

start16:
        cli
        ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $IMAGE, %sp
        sti
        movw    $(0x0200 + SECTORS - 1), %ax    // INT 13h read: the rest of the image, DL is the drive
        movw    $0x0002, %cx
        movb    $0, %dh
        movw    $(IMAGE + 512), %bx
        int     $0x13
        jc      1b
        cli
        lgdtl   gdt_pointer
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $0x08, $start32

        .org    510
        .word   0xaa55

        .code32
start32:
        cli
        cld
        lgdt    gdt_pointer
        ljmp    $0x08, $1f
1:      movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK, %esp
        movl    $PAGE_TABLES, %edi
        xorl    %eax, %eax
        movl    $(3 * 4096 / 4), %ecx
        rep stosl
        movl    $ARRAY, %edi
        movl    $(ARRAY_SIZE / 4), %ecx
        rep stosl
        cmpl    $64, bits
        je      enter_long_mode

        movl    $0x83, PAGE_TABLES      // one page of 4 MiB
        movl    %cr4, %eax
        orl     $0x10, %eax             // PSE
        movl    %eax, %cr4
        movl    $PAGE_TABLES, %eax
        movl    %eax, %cr3
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        jmp     run_32

enter_long_mode:
        movl    $(PAGE_TABLES + 0x1003), PAGE_TABLES
        movl    $(PAGE_TABLES + 0x2003), PAGE_TABLES + 0x1000
        movl    $0x83, PAGE_TABLES + 0x2000     // one page of 2 MiB
        movl    %cr4, %eax
        orl     $0x20, %eax             // PAE
        movl    %eax, %cr4
        movl    $PAGE_TABLES, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       // EFER.LME
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        ljmp    $0x18, $run_64

#define BITS 32
#define NAME(x) x##_32
#define WORD 4
#define DATA .long
#define A %eax
#define B %ebx
#define C %ecx
#define D %edx
#define SI %esi
#define DI %edi
#define BP %ebp
#include "interp_vs_bochs_loops.S"

#undef BITS
#undef NAME
#undef WORD
#undef DATA
#undef A
#undef B
#undef C
#undef D
#undef SI
#undef DI
#undef BP

        .code64
#define BITS 64
#define NAME(x) x##_64
#define WORD 8
#define DATA .quad
#define A %rax
#define B %rbx
#define C %rcx
#define D %rdx
#define SI %rsi
#define DI %rdi
#define BP %rbp
#include "interp_vs_bochs_loops.S"

text_begin:
        .asciz  "@begin\n"
text_end:
        .asciz  "@end "

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      // 0x08: 32-bit code
        .quad   0x00cf93000000ffff      // 0x10: data
        .quad   0x00af9b000000ffff      // 0x18: 64-bit code
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt

        .org    SECTORS * 512
