/* SPDX-License-Identifier: BSD-2-Clause */
/* To CPL 3 and back, and the handlers that may interrupt it often. See user.h. */

#define SELECTOR_DATA		0x10
#define SELECTOR_USER_DATA	0x2b	/* as the GDT in irq.c has them */
#define SELECTOR_USER_CODE	0x33
#define CALL_LEAVE		0
#define CALL_HALT		1
#define FLAGS_INTERRUPTS_ON	0x202
#define APIC_EOI		0xfee000b0
#define EVENTS			16	/* as USER_EVENTS in user.h */
#define STACK_SIZE		0x4000

	.text
	.globl user_run
user_run:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, kernel_stack(%rip)
	pushq $SELECTOR_USER_DATA
	pushq $user_stack_top
	pushq $FLAGS_INTERRUPTS_ON
	pushq $SELECTOR_USER_CODE
	pushq $user_start
	iretq

user_start:
	movq %rdi, %rax
	movq %rsi, %rdi
	call *%rax
	movl $CALL_LEAVE, %eax
	int3

	.globl user_halt
user_halt:
	movl $CALL_HALT, %eax
	int3
	ret

/*
 * A breakpoint is the way back to CPL 0 that goes through an emulator, too: not all know INT n, or
 * the SYSCALL of such a guest. Interrupts are off here.
 */
	.globl user_call
user_call:
	testl %eax, %eax
	jz user_leave
	cmpl %edi, user_event_count(%rip)
	jne 1f
	sti
	hlt	/* no interrupt comes between: STI waits for one more instruction */
1:	iretq

user_leave:
	movl $SELECTOR_DATA, %eax
	movl %eax, %ss
	movq kernel_stack(%rip), %rsp
	sti
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* One stub an event, EVENT_STUB_SIZE of user.c apart. Any value ends an interrupt, so rax need not be saved. */
	.globl user_event_stubs
	.balign 32
user_event_stubs:
	.set event, 0
	.rept EVENTS
	.balign 32
	movb $1, user_event + event(%rip)
	incl user_event_count(%rip)
	movabsl %eax, APIC_EOI
	iretq
	.set event, event + 1
	.endr

	.bss
	.balign 16
kernel_stack:
	.skip 16
	.skip STACK_SIZE
user_stack_top:
	.globl user_event_count
user_event_count:
	.skip 16
	.globl user_event
user_event:
	.skip EVENTS
