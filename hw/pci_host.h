/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PCI host bridge with one bus.  Configuration space is reached by ports
 * 0xCF8 and 0xCFC (PCI 3.0, section 3.2.2.3.2) and as memory (ECAM, PCI
 * Express 5.0, section 7.2.2).
 *
 * It also does what firmware does before a system starts: it gives every
 * function its addresses and its Interrupt Line, and leaves decoding off.
 */
#pragma once

#include "hw/bus.h"
#include "hw/irq_line.h"
#include "hw/pci.h"

#define PCI_HOST_CONFIG_PORT 0xcf8 /* address; data at 0xcfc */
#define PCI_HOST_LINES 8
#define PCI_HOST_SLOTS 32
#define PCI_HOST_FUNCTIONS 8
#define PCI_HOST_ECAM_LENGTH (1 << 20) /* one bus */

struct pci_window {
	uint64_t base, len;
	uint64_t used; /* bytes from the start that are given away */
};

struct pci_host {
	struct bus config;      /* 4 KiB a function; the functions' registers */
	uint32_t address;       /* port 0xCF8; atomic */
	struct bus *memory_bus, *io_bus;
	struct irq_line *line;  /* PCI_HOST_LINES of them; borrowed */
	struct pci_window memory32, memory64, io;
	struct pci_device *function[PCI_HOST_SLOTS * PCI_HOST_FUNCTIONS];
	struct pci_device bridge;
};

struct pci_host_config {
	struct bus *memory_bus, *io_bus;
	struct irq_line *line; /* pin P of slot S: line (S + P - 1) % PCI_HOST_LINES */
	uint64_t ecam;
	struct pci_window memory32, memory64; /* memory64 may be empty */
	struct pci_window io;                 /* so may this */
};

/* Returns 0 or -errno. */
int pci_host_init(struct pci_host *host, const struct pci_host_config *config);
/* All functions but the bridge are gone. */
void pci_host_destroy(struct pci_host *host);

/*
 * Put @dev at the next free place of the bus, before the VM runs: function 0
 * of each slot first.  Returns -ENOSPC when all places are taken or a BAR fits
 * in no window, -ENOMEM.
 */
int pci_host_attach(struct pci_host *host, struct pci_device *dev);

/* Take @dev, which was attached, off all buses; the VM no longer runs. */
void pci_host_detach(struct pci_host *host, struct pci_device *dev);
