/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RAM: one private mapping, from address 0 on but for the hole below 4 GiB. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "hw/guest_memory.h"

struct vm;

struct ram {
	void *map;
	size_t map_len;
	uint64_t end; /* the guest physical address above the last byte */
	struct guest_memory memory;
};

/*
 * Map @len bytes, whole MiB.  Nothing is allocated before it is touched, then
 * in huge pages where the host has them.  0 or -errno, having printed why.
 */
int ram_create(struct ram *ram, uint64_t len);
/* All of it, where it is in the host. */
struct iovec ram_host(const struct ram *ram);
/* No VM uses it any more. */
void ram_destroy(struct ram *ram);

/* Make it the memory of @vm, which it outlives; as ram_create() for errors. */
int ram_attach(const struct ram *ram, struct vm *vm);
