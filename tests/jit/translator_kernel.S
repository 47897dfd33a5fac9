# The system software under which tests/jit runs random programs: it records every exception, repairs those it can
# (a page that only has to be made present or writable), skips the instruction otherwise, and offers a few services
# that change address spaces and modes. Linked at its linear address; addresses as in tests/jit/translator_layout.hpp.
        .set    KERNEL, 0xffff800000000000
        .set    LOG, KERNEL + 0x40000
        .set    VARIABLES, KERNEL + 0x50000
        .set    LENGTHS, KERNEL + 0x60000       # of the program's instructions: a byte per byte of code
        .set    RECORD, 192
        .set    MAX_RECORDS, 96
        .set    CODE, 0x400000                  # 32 KiB, and again 1 MiB above
        .set    TABLE_OFFSET, 0x3000            # of the page table for the program, from CR3
        .set    CS_16, 0x5b                     # whose base is CODE
        .set    OTHER_SPACE, 0x4000             # CR3 of the two address spaces differs in this bit
        .set    TOGGLED_WRITABLE, 0x23          # page-table indices of two data pages
        .set    TOGGLED_PRESENT, 0x27
        .set    PTE_PRESENT, 1
        .set    PTE_WRITABLE, 2
        .set    PTE_LAZY, 0x200                 # make it present when it is missed
        .set    PTE_COPY_ON_WRITE, 0x400        # make it writable when it is written

        # What trap pushes, from RSP.
        .set    SAVED_RAX, 14 * 8
        .set    VECTOR, 15 * 8
        .set    ERROR, 16 * 8
        .set    PC, 17 * 8
        .set    PROGRAM_CS, 18 * 8
        .set    RFLAGS, 19 * 8
        .set    STACK_POINTER, 20 * 8

        .intel_syntax noprefix
        .text
        .globl  start
start:
        .quad   stubs, interrupt, system_call   # read by TestMachine

        .balign 16
stubs:
        .set    vector, 0
        .rept   256
        .balign 16
        .if     !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
        push    0
        .endif
        push    vector
        jmp     trap
        .set    vector, vector + 1
        .endr

trap:
        push    rax
        push    rcx
        push    rdx
        push    rbx
        push    rbp
        push    rsi
        push    rdi
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        cld
        mov     rbx, [rip + count]
        cmp     rbx, MAX_RECORDS
        jae     stop
        inc     qword ptr [rip + count]
        imul    rdi, rbx, RECORD
        movabs  rax, LOG
        add     rdi, rax
        mov     rdx, [rsp + VECTOR]
        mov     [rdi], rdx
        mov     rax, [rsp + ERROR]
        mov     [rdi + 8], rax
        xor     eax, eax
        cmp     edx, 14
        jne     1f
        mov     rax, cr2
1:      mov     [rdi + 16], rax
        mov     rax, [rsp + PC]
        mov     [rdi + 24], rax
        mov     rax, [rsp + RFLAGS]
        mov     [rdi + 32], rax
        mov     rax, [rsp + STACK_POINTER]
        mov     [rdi + 40], rax
        mov     rax, cr0
        mov     [rdi + 48], rax
        mov     rax, cr3
        mov     [rdi + 56], rax
        mov     rsi, rsp
        add     rdi, 64
        mov     ecx, 15
        rep     movsq

        cmp     edx, 0x31
        je      stop
        cmp     edx, 0x30
        je      service_interrupt
        cmp     edx, 1
        je      debug
        cmp     edx, 3
        je      resume
        cmp     edx, 7
        je      device_not_available
        cmp     edx, 14
        je      page_fault
        cmp     edx, 16
        jne     skip
        clts
        fnclex

# Goes on behind the instruction, with flags that do not depend on what it left of them.
skip:
        mov     rax, [rsp + PC]
        mov     rcx, rax
        cmp     dword ptr [rsp + PROGRAM_CS], CS_16
        jne     1f
        add     rcx, CODE
