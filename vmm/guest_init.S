/* SPDX-License-Identifier: BSD-2-Clause */
/* guest/init, which initramfs.c puts into the archive. */
	.section .rodata
	.global guest_init_start, guest_init_end
guest_init_start:
	.incbin "guest/init/init"
guest_init_end:

	.section .note.GNU-stack, "", %progbits
