/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest RAM as devices see it: a few sorted regions, immutable once the VM
 * runs, so any thread reads them without a lock.  The memory itself belongs
 * to whoever mapped it.
 *
 * guest_memory_ptr() is the only place in the program where a guest physical
 * address becomes a pointer.
 */
#pragma once

#include <stdint.h>

#define GUEST_MEMORY_REGIONS 8

struct guest_region {
	uint64_t gpa;
	uint64_t len;
	uint8_t *host;
};

struct guest_memory {
	struct guest_region region[GUEST_MEMORY_REGIONS]; /* sorted by gpa */
	unsigned count;
};

/*
 * Add @len bytes of RAM at @gpa, backed by @host.  Regions that touch in both
 * address spaces become one.  Returns -EINVAL for an empty or wrapping range,
 * -EEXIST for an overlap, -ENOSPC when there are too many.  Not once the VM
 * runs.
 */
int guest_memory_add(struct guest_memory *mem, uint64_t gpa, uint64_t len, void *host);

/*
 * The host address of guest range [gpa, gpa + len), or NULL unless all of it
 * lies in one region.  @len 0 asks about the byte at @gpa.
 */
void *guest_memory_ptr(const struct guest_memory *mem, uint64_t gpa, uint64_t len);
