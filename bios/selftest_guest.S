# The guest of `doppel selftest`: walks one processor from real mode to long mode, takes timer interrupts and a
# page fault, and reports each step on COM1. Loaded at 0x7c00 and entered there in real mode; needs 1 MiB of
# RAM, the 8254, the two 8259, COM1 and the debug exit port, and knows nothing else of the machine.
# It leaves through the debug exit port with 0x10, or with the number of the step that failed.

        .set    COM1, 0x3f8
        .set    DEBUG_EXIT, 0xf4
        .set    PASSED, 0x10
        .set    PIC_MASTER, 0x20
        .set    PIC_SLAVE, 0xa0
        .set    PIT_CHANNEL0, 0x40
        .set    PIT_CONTROL, 0x43

        .set    STACK_TOP, 0x7c00
        .set    PML4, 0x10000           # PDPT, page directory and page table follow, a page each
        .set    PDPT, PML4 + 0x1000
        .set    DIRECTORY, PML4 + 0x2000        # maps 0-2 MiB by one large page
        .set    TABLE, PML4 + 0x3000            # maps 4-6 MiB, empty
        .set    APIC_DIRECTORY, PML4 + 0x4000   # maps the last GiB below 4 GiB
        .set    IDT, 0x20000
        .set    SPARE_PAGE, 0x30000     # what the page-fault handler maps
        .set    HOLE, 0x400000          # where it is missed
        .set    SCRATCH, 0x31000

        .set    TIMER_VECTOR, 0x20
        .set    TICKS, 10
        .set    PIT_DIVISOR, 1193       # 1 kHz

        .text
# ---- Real mode: segmentation, the stack, a software interrupt through the vector table.
        .code16
        .globl  start
start:
        cli
        cld
        ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $STACK_TOP, %sp
        movb    $1, step

        movw    $real_mode_interrupt, 0x40 * 4
        movw    %ax, 0x40 * 4 + 2
        movw    $(SCRATCH >> 4), %bx
        movw    %bx, %es
        movw    $0x1234, %ax
        xorw    %di, %di
        movw    $16, %cx
        rep stosw                       # 16 words at SCRATCH
        int     $0x40
        cmpw    $0x1235, %ax
        jne     real_mode_failed
        movw    $((SCRATCH >> 4) - 1), %bx
        movw    %bx, %es
        cmpw    $0x1234, %es:0x2e       # the last word, through another segment
        jne     real_mode_failed

        lgdtl   gdt_pointer
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $0x08, $protected_mode

real_mode_interrupt:
        incw    %ax
        iret
real_mode_failed:
        movb    step, %al
        outb    %al, $DEBUG_EXIT
        hlt
        jmp     real_mode_failed

# ---- Protected mode: a segment with a base, 32-bit arithmetic. Then page tables.
        .code32
protected_mode:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK_TOP, %esp
        call    serial_setup
        movl    $text_real_mode, %esi
        call    print
        movb    $2, step

        movw    $0x20, %ax              # the segment that starts at SCRATCH
        movw    %ax, %fs
        cmpl    $0x12341234, %fs:4
        jne     fail
        movl    $0x12345678, %eax
        movl    $0x9abcdef0, %ecx
        mull    %ecx
        cmpl    $0x0b00ea4e, %edx
        jne     fail
        cmpl    $0x242d2080, %eax
        jne     fail
        movl    $text_protected_mode, %esi
        call    print
        movb    $3, step

        movl    $PML4, %edi
        xorl    %eax, %eax
        movl    $(5 * 0x1000 / 4), %ecx
        rep stosl
        movl    $(PDPT + 3), PML4
        movl    $(DIRECTORY + 3), PDPT
        movl    $(APIC_DIRECTORY + 3), PDPT + 3 * 8
        movl    $0x83, DIRECTORY
        movl    $(TABLE + 3), DIRECTORY + (HOLE >> 21) * 8
        movl    $(0xfee00000 + 0x9b), APIC_DIRECTORY + 0x1f7 * 8        # uncached

        movl    %cr4, %eax
        orl     $0x20, %eax             # PAE
        movl    %eax, %cr4
        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax            # LME
        wrmsr
        movl    %cr0, %eax
        orl     $0x80010000, %eax       # PG, WP
        movl    %eax, %cr0
        ljmp    $0x18, $long_mode

