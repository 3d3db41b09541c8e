/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <asm/bootparam.h>

#include "hw/guest_memory.h"

/* ACPI 6.5, 15: address range types.  PVH's memory map uses the same. */
#define E820_RAM 1
#define E820_RESERVED 2

#define E820_ENTRIES (GUEST_MEMORY_REGIONS + 4)

/*
 * The guest's physical memory map, sorted: @mem without the part of the first
 * MiB that the PC keeps for itself, and what must not be taken for free
 * address space.  Returns the number of entries.
 */
unsigned e820_fill(struct boot_e820_entry map[static E820_ENTRIES], const struct guest_memory *mem);
