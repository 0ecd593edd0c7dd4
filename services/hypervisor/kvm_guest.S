/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of one boot sector that does what a stock kernel needs of the machine: it goes from real mode to
 * long mode with paging on, reads CPUID and the TSC, takes a timer interrupt out of HLT, and then ends QEMU
 * through the isa-debug-exit device. Where KVM is present but cannot run a guest, it hangs before that.
 */
        .section .rodata
        .global hv_kvm_guest
        .balign 16
hv_kvm_guest:

#define ORIGIN     0x7c00
#define AT(symbol) (ORIGIN + (symbol) - hv_kvm_guest)
#define PML4       0x1000
#define PDPT       0x2000
#define IDT        0x3000

        .code16
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $ORIGIN, %sp

        /* Clear page tables and IDT: 0x1000..0x3fff. */
        movw $PML4, %di
        movw $0x1800, %cx
        cld
        rep stosw
        /* PML4[0] -> PDPT; PDPT[0] and [3] -> pages of 1 GiB would need a feature, so PD at 0x4000 of 2 MiB. */
        movl $(PDPT | 3), PML4
        movl $(0x4000 | 3), PDPT
        movl $0x83, 0x4000
        movl $0, 0x4004

        movl $0xa0, %eax /* PAE, PGE */
        movl %eax, %cr4
        movl $PML4, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx /* EFER.LME */
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl $0x80000001, %eax /* PG, PE */
        movl %eax, %cr0
        lgdtl AT(gdt_pointer)
        ljmpl $8, $AT(long_mode)

        .code64
long_mode:
        movw $16, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movq $ORIGIN, %rsp

        movl $1, %eax
        cpuid
        rdtsc

        /* IDT entry 0x20: the timer, after the PICs were told to start there. */
        movl $AT(timer), %eax
        movw %ax, IDT + 0x200
        movw $8, IDT + 0x202
        movw $0x8e00, IDT + 0x204
        lidt AT(idt_pointer)
        movb $0x11, %al
        outb %al, $0x20
        movb $0x20, %al
        outb %al, $0x21
        movb $0x04, %al
        outb %al, $0x21
        movb $0x01, %al
        outb %al, $0x21
        movb $0xfe, %al /* all masked but the timer */
        outb %al, $0x21
        movb $0x34, %al /* PIT channel 0, mode 2, about 1 ms */
        outb %al, $0x43
        movb $0xa9, %al
        outb %al, $0x40
        movb $0x04, %al
        outb %al, $0x40
        xorl %ebx, %ebx
        sti
1:      hlt
        cmpl $3, %ebx
        jb 1b
        movb $0x2a, %al /* QEMU ends with (0x2a << 1) | 1 = 85 */
        outb %al, $0xf4
2:      hlt
        jmp 2b

timer:
        incl %ebx
        pushq %rax
        movb $0x20, %al
        outb %al, $0x20
        popq %rax
        iretq

        .balign 8
gdt:
        .quad 0
        .quad 0x00af9a000000ffff
        .quad 0x00cf92000000ffff
gdt_pointer:
        .word gdt_pointer - gdt - 1
        .long AT(gdt)
idt_pointer:
        .word 0x0fff
        .quad IDT

        .org hv_kvm_guest + 510
        .word 0xaa55
        .section .note.GNU-stack, "", @progbits
