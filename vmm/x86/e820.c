// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/e820.h"

#include "hw/base/util.h"
#include "vmm/x86/layout.h"

static unsigned insert(struct boot_e820_entry *map, unsigned count, uint64_t start, uint64_t end,
		       uint32_t type)
{
	unsigned i;

	for (i = count; i > 0 && map[i - 1].addr > start; i--)
		map[i] = map[i - 1];
	map[i] = (struct boot_e820_entry){ start, end - start, type };
	return count + 1;
}

unsigned e820_fill(struct boot_e820_entry map[static E820_ENTRIES], const struct guest_memory *mem)
{
	unsigned n = 0;

	n = insert(map, n, 0, LAYOUT_BASE_RAM_END, E820_RAM);
	n = insert(map, n, LAYOUT_ACPI, LAYOUT_ACPI + LAYOUT_ACPI_LENGTH, E820_RESERVED);
	n = insert(map, n, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_LENGTH, E820_RESERVED);
	n = insert(map, n, LAYOUT_VIRTIO_MMIO,
		   LAYOUT_VIRTIO_MMIO + LAYOUT_VIRTIO_MMIO_SLOTS * LAYOUT_VIRTIO_MMIO_SLOT_LENGTH,
		   E820_RESERVED);
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->region[i];
		uint64_t start = max(r->gpa, (uint64_t)LAYOUT_EXTENDED_RAM);

		if (start < r->gpa + r->len)
			n = insert(map, n, start, r->gpa + r->len, E820_RAM);
	}
	return n;
}
