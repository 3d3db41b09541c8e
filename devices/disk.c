// SPDX-License-Identifier: BSD-2-Clause
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "devices/disk_private.h"
#include "hw/base/fence.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"

/* Linux 6.12; start and length stand in addr and addr3. */
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

/* --- Ways --- */

static unsigned way_bit(enum disk_way way)
{
	return 1U << way;
}

bool disk_may_unmap(const struct disk *disk)
{
	return !(load_relaxed(&disk->refused) & way_bit(DISK_BY_PUNCH));
}

/*
 * Where to begin: what the host refused before is not tried again, but for the
 * last way of a discard, which no other follows.
 */
static enum disk_way first_way(const struct disk *disk, enum disk_op op)
{
	unsigned refused = load_relaxed(&disk->refused);
	enum disk_way way;

	switch (op) {
	case DISK_DISCARD:
		way = disk->is_device ? DISK_BY_DISCARD_COMMAND : DISK_BY_PUNCH;
		if (disk->is_device && (refused & way_bit(way)))
			way++;
		return way;
	case DISK_ZERO:
	case DISK_ZERO_UNMAP:
		way = op == DISK_ZERO ? DISK_BY_ZERO_RANGE : DISK_BY_PUNCH;
		while (refused & way_bit(way))
			way++;
		return way;
	default:
		return DISK_BY_TRANSFER;
	}
}

/*
 * Go on another way after @error, if it says that the host does not know this
 * one, or not for this range (EINVAL), and if there is another.
 */
static bool next_way(struct disk_request *request, int error)
{
	enum disk_way last = DISK_BY_WRITING_ZEROS;

	if (request->op == DISK_DISCARD)
		last = request->disk->is_device ? DISK_BY_DISCARD_IOCTL : DISK_BY_PUNCH;
	if (request->way == DISK_BY_TRANSFER || (error != -EOPNOTSUPP && error != -EINVAL))
		return false;
	if (error == -EOPNOTSUPP && request->way != DISK_BY_WRITING_ZEROS)
		__atomic_fetch_or(&request->disk->refused, way_bit(request->way),
				  __ATOMIC_RELAXED);
	if (request->way == last)
		return false;
	request->way++;
	return true;
}

/* For fallocate(2). */
static int way_mode(enum disk_way way)
{
	return FALLOC_FL_KEEP_SIZE |
		(way == DISK_BY_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

/*
 * The bytes of the next step, or 0 where its result tells.  Steps end at
 * multiples of their length: a cut inside a block would keep it allocated.
 */
static uint32_t way_step(const struct disk_request *request)
{
	if (request->way == DISK_BY_TRANSFER || request->way == DISK_BY_WRITING_ZEROS)
		return 0;
	return (uint32_t)min(request->len,
			     DISK_RANGE_STEP_MAX - request->offset % DISK_RANGE_STEP_MAX);
}

/* --- Requests --- */

/* Does the step write? */
static bool is_write(const struct disk_request *request)
{
	if (request->bounce.len)
		return request->bounce.writing;
	return request->op == DISK_WRITE || request->op == DISK_WRITE_STABLE ||
		request->way == DISK_BY_WRITING_ZEROS;
}

/*
 * May what the step writes be lost later?  Direct I/O leaves nothing to be lost:
 * each of its writes hears of its own errors.
 */
static bool is_cached(const struct disk_request *request)
{
	const struct disk_direct *direct = request->disk->direct;

	return !direct || request->fd == direct->tail_fd;
}

/*
 * RWF_DSYNC: not just the data, also what is needed to read it back.  What has
 * not got the turn is made stable later.
 */
static int step_flags(const struct disk_request *request)
{
	bool stable = is_write(request) && request->op == DISK_WRITE_STABLE &&
		(request->has_turn || !is_cached(request));

	return request->disk->rw_flags | (stable ? RWF_DSYNC : 0);
}

static uint64_t step_offset(const struct disk_request *request)
{
	const struct disk_bounce *bounce = &request->bounce;

	return bounce->len ? bounce->offset + bounce->at : request->offset;
}

/* The step is this memory alone. */
static const struct iovec *one_part(struct disk_request *request, void *base, size_t len,
				    unsigned *count)
{
	request->part = (struct iovec){ base, len };
	*count = 1;
	return &request->part;
}

/* The parts of the next step: as many whole ones as it may have, or a piece of one. */
static const struct iovec *step_parts(struct disk_request *request, unsigned *count)
{
	const struct disk_bounce *bounce = &request->bounce;
	uint64_t len = 0;

	if (bounce->len)
		return one_part(request, bounce->memory + bounce->at, bounce->len - bounce->at,
				count);
	if (request->way == DISK_BY_WRITING_ZEROS)
		return one_part(request, request->disk->zeros,
				min(request->len, (uint64_t)DISK_STEP_MAX), count);
	for (*count = 0; *count < request->iov_count; ++*count) {
		len += request->iov[*count].iov_len;
		if (len > DISK_STEP_MAX)
			break;
	}
	if (*count)
		return request->iov;
	return one_part(request, request->iov->iov_base, DISK_STEP_MAX, count);
}

static void range_uring(const struct disk_request *request, struct io_uring_sqe *sqe)
{
	int fd = request->disk->fd;

	if (request->way == DISK_BY_DISCARD_COMMAND) {
		io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd,
				 (const void *)(uintptr_t)request->offset, 0, 0);
		sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
		sqe->addr3 = request->step_len;
	} else {
		io_uring_prep_fallocate(sqe, fd, way_mode(request->way), (off_t)request->offset,
					request->step_len);
	}
}

static int range_inline(const struct disk_request *request)
{
	const uint64_t range[] = { request->offset, request->step_len };
	int fd = request->disk->fd;

	if (request->way == DISK_BY_DISCARD_COMMAND || request->way == DISK_BY_DISCARD_IOCTL)
		return ioctl(fd, BLKDISCARD, range);
	return fallocate(fd, way_mode(request->way), (off_t)request->offset, request->step_len);
}

/* One part needs no vector, which the kernel would copy. */
static void transfer_uring(struct disk_request *request, struct io_uring_sqe *sqe)
{
	uint64_t offset = step_offset(request);
	unsigned count;
	const struct iovec *iov = step_parts(request, &count);
	bool write = is_write(request);

	if (count == 1)
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, request->fd,
				 iov->iov_base, (unsigned)iov->iov_len, offset);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, request->fd, iov,
				 count, offset);
	sqe->rw_flags = step_flags(request);
	if (count == 1 && request->disk->fixed_buffers)
		io_thread_use_buffer(request->thread, sqe);
}

