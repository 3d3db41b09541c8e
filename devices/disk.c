// SPDX-License-Identifier: BSD-2-Clause
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"

/* --- Open and close --- */

static int size_of(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, size) ? -errno : 0;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int set_geometry(struct disk *disk)
{
	uint64_t size = 0;
	int ret = size_of(disk->fd, &size);

	if (ret == -ENOTSUP)
		log_error("disk '%s': neither a file nor a block device", disk->path);
	else if (ret)
		log_error("disk '%s': cannot use it: %s", disk->path, strerror(-ret));
	else if (size < DISK_SECTOR) {
		log_error("disk '%s': it is empty (%" PRIu64 " bytes)", disk->path, size);
		ret = -EINVAL;
	}
	if (ret)
		return ret;
	disk->sectors = size / DISK_SECTOR;
	if (size % DISK_SECTOR)
		log_warn("disk '%s': size is not a multiple of %d bytes; the last %" PRIu64
			 " are hidden", disk->path, DISK_SECTOR, size % DISK_SECTOR);
	return 0;
}

/*
 * The lock belongs to the open file description, not to the process, so it
 * guards against a second vmm and is not lost by closing some other descriptor.
 */
static int lock(const struct disk *disk)
{
	struct flock whole = {
		.l_type = disk->read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};
	const struct timespec pause = { .tv_nsec = 20 * NS_PER_MS };
	uint64_t deadline = clock_ns() + DISK_LOCK_WAIT_MS * NS_PER_MS;

	while (fcntl(disk->fd, F_OFD_SETLK, &whole)) {
		if (errno == EAGAIN || errno == EACCES) {
			if (clock_ns() >= deadline) {
				log_error("disk '%s': locked by another process", disk->path);
				return -EBUSY;
			}
			/* No call waits for a lock and for a time. */
			nanosleep(&pause, NULL);
			continue;
		}
		if (errno == EINTR)
			continue;
		log_warn("disk '%s': cannot lock it, so nothing keeps others out: %s", disk->path,
			 strerror(errno));
		return 0;
	}
	return 0;
}

int disk_open(struct disk *disk, const struct disk_config *config)
{
	int ret;

	*disk = (struct disk){
		.path = config->path,
		.read_only = config->read_only,
		.aio = config->aio,
	};
	/* O_NONBLOCK: a FIFO is refused below, not waited for. */
	disk->fd = open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (disk->fd < 0) {
		ret = -errno;
		log_error("disk '%s': cannot open: %s", disk->path, strerror(-ret));
		return ret;
	}
	ret = set_geometry(disk);
	/* With O_NONBLOCK, io_uring would fail what cannot complete at once. */
	if (ret == 0)
		fcntl(disk->fd, F_SETFL, 0);
	if (ret == 0)
		ret = lock(disk);
	if (ret)
		disk_close(disk);
	return ret;
}

void disk_close(struct disk *disk)
{
	close(disk->fd);
}

/* --- Requests --- */

static bool is_write(const struct disk_request *request)
{
	return request->op == DISK_WRITE || request->op == DISK_WRITE_STABLE;
}

/* RWF_DSYNC: not just the data, also what is needed to read it back. */
static int write_flags(const struct disk_request *request)
{
	return request->op == DISK_WRITE_STABLE ? RWF_DSYNC : 0;
}

/* The parts of the next step: as many whole ones as it may have, or a piece of one. */
static const struct iovec *step_parts(struct disk_request *request, unsigned *count)
{
	uint64_t len = 0;

	for (*count = 0; *count < request->iov_count; ++*count) {
		len += request->iov[*count].iov_len;
		if (len > DISK_STEP_MAX)
			break;
	}
	if (*count || !request->iov_count)
		return request->iov;
	request->part.iov_base = request->iov->iov_base;
	request->part.iov_len = DISK_STEP_MAX;
	*count = 1;
	return &request->part;
}

static void step_uring(struct disk_request *request, struct io_uring_sqe *sqe)
{
	int fd = request->disk->fd;
	unsigned count;
	const struct iovec *iov = step_parts(request, &count);

	if (request->op == DISK_FLUSH)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else if (is_write(request))
		io_uring_prep_writev2(sqe, fd, iov, count, request->offset, write_flags(request));
	else
		io_uring_prep_readv(sqe, fd, iov, count, request->offset);
	io_uring_sqe_set_data(sqe, &request->step);
}

static int step_inline(struct disk_request *request)
{
	int fd = request->disk->fd;
	off_t offset = (off_t)request->offset;
	unsigned count;
	const struct iovec *iov = step_parts(request, &count);
	ssize_t ret;

	if (request->op == DISK_FLUSH)
		ret = fdatasync(fd);
	else if (is_write(request))
		ret = pwritev2(fd, iov, (int)count, offset, write_flags(request));
	else
		ret = preadv(fd, iov, (int)count, offset);
	return ret < 0 ? -errno : (int)ret;
}

/* Begin the next step. */
static void step_begin(struct disk_request *request)
{
	struct io_uring_sqe *sqe = NULL;

	if (request->disk->aio == DISK_AIO_IO_URING)
		sqe = io_thread_sqe(request->thread);
	if (sqe)
		step_uring(request, sqe);
	else
		io_thread_complete(request->thread, &request->step, step_inline(request));
}

/* Take @moved bytes off the front of a request. */
static void advance(struct disk_request *request, uint64_t moved)
{
	request->offset += moved;
	request->len -= moved;
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
 * The kernel reports lost data once and forgets it: after that, no flush may
 * tell the guest that what it wrote before is stable.
 */
static int flush_result(struct disk *disk, int result)
{
	if (result == 0)
		return load_relaxed(&disk->flush_error);
	store_relaxed(&disk->flush_error, result);
	return result;
}

/* One system call is done: go on with what is left, or report. */
static void step_done(struct io_completion *step, int result)
{
	struct disk_request *request = container_of(step, struct disk_request, step);
	bool again = result == -EINTR || result == -EAGAIN;

	if (result > 0)
		advance(request, (uint64_t)result);
	if (again || (result > 0 && request->len)) {
		if (!*request->cancel) {
			step_begin(request);
			return;
		}
		result = -ECANCELED;
	}
	/* No error and no progress: the image was truncated under us. */
	if (result == 0 && request->len)
		result = -EIO;
	if (request->op == DISK_FLUSH)
		result = flush_result(request->disk, result);
	request->done(request, result < 0 ? result : 0);
}

void disk_queue(struct disk *disk, struct io_thread *thread, struct disk_request *request)
{
	request->disk = disk;
	request->thread = thread;
	request->step.done = step_done;
	step_begin(request);
}
