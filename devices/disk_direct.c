// SPDX-License-Identifier: BSD-2-Clause
/*
 * Direct I/O.  The host demands that offsets, lengths and addresses are
 * multiples of something; what a guest asks for need not be.  Such a step goes
 * through memory that fits, a window of the image at a time; a write that does
 * not fill its window reads it first.
 *
 * That would undo another change of the same block, so where a block is more
 * than a sector, each change has its range of the image to itself.
 */
#include "devices/disk_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"

_Static_assert(DISK_BOUNCES == 32, "disk_direct.free has a bit for each");

/* --- What the next step is --- */

static bool is_change(const struct disk_request *request)
{
	return request->op != DISK_READ && request->op != DISK_FLUSH;
}

/* May all that is left go to the host as it is? */
static bool fits(const struct disk_request *request)
{
	uint64_t bits = request->offset | request->len;
	uintptr_t address = 0;

	for (unsigned i = 0; i < request->iov_count; i++) {
		bits |= request->iov[i].iov_len;
		address |= (uintptr_t)request->iov[i].iov_base;
	}
	return !(bits & (request->align - 1)) && !(address & (request->memory_align - 1));
}

/* Copy @len bytes between the front of what is left and @memory. */
static void copy(const struct disk_request *request, uint8_t *memory, size_t len, bool to_guest)
{
	for (const struct iovec *iov = request->iov; len; iov++) {
		size_t n = min(len, iov->iov_len);

		memcpy(to_guest ? iov->iov_base : memory, to_guest ? memory : iov->iov_base, n);
		memory += n;
		len -= n;
	}
}

/* How far the request's bytes are into the window, and how many there are. */
static uint32_t window_skip(const struct disk_request *request)
{
	return (uint32_t)(request->offset - request->bounce.offset);
}

static uint32_t window_use(const struct disk_request *request)
{
	return (uint32_t)min(request->len,
			     (uint64_t)request->bounce.len - window_skip(request));
}

/* Put what is written where it belongs in the window. */
static void fill_window(struct disk_request *request)
{
	uint8_t *to = request->bounce.memory + window_skip(request);

	if (request->way == DISK_BY_WRITING_ZEROS)
		memset(to, 0, window_use(request));
	else
		copy(request, to, window_use(request), false);
	request->bounce.writing = true;
	request->bounce.at = request->bounce.got = 0;
}

/* Whole blocks, as many of the request's as there is memory for, but for the tail. */
static void open_window(struct disk_request *request, uint64_t tail)
{
	struct disk_bounce *bounce = &request->bounce;
	uint64_t end = align_up(request->offset + request->len, request->align);

	bounce->offset = align_down(request->offset, request->align);
	end = min(end, tail);
	end = min(end, bounce->offset + DISK_BOUNCE_LEN);
	bounce->len = (uint32_t)(end - bounce->offset);
	bounce->at = bounce->got = 0;
	bounce->writing = false;
	if (is_change(request) && window_use(request) == bounce->len)
		fill_window(request);
}

static void close_window(struct disk_request *request)
{
	request->bounce.len = 0;
	disk_turn_give_memory(request);
}

/* As far as a step goes: between those of a long request, others have their turns. */
static bool take_range(struct disk_request *request)
{
	uint64_t start = request->offset, end;
	uint32_t unit;

	if (request->align == DISK_SECTOR && disk_turn_need_none(request))
		return true;
	request->align = load_relaxed(&request->disk->direct->offset_align);
	/* Should the host's answer become strict, the ranges are the same. */
	unit = max(request->align, (uint32_t)DISK_ALIGN_STRICT);
	end = start + (request->step_len ? request->step_len :
					   min(request->len, (uint64_t)DISK_STEP_MAX));
	end = align_up(end, unit);
	if (request->has_range && request->range.end != end)
		disk_turn_give_range(request);
	if (!request->has_range)
		disk_turn_give_memory(request);
	return disk_turn_take_range(request, align_down(start, unit), end);
}

bool disk_direct_begin(struct disk_request *request)
{
	struct disk_direct *direct = request->disk->direct;
	uint64_t end = load_relaxed(&request->disk->sectors) * DISK_SECTOR, tail;

	/* Stable writes must not hear of what others lost at the image's end, in their place. */
	if (request->must_sync) {
		request->fd = direct->tail_fd;
		return true;
	}
	/* The second half of a step, or the same once more; but an image that shrank stays so. */
	if (request->bounce.len) {
		tail = align_down(end, request->align);
		if (request->bounce.offset + request->bounce.len <= tail)
			return true;
		close_window(request);
	}
	/* A unit that became strict is seen before the changes that were begun without a range. */
	request->align = load_acquire(&direct->offset_align);
	request->memory_align = load_relaxed(&direct->memory_align);
	if (is_change(request) && !take_range(request))
		return false;
	if (request->step_len)
		return true;
	tail = align_down(end, request->align);
	if (request->offset >= tail) {
		request->fd = direct->tail_fd;
		return true;
	}
	if (fits(request))
		return true;
	if (!disk_turn_take_memory(request))
		return false;
	open_window(request, tail);
	return true;
}

