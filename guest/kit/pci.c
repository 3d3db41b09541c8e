// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/pci.h"

#include <stddef.h>

#include "guest/kit/acpi.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	CONFIG_ADDRESS = 0xcf8,
	CONFIG_DATA = 0xcfc,
	FUNCTION_MAX = 64,
	ECAM_BUS_SIZE = 1 << 20,
	HEADER_TYPE_MULTI = 0x80,
};

#define CONFIG_ENABLE 0x80000000u

/*
 * Where BARs go if firmware gave them no address: no machine that runs the kit has RAM or
 * ECAM there.
 */
#define WINDOW_START 0xc0000000u
#define WINDOW_END 0xfec00000u

static struct pci_function functions[FUNCTION_MAX];
static unsigned function_count;
static const struct pci_view *view;
static uintptr_t ecam;

static uint16_t cf8_select(uint8_t devfn, uint16_t offset)
{
	outl(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)devfn << 8 | (offset & 0xfc));
	return CONFIG_DATA + (offset & 3);
}

static uint32_t cf8_read(uint8_t devfn, uint16_t offset, unsigned width)
{
	uint16_t port = cf8_select(devfn, offset);

	return width == 1 ? inb(port) : width == 2 ? inw(port) : inl(port);
}

static void cf8_write(uint8_t devfn, uint16_t offset, unsigned width, uint32_t value)
{
	uint16_t port = cf8_select(devfn, offset);

	if (width == 1)
		outb(port, (uint8_t)value);
	else if (width == 2)
		outw(port, (uint16_t)value);
	else
		outl(port, value);
}

static uint32_t ecam_read(uint8_t devfn, uint16_t offset, unsigned width)
{
	uintptr_t at = ecam + ((uint32_t)devfn << 12) + offset;

	return width == 1 ? mmio_read8(at) : width == 2 ? mmio_read16(at) : mmio_read32(at);
}

static void ecam_write(uint8_t devfn, uint16_t offset, unsigned width, uint32_t value)
{
	uintptr_t at = ecam + ((uint32_t)devfn << 12) + offset;

	if (width == 1)
		mmio_write8(at, (uint8_t)value);
	else if (width == 2)
		mmio_write16(at, (uint16_t)value);
	else
		mmio_write32(at, value);
}

static const struct pci_view cf8_view = { "cf8", cf8_read, cf8_write };
static const struct pci_view ecam_view = { "ecam", ecam_read, ecam_write };

const struct pci_view *pci_view(const char *name)
{
	if (!memcmp(name, "cf8", 4)) {
		outl(CONFIG_ADDRESS, CONFIG_ENABLE);
		return inl(CONFIG_ADDRESS) == CONFIG_ENABLE ? &cf8_view : NULL;
	}
	return ecam ? &ecam_view : NULL;
}

uint8_t pci_read8(const struct pci_function *function, uint16_t offset)
{
	return (uint8_t)view->read(function->devfn, offset, 1);
}

uint16_t pci_read16(const struct pci_function *function, uint16_t offset)
{
	return (uint16_t)view->read(function->devfn, offset, 2);
}

uint32_t pci_read32(const struct pci_function *function, uint16_t offset)
{
	return view->read(function->devfn, offset, 4);
}

void pci_write8(const struct pci_function *function, uint16_t offset, uint8_t value)
{
	view->write(function->devfn, offset, 1, value);
}

void pci_write16(const struct pci_function *function, uint16_t offset, uint16_t value)
{
	view->write(function->devfn, offset, 2, value);
}

void pci_write32(const struct pci_function *function, uint16_t offset, uint32_t value)
{
	view->write(function->devfn, offset, 4, value);
}

uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after)
{
	uint8_t at = after ? pci_read8(function, after + 1) : pci_read8(function, PCI_CAPABILITIES);

	/* A list in 192 bytes has at most 48 entries: a loop in it must not hang the kit. */
	for (unsigned i = 0; at && i < 48; i++) {
		if (pci_read8(function, at) == id)
			return at;
		at = pci_read8(function, at + 1);
	}
	return 0;
}

static uint16_t bar_offset(unsigned index)
{
	return (uint16_t)(PCI_BAR0 + 4 * index);
}

static uint32_t bar_mask(uint32_t value)
{
	return value & PCI_BAR_IO ? ~3u : ~15u;
}