1:      and     rcx, ~0x107fff
        cmp     rcx, CODE
        jne     stop
        and     eax, 0x7fff
        movabs  rcx, LENGTHS
        movzx   ecx, byte ptr [rcx + rax]
        test    ecx, ecx
        jz      stop
        add     [rsp + PC], rcx
        and     qword ptr [rsp + RFLAGS], ~0x108d5      # RF and the arithmetic flags
        or      qword ptr [rsp + RFLAGS], 0x805         # OF, PF, CF
resume:
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rdi
        pop     rsi
        pop     rbp
        pop     rbx
        pop     rdx
        pop     rcx
        pop     rax
        add     rsp, 16
        iretq

stop:
        hlt
        jmp     stop

device_not_available:
        clts
        jmp     resume

# Single steps: a few of them.
debug:
        test    ebx, 3
        jnz     resume
        and     qword ptr [rsp + RFLAGS], ~0x100
        jmp     resume

page_fault:
        mov     rax, cr2
        movabs  rcx, ~0x1001fffff
        and     rcx, rax
        cmp     rcx, CODE
        jne     skip
        mov     rsi, rax
        shr     eax, 12
        and     eax, 511
        mov     rdi, cr3
        movabs  rcx, KERNEL + TABLE_OFFSET
        add     rdi, rcx
        lea     rdi, [rdi + rax * 8]            # the page-table entry
        mov     rcx, [rdi]
        test    ecx, PTE_PRESENT
        jz      1f
        test    byte ptr [rsp + ERROR], 2       # a write
        jz      skip
        test    ecx, PTE_WRITABLE
        jnz     skip
        test    ecx, PTE_COPY_ON_WRITE
        jz      skip
        or      qword ptr [rdi], PTE_WRITABLE
        invlpg  [rsi]
        jmp     resume
1:      test    ecx, PTE_LAZY
        jz      skip
        or      qword ptr [rdi], PTE_PRESENT
        jmp     resume

service_interrupt:
        mov     eax, [rsp + SAVED_RAX]
        call    service
        jmp     resume

# Service EAX & 7. Changes RAX, RCX, RDX and RSI.
service:
        and     eax, 7
        lea     rcx, [rip + services]
        movsxd  rax, dword ptr [rcx + rax * 4]
        add     rax, rcx
        jmp     rax
        .balign 4
services:
        .long   nothing - services, other_space - services, toggle_ts - services, flush - services
        .long   toggle_writable - services, toggle_present - services, swap_bases - services, invalidate - services
other_space:
        mov     rax, cr3
        xor     rax, OTHER_SPACE
        mov     cr3, rax
nothing:
        ret
toggle_ts:
        mov     rax, cr0
        xor     rax, 8
        mov     cr0, rax
        ret
toggle_writable:
        mov     edx, PTE_WRITABLE
        mov     esi, TOGGLED_WRITABLE
        jmp     1f
toggle_present:
        mov     edx, PTE_PRESENT
        mov     esi, TOGGLED_PRESENT
1:      mov     rax, cr3
        movabs  rcx, KERNEL + TABLE_OFFSET
        add     rcx, rax
        xor     [rcx + rsi * 8], rdx
flush:
        mov     rax, cr3
        mov     cr3, rax
        ret
swap_bases:
        rdfsbase rax
        rdgsbase rcx
        wrfsbase rcx
        wrgsbase rax
        ret
invalidate:
        invlpg  [rsi]
        ret

system_call:
        mov     [rip + program_rsp], rsp
        lea     rsp, [rip + system_call_stack]
        push    rax
        push    rcx
        push    rdx
        push    rsi
        call    service
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rax
        mov     rsp, [rip + program_rsp]
        sysretq

interrupt:
        inc     qword ptr [rip + ticks]
        iretq

        .set    count, VARIABLES
        .set    ticks, VARIABLES + 8
        .set    program_rsp, VARIABLES + 16
        .set    system_call_stack, VARIABLES + 0x800
