/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry by the PVH boot protocol: 32-bit protected mode, paging off, ebx holds the
 * physical address of struct hvm_start_info. Goes to long mode on constant page tables and
 * calls kit_main(start_info). Also the interrupt stubs.
 */

#define PAGE_ALL		0x7	/* present, writable, the user's */
#define PAGE_LARGE		0x80
#define CR0_PE_PG		0x80000001
#define CR4_PAE			0x20
#define MSR_EFER		0xc0000080
#define EFER_LME		0x100
#define SELECTOR_CODE64		0x08
#define SELECTOR_DATA		0x10
#define STACK_SIZE		0x8000
#define VECTOR_COUNT		96
#define ERROR_CODE_VECTORS	0x60227d00	/* 8, 10-14, 17, 21, 29, 30 */

#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.quad kit_entry

	.code32
	.text
	.globl kit_entry
kit_entry:
	cli
	cld
	movl $boot_stack_top, %esp
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PE_PG, %eax
	movl %eax, %cr0
	lgdt boot_gdt_pointer
	ljmpl $SELECTOR_CODE64, $long_mode

	.code64
long_mode:
	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %ebx, %edi
	xorl %ebp, %ebp
	call kit_main
	ud2

/*
 * One stub a vector. Each leaves the same frame (struct irq_frame): vectors for which the
 * CPU pushes no error code push a zero. The stubs are 16 bytes apart, so irq_init()
 * computes their addresses.
 */
	.globl irq_stubs
	.balign 16
irq_stubs:
	.set vector, 0
	.rept VECTOR_COUNT
	.balign 16
	.if vector > 31 || !(ERROR_CODE_VECTORS >> (vector & 31) & 1)
	pushq $0
	.endif
	pushq $vector
	jmp irq_common
	.set vector, vector + 1
	.endr

irq_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	call irq_dispatch
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

	.data
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x10: data */
boot_gdt_end:
boot_gdt_pointer:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt

/*
 * The low 4 GiB one to one, in 2 MiB pages. Filled by the assembler: where CPL 0 is
 * emulated, a loop over 2,048 entries would be a tenth of the boot time.
 */
	.balign 4096
	.globl boot_pml4
boot_pml4:
	.quad boot_pdpt + PAGE_ALL
	.fill 511, 8, 0
boot_pdpt:
	.set gib, 0
	.rept 4
	.quad boot_page_directories + 4096 * gib + PAGE_ALL
	.set gib, gib + 1
	.endr
	.fill 508, 8, 0
boot_page_directories:
	.set page, 0
	.rept 2048
	.quad (page << 21) + PAGE_LARGE + PAGE_ALL
	.set page, page + 1
	.endr

	.bss
	.balign 16
	.skip STACK_SIZE
boot_stack_top:
