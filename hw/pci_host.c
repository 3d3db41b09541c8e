// SPDX-License-Identifier: BSD-2-Clause
#include "hw/pci_host.h"

#include <errno.h>
#include <string.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

#define CONFIG_ENABLE 0x80000000u
#define HEADER_MULTI_FUNCTION 0x80
#define FUNCTION_SHIFT 12 /* in ECAM, and so in the bus of configuration space */

/* --- Ports 0xCF8 and 0xCFC --- */

static uint64_t address_read(void *opaque, uint64_t offset, unsigned len)
{
	struct pci_host *host = opaque;

	return offset == 0 && len == 4 ? load_relaxed(&host->address) : ~0ULL;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct pci_host *host = opaque;

	/* Only a whole double word is this register (section 3.2.2.3.2). */
	if (offset == 0 && len == 4)
		store_relaxed(&host->address, (uint32_t)value & (CONFIG_ENABLE | 0xfffffc));
}

static const struct bus_ops address_ops = { .read = address_read, .write = address_write };

/* Where a data access goes in the bus of configuration space. */
static uint64_t data_target(struct pci_host *host, uint64_t offset)
{
	uint32_t address = load_relaxed(&host->address);
	uint64_t function = (address >> 8) & 0xffff; /* bus, device, function */

	if (!(address & CONFIG_ENABLE))
		return UINT64_MAX; /* nobody is there */
	return function << FUNCTION_SHIFT | ((address & 0xfc) + offset);
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned len)
{
	struct pci_host *host = opaque;

	return bus_read(&host->config, data_target(host, offset), len);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct pci_host *host = opaque;

	bus_write(&host->config, data_target(host, offset), value, len);
}

static const struct bus_ops data_ops = { .read = data_read, .write = data_write };

/* --- ECAM: the bus of configuration space as it is --- */

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned len)
{
	struct pci_host *host = opaque;

	return bus_read(&host->config, offset, len);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct pci_host *host = opaque;

	bus_write(&host->config, offset, value, len);
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* --- What firmware does --- */

/* A place of @size bytes in @window, at a multiple of its size; 0: no room. */
static uint64_t window_take(struct pci_window *window, uint64_t size)
{
	uint64_t at = align_up(window->base + window->used, size);

	if (at - window->base > window->len || size > window->len - (at - window->base))
		return 0;
	window->used = at + size - window->base;
	return at;
}

/* The place of a BAR; 0: no room. */
static uint64_t bar_place(struct pci_host *host, const struct pci_bar *bar)
{
	uint64_t addr;

	if (bar->is_io)
		return window_take(&host->io, bar->size);
	/* Below 4 GiB as long as there is room: every guest reaches it there. */
	addr = window_take(&host->memory32, bar->size);
	return addr ? addr : window_take(&host->memory64, bar->size);
}

static int assign_bars(struct pci_host *host, struct pci_device *dev)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &dev->bar[i];
		uint64_t addr;

		if (!bar->size)
			continue;
		addr = bar_place(host, bar);
		if (!addr)
			return -ENOSPC;
		pci_device_set_bar(dev, i, addr);
	}
	return 0;
}

static void connect_intx(struct pci_host *host, struct pci_device *dev)
{
	unsigned pin = dev->config[PCI_INTERRUPT_PIN];
	struct irq_line *line;

	if (!pin)
		return;
	line = &host->line[((dev->devfn >> 3) + pin - 1) % PCI_HOST_LINES];
	dev->config[PCI_INTERRUPT_LINE] = (uint8_t)line->gsi;
	dev->intx.line = line;
}

/* The next place: all functions 0, then all functions 1, and so on. */
static int free_place(const struct pci_host *host)
{
	for (unsigned i = 0; i < array_size(host->function); i++) {
		unsigned devfn = (i % PCI_HOST_SLOTS) << 3 | i / PCI_HOST_SLOTS;

		/* Slot 0 is the bridge's alone. */
		if (!host->function[devfn] && (devfn >> 3 || !host->function[0]))
			return (int)devfn;
	}
	return -ENOSPC;
}

int pci_host_attach(struct pci_host *host, struct pci_device *dev)
{
	int devfn = free_place(host);
	struct bus_region region = { .len = PCI_CONFIG_LENGTH, .ops = &pci_config_ops,
				     .opaque = dev };
	int ret;

	if (devfn < 0)
		return devfn;
	dev->devfn = (uint8_t)devfn;
	dev->memory_bus = host->memory_bus;
	dev->io_bus = host->io_bus;
	ret = assign_bars(host, dev);
	if (ret)
		return ret;
	connect_intx(host, dev);
	region.base = (uint64_t)devfn << FUNCTION_SHIFT;
	ret = bus_add(&host->config, &region);
	if (ret)
		return ret;
	host->function[devfn] = dev;
	if (devfn & 7)
		host->function[devfn & ~7]->config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
	return 0;
}

void pci_host_detach(struct pci_host *host, struct pci_device *dev)
{
	bus_remove(&host->config, (uint64_t)dev->devfn << FUNCTION_SHIFT);
	for (unsigned i = 0; i < PCI_BARS; i++)
		pci_device_unmap_bar(dev, i);
	host->function[dev->devfn] = NULL;
}

int pci_host_init(struct pci_host *host, const struct pci_host_config *config)
{
	/* A host bridge that no driver takes for another chipset's. */
	static const struct pci_ids ids = { .vendor = 0x1b36, .device = 0x0008, .class = 0x060000 };
	static const struct pci_device_ops no_ops;
	const struct bus_region port[] = {
		{ PCI_HOST_CONFIG_PORT, 4, &address_ops, host },
		{ PCI_HOST_CONFIG_PORT + 4, 4, &data_ops, host },
	};
	const struct bus_region ecam = { config->ecam, PCI_HOST_ECAM_LENGTH, &ecam_ops, host };
	int ret;

	memset(host, 0, sizeof(*host));
	bus_init(&host->config);
	host->memory_bus = config->memory_bus;
	host->io_bus = config->io_bus;
	host->line = config->line;
	host->memory32 = config->memory32;
	host->memory64 = config->memory64;
	host->io = config->io;
	pci_device_init(&host->bridge, &no_ops, &ids);
	ret = bus_add(config->io_bus, &port[0]);
	if (ret == 0)
		ret = bus_add(config->io_bus, &port[1]);
	if (ret == 0)
		ret = bus_add(config->memory_bus, &ecam);
	if (ret == 0)
		ret = pci_host_attach(host, &host->bridge);
	if (ret)
		pci_host_destroy(host);
	return ret;
}

void pci_host_destroy(struct pci_host *host)
{
	pci_device_destroy(&host->bridge);
	bus_destroy(&host->config);
}
