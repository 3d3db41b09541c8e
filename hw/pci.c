// SPDX-License-Identifier: BSD-2-Clause
#include "hw/pci.h"

#include <string.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

uint16_t pci_config_word(const struct pci_device *dev, unsigned offset)
{
	uint16_t value;

	memcpy(&value, &dev->config[offset], sizeof(value));
	return value;
}

uint32_t pci_config_dword(const struct pci_device *dev, unsigned offset)
{
	uint32_t value;

	memcpy(&value, &dev->config[offset], sizeof(value));
	return value;
}

static void set_config(struct pci_device *dev, unsigned offset, uint64_t value, unsigned len)
{
	memcpy(&dev->config[offset], &value, len);
}

static void set_writable(struct pci_device *dev, unsigned offset, uint64_t mask, unsigned len)
{
	memcpy(&dev->writable[offset], &mask, len);
}

bool pci_device_bus_master(const struct pci_device *dev)
{
	return pci_config_word(dev, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

static bool intx_asserted(void *opaque)
{
	struct pci_device *dev = opaque;

	return !load_relaxed(&dev->intx_disabled) && dev->ops->intx_pending(dev);
}

void pci_device_init(struct pci_device *dev, const struct pci_device_ops *ops,
		     const struct pci_ids *ids)
{
	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
	pthread_mutex_init(&dev->lock, NULL);
	set_config(dev, PCI_VENDOR_ID, ids->vendor, 2);
	set_config(dev, PCI_DEVICE_ID, ids->device, 2);
	set_config(dev, PCI_CLASS_REVISION, ids->class << 8 | ids->revision, 4);
	set_config(dev, PCI_SUBSYSTEM_VENDOR_ID, ids->subsystem_vendor, 2);
	set_config(dev, PCI_SUBSYSTEM_ID, ids->subsystem, 2);
	set_writable(dev, PCI_CACHE_LINE_SIZE, 0xff, 1);
	set_writable(dev, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 2);
	if (ops->intx_pending) {
		set_config(dev, PCI_INTERRUPT_PIN, 1, 1);
		set_writable(dev, PCI_INTERRUPT_LINE, 0xff, 1);
	}
	irq_source_init(&dev->intx, NULL, intx_asserted, dev);
	dev->capabilities_end = PCI_STD_HEADER_SIZEOF;
	for (unsigned i = 0; i < PCI_BARS; i++)
		dev->bar[i].dev = dev;
}

void pci_device_destroy(struct pci_device *dev)
{
	pthread_mutex_destroy(&dev->lock);
}

static unsigned bar_register(unsigned bar)
{
	return PCI_BASE_ADDRESS_0 + 4 * bar;
}

void pci_device_add_memory_bar(struct pci_device *dev, unsigned bar, uint64_t size)
{
	dev->bar[bar].size = size;
	set_config(dev, bar_register(bar),
		   PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH, 8);
	set_writable(dev, bar_register(bar), ~(size - 1), 8);
	dev->writable[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
}

void pci_device_add_io_bar(struct pci_device *dev, unsigned bar, uint32_t size)
{
	dev->bar[bar].is_io = true;
	dev->bar[bar].size = size;
	set_config(dev, bar_register(bar), PCI_BASE_ADDRESS_SPACE_IO, 4);
	set_writable(dev, bar_register(bar), ~(size - 1), 4);
	dev->writable[PCI_COMMAND] |= PCI_COMMAND_IO;
}

unsigned pci_device_add_capability(struct pci_device *dev, uint8_t id, const void *body,
				   const void *writable, unsigned len)
{
	unsigned at = dev->capabilities_end;

	memcpy(&dev->config[at], body, len);
	if (writable)
		memcpy(&dev->writable[at], writable, len);
	dev->config[at + PCI_CAP_LIST_ID] = id;
	dev->config[at + PCI_CAP_LIST_NEXT] = 0;
	if (dev->last_capability)
		dev->config[dev->last_capability + PCI_CAP_LIST_NEXT] = (uint8_t)at;
	else
		dev->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	dev->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	dev->last_capability = at;
	dev->capabilities_end = (unsigned)align_up(at + len, 4);
	return at;
}

/* --- BARs --- */

static uint64_t bar_bus_read(void *opaque, uint64_t offset, unsigned len)
{
	struct pci_bar *bar = opaque;
	struct pci_device *dev = bar->dev;
	uint64_t value;

	pthread_mutex_lock(&dev->lock);
	value = dev->ops->bar_read(dev, (unsigned)(bar - dev->bar), offset, len);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void bar_bus_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct pci_bar *bar = opaque;
	struct pci_device *dev = bar->dev;

	pthread_mutex_lock(&dev->lock);
	dev->ops->bar_write(dev, (unsigned)(bar - dev->bar), offset, value, len);
	pthread_mutex_unlock(&dev->lock);
}

static const struct bus_ops bar_bus_ops = { .read = bar_bus_read, .write = bar_bus_write };

/* The address in the registers of @bar. */
static uint64_t bar_address(const struct pci_device *dev, unsigned bar)
{
	unsigned at = bar_register(bar);
	uint64_t addr = pci_config_dword(dev, at);

	if (!dev->bar[bar].is_io)
		addr |= (uint64_t)pci_config_dword(dev, at + 4) << 32;
	return addr & ~(dev->bar[bar].size - 1);
}

/*
 * Software sizes a BAR by writing all ones into each of its registers, and
 * some does so with decoding on.  Hardly any real address has such a half, so
 * a mapped BAR stays where it is until it has none: unmapping it would detach
 * doorbells, which can take milliseconds, for nothing.
 */
static bool bar_being_sized(const struct pci_device *dev, unsigned bar)
{
	const struct pci_bar *b = &dev->bar[bar];
	uint64_t addr = bar_address(dev, bar);
	uint32_t low_ones = (uint32_t)~(b->size - 1);

	return (uint32_t)addr == low_ones || addr >> 32 == UINT32_MAX;
}

static struct bus *bar_bus(const struct pci_device *dev, unsigned bar)
{
	return dev->bar[bar].is_io ? dev->io_bus : dev->memory_bus;
}

void pci_device_unmap_bar(struct pci_device *dev, unsigned bar)
{
	if (dev->bar[bar].mapped)
		bus_remove(bar_bus(dev, bar), dev->bar[bar].addr);
	dev->bar[bar].mapped = false;
}

/* A BAR whose new place is taken stays unmapped; the next write tries again. */
static void bar_update(struct pci_device *dev, unsigned i)
{
	struct pci_bar *bar = &dev->bar[i];
	bool decode = pci_config_word(dev, PCI_COMMAND) &
		(bar->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
	struct bus_region region = { bar_address(dev, i), bar->size, &bar_bus_ops, bar };

	if (!bar->size)
		return;
	if (decode && bar->mapped && (bar_being_sized(dev, i) || bar->addr == region.base))
		return;
	pci_device_unmap_bar(dev, i);
	bar->addr = region.base;
	bar->mapped = decode && bus_add(bar_bus(dev, i), &region) == 0;
}

void pci_device_set_bar(struct pci_device *dev, unsigned bar, uint64_t addr)
{
	unsigned at = bar_register(bar);
	uint8_t type = dev->config[at] & (uint8_t)~PCI_BASE_ADDRESS_MEM_MASK;

	set_config(dev, at, addr | type, dev->bar[bar].is_io ? 4 : 8);
}

/* --- Configuration space --- */

static void config_changed(struct pci_device *dev, unsigned offset, unsigned len)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		bar_update(dev, i);
	if (dev->ops->intx_pending) {
		bool disabled = pci_config_word(dev, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;

		store_relaxed(&dev->intx_disabled, disabled);
		irq_source_update(&dev->intx);
	}
	if (dev->ops->config_written)
		dev->ops->config_written(dev, offset, len);
}

static uint64_t config_read(void *opaque, uint64_t offset, unsigned len)
{
	struct pci_device *dev = opaque;
	uint64_t value = 0;

	pthread_mutex_lock(&dev->lock);
	if (dev->ops->config_reading)
		dev->ops->config_reading(dev, (unsigned)offset, len);
	if (dev->ops->intx_pending) {
		dev->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
		if (dev->ops->intx_pending(dev))
			dev->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	}
	memcpy(&value, &dev->config[offset], len);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void config_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct pci_device *dev = opaque;

	pthread_mutex_lock(&dev->lock);
	for (unsigned i = 0; i < len; i++) {
		uint8_t *byte = &dev->config[offset + i];
		uint8_t mask = dev->writable[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | ((uint8_t)(value >> (8 * i)) & mask));
	}
	config_changed(dev, (unsigned)offset, len);
	pthread_mutex_unlock(&dev->lock);
}

const struct bus_ops pci_config_ops = { .read = config_read, .write = config_write };
