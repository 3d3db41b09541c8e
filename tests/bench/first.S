/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that shows at once that it runs: by a byte on the serial port. Then
 * it halts.
 */

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define COM1 0x3f8

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.quad kit_entry

	.code32
	.text
	.globl kit_entry
kit_entry:
	movw $COM1, %dx
	outb %al, %dx
halt:
	hlt
	jmp halt
