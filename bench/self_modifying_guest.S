# The guest of self_modifying.py: code that changes, and data and stacks on pages of code, in long mode. A Multiboot
# image. Each workload writes "@begin NAME\n" and "@end NAME XXXXXXXX\n" to port 0xe9, X a checksum in hexadecimal; then
# the guest leaves through port 0xf4. Runs with interrupts off.

        .set    SCRATCH, 0x300000       # plain data
        .set    PATCHES, 100000
        .set    STORES, 10000000

        .include "long_mode_start.S"

start64:
        leaq    workloads(%rip), %r15
1:      movq    (%r15), %r14            # its name
        testq   %r14, %r14
        jz      exit_guest
        leaq    begin(%rip), %rsi
        call    print
        movq    %r14, %rsi
        call    print
        movb    $'\n', %al
        outb    %al, $PORT_E9
        xorl    %ebx, %ebx              # the checksum
        call    *8(%r15)
        leaq    end(%rip), %rsi
        call    print
        movq    %r14, %rsi
        call    print
        call    print_number
        addq    $16, %r15
        jmp     1b

begin:  .asciz  "@begin "
end:    .asciz  "@end "

        .text   1
        .balign 8
workloads:                              # name, code

        .macro  workload name
        .text   2
1:      .asciz  "\name"
        .text   1
        .quad   1b, \name
        .text   0
        .balign 4096
\name:
        .endm

# For comparison: code, data and stack each on pages of their own.
        workload plain
        movq    $SCRATCH, %rdi
        movl    $STORES, %ecx
1:      addl    %ecx, (%rdi)
        movl    %ecx, 8(%rdi)
        addl    8(%rdi), %ebx
        decl    %ecx
        jnz     1b
        addl    (%rdi), %ebx
        ret

# A function is written anew, called once, and so on.
        workload patch
        leaq    patched(%rip), %rdi
        movl    $PATCHES, %ecx
1:      movl    %ecx, 1(%rdi)           # the operand of its MOV
        call    *%rdi
        addl    %eax, %ebx
        decl    %ecx
        jnz     1b
        ret
        .balign 4096
patched:
        movl    $0, %eax
        ret

# An instruction of the running loop itself is written: the processor must see it in the next round.
        workload patch_self
        leaq    2f(%rip), %rdi
        movl    $PATCHES, %ecx
1:      movl    %ecx, 1(%rdi)
2:      movl    $0, %eax
        addl    %eax, %ebx
        decl    %ecx
        jnz     1b
        ret

# As a compiler in the guest does: functions are written one behind another into a page, each runs a while.
        workload compiler
        movl    $PATCHES, %ecx
        leaq    compiled(%rip), %rdi
1:      movb    $0xb8, (%rdi)           # MOV EAX, imm32; ADD EBX, EAX; RET
        movl    %ecx, 1(%rdi)
        movl    $0x00c3c301, 5(%rdi)
        movl    $20, %edx
2:      call    *%rdi
        decl    %edx
        jnz     2b
        addq    $64, %rdi
        leaq    compiled + 4096(%rip), %rax
        cmpq    %rax, %rdi
        jne     3f
        subq    $4096, %rdi
3:      decl    %ecx
        jnz     1b
        ret
        .balign 4096
compiled:
        .skip   4096

# The same as plain, but the data lies behind the code, on its page.
        workload data_near_code
        leaq    near_data(%rip), %rdi
        movl    $STORES, %ecx
1:      addl    %ecx, (%rdi)
        movl    %ecx, 8(%rdi)
        addl    8(%rdi), %ebx
        decl    %ecx
        jnz     1b
        addl    (%rdi), %ebx
        ret
        .balign 512
near_data:
        .quad   0, 0

# Calls of a function that stores to its own page; the caller lies elsewhere.
        workload function_with_data
        movl    $STORES, %ecx
1:      call    counter
        decl    %ecx
        jnz     1b
        ret
        .balign 4096
counter:
        incl    count(%rip)
        addl    count(%rip), %ebx
        ret
        .balign 64
count:  .long   0

# The stack lies on the page of the code that pushes and calls.
        workload stack_near_code
        movq    %rsp, %r13
        leaq    near_stack(%rip), %rsp
        movl    $STORES, %ecx
1:      pushq   %rcx
        call    2f
        popq    %rdx
        addl    %edx, %ebx
        decl    %ecx
        jnz     1b
        movq    %r13, %rsp
        ret
2:      addl    8(%rsp), %ebx
        ret
        .balign 1024
near_stack:
        .balign 4096

        .text   1
        .quad   0
