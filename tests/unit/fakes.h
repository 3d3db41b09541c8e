/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the board and virtio ask for from outside, faked: interrupt lines, MSI
 * and doorbell short-cuts as a hypervisor would give them, and a virtio device
 * type without a thread.  Each checks how it is used and remembers it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hw/doorbell.h"
#include "hw/irq_line.h"
#include "hw/msi.h"
#include "hw/pci_host.h"
#include "virtio/transport.h"

/* A random number; each @state gives its own fixed sequence. */
uint32_t fake_random(uint32_t *state);

/* --- Interrupt lines: GSIs 16 to 23 --- */

#define FAKE_LINES 8
#define FAKE_GSI 16

struct fake_lines {
	struct irq_line line[FAKE_LINES];
	bool level[FAKE_LINES];
	unsigned changes; /* of all lines */
};

void fake_lines_init(struct fake_lines *lines);
void fake_lines_destroy(struct fake_lines *lines);

/* --- MSI: an irqfd that sends when told to --- */

#define FAKE_SLOTS 96

struct fake_msi {
	struct {
		bool used;
		int eventfd;
		struct msi_message message;
	} slot[FAKE_SLOTS];
	unsigned attached; /* now */
	unsigned attaches; /* ever */
	bool refuse;
	struct msi_message sent; /* the last one */
};

extern const struct msi_ops fake_msi_ops;

/* Let every attached eventfd that was signalled send; how many did? */
unsigned fake_msi_run(struct fake_msi *msi);

/* --- Doorbells --- */

struct fake_doorbells {
	struct doorbell slot[FAKE_SLOTS];
	unsigned attached; /* now: that many slots */
	unsigned attaches; /* ever */
	bool refuse;
};

extern const struct doorbell_ops fake_doorbell_ops;

/* A guest's write to @addr: true if a short-cut took it. */
bool fake_doorbells_ring(struct fake_doorbells *doorbells, uint64_t addr);
/* The same for a write of two bytes to a port. */
bool fake_doorbells_out(struct fake_doorbells *doorbells, uint64_t port, uint16_t value);
bool fake_doorbells_write(struct fake_doorbells *doorbells, uint64_t addr, uint32_t value,
			  unsigned len);

/* --- A board with a PCI host --- */

#define FAKE_ECAM 0xe0000000ULL
#define FAKE_WINDOW32 0xc0000000ULL
#define FAKE_WINDOW64 0x100000000ULL
#define FAKE_WINDOW 0x2000000 /* bytes, of both */
#define FAKE_WINDOW_IO 0xc000
#define FAKE_PORTS 0x400

struct fake_board {
	struct bus memory, io;
	struct fake_lines lines;
	struct pci_host host;
};

void fake_board_init(struct fake_board *board);
void fake_board_destroy(struct fake_board *board);

/* Configuration accesses by ECAM, and by ports 0xCF8 and 0xCFC. */
uint64_t fake_ecam_read(struct fake_board *board, unsigned devfn, unsigned reg, unsigned len);
void fake_ecam_write(struct fake_board *board, unsigned devfn, unsigned reg, uint64_t value,
		     unsigned len);
uint32_t fake_port_read(struct fake_board *board, unsigned devfn, unsigned reg, unsigned len);
void fake_port_write(struct fake_board *board, unsigned devfn, unsigned reg, uint32_t value,
		     unsigned len);

/* --- A virtio device type --- */

#define FAKE_QUEUES 2
#define FAKE_QUEUE_SIZE 16
#define FAKE_CONFIG 12
#define FAKE_RAM_AT 0x10000
#define FAKE_RAM 0x10000
#define FAKE_FEATURE 5   /* offered */
#define FAKE_UNUSABLE 6  /* offered, but never usable */

struct fake_device {
	struct virtio_device virtio;
	struct guest_memory mem;
	uint8_t *ram; /* FAKE_RAM bytes at FAKE_RAM_AT */
	uint8_t config[FAKE_CONFIG];
	unsigned config_writes;
	unsigned starts[FAKE_QUEUES];
	unsigned stops[FAKE_QUEUES]; /* atomic: orders to let go */
	bool owned[FAKE_QUEUES]; /* its thread has the queue */
	bool slow_stop;          /* acknowledge only in fake_device_let_go() */
};

void fake_device_init(struct fake_device *fake);
void fake_device_destroy(struct fake_device *fake);

/* The thread of queue @index lets go of it. */
void fake_device_let_go(struct fake_device *fake, unsigned index);

/* How often was queue @index's doorbell signalled since the last call? */
unsigned fake_device_kicks(struct fake_device *fake, unsigned index);

/* The three areas of queue @index; part 0 to 2 are desc, driver and device. */
uint64_t fake_ring_at(unsigned index, unsigned part);