static void step_uring(struct disk_request *request, struct io_uring_sqe *sqe)
{
	if (request->step_len)
		range_uring(request, sqe);
	else if (request->must_sync)
		io_uring_prep_fsync(sqe, request->fd, IORING_FSYNC_DATASYNC);
	else
		transfer_uring(request, sqe);
	io_thread_use_file(request->thread, sqe, request->fd);
	io_uring_sqe_set_data(sqe, &request->step);
}

/* The name of the system call, for who looks whether it hangs. */
static const char *inline_call(const struct disk_request *request)
{
	if (request->step_len)
		return request->way == DISK_BY_DISCARD_COMMAND ||
			request->way == DISK_BY_DISCARD_IOCTL ? "ioctl(BLKDISCARD)" : "fallocate(2)";
	if (request->must_sync)
		return "fdatasync(2)";
	return is_write(request) ? "pwritev2(2)" : "preadv2(2)";
}

static ssize_t transfer_inline(struct disk_request *request)
{
	off_t offset = (off_t)step_offset(request);
	unsigned count;
	const struct iovec *iov = step_parts(request, &count);

	if (is_write(request))
		return pwritev2(request->fd, iov, (int)count, offset, step_flags(request));
	return preadv2(request->fd, iov, (int)count, offset, step_flags(request));
}

static int step_inline(struct disk_request *request)
{
	ssize_t ret;

	io_thread_call(request->thread, inline_call(request), &request->step);
	if (request->step_len)
		ret = range_inline(request);
	else if (request->must_sync)
		ret = fdatasync(request->fd);
	else
		ret = transfer_inline(request);
	io_thread_called(request->thread);
	return ret < 0 ? -errno : (int)ret;
}

/* What a step counts in the thread's round; what moves no data may take as long. */
static uint64_t step_cost(const struct disk_request *request)
{
	bool moves = request->len && !request->step_len;

	if (request->bounce.len)
		return request->bounce.len;
	return moves ? min(request->len, (uint64_t)DISK_STEP_MAX) : DISK_STEP_MAX;
}

static void stamp(struct disk_request *request, bool is_inline)
{
	io_thread_stamp(request->thread, request->submitted, is_inline);
	request->submitted = NULL;
}

/* Begin the next step, at once or when its turn comes. */
static void step_begin(struct disk_request *request)
{
	struct io_uring_sqe *sqe = NULL;

	request->fd = request->disk->fd;
	request->step_len = way_step(request);
	if (request->must_sync && !disk_sync_take(request))
		return;
	if (request->disk->direct && !disk_direct_begin(request))
		return;
	io_thread_spend(request->thread, step_cost(request));
	if (request->disk->aio == DISK_AIO_IO_URING && request->way != DISK_BY_DISCARD_IOCTL)
		sqe = io_thread_sqe(request->thread);
	if (probe_wanted(submit) && request->step_begins)
		request->step_begins(request, !sqe);
	if (sqe)
		step_uring(request, sqe);
	if (request->submitted)
		stamp(request, !sqe);
	if (!sqe)
		io_thread_complete(request->thread, &request->step, step_inline(request));
}

