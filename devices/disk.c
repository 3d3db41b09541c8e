// SPDX-License-Identifier: BSD-2-Clause
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"

/* Linux 6.12; start and length stand in addr and addr3. */
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

/* Larger "blocks", such as a network file system's, say nothing of the disk. */
#define PHYSICAL_MAX (64u << 10)

/* --- Open and close --- */

static int image_size(int fd, uint64_t *size)
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

/* @value if it is a power of two in this range, or else @least. */
static uint32_t block_size(uint32_t value, uint32_t least, uint32_t most)
{
	return value >= least && value <= most && !(value & (value - 1)) ? value : least;
}

/*
 * A file has no blocks for those who read and write it by the page cache; the
 * unit of its file system is what it is best changed in.  A device knows.
 */
static void set_geometry(struct disk *disk)
{
	unsigned physical = 0, io_min = 0, io_opt = 0;
	int logical = 0, alignment = 0;
	struct disk_geometry *g = &disk->geometry;
	struct stat st = { 0 };

	fstat(disk->fd, &st); /* as it did for the size */
	disk->is_device = S_ISBLK(st.st_mode);
	if (!disk->is_device) {
		physical = (unsigned)st.st_blksize;
	} else {
		/* What one of these does not tell stays 0. */
		ioctl(disk->fd, BLKSSZGET, &logical);
		ioctl(disk->fd, BLKPBSZGET, &physical);
		ioctl(disk->fd, BLKALIGNOFF, &alignment);
		ioctl(disk->fd, BLKIOMIN, &io_min);
		ioctl(disk->fd, BLKIOOPT, &io_opt);
	}
	g->logical = block_size((uint32_t)logical, DISK_SECTOR, 4096);
	if (disk->sectors % (g->logical / DISK_SECTOR))
		g->logical = DISK_SECTOR;
	g->physical = block_size(physical, g->logical, PHYSICAL_MAX);
	g->alignment = alignment > 0 ? (uint32_t)alignment % g->physical : 0;
	g->io_min = io_min % g->logical ? 0 : io_min;
	g->io_opt = io_opt % g->logical ? 0 : io_opt;
}

int disk_look_again(const struct disk *disk, uint64_t *sectors)
{
	uint64_t size = 0;
	int ret = image_size(disk->fd, &size);

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
	*sectors = size / DISK_SECTOR;
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

static void unlock(const struct disk *disk)
{
	struct flock whole = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(disk->fd, F_OFD_SETLK, &whole);
}

/*
 * Zeros to write where the host cannot make them.  A mapping that is only read
 * has all its pages in one, the kernel's own.
 */
static int map_zeros(struct disk *disk)
{
	if (disk->read_only)
		return 0;
	disk->zeros = mmap(NULL, DISK_STEP_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (disk->zeros != MAP_FAILED)
		return 0;
	disk->zeros = NULL;
	log_error("disk '%s': out of memory", disk->path);
	return -ENOMEM;
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
	ret = disk_look_again(disk, &disk->sectors);
	/* With O_NONBLOCK, io_uring would fail what cannot complete at once. */
	if (ret == 0)
		fcntl(disk->fd, F_SETFL, 0);
	if (ret == 0)
		ret = lock(disk);
	if (ret == 0)
		ret = map_zeros(disk);
	if (ret == 0)
		set_geometry(disk);
	if (ret)
		disk_close(disk);
	return ret;
}

void disk_close(struct disk *disk)
{
	if (disk->zeros)
		munmap(disk->zeros, DISK_STEP_MAX);
	/* The ring of a thread that ended may keep the file a little longer. */
	unlock(disk);
	close(disk->fd);
}

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

static bool is_write(const struct disk_request *request)
{
	return request->op == DISK_WRITE || request->op == DISK_WRITE_STABLE ||
		request->way == DISK_BY_WRITING_ZEROS;
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

	if (request->way == DISK_BY_WRITING_ZEROS) {
		request->part.iov_base = request->disk->zeros;
		request->part.iov_len = min(request->len, (uint64_t)DISK_STEP_MAX);
		*count = 1;
		return &request->part;
	}
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
	int fd = request->disk->fd;
	unsigned count;
	const struct iovec *iov = step_parts(request, &count);
	bool write = is_write(request);

	if (count == 1)
		io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, fd, iov->iov_base,
				 (unsigned)iov->iov_len, request->offset);
	else
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, fd, iov, count,
				 request->offset);
	sqe->rw_flags = write ? write_flags(request) : 0;
}

static void step_uring(struct disk_request *request, struct io_uring_sqe *sqe)
{
	int fd = request->disk->fd;

	if (request->step_len)
		range_uring(request, sqe);
	else if (request->op == DISK_FLUSH)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else
		transfer_uring(request, sqe);
	io_thread_use_file(request->thread, sqe, fd);
	io_uring_sqe_set_data(sqe, &request->step);
}

static int step_inline(struct disk_request *request)
{
	int fd = request->disk->fd;
	off_t offset = (off_t)request->offset;
	unsigned count;
	const struct iovec *iov = step_parts(request, &count);
	ssize_t ret;

	if (request->step_len)
		ret = range_inline(request);
	else if (request->op == DISK_FLUSH)
		ret = fdatasync(fd);
	else if (is_write(request))
		ret = pwritev2(fd, iov, (int)count, offset, write_flags(request));
	else
		ret = preadv(fd, iov, (int)count, offset);
	return ret < 0 ? -errno : (int)ret;
}

/* What a step counts in the thread's round; what moves no data may take as long. */
static uint64_t step_cost(const struct disk_request *request)
{
	bool moves = request->len && !request->step_len;

	return moves ? min(request->len, (uint64_t)DISK_STEP_MAX) : DISK_STEP_MAX;
}

/* Begin the next step. */
static void step_begin(struct disk_request *request)
{
	struct io_uring_sqe *sqe = NULL;

	request->step_len = way_step(request);
	io_thread_spend(request->thread, step_cost(request));
	if (request->disk->aio == DISK_AIO_IO_URING && request->way != DISK_BY_DISCARD_IOCTL)
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

/* Did the image shrink while the request ran?  What is left of it would make it grow. */
static bool is_beyond_end(const struct disk_request *request)
{
	return request->offset + request->len > load_relaxed(&request->disk->sectors) * DISK_SECTOR;
}

/* One system call is done: go on with what is left, or report. */
static void step_done(struct io_completion *step, int result)
{
	struct disk_request *request = container_of(step, struct disk_request, step);
	bool again = result == -EINTR || result == -EAGAIN || next_way(request, result);

	if (result < 0 && !again && makes_stable(request))
		store_relaxed(&request->disk->stable_error, result);
	if (result == 0)
		result = (int)request->step_len;
	if (result > 0)
		advance(request, (uint64_t)result);
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
	/* No error and no progress: the image was truncated under us. */
	if (result == 0 && request->len)
		result = -EIO;
	if (result >= 0 && makes_stable(request))
		result = load_relaxed(&request->disk->stable_error);
	/* The host may refuse advice. */
	if (request->op == DISK_DISCARD && result != -ECANCELED)
		result = 0;
	request->done(request, result < 0 ? result : 0);
}

void disk_queue(struct disk *disk, struct io_thread *thread, struct disk_request *request)
{
	request->disk = disk;
	request->thread = thread;
	request->step.done = step_done;
	request->way = first_way(disk, request->op);
	step_begin(request);
}