uint64_t pci_bar_size(const struct pci_function *function, unsigned index)
{
	uint16_t offset = bar_offset(index);
	uint32_t old = pci_read32(function, offset), low, high_old, high = ~0u;

	pci_write32(function, offset, ~0u);
	low = pci_read32(function, offset);
	pci_write32(function, offset, old);
	low &= bar_mask(low);
	if (!low && !(old & PCI_BAR_64BIT))
		return 0;
	if (old & PCI_BAR_IO)
		return -(low | 0xffff0000u) & 0xffff;
	if ((old & PCI_BAR_TYPE_MASK) == PCI_BAR_64BIT) {
		high_old = pci_read32(function, offset + 4);
		pci_write32(function, offset + 4, ~0u);
		high = pci_read32(function, offset + 4);
		pci_write32(function, offset + 4, high_old);
	}
	return -((uint64_t)high << 32 | low);
}

void pci_bar_set(struct pci_function *function, unsigned index, uint64_t base)
{
	struct pci_bar *bar = &function->bars[index];

	pci_write32(function, bar_offset(index), (uint32_t)base);
	if (bar->is_64bit)
		pci_write32(function, bar_offset(index) + 4, (uint32_t)(base >> 32));
	bar->base = base;
	if (!bar->io)
		memory_map(base, bar->size);
}

static bool bar_is_free(uint64_t base, uint64_t size, bool io)
{
	for (unsigned i = 0; i < function_count; i++) {
		for (unsigned j = 0; j < PCI_BAR_COUNT; j++) {
			const struct pci_bar *bar = &functions[i].bars[j];

			if (bar->size && bar->io == io && base < bar->base + bar->size &&
			    bar->base < base + size)
				return false;
		}
	}
	return true;
}

/* The first free place at or above `from`, aligned to the BAR's size. */
static uint64_t bar_place(const struct pci_bar *bar, uint64_t from)
{
	uint64_t base = (from + bar->size - 1) & -bar->size;

	while (!bar_is_free(base, bar->size, bar->io))
		base += bar->size;
	return base;
}

uint64_t pci_bar_elsewhere(const struct pci_function *function, unsigned index)
{
	const struct pci_bar *bar = &function->bars[index];
	uint64_t base = bar_place(bar, bar->base + bar->size);

	if (!bar->io && bar->base < BOOT_MAP_END && base + bar->size > WINDOW_END)
		base = bar_place(bar, WINDOW_START);
	return base;
}

static void bars_read(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		struct pci_bar *bar = &function->bars[i];
		uint32_t low = pci_read32(function, bar_offset(i));

		bar->io = low & PCI_BAR_IO;
		bar->is_64bit = !bar->io && (low & PCI_BAR_TYPE_MASK) == PCI_BAR_64BIT;
		bar->base = low & bar_mask(low);
		if (bar->is_64bit)
			bar->base |= (uint64_t)pci_read32(function, bar_offset(i) + 4) << 32;
		bar->size = pci_bar_size(function, i);
		i += bar->is_64bit;
	}
}

static void bars_assign(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		struct pci_bar *bar = &function->bars[i];

		if (!bar->size || bar->io)
			continue;
		if (!bar->base)
			pci_bar_set(function, i, bar_place(bar, WINDOW_START));
		else
			memory_map(bar->base, bar->size);
		CHECK(bar->base >= BOOT_MAP_END || bar->base + bar->size <= WINDOW_END);
	}
}

static void function_note(uint8_t devfn)
{
	struct pci_function *function = &functions[function_count];
	uint16_t command;

	CHECK(function_count < FUNCTION_MAX);
	function->devfn = devfn;
	function->vendor = pci_read16(function, PCI_VENDOR_ID);
	if (function->vendor == 0xffff)
		return;
	function->device = pci_read16(function, PCI_DEVICE_ID);
	function_count++;
	if (pci_read8(function, PCI_HEADER_TYPE) & ~HEADER_TYPE_MULTI)
		return;
	command = pci_read16(function, PCI_COMMAND);
	pci_write16(function, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	bars_read(function);
	pci_write16(function, PCI_COMMAND, command);
}

void pci_init(void)
{
	/* QEMU's microvm has an ECAM and tells of it only in AML: there the option says where. */
	ecam = option_number("ecam", acpi_ecam());
	memory_map(ecam, ECAM_BUS_SIZE);
	view = pci_view("cf8");
	if (!view)
		view = pci_view("ecam");
	if (!view)
		test_give_up("no way to PCI configuration space");
	for (unsigned devfn = 0; devfn < PCI_DEVFN_COUNT; devfn++)
		function_note((uint8_t)devfn);
	for (unsigned i = 0; i < function_count; i++)
		bars_assign(&functions[i]);
}

struct pci_function *pci_functions(unsigned *count)
{
	*count = function_count;
	return functions;
}
