/* SPDX-License-Identifier: BSD-2-Clause */
/* The compiled DSDT, found by the assembler in the build folder. */
	.section .rodata
	.globl	acpi_dsdt_start, acpi_dsdt_end
	.balign	8
acpi_dsdt_start:
	.incbin	"vmm/x86/dsdt.aml"
acpi_dsdt_end:

	.section .note.GNU-stack, "", @progbits
