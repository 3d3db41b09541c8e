/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSI-X capability of a function: table, pending bits, enable and masks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kit/pci.h"

enum {
	MSIX_CONTROL = 2, /* offsets in the capability */
	MSIX_TABLE = 4,
	MSIX_PBA = 8,
	MSIX_CONTROL_SIZE_MASK = 0x7ff,
	MSIX_CONTROL_FUNCTION_MASK = 1 << 14,
	MSIX_CONTROL_ENABLE = 1 << 15,
	MSIX_BAR_MASK = 7,

	MSIX_ENTRY_SIZE = 16, /* offsets in a table entry */
	MSIX_ENTRY_ADDRESS = 0,
	MSIX_ENTRY_DATA = 8,
	MSIX_ENTRY_CONTROL = 12,
	MSIX_ENTRY_MASKED = 1,
};

struct msix {
	struct pci_function *pci;
	uint8_t at;     /* position of the capability */
	unsigned count; /* entries */
	uint8_t table_bar, pba_bar;
	uint32_t table_offset, pba_offset;
};

/* Reads the capability. False if the function has none. */
bool msix_init(struct msix *msix, struct pci_function *pci);

/*
 * Address of table entry `index`, and of the PBA's quadword that holds its bit; both
 * follow the BAR.
 */
uintptr_t msix_entry(const struct msix *msix, unsigned index);
uintptr_t msix_pba_word(const struct msix *msix, unsigned index);

/* Points entry `index` to this CPU's `vector` and unmasks it. */
void msix_route(const struct msix *msix, unsigned index, unsigned vector);

/* Masks or unmasks an entry, or the function. Returns when the device has taken it. */
void msix_mask(const struct msix *msix, unsigned index, bool masked);
void msix_function_mask(const struct msix *msix, bool masked);

/* Turns MSI-X on or off; the function mask is cleared. */
void msix_enable(const struct msix *msix, bool enabled);

/* The pending bit of entry `index`. */
bool msix_pending(const struct msix *msix, unsigned index);
