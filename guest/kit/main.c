// SPDX-License-Identifier: BSD-2-Clause
/* From the PVH start info to the power switch. */
#include <stddef.h>

#include "guest/kit/acpi.h"
#include "guest/kit/bench.h"
#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/pci.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

/* struct hvm_start_info of the PVH boot protocol; the map is there from version 1 on. */
struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line, rsdp, map;
	uint32_t map_count, reserved;
};

struct map_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

#define START_INFO_MAGIC 0x336ec578u
#define MAP_RAM 1u
#define FIRMWARE_SHARE (1ull << 20) /* at the end of RAM; not all firmware puts it into the map */

/* boot.S */
extern const uint8_t kit_entry[];

#define DEBUG_PORT 0xe9
#define DEBUG_MARK 123
#define I8042_COMMAND 0x64
#define I8042_RESET 0xfe

/* Ends in the way of option end=: what a monitor makes of it is seen from outside. */
static _Noreturn void end(void)
{
	const char *how = option("end", "off");

	for (uint64_t times = option_number("mark", 0); times; times--)
		outb(DEBUG_PORT, DEBUG_MARK);
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
	if (list_has(how, "resets"))
		mmio_reset_forever();
	cpu_interrupts_off();
	while (list_has(how, "halt"))
		asm volatile("hlt");
	acpi_power_off();
}

static void heap_init(const struct start_info *info)
{
	const struct map_entry *map = (const void *)(uintptr_t)info->map;

	for (uint32_t i = 0; info->version >= 1 && i < info->map_count; i++) {
		uint64_t end = map[i].base + map[i].size;

		if (map[i].type == MAP_RAM && end <= BOOT_MAP_END &&
		    map[i].base <= (uintptr_t)kit_entry && end > (uintptr_t)kit_entry)
			heap_grow(end - FIRMWARE_SHARE);
	}
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
	heap_init(info);
	acpi_init(info->rsdp);
	pci_init();
	blk_find();
	disks = blk_disks(&count);
	if (count != option_number("disks", 1))
		test_give_up("the number of usable disks is not that of the option disks=");
	if (option("bench", NULL))
		bench_run(disks);
	else
		test_run_all(disks);
	end();
}
