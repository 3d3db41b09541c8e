/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A conventional PCI function (PCI Local Bus 3.0, chapter 6): 256 bytes of
 * configuration space with a write mask for each byte, base address registers
 * and a capability list.
 *
 * Each function has one lock for all its registers: accesses to configuration
 * space and BARs arrive on vCPU threads, and the ops below run under it.  Only
 * bar_write may drop it for a while, to wait for something.
 */
#pragma once

#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/bus.h"
#include "hw/irq_line.h"

#define PCI_CONFIG_LENGTH 256
#define PCI_BARS 6

struct pci_device;

/* Each may be NULL; without BARs none is needed. */
struct pci_device_ops {
	uint64_t (*bar_read)(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned len);
	void (*bar_write)(struct pci_device *dev, unsigned bar, uint64_t offset, uint64_t value,
			  unsigned len);
	/* Command, BARs or a capability may have changed; mappings are up to date. */
	void (*config_written)(struct pci_device *dev, unsigned offset, unsigned len);
	/* Before configuration bytes are read, which have side effects here. */
	void (*config_reading)(struct pci_device *dev, unsigned offset, unsigned len);
	/* Does the function want its INTx line high?  Any thread, also without the lock. */
	bool (*intx_pending)(struct pci_device *dev);
};

/* I/O ports, or memory with an address of 64 bits: that takes two registers. */
struct pci_bar {
	struct pci_device *dev;
	bool is_io;
	uint64_t size; /* a power of two; 0: there is none */
	uint64_t addr; /* where it is mapped */
	bool mapped;   /* it decodes at @addr */
};

struct pci_device {
	const struct pci_device_ops *ops;
	pthread_mutex_t lock; /* guards all that follows */
	uint8_t config[PCI_CONFIG_LENGTH];
	uint8_t writable[PCI_CONFIG_LENGTH]; /* a one for each bit software may change */
	struct pci_bar bar[PCI_BARS];
	unsigned capabilities_end;           /* where the next capability goes */
	unsigned last_capability;            /* its offset; 0: none */

	/* Set by pci_host_attach(), then constant. */
	struct bus *memory_bus, *io_bus;
	uint8_t devfn;

	struct irq_source intx; /* no line until pci_host_attach() */
	bool intx_disabled; /* Command bit 10; atomic, the line reads it */
};

struct pci_ids {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class; /* class, subclass, interface: 24 bits */
};

void pci_device_init(struct pci_device *dev, const struct pci_device_ops *ops,
		     const struct pci_ids *ids);
/* Not mapped any more: no thread can reach it. */
void pci_device_destroy(struct pci_device *dev);

/* Declare a prefetchable memory BAR of @size bytes. */
void pci_device_add_memory_bar(struct pci_device *dev, unsigned bar, uint64_t size);

/* Declare a BAR of @size I/O ports: a power of two from 4 to 256 (section 6.2.5.1). */
void pci_device_add_io_bar(struct pci_device *dev, unsigned bar, uint32_t size);

/*
 * Append a capability of @len bytes, whose first two (id, next) are set here,
 * and return its offset.  @writable masks the bytes as in pci_device.  The
 * caller's layout is fixed at build time, so there is room.
 */
unsigned pci_device_add_capability(struct pci_device *dev, uint8_t id, const void *body,
				   const void *writable, unsigned len);

/* May the function send messages and do DMA (Command, Bus Master)? */
bool pci_device_bus_master(const struct pci_device *dev);

/*
 * Configuration accesses of 1 to 8 bytes at @offset, for pci_host.  They take
 * the lock.
 */
extern const struct bus_ops pci_config_ops;

/* Set the address in a BAR, as firmware does; nothing is mapped by it. */
void pci_device_set_bar(struct pci_device *dev, unsigned bar, uint64_t addr);

/* Take a BAR off the bus, if it is there; for pci_host. */
void pci_device_unmap_bar(struct pci_device *dev, unsigned bar);

uint16_t pci_config_word(const struct pci_device *dev, unsigned offset);
uint32_t pci_config_dword(const struct pci_device *dev, unsigned offset);
