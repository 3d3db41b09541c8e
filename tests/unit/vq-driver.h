/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver's side of a virtqueue, split or packed, in plain memory, for tests
 * of whatever stands on the device's side: the mock.
 *
 * It is a correct driver with odd habits: areas at their least alignment,
 * descriptors in a shuffled order, junk in every field that a device must not
 * look at.  The verbs do not tell what kind of ring it is: add, publish (shall
 * I ring?), get, and what the driver wishes to be told.  With IN_ORDER, get
 * fails the test if a chain comes back out of turn.
 *
 * It also watches the device.  Whatever the driver writes goes to a shadow of
 * guest RAM as well; what it allowed the device to write is taken over when
 * the device gives it back.  So vq_driver_check() sees each byte that the
 * device changed without leave, and each get fails the test unless the chain
 * was in flight and the length is within its writable bytes.
 *
 * One thread drives; the device may run on another.
 */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/guest_memory.h"
#include "virtio/virtqueue.h"

/* ck_assert() writes to a file each time; this is for loops of millions. */
#define must(condition)                                                   \
	do {                                                              \
		if (!(condition))                                         \
			ck_abort_msg("'%s' does not hold", #condition);   \
	} while (0)

/* A number below @limit (not 0), from a sequence that @state tells. */
uint32_t vq_random(uint64_t *state, uint32_t limit);

/* --- Guest RAM --- */

/* One region, painted; a byte outside it faults. */
struct vq_ram {
	struct guest_memory mem;
	uint64_t gpa, len;
	uint8_t *host;
	uint8_t *shadow; /* what must stand in @host */
	uint64_t next;   /* to be allocated */
};

/* @len is a multiple of the page size. */
void vq_ram_init(struct vq_ram *ram, uint64_t gpa, uint64_t len);
void vq_ram_free(struct vq_ram *ram);

/* The guest address of @len new bytes, at @align bytes and no better. */
uint64_t vq_ram_alloc(struct vq_ram *ram, uint64_t len, uint64_t align);

/* What the device sees at @gpa. */
void *vq_ram_ptr(const struct vq_ram *ram, uint64_t gpa);

/* The driver writes. */
void vq_ram_put(struct vq_ram *ram, uint64_t gpa, const void *data, uint64_t len);
void vq_ram_fill(struct vq_ram *ram, uint64_t gpa, uint8_t byte, uint64_t len);

/* What the device wrote in this range was allowed. */
void vq_ram_allow(struct vq_ram *ram, uint64_t gpa, uint64_t len);

/* Fails the test if a byte changed that the driver did not allow to. */
void vq_ram_check(const struct vq_ram *ram);

/* --- The queue --- */

struct vq_part {
	uint64_t gpa;
	uint32_t len;
	bool writable;
};

struct vq_chain {
	const struct vq_part *part;
	unsigned count;

	/* If @entries: the parts from @direct on stand in an indirect table. */
	unsigned entries;      /* of the table; what no part takes holds junk */
	unsigned direct;
	uint64_t table;        /* 16 bytes an entry, at any alignment */
	/* The entry of each such part, from 0; NULL: in turn, as a packed ring must. */
	const uint16_t *order;
	bool pointer_writable; /* WRITE on the descriptor that points to it */
};

struct vq_used {
	uint16_t id;       /* as vq_driver_add() told */
	uint32_t len;
	uint64_t writable; /* bytes of the chain */
};

struct vq_driver;

/*
 * Areas are allocated, large enough for either kind of ring and with RING_PACKED
 * aligned for it; or stand where @config says, which was allocated before.
 */
struct vq_driver *vq_driver_create(struct vq_ram *ram, uint16_t size, uint64_t features);
struct vq_driver *vq_driver_create_at(struct vq_ram *ram, const struct virtqueue_config *config,
				      uint64_t features);
void vq_driver_free(struct vq_driver *vq);

/* What the driver writes to the registers. */
const struct virtqueue_config *vq_driver_config(const struct vq_driver *vq);

/* After a device reset: what was in flight is the driver's again, the ring is new. */
void vq_driver_reset(struct vq_driver *vq);

/* The id of the chain, or -1: no room. */
int vq_driver_add(struct vq_driver *vq, const struct vq_chain *chain);
/* Adds @count parts, all of them in the ring itself. */
int vq_driver_add_parts(struct vq_driver *vq, const struct vq_part *part, unsigned count);

/* Show the device what was added.  True: it asked to be told. */
bool vq_driver_publish(struct vq_driver *vq);

/* Did the device pop all that was published, and ask for what comes after?  (EVENT_IDX) */
bool vq_driver_all_popped(const struct vq_driver *vq);

/* Take a chain that the device gave back; false: there is none. */
bool vq_driver_get(struct vq_driver *vq, struct vq_used *used);
unsigned vq_driver_in_flight(const struct vq_driver *vq);

/* Wish for no interrupt (with EVENT_IDX: for one that is far away, at least at times). */
void vq_driver_mute(struct vq_driver *vq);
/*
 * Wish for one when @count more came back; true: that many are there already.
 * On a packed ring it counts slots, since chains come back in any order.
 */
bool vq_driver_listen(struct vq_driver *vq, uint16_t count);

/*
 * Was an interrupt wanted for what was given back since the last call?  To be
 * asked between two turns of the device.
 */
bool vq_driver_was_interrupt_due(struct vq_driver *vq);

/* Nothing is in flight or unread: did the device keep to what it may write? */
void vq_driver_check(struct vq_driver *vq);

/* --- For hostile drivers: fields of the ring, as they stand there --- */

struct vring_desc;
struct vring_packed_desc;

/* The flags are shown last. */
void vq_packed_desc(struct vq_driver *vq, unsigned slot, const struct vring_packed_desc *desc);
void vq_packed_event(struct vq_driver *vq, uint16_t offset, bool wrap, uint16_t flags);

void vq_split_desc(struct vq_driver *vq, unsigned index, const struct vring_desc *desc);
void vq_split_avail(struct vq_driver *vq, uint16_t flags, uint16_t idx, uint16_t used_event);
void vq_split_head(struct vq_driver *vq, unsigned slot, uint16_t head);