/* --- What a step did --- */

/* Returns whether it was not strict before. */
static bool make_strict(uint32_t *align)
{
	uint32_t before = load_relaxed(align);

	while (before < DISK_ALIGN_STRICT)
		if (__atomic_compare_exchange_n(align, &before, DISK_ALIGN_STRICT, false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* The host refused what its own answer allows: be strict from now on. */
static void become_strict(struct disk *disk)
{
	struct disk_direct *direct = disk->direct;
	bool memory = make_strict(&direct->memory_align);

	if (make_strict(&direct->offset_align) || memory)
		log_limited(&direct->messages, "disk '%s': the host refused direct I/O in the unit "
			    "that it named; it is done in units of %d bytes", disk->path,
			    DISK_ALIGN_STRICT);
}

/* The window was moved as far as @got: go on there, in whole units.  False: no further. */
static bool goes_on(struct disk_request *request, uint32_t got)
{
	struct disk_bounce *bounce = &request->bounce;

	if (got <= bounce->got)
		return false;
	bounce->got = got;
	bounce->at = align_down(got, request->align);
	return true;
}

/* A window's bytes from @got on are none of the image's any more: it was truncated. */
static bool is_past_image(const struct disk_request *request, uint32_t got)
{
	off_t size = lseek(request->disk->fd, 0, SEEK_END); /* of a device, too */

	return size >= 0 && (uint64_t)size <= request->bounce.offset + got;
}

/*
 * The window was read, to be written.  What lies beyond the image is zeros; else
 * what cannot be read must not be written.
 */
static int window_read(struct disk_request *request, uint32_t got)
{
	struct disk_bounce *bounce = &request->bounce;

	if (got < bounce->len) {
		if (goes_on(request, got))
			return -EAGAIN;
		if (!is_past_image(request, got))
			return -EIO;
		memset(bounce->memory + got, 0, bounce->len - got);
	}
	fill_window(request);
	return -EAGAIN;
}

static int window_done(struct disk_request *request, uint32_t got)
{
	uint32_t skip = window_skip(request), moved;

	if (got <= skip)
		return goes_on(request, got) ? -EAGAIN : 0;
	moved = min(got - skip, window_use(request));
	if (request->op == DISK_READ)
		copy(request, request->bounce.memory + skip, moved, true);
	close_window(request);
	return (int)moved;
}

int disk_direct_done(struct disk_request *request, int result)
{
	if (result == -EINVAL && min(request->align, request->memory_align) < DISK_ALIGN_STRICT) {
		become_strict(request->disk);
		close_window(request);
		return -EAGAIN;
	}
	if (!request->bounce.len || result < 0)
		return result;
	if (is_change(request) && !request->bounce.writing)
		return window_read(request, request->bounce.at + (uint32_t)result);
	return window_done(request, request->bounce.at + (uint32_t)result);
}

void disk_direct_end(struct disk_request *request)
{
	close_window(request);
	disk_turn_give_range(request);
}

/* --- Open and close --- */

/* A second description of the file: flags and locks of the first are not its own. */
static int open_tail(const struct disk *disk)
{
	int fd = open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	struct stat first = { 0 }, second = { 0 };

	if (fd < 0)
		return -errno;
	fstat(disk->fd, &first);
	fstat(fd, &second);
	if (first.st_dev != second.st_dev || first.st_ino != second.st_ino) {
		close(fd);
		return -ESTALE;
	}
	fcntl(fd, F_SETFL, 0);
	return fd;
}

int disk_direct_open(struct disk *disk)
{
	struct disk_direct *direct = calloc(1, sizeof(*direct));
	void *pool = mmap(NULL, DISK_BOUNCES * DISK_BOUNCE_LEN, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (!direct || pool == MAP_FAILED) {
		free(direct);
		if (pool != MAP_FAILED)
			munmap(pool, DISK_BOUNCES * DISK_BOUNCE_LEN);
		log_error("disk '%s': out of memory", disk->path);
		return -ENOMEM;
	}
	direct->pool = pool;
	disk_turn_init(direct);
	disk->direct = direct;
	direct->tail_fd = open_tail(disk);
	if (direct->tail_fd < 0) {
		ret = direct->tail_fd;
		log_error("disk '%s': cannot open it again: %s", disk->path, strerror(-ret));
	} else {
		ret = disk_align_find(disk);
	}
	if (ret)
		disk_direct_close(disk);
	return ret;
}

void disk_direct_close(struct disk *disk)
{
	struct disk_direct *direct = disk->direct;

	if (!direct)
		return;
	disk->direct = NULL;
	if (direct->tail_fd >= 0)
		close(direct->tail_fd);
	munmap(direct->pool, DISK_BOUNCES * DISK_BOUNCE_LEN);
	disk_turn_destroy(direct);
	free(direct);
}
