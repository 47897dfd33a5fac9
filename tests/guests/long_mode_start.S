# The start of a bare guest: a Multiboot image that goes to long mode, the first GiB identity-mapped, and jumps to start64
# with interrupts off. Included by the guests; has what they print with on port 0xe9. Linked at 1 MiB.

        .set    IMAGE, 0x100000
        .set    PORT_E9, 0xe9
        .set    DEBUG_EXIT, 0xf4
        .set    STACK, 0x200000
        .set    PAGE_TABLES, 0x201000   # PML4, PDPT, page directory

        .text
        .code32
        .globl  start
start:
        jmp     start32
        .balign 4
multiboot_header:
        .set    FLAGS, 1 << 16          # the addresses below count
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
        .long   multiboot_header, IMAGE, 0, 0, start32

start32:
        cli
        cld
        movl    $STACK, %esp
        movl    $PAGE_TABLES, %edi
        xorl    %eax, %eax
        movl    $(2 * 4096 / 4), %ecx
        rep stosl
        movl    $(PAGE_TABLES + 0x1003), PAGE_TABLES
        movl    $(PAGE_TABLES + 0x2003), PAGE_TABLES + 0x1000
        movl    $0x83, %eax             # the first GiB, 2 MiB pages
1:      movl    %eax, (%edi)
        movl    $0, 4(%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        cmpl    $(PAGE_TABLES + 0x3000), %edi
        jne     1b
        movl    %cr4, %eax
        orl     $0x20, %eax             # PAE
        movl    %eax, %cr4
        movl    $PAGE_TABLES, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER.LME
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $0x08, $long_mode

        .balign 8
gdt:    .quad   0, 0x00af9b000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt

        .code64
long_mode:
        xorl    %eax, %eax              # no data segments: IRET would look for them
        movl    %eax, %ss
        movl    %eax, %ds
        movl    %eax, %es
        jmp     start64

        .globl  exit_guest
exit_guest:
        xorl    %eax, %eax
        outb    %al, $DEBUG_EXIT
1:      hlt
        jmp     1b

print:                                  # the text at RSI
        lodsb
        testb   %al, %al
        jz      1f
        outb    %al, $PORT_E9
        jmp     print
1:      ret

print_number:                           # EBX, in hexadecimal, and the line's end
        movb    $' ', %al
        outb    %al, $PORT_E9
        movl    $8, %ecx
1:      roll    $4, %ebx
        movl    %ebx, %eax
        andl    $15, %eax
        leaq    digits(%rip), %rdx
        movb    (%rdx,%rax), %al
        outb    %al, $PORT_E9
        loop    1b
        movb    $'\n', %al
        outb    %al, $PORT_E9
        ret

digits: .ascii  "0123456789abcdef"

