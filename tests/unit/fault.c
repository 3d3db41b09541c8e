// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hw/base/fence.h"

/* Written by the test, read by the threads that do I/O. */
static struct {
	unsigned times;
	int error;
	size_t limit;
	unsigned count;
} faults[FAULT_CALLS];
static unsigned dsync;
static int gate = -1;

void fault_inject(enum fault_call call, unsigned times, int error, size_t limit)
{
	store_relaxed(&faults[call].error, error);
	store_relaxed(&faults[call].limit, limit);
	store_release(&faults[call].times, times);
}

unsigned fault_count(enum fault_call call)
{
	return load_acquire(&faults[call].count);
}

unsigned fault_count_dsync(void)
{
	return load_acquire(&dsync);
}

void fault_gate(int eventfd)
{
	store_release(&gate, eventfd);
}

/* 0 with @limit set, or -1 with errno. */
static int strike(enum fault_call call, size_t *limit)
{
	int fd = load_acquire(&gate);
	eventfd_t count;

	__atomic_fetch_add(&faults[call].count, 1, __ATOMIC_RELEASE);
	if (fd >= 0)
		eventfd_read(fd, &count);
	*limit = SSIZE_MAX;
	if (!load_acquire(&faults[call].times))
		return 0;
	__atomic_fetch_sub(&faults[call].times, 1, __ATOMIC_RELAXED);
	*limit = load_relaxed(&faults[call].limit);
	errno = load_relaxed(&faults[call].error);
	return errno ? -1 : 0;
}

/* As much of @iov as is @limit bytes long. */
static int shorten(struct iovec *to, const struct iovec *iov, int count, size_t limit)
{
	int n;

	for (n = 0; n < count && n < IOV_MAX && limit; n++) {
		to[n] = iov[n];
		if (to[n].iov_len > limit)
			to[n].iov_len = limit;
		limit -= to[n].iov_len;
	}
	return n;
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	struct iovec part[IOV_MAX];
	size_t limit;

	if (strike(FAULT_READ, &limit))
		return -1;
	count = shorten(part, iov, count, limit);
	return syscall(SYS_preadv, fd, part, count, offset, 0);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec part[IOV_MAX];
	size_t limit;

	if (flags & RWF_DSYNC)
		__atomic_fetch_add(&dsync, 1, __ATOMIC_RELEASE);
	if (strike(FAULT_WRITE, &limit))
		return -1;
	count = shorten(part, iov, count, limit);
	return syscall(SYS_pwritev2, fd, part, count, offset, 0, flags);
}

int fdatasync(int fd)
{
	size_t limit;

	if (strike(FAULT_FLUSH, &limit))
		return -1;
	return (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	size_t limit;

	if (strike(FAULT_RANGE, &limit))
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}