# ---- Long mode: 64-bit arithmetic, RIP-relative data, EFER.LMA. Then the IDT.
        .code64
long_mode:
        xorl    %eax, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK_TOP, %esp
        movl    $0xc0000080, %ecx
        rdmsr
        btl     $10, %eax               # LMA
        jnc     fail64
        movq    factor(%rip), %r8
        movq    %r8, %rax
        mulq    %r8
        movabsq $0x0121446a94c3f935, %r9
        cmpq    %r9, %rdx
        jne     fail64
        movabsq $0x7893a4aaa4917040, %r9
        cmpq    %r9, %rax
        jne     fail64
        movl    $text_long_mode, %esi
        call    print64

        movl    $IDT, %edi
        movl    $32, %ecx
        movl    $unexpected, %eax
1:      call    set_gate
        loop    1b
        movl    $timer_interrupt, %eax
        call    set_gate                # TIMER_VECTOR follows the exceptions
        movl    $(IDT + 14 * 16), %edi
        movl    $page_fault, %eax
        call    set_gate
        lidt    idt_pointer(%rip)

# ---- Timer: 8259 at TIMER_VECTOR, 8254 channel 0 at 1 kHz, through the local APIC's virtual wire if there is one.
        movb    $4, step(%rip)
        movl    $1, %eax
        cpuid
        btl     $9, %edx
        jnc     1f
        movl    $0xfee000f0, %ebx
        movl    $0x1ff, (%rbx)          # spurious vector 0xff, enabled
        movl    $0xfee00350, %ebx
        movl    $0x700, (%rbx)          # LINT0: ExtINT
1:
        movl    $pic_setup, %esi
        movl    $((pic_setup_end - pic_setup) / 2), %ecx
1:      lodsw                           # port, value
        movzbl  %al, %edx
        movb    %ah, %al
        outb    %al, %dx
        loop    1b
        movb    $0x34, %al              # channel 0, both bytes, rate generator
        outb    %al, $PIT_CONTROL
        movb    $(PIT_DIVISOR & 0xff), %al
        outb    %al, $PIT_CHANNEL0
        movb    $(PIT_DIVISOR >> 8), %al
        outb    %al, $PIT_CHANNEL0

        movl    $10000000, %ecx         # a dead timer fails here instead of halting for ever
1:      inb     $PIC_MASTER, %al        # IRR
        testb   $1, %al
        loopz   1b
        jz      fail64
2:      sti
        hlt
        cli
        cmpl    $TICKS, ticks(%rip)
        jb      2b
        movb    $0xff, %al
        outb    %al, $(PIC_MASTER + 1)
        movl    $text_timer, %esi
        call    print64

# ---- Page fault: a write to a page that is not there; the handler maps it and the write runs again.
        movb    $5, step(%rip)
        movl    $HOLE, %ebx
        movabsq $0x0123456789abcdef, %rax
        movq    %rax, 0x678(%rbx)
        cmpl    $1, page_faults(%rip)
        jne     fail64
        cmpq    %rax, SPARE_PAGE + 0x678
        jne     fail64
        movl    $text_page_fault, %esi
        call    print64

        movl    $text_passed, %esi
        call    print64
        movb    $PASSED, %al
        jmp     leave

fail64:
        movl    $text_failed, %esi
        call    print64
        movb    step(%rip), %al
leave:
        outb    %al, $DEBUG_EXIT
1:      cli
        hlt
        jmp     1b

