# A FAT12 boot sector, and after it the program that it loads, PROGRAM.BIN, one sector: real mode, with nothing but the
# BIOS. floppy_test.py puts both into an image. The program asks for a key and stores a line with it in the cluster that
# follows its own, which belongs to ANSWER.TXT.
        .code16
        .set    SECTORS_PER_TRACK, 18
        .set    ROOT_DIRECTORY, 19      # logical sectors
        .set    CLUSTER_2, 33
        .set    DIRECTORY, 0x8000
        .set    ENTRY_CLUSTER, 26       # offset in a directory entry
        .set    READ, 0x02              # functions of INT 13h
        .set    WRITE, 0x03

        .globl  start
start:  jmp     load
        .org    3
        .ascii  "DOPPEL  "              # the BIOS parameter block of a 1.44 MB floppy
        .word   512
        .byte   1                       # sectors of a cluster
        .word   1                       # the boot sector
        .byte   2                       # FATs
        .word   224, 2880
        .byte   0xf0
        .word   9, SECTORS_PER_TRACK, 2
        .long   0, 0
        .byte   0, 0, 0x29
        .long   0x12345678
        .ascii  "DOPPEL TEST"
        .ascii  "FAT12   "

load:   xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        movb    %dl, drive
        movw    $ROOT_DIRECTORY, %ax
        movw    $DIRECTORY, %bx
        movb    $READ, %cl
        call    transfer
        movw    $DIRECTORY, %di
1:      movw    $name, %si
        movw    $11, %cx
        pushw   %di
        repe cmpsb
        popw    %di
        je      2f
        addw    $32, %di
        cmpw    $DIRECTORY + 512, %di   # the first sector of the directory is enough
        jb      1b
        jmp     fail
2:      movw    ENTRY_CLUSTER(%di), %ax
        addw    $CLUSTER_2 - 2, %ax
        movw    %ax, sector
        movw    $program, %bx
        movb    $READ, %cl
        call    transfer
        jmp     program

# Reads or writes (CL) logical sector AX at ES:BX.
transfer:
        pushw   %cx
        movb    $SECTORS_PER_TRACK, %cl
        divb    %cl                     # AL: track, AH: sector in it
        movb    %ah, %cl
        incb    %cl
        movb    %al, %ch
        movb    %al, %dh
        shrb    %ch                     # two heads
        andb    $1, %dh
        movb    drive, %dl
        popw    %ax
        movb    %al, %ah
        movb    $1, %al
        int     $0x13
        jc      fail
        ret

print:  lodsb
        testb   %al, %al
        jz      1f
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        jmp     print
1:      ret

fail:   movw    $failed, %si
        call    print
        movb    $1, %al
        outb    %al, $0xf4
        hlt

failed: .asciz  "failed\r\n"
name:   .ascii  "PROGRAM BIN"
drive:  .byte   0
sector: .word   0                       # where the program was read from
        .org    510
        .word   0xaa55


program:
        movw    $hello, %si
        call    print
        movb    $0, %ah
        int     $0x16                   # waits for a key: AL
        movb    %al, key
        movw    $answer, %si
        call    print
        movw    sector, %ax
        incw    %ax
        movw    $answer, %bx
        movb    $WRITE, %cl
        call    transfer
        movw    $stored, %si
        call    print
1:      hlt
        jmp     1b

hello:  .asciz  "PROGRAM.BIN runs. A key, please: "
stored: .asciz  "stored\r\n"
answer: .ascii  "The key was "
key:    .asciz  "?\r\n"
        .org    1024
