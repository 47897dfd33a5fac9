# The first task of GNU Mach in tests/guests/grub_test.py: says which ring it runs in, through the call gate of Mach's
# system calls, and shows that the task outlives time slices.
        .globl  start
start:  movl    %cs, %eax
        andb    $3, %al
        addb    %al, ring
        movl    $3, %esi
1:      pushl   $text
        pushl   $0              # where a return address would be
        movl    $-30, %eax      # mach_print
        lcall   $7, $0
        addl    $8, %esp
        incb    text
        movl    $20000000, %ecx
2:      loop    2b
        decl    %esi
        jnz     1b
3:      jmp     3b
        .data
text:   .ascii  "1 task in ring "
ring:   .asciz  "0\n"
