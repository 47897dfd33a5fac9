// The measured loops, included once for 32-bit and once for 64-bit mode: A, B, C, D, SI, DI and BP are registers of
// the mode's width, WORD their size in bytes. A workload does its work once, may use every register but the stack
// pointer, and returns its result in A; the caller adds them up.

NAME(run):
        mov     $text_begin, %esi
        call    NAME(print)
        mov     workload, %eax
        mov     NAME(workloads)(, A, WORD), A
        mov     A, NAME(chosen)
        movl    $0, checksum
1:      call    *NAME(chosen)
        add     %eax, checksum
        decl    iterations
        jnz     1b
        mov     $text_end, %esi
        call    NAME(print)

        mov     $8, %ecx
2:      roll    $4, checksum
        mov     checksum, %eax
        and     $15, %eax
        cmp     $10, %eax
        jb      3f
        add     $('a' - '0' - 10), %eax
3:      add     $'0', %eax
        outb    %al, $PORT_E9
        dec     %ecx
        jnz     2b
        mov     $'\n', %eax
        outb    %al, $PORT_E9
        outb    %al, $DEBUG_EXIT
4:      cli
        hlt
        jmp     4b

NAME(print):                            // the string at ESI
        lodsb
        test    %al, %al
        jz      1f
        outb    %al, $PORT_E9
        jmp     NAME(print)
1:      ret

// A CRC, bit by bit, of the numbers of a linear congruential generator: registers and unpredictable branches.
NAME(integer):
        mov     $1, %eax
        mov     $0xffffffff, %edx
        mov     $0xedb88320, %esi
        mov     $1000, %ecx
1:      imul    $1664525, A, A
        add     $1013904223, A
        mov     A, B
        shr     $11, B
        xor     B, D
        mov     $8, %edi
2:      shr     $1, D
        jnc     3f
        xor     SI, D
3:      dec     DI
        jnz     2b
        dec     C
        jnz     1b
        mov     D, A
        ret

// The sieve of Eratosthenes over 16384 bytes: stores in strides, byte loads, predictable branches.
NAME(sieve):
#if BITS == 64
        movabs  $0x0101010101010101, A
#else
        mov     $0x01010101, A
#endif
        mov     $ARRAY, %edi
        mov     $(16384 / WORD), %ecx
1:      mov     A, (DI)
        add     $WORD, DI
        dec     C
        jnz     1b
        mov     $ARRAY, %edi
        mov     $2, %ebx
2:      cmpb    $0, (DI, B)
        je      4f
        mov     B, C
        imul    C, C
3:      movb    $0, (DI, C)
        add     B, C
        cmp     $16384, C
        jb      3b
4:      inc     B
        cmp     $128, B
        jb      2b
        xor     %eax, %eax
        mov     $16383, %ecx
5:      movzbl  (DI, C), %edx
        add     D, A
        dec     C
        jnz     5b
        ret

// Reads and updates at random places of 32768 words: the data side of the TLB and its fast path.
NAME(memory):
        mov     $7, %ebx
        mov     $ARRAY, %edi
        mov     $2000, %ecx
        xor     %eax, %eax
1:      imul    $1664525, %ebx, %ebx
        add     $1013904223, %ebx
        mov     %ebx, %edx
        shr     $17, %edx               // the first index
        mov     %ebx, %esi
        and     $0x7fff, %esi           // the second
        mov     (DI, D, WORD), BP
        add     (DI, SI, WORD), BP
        mov     B, (DI, D, WORD)
        add     BP, A
        xor     A, (DI, SI, WORD)
        dec     C
        jnz     1b
        ret

// Fibonacci by recursion: CALL, RET, PUSH, POP.
NAME(calls):
        mov     $15, %ecx
NAME(fibonacci):                        // of ECX, in A; keeps B and C
        cmp     $2, %ecx
        jb      1f
        push    B
        push    C
        sub     $1, %ecx
        call    NAME(fibonacci)
        mov     A, B
        sub     $1, %ecx
        call    NAME(fibonacci)
        add     B, A
        pop     C
        pop     B
        ret
1:      mov     C, A
        ret

        .balign 8
NAME(workloads):
        DATA    NAME(integer), NAME(sieve), NAME(memory), NAME(calls)
NAME(chosen):
        DATA    0
#if BITS == 32
checksum:
        .long   0
#endif