# Interrupt gate at (%rdi) to the address in %eax; %rdi moves to the next gate.
set_gate:
        movw    %ax, (%rdi)
        movw    $0x18, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        movw    $0, 6(%rdi)             # all code lies below 64 KiB
        movq    $0, 8(%rdi)
        addq    $16, %rdi
        ret

unexpected:
        jmp     fail64

timer_interrupt:
        pushq   %rax
        incl    ticks(%rip)
        movb    $0x20, %al              # end of interrupt
        outb    %al, $PIC_MASTER
        popq    %rax
        iretq

page_fault:
        pushq   %rax
        cmpl    $2, 8(%rsp)             # error code: a write, not present, supervisor
        jne     fail64
        movq    %cr2, %rax
        cmpq    $(HOLE + 0x678), %rax
        jne     fail64
        movq    $(SPARE_PAGE + 3), TABLE
        invlpg  HOLE
        incl    page_faults(%rip)
        popq    %rax
        addq    $8, %rsp
        iretq

# ---- Serial output: print the string at %esi. The same bytes mean the same in 32- and 64-bit mode where the
# instructions have no REX prefix, no INC/DEC register form and no memory operand without a base.
        .code32
fail:
        movl    $text_failed, %esi
        call    print
        movb    step, %al
        outb    %al, $DEBUG_EXIT
1:      hlt
        jmp     1b

serial_setup:
        movl    $serial_registers, %esi
        movl    $((serial_registers_end - serial_registers) / 2), %ecx
        movl    $COM1, %ebx
1:      lodsw                           # register, value
        movzbl  %al, %edx
        addl    %ebx, %edx
        movb    %ah, %al
        outb    %al, %dx
        loop    1b
        ret

print:
print64:
        lodsb
        testb   %al, %al
        jz      3f
        movb    %al, %ah
        movl    $1000000, %ecx          # do not wait for ever for a transmitter that is never empty
        movl    $(COM1 + 5), %edx
1:      inb     %dx, %al
        testb   $0x20, %al
        loopz   1b
        movl    $COM1, %edx
        movb    %ah, %al
        outb    %al, %dx
        jmp     print
3:      ret

# ---- Data.
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      # 0x08: 32-bit code
        .quad   0x00cf93000000ffff      # 0x10: data
        .quad   0x00af9b000000ffff      # 0x18: 64-bit code
        .quad   0x0040930000000fff + ((SCRATCH & 0xffffff) << 16)       # 0x20: data at SCRATCH, 4 KiB
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
idt_pointer:
        .word   33 * 16 - 1
        .quad   IDT

        .balign 8
factor: .quad   0x1102030405060708
ticks:  .long   0
page_faults:
        .long   0
step:   .byte   0

pic_setup:
        .byte   PIC_MASTER, 0x11, PIC_MASTER + 1, TIMER_VECTOR, PIC_MASTER + 1, 4, PIC_MASTER + 1, 1
        .byte   PIC_SLAVE, 0x11, PIC_SLAVE + 1, TIMER_VECTOR + 8, PIC_SLAVE + 1, 2, PIC_SLAVE + 1, 1
        .byte   PIC_MASTER + 1, 0xfe, PIC_SLAVE + 1, 0xff       # only IRQ 0
        .byte   PIC_MASTER, 0x0a        # reads give the request register
pic_setup_end:
serial_registers:                       # 115200 baud, 8N1, FIFO on, DTR and RTS
        .byte   1, 0, 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 7, 4, 3
serial_registers_end:

text_real_mode:
        .asciz  "real mode: ok\n"
text_protected_mode:
        .asciz  "protected mode: ok\n"
text_long_mode:
        .asciz  "long mode: ok\n"
text_timer:
        .asciz  "timer: ok\n"
text_page_fault:
        .asciz  "page fault: ok\n"
text_passed:
        .asciz  "selftest passed\n"
text_failed:
        .asciz  "selftest failed\n"
