/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls by which a disk does I/O inline, preadv2(), pwritev2(), fdatasync(),
 * fallocate() and ioctl(), with faults, and those by which it learns of the host,
 * statx(), fcntl() and pread(): a definition in the program comes before the one
 * of the C library.  Until told otherwise they do what the kernel does.  What
 * io_uring does is not seen here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_call {
	FAULT_READ,
	FAULT_WRITE,
	FAULT_FLUSH,
	FAULT_RANGE,
	FAULT_DISCARD, /* a device's */
	FAULT_SIZE,    /* likewise */
	FAULT_CALLS
};

/* The next @times calls fail with @error, or if that is 0 move @limit bytes at most. */
void fault_inject(enum fault_call call, unsigned times, int error, size_t limit);

/*
 * Data was lost: the next fdatasync() or write with RWF_DSYNC fails with EIO, once
 * for each open file.  False: no more.
 */
void fault_lose(bool lost);

/* How many calls there were, those at the gate too, and how many writes with RWF_DSYNC. */
unsigned fault_count(enum fault_call call);
unsigned fault_count_dsync(void);

/* How many bytes pread() has given. */
uint64_t fault_pread_bytes(void);

/* From now on each call waits until @eventfd, a semaphore, lets it go; -1: none. */
void fault_gate(int eventfd);

/* What a block device tells by ioctl(); it does not know what is 0 here. */
struct fault_device {
	int logical, alignment;
	unsigned physical, io_min, io_opt;
};

/* From now on every file is such a device, to fstat() and ioctl(); NULL: none. */
void fault_device(const struct fault_device *device);

/* What a host demands of direct I/O, powers of two, and what statx() says of that. */
struct fault_direct {
	unsigned offset, memory; /* 0: it has no direct I/O */
	bool told;               /* by statx(), as follows */
	unsigned told_offset, told_memory;
};

/*
 * From now on O_DIRECT, when it is set, is this host's, and if @real the file's
 * own, too.  A call that does not fit fails with EINVAL, and is counted.  NULL:
 * none; the count begins anew.
 */
void fault_direct(const struct fault_direct *direct, bool real);
unsigned fault_count_misfits(void);
