/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI bus 0: configuration space by ports 0xcf8/0xcfc and by ECAM, functions, BARs,
 * capabilities.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum pci_register {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x0a,
	PCI_CACHE_LINE = 0x0c,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
	PCI_HEADER_SIZE = 0x40,
	PCI_CONFIG_SIZE = 0x100, /* what both views reach */
};

enum {
	PCI_COMMAND_IO = 1 << 0,
	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_INTX_OFF = 1 << 10,
	PCI_STATUS_INTERRUPT = 1 << 3,
	PCI_STATUS_CAPABILITIES = 1 << 4,

	PCI_CAP_MSIX = 0x11,
	PCI_CAP_VENDOR = 0x09,

	PCI_BAR_IO = 1 << 0,
	PCI_BAR_64BIT = 2 << 1,
	PCI_BAR_TYPE_MASK = 3 << 1,
	PCI_BAR_COUNT = 6,

	PCI_DEVFN_COUNT = 256,
};

struct pci_bar {
	uint64_t base, size; /* size 0: not implemented, or the upper half of the one before */
	bool io, is_64bit;
};

struct pci_function {
	uint8_t devfn;
	uint16_t vendor, device;
	struct pci_bar bars[PCI_BAR_COUNT];
};

/*
 * One way to configuration space. An access is `width` (1, 2 or 4) bytes wide, naturally
 * aligned.
 */
struct pci_view {
	const char *name;
	uint32_t (*read)(uint8_t devfn, uint16_t offset, unsigned width);
	void (*write)(uint8_t devfn, uint16_t offset, unsigned width, uint32_t value);
};

/* The views by name ("cf8", "ecam"); NULL if this machine lacks it. */
const struct pci_view *pci_view(const char *name);

/*
 * Finds the views and the functions on bus 0, and sizes their BARs. BARs that firmware
 * left at 0 get an address. Functions keep decode as it was.
 */
void pci_init(void);

/* All functions on bus 0. */
struct pci_function *pci_functions(unsigned *count);

/* Configuration space through the first view that exists. */
uint8_t pci_read8(const struct pci_function *function, uint16_t offset);
uint16_t pci_read16(const struct pci_function *function, uint16_t offset);
uint32_t pci_read32(const struct pci_function *function, uint16_t offset);
void pci_write8(const struct pci_function *function, uint16_t offset, uint8_t value);
void pci_write16(const struct pci_function *function, uint16_t offset, uint16_t value);
void pci_write32(const struct pci_function *function, uint16_t offset, uint32_t value);

/* Position of the first capability `id` after position `after` (0: from the start), or 0. */
uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after);

/*
 * The BAR's size by writing all ones, its type bits kept apart; the old value is put back.
 * Decode is off.
 */
uint64_t pci_bar_size(const struct pci_function *function, unsigned index);

/* Writes a BAR's address, low half first, and maps it. */
void pci_bar_set(struct pci_function *function, unsigned index, uint64_t base);

/*
 * A free, aligned address for the BAR, other than its own, in the same window and above it
 * if possible.
 */
uint64_t pci_bar_elsewhere(const struct pci_function *function, unsigned index);
