// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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
static const struct fault_device *device;

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

/* --- Lost data --- */

#define FDS 1024

static bool untold[FDS]; /* atomic */

void fault_lose(bool lost)
{
	for (unsigned fd = 0; fd < FDS; fd++)
		store_relaxed(&untold[fd], lost);
}

static bool tells_of_loss(int fd)
{
	errno = EIO;
	return fd < FDS && __atomic_exchange_n(&untold[fd], false, __ATOMIC_RELAXED);
}

/* --- Direct I/O --- */

static const struct fault_direct *direct;
static bool direct_is_real;
static bool is_direct[FDS]; /* atomic */
static unsigned misfits;

void fault_direct(const struct fault_direct *host, bool real)
{
	direct = host;
	direct_is_real = real;
	for (unsigned fd = 0; fd < FDS; fd++)
		store_relaxed(&is_direct[fd], false);
	store_release(&misfits, 0);
}

unsigned fault_count_misfits(void)
{
	return load_acquire(&misfits);
}

int fcntl(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if (direct && command == F_SETFL && fd < FDS) {
		int flags = (int)(intptr_t)arg;

		errno = EINVAL;
		if ((flags & O_DIRECT) && !direct->offset)
			return -1;
		store_relaxed(&is_direct[fd], flags & O_DIRECT);
		if (!direct_is_real)
			arg = (void *)(intptr_t)(flags & ~O_DIRECT);
	}
	return (int)syscall(SYS_fcntl, fd, command, arg);
}

int statx(int fd, const char *path, int flags, unsigned mask, struct statx *st)
{
	int ret = (int)syscall(SYS_statx, fd, path, flags, mask, st);

	if (ret || !direct)
		return ret;
	st->stx_mask &= ~STATX_DIOALIGN;
	if (direct->told) {
		st->stx_mask |= STATX_DIOALIGN;
		st->stx_dio_offset_align = direct->told_offset;
		st->stx_dio_mem_align = direct->told_memory;
	}
	return 0;
}

/* 0, or -1 with errno. */
static int check_fit(int fd, const struct iovec *iov, int count, off_t offset)
{
	uint64_t bits = (uint64_t)offset, addresses = 0;

	if (!direct || fd >= FDS || !load_relaxed(&is_direct[fd]))
		return 0;
	for (int i = 0; i < count; i++) {
		bits |= iov[i].iov_len;
		addresses |= (uintptr_t)iov[i].iov_base;
	}
	if (!(bits & (direct->offset - 1)) && !(addresses & (direct->memory - 1)))
		return 0;
	__atomic_fetch_add(&misfits, 1, __ATOMIC_RELEASE);
	errno = EINVAL;
	return -1;
}

static uint64_t pread_bytes;

uint64_t fault_pread_bytes(void)
{
	return load_relaxed(&pread_bytes);
}

ssize_t pread(int fd, void *to, size_t len, off_t offset)
{
	const struct iovec part = { to, len };
	ssize_t n;

	if (check_fit(fd, &part, 1, offset))
		return -1;
	n = syscall(SYS_pread64, fd, to, len, offset);
	if (n > 0)
		__atomic_fetch_add(&pread_bytes, (uint64_t)n, __ATOMIC_RELAXED);
	return n;
}

/* --- I/O --- */

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

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec part[IOV_MAX];
	size_t limit;

	if (strike(FAULT_READ, &limit) || check_fit(fd, iov, count, offset))
		return -1;
	count = shorten(part, iov, count, limit);
	return syscall(SYS_preadv2, fd, part, count, offset, 0, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec part[IOV_MAX];
	size_t limit;

	if (flags & RWF_DSYNC)
		__atomic_fetch_add(&dsync, 1, __ATOMIC_RELEASE);
	if (strike(FAULT_WRITE, &limit) || check_fit(fd, iov, count, offset) ||
	    ((flags & RWF_DSYNC) && tells_of_loss(fd)))
		return -1;
	count = shorten(part, iov, count, limit);
	return syscall(SYS_pwritev2, fd, part, count, offset, 0, flags);
}

int fdatasync(int fd)
{
	size_t limit;

	if (strike(FAULT_FLUSH, &limit) || tells_of_loss(fd))
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

/* --- Block devices --- */

void fault_device(const struct fault_device *answers)
{
	device = answers;
}

int fstat(int fd, struct stat *st)
{
	int ret = (int)syscall(SYS_fstat, fd, st);

	if (ret == 0 && device && S_ISREG(st->st_mode))
		st->st_mode ^= S_IFREG ^ S_IFBLK;
	return ret;
}

static int discard(int fd, const uint64_t *range)
{
	size_t limit;

	if (strike(FAULT_DISCARD, &limit))
		return -1;
	return (int)syscall(SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			    range[0], range[1]);
}

/* All these values are ints, but for the size. */
static int answer(void *to, unsigned value)
{
	errno = ENOTTY;
	if (!value)
		return -1;
	*(unsigned *)to = value;
	return 0;
}

static int answer_size(int fd, uint64_t *size)
{
	struct stat st;
	size_t limit;

	if (strike(FAULT_SIZE, &limit) || fstat(fd, &st))
		return -1;
	*size = (uint64_t)st.st_size;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *to;

	va_start(args, request);
	to = va_arg(args, void *);
	va_end(args);
	switch (device ? request : 0) {
	case BLKGETSIZE64:
		return answer_size(fd, to);
	case BLKSSZGET:
		return answer(to, (unsigned)device->logical);
	case BLKPBSZGET:
		return answer(to, device->physical);
	case BLKALIGNOFF:
		return answer(to, (unsigned)device->alignment);
	case BLKIOMIN:
		return answer(to, device->io_min);
	case BLKIOOPT:
		return answer(to, device->io_opt);
	case BLKDISCARD:
		return discard(fd, to);
	default:
		return (int)syscall(SYS_ioctl, fd, request, to);
	}
}
