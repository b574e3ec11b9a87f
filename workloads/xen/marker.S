/*
 * strata-mark N: announces marker N (decimal, 0..65535) to the recorder and exits with status 0.
 *
 * A marker is a long NOP whose displacement holds the number:
 *
 *     0f 1f 84 00 imm32      nopl imm32(%rax,%rax,1)      imm32 = 0x53540000 | N
 *
 * It does nothing on any processor. The number is patched into the instruction before it runs,
 * hence the writable section. No C library: the fewer instructions outside the workload, the better.
 *
 *     cc -nostdlib -static -o strata-mark marker.S
 */
        .section .mark, "awx", @progbits
        .globl  _start
_start:
        mov     $2, %edi                /* exit status when the argument is missing or no number */
        cmpq    $2, (%rsp)
        jb      4f
        mov     16(%rsp), %rsi          /* argv[1] */
        xor     %edx, %edx
1:      movzbl  (%rsi), %eax
        test    %al, %al
        jz      2f
        sub     $'0', %eax
        cmp     $9, %eax
        ja      4f
        imul    $10, %edx, %edx
        add     %eax, %edx
        inc     %rsi
        jmp     1b
2:      mov     %dx, marker+4(%rip)
        xor     %edi, %edi
        jmp     marker
        .balign 64
marker: .byte   0x0f, 0x1f, 0x84, 0x00
        .long   0x53540000
4:      mov     $60, %eax               /* exit */
        syscall

        .section .note.GNU-stack, "", @progbits
