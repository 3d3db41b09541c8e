/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a disk keeps in itself and in a request while it runs: private to disk.c
 * and those beside it, but part of the structures of disk.h.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct disk_direct;
struct disk_request;

/*
 * How a step is done; the disk's.  A way that the host refuses leads to the next:
 * discards of a device go by COMMAND, IOCTL, those of a file by PUNCH; zeroes by
 * PUNCH (with unmap), ZERO_RANGE, WRITING_ZEROS.
 */
enum disk_way {
	DISK_BY_TRANSFER, /* read, write or flush, as it says */
	DISK_BY_DISCARD_COMMAND,
	DISK_BY_DISCARD_IOCTL,
	DISK_BY_PUNCH,
	DISK_BY_ZERO_RANGE,
	DISK_BY_WRITING_ZEROS,
};

/* What a step goes through that does not fit. */
struct disk_bounce {
	uint8_t *memory; /* NULL: none */
	uint64_t offset; /* of the window that is in it, and its length; 0: none is */
	uint32_t len;
	uint32_t at;     /* how far into the window the next system call begins */
	uint32_t got;    /* how far the last one came */
	bool writing;
};

/* Bytes of the image, which @owner has or waits for. */
struct disk_range {
	uint64_t start, end;
	const struct disk_request *owner;
};

/* A circle of those that wait, in order: each request's, and the one that they wait in. */
struct disk_waiter {
	struct disk_waiter *next, *prev;
};

/* Whose turn it is to make stable what was written; why in turns: disk_private.h. */
struct disk_sync {
	pthread_mutex_t lock; /* for all that follows */
	bool busy;
	struct disk_waiter waiting; /* for the next turn */
	struct disk_waiter covered; /* by the present one */
};
