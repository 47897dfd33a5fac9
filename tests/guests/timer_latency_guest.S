# The guest of timer_latency_test.py: a loop that only an interrupt ends. The local APIC's timer fires 128 times, at TSC
# deadlines; the handler notes how late it runs. Writes "@late XXXXXXXX" for each, in ticks, between two lines
# "@tsc XXXXXXXX" with the TSC / 256 at that time.

        .set    TICKS, 3000000          # from one deadline to the next, about 1 ms
        .set    SAMPLES, 128
        .set    VECTOR, 0x40
        .set    IDT, 0x300000
        .set    LATE, 0x301000
        .set    APIC_BASE, 0x1b
        .set    X2APIC_EOI, 0x80b
        .set    X2APIC_SPURIOUS, 0x80f
        .set    X2APIC_TIMER, 0x832
        .set    TSC_DEADLINE, 0x6e0

        .include "long_mode_start.S"

start64:
        leaq    handler(%rip), %rax
        movl    $(IDT + VECTOR * 16), %edi
        movw    %ax, (%rdi)
        movw    $0x08, 2(%rdi)
        movw    $0x8e00, 4(%rdi)        # present, interrupt gate
        shrl    $16, %eax
        movw    %ax, 6(%rdi)
        movq    $0, 8(%rdi)
        lidt    idt_pointer(%rip)

        movl    $APIC_BASE, %ecx
        rdmsr
        orl     $0xc00, %eax            # on, x2APIC
        wrmsr
        xorl    %edx, %edx
        movl    $0x1ff, %eax
        movl    $X2APIC_SPURIOUS, %ecx
        wrmsr
        movl    $(VECTOR | 2 << 17), %eax
        movl    $X2APIC_TIMER, %ecx
        wrmsr

        call    print_tsc
        xorl    %r12d, %r12d            # samples so far
1:      rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        addq    $TICKS, %rax
        movq    %rax, %r13              # the deadline
        movq    %rax, %rdx
        shrq    $32, %rdx
        movl    $TSC_DEADLINE, %ecx
        wrmsr
        movl    %r12d, %ebx
        sti
2:      addq    $3, %rsi                # the loop
        xorq    %rsi, %rdi
        cmpl    %r12d, %ebx
        je      2b
        cli
        cmpl    $SAMPLES, %r12d
        jne     1b

        movl    $LATE, %r12d
3:      leaq    late(%rip), %rsi
        call    print
        movl    (%r12), %ebx
        call    print_number
        addl    $4, %r12d
        cmpl    $(LATE + SAMPLES * 4), %r12d
        jne     3b
        call    print_tsc
        jmp     exit_guest

handler:
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        subq    %r13, %rax
        movl    %eax, LATE(,%r12,4)
        incl    %r12d
        xorl    %eax, %eax
        xorl    %edx, %edx
        movl    $X2APIC_EOI, %ecx
        wrmsr
        iretq

print_tsc:
        leaq    tsc(%rip), %rsi
        call    print
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        shrq    $8, %rax
        movl    %eax, %ebx
        jmp     print_number

late:   .asciz  "@late"
tsc:    .asciz  "@tsc"
        .balign 8
idt_pointer:
        .word   256 * 16 - 1
        .quad   IDT
