/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An address space of emulated registers.  I/O ports, memory-mapped registers
 * and PCI configuration space are three of these.
 *
 * An access that no region owns wholly reads all ones and writes nothing, as
 * an access that no one claims does on a real bus.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

/*
 * Handlers get an offset into their region and a length of 1 to 8 bytes that
 * stays inside it.  Values are little-endian numbers in the low @len bytes.
 * They run on the thread that made the access, several at once, with no bus
 * lock held: a handler may change its own bus.
 */
struct bus_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned len);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned len);
};

struct bus_region {
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops; /* NULL: taken, but nobody answers */
	void *opaque;
};

struct bus {
	pthread_rwlock_t lock;     /* guards all below */
	struct bus_region *region; /* sorted by base */
	unsigned count;
	unsigned room;
};

void bus_init(struct bus *bus);
void bus_destroy(struct bus *bus);

/*
 * Add a region; the bus copies *region, but @opaque must outlive every thread
 * that makes accesses: one may be inside a handler while the region is
 * removed.  Returns -EINVAL for an empty or wrapping range, -EEXIST for an
 * overlap, -ENOMEM.
 */
int bus_add(struct bus *bus, const struct bus_region *region);

/* Remove the region that starts at @base, if there is one. */
void bus_remove(struct bus *bus, uint64_t base);

/* One access of @len bytes, 1 to 8. */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned len);
void bus_write(struct bus *bus, uint64_t addr, uint64_t value, unsigned len);
