/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MSI-X of one PCI function (PCI 3.0, section 6.8.2): the table, the pending
 * bits and the capability.
 *
 * Each vector has one eventfd.  The vector is attached, so that a signal on
 * the eventfd sends its message, exactly while MSI-X is enabled, function and
 * entry are unmasked and the function is bus master.  Otherwise signals stay
 * in the eventfd's counter, and that counter is the pending bit: attaching
 * sends one message for it.
 *
 * All functions but the last two run under the function's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hw/msi.h"
#include "hw/pci.h"

#define MSIX_ENTRY_LENGTH 16

/* What becomes of a vector's signals. */
enum msix_state {
	MSIX_SENT,
	MSIX_MASKED, /* they pend, as they do in the other one */
	MSIX_OFF,    /* not enabled, no bus master, or a message that cannot be routed */
};

struct msix_vector {
	uint32_t entry[4]; /* address low and high, data: atomic; vector control */
	int eventfd;
	int handle;        /* of msi_ops.attach; -1: detached */
	const char *held;  /* atomic: why it is detached; NULL: it is attached */
};

struct msix {
	struct pci_device *dev;
	struct msi_port port;
	unsigned capability; /* its offset in configuration space */
	unsigned count;
	struct msix_vector *vector;
};

/*
 * Add the capability and make @count vectors, with table and pending bits at
 * the given offsets of BAR @bar.  Returns 0 or -errno; on failure nothing is
 * left behind.
 */
int msix_init(struct msix *msix, struct pci_device *dev, unsigned count, unsigned bar,
	      uint32_t table, uint32_t pending, const struct msi_port *port);
void msix_destroy(struct msix *msix);

bool msix_enabled(const struct msix *msix);

/* Attach and detach as Command and Message Control say, after a change to one. */
void msix_update(struct msix *msix);

/* Drop what is pending: the device behind the function, or what uses @vector, was reset. */
void msix_drain(struct msix *msix);
void msix_vector_drain(struct msix_vector *vector);

/*
 * Accesses to the table and the pending bits.  Only whole, aligned 4- and
 * 8-byte accesses count (section 6.8.2); others read 0 and change nothing.
 */
uint64_t msix_table_read(const struct msix *msix, uint64_t offset, unsigned len);
void msix_table_write(struct msix *msix, uint64_t offset, uint64_t value, unsigned len);
uint64_t msix_pending_read(const struct msix *msix, uint64_t offset, unsigned len);

/* Send the vector's message, or leave it pending.  Any thread, no lock. */
void msix_notify(const struct msix_vector *vector);

/* Is the vector pending, and what holds its message?  NULL: no.  Any thread, no lock. */
const char *msix_held(const struct msix_vector *vector);
/* What msix_notify() would do at the moment, and with which @message.  Likewise. */
enum msix_state msix_look(const struct msix_vector *vector, struct msi_message *message);
