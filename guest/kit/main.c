// SPDX-License-Identifier: BSD-2-Clause
/* From the PVH start info to the power switch. */
#include <stddef.h>

#include "guest/kit/acpi.h"
#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/pci.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

/* struct hvm_start_info, version 0, of the PVH boot protocol. */
struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line, rsdp;
};

#define START_INFO_MAGIC 0x336ec578u

#define I8042_COMMAND 0x64
#define I8042_RESET 0xfe

/* Ends in the way of option end=: what a monitor makes of it is seen from outside. */
static _Noreturn void end(void)
{
	const char *how = option("end", "off");

	print("# the end: %s\n", how);
	print_flush();
	if (list_has(how, "reset"))
		acpi_reset();
	if (list_has(how, "i8042"))
		outb(I8042_COMMAND, I8042_RESET);
	if (list_has(how, "fault"))
		cpu_triple_fault();
	while (list_has(how, "spin"))
		cpu_relax();
	cpu_interrupts_off();
	while (list_has(how, "halt"))
		asm volatile("hlt");
	acpi_power_off();
}

_Noreturn void kit_main(const struct start_info *info);

void kit_main(const struct start_info *info)
{
	struct blk *disks;
	unsigned count;

	print_init();
	irq_init();
	if (info->magic != START_INFO_MAGIC)
		test_give_up("not started by the PVH protocol");
	if (info->command_line)
		test_options((const char *)(uintptr_t)info->command_line);
	acpi_init(info->rsdp);
	pci_init();
	blk_find();
	disks = blk_disks(&count);
	if (count != option_number("disks", 1))
		test_give_up("the number of usable disks is not that of the option disks=");
	test_run_all(disks);
	end();
}