/* Take @moved bytes off the front of a request. */
static void advance(struct disk_request *request, uint64_t moved)
{
	if (moved == request->len) {
		store_relaxed(&request->len, 0);
		return;
	}
	store_relaxed(&request->offset, request->offset + moved);
	store_relaxed(&request->len, request->len - moved);
	store_relaxed(&request->since, io_thread_epoch(request->thread));
	if (!request->iov_count)
		return;
	while (moved && moved >= request->iov->iov_len) {
		moved -= request->iov->iov_len;
		request->iov++;
		request->iov_count--;
	}
	if (moved) {
		request->iov->iov_base = (uint8_t *)request->iov->iov_base + moved;
		request->iov->iov_len -= moved;
	}
}

/*
 * The kernel reports lost data once, to whichever flush or stable write asks
 * first, and forgets it: after that, none may tell the guest that anything is
 * stable.  What was given up here has learnt nothing.
 */
static bool makes_stable(const struct disk_request *request)
{
	return request->op == DISK_FLUSH || request->op == DISK_WRITE_STABLE;
}

/* Has it now failed to do so?  A write that must read first has lost nothing yet. */
static bool loses_data(const struct disk_request *request)
{
	return request->op == DISK_FLUSH ||
		(request->op == DISK_WRITE_STABLE && is_write(request));
}

/*
 * Did the image shrink since the request was checked?  What is left of it would make it
 * grow.  Asked before each step: whoever truncates it after that is not seen.
 */
static bool is_beyond_end(const struct disk_request *request)
{
	uint64_t end = load_relaxed(&request->disk->sectors) * DISK_SECTOR;

	return request->len && request->offset + request->len > end;
}

static void finish(struct disk_request *request, int result)
{
	/* No error and no progress: the image was truncated under us. */
	if (result == 0 && request->len)
		result = -EIO;
	if (result >= 0 && makes_stable(request))
		result = load_relaxed(&request->disk->stable_error);
	/* The host may refuse advice. */
	if (request->op == DISK_DISCARD && result != -ECANCELED)
		result = 0;
	disk_sync_give(request, request->must_sync && result != -ECANCELED);
	if (request->disk->direct)
		disk_direct_end(request);
	request->done(request, result < 0 ? result : 0);
}

/* One system call is done: go on with what is left, or report. */
static void step_done(struct io_completion *step, int result)
{
	struct disk_request *request = container_of(step, struct disk_request, step);
	bool again;

	if (request->synced) {
		finish(request, 0);
		return;
	}
	if (request->disk->direct && request->len && !request->step_len)
		result = disk_direct_done(request, result);
	again = result == -EINTR || result == -EAGAIN || next_way(request, result);
	if (result < 0 && !again && loses_data(request))
		store_relaxed(&request->disk->stable_error, result);
	if (result == 0)
		result = (int)request->step_len;
	if (result > 0)
		advance(request, (uint64_t)result);
	if (result > 0 && !request->len && request->op == DISK_WRITE_STABLE)
		again = request->must_sync = !request->has_turn && is_cached(request);
	if (again || (result > 0 && request->len)) {
		if (!*request->cancel && !is_beyond_end(request)) {
			/* A round's bytes are for those that came first. */
			if (io_thread_is_spent(request->thread))
				io_thread_complete(request->thread, step, -EAGAIN);
			else
				step_begin(request);
			return;
		}
		result = *request->cancel ? -ECANCELED : -EIO;
	}
	finish(request, result);
}

void disk_queue(struct disk *disk, struct io_thread *thread, struct disk_request *request)
{
	request->disk = disk;
	request->thread = thread;
	request->step.done = step_done;
	request->way = first_way(disk, request->op);
	request->bounce = (struct disk_bounce){ 0 };
	request->has_range = request->needs_none = false;
	request->has_turn = request->synced = false;
	request->must_sync = request->op == DISK_FLUSH;
	if (request->op == DISK_WRITE_STABLE && !disk->direct)
		disk_sync_try(request);
	/* To be judged there: as beyond the end, or as one of many ranges, which take turns. */
	if (is_beyond_end(request) ||
	    (request->way != DISK_BY_TRANSFER && io_thread_is_spent(thread)))
		io_thread_complete(thread, &request->step, -EAGAIN);
	else
		step_begin(request);
}
