// SPDX-License-Identifier: BSD-2-Clause
/* A disk's image: opened, locked, measured. */
#include "devices/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "devices/disk_private.h"
#include "hw/base/clock.h"
#include "hw/base/log.h"
#include "hw/base/util.h"

/* Larger "blocks", such as a network file system's, say nothing of the disk. */
#define PHYSICAL_MAX (64u << 10)

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
static uint32_t power_of_two_or_least(uint32_t value, uint32_t least, uint32_t most)
{
	return value >= least && value <= most && is_power_of_two(value) ? value : least;
}

/*
 * A file has no blocks for those who read and write it by the page cache; the
 * unit of its file system is what it is best changed in.  A device knows.  The
 * guest's own blocks are what it was made with, whatever the device's are: its
 * partition table counts in them.
 */
static void set_geometry(struct disk *disk)
{
	unsigned physical = 0, io_min = 0, io_opt = 0;
	int alignment = 0;
	struct disk_geometry *g = &disk->geometry;
	struct stat st = { 0 };

	if (!disk->is_device) {
		fstat(disk->fd, &st); /* as it did for the size */
		physical = (unsigned)st.st_blksize;
	} else {
		/* What one of these does not tell stays 0. */
		ioctl(disk->fd, BLKPBSZGET, &physical);
		ioctl(disk->fd, BLKALIGNOFF, &alignment);
		ioctl(disk->fd, BLKIOMIN, &io_min);
		ioctl(disk->fd, BLKIOOPT, &io_opt);
	}
	g->physical = power_of_two_or_least(physical, g->logical, PHYSICAL_MAX);
	if (disk->direct) {
		g->physical = max(g->physical, disk->direct->offset_align);
		io_min = max(io_min, disk->direct->offset_align);
	}
	g->alignment = alignment > 0 ? (uint32_t)alignment % g->physical : 0;
	g->io_min = io_min % g->logical ? 0 : io_min;
	g->io_opt = io_opt % g->logical ? 0 : io_opt;
}

int disk_look_again(const struct disk *disk, uint64_t *sectors)
{
	uint32_t block = disk->geometry.logical;
	uint64_t size = 0;
	int ret = image_size(disk->fd, &size);

	if (ret == -ENOTSUP)
		log_error("disk '%s': neither a file nor a block device", disk->path);
	else if (ret)
		log_error("disk '%s': cannot use it: %s", disk->path, strerror(-ret));
	else if (size < block) {
		log_error("disk '%s': it is %s (%" PRIu64 " bytes)", disk->path,
			  size < DISK_SECTOR ? "empty" : "smaller than a block", size);
		ret = -EINVAL;
	}
	if (ret)
		return ret;
	*sectors = size / block * (block / DISK_SECTOR);
	if (size % block)
		log_warn("disk '%s': size is not a multiple of %u bytes; the last %" PRIu64
			 " are hidden", disk->path, block, size % block);
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

/* How the page cache is passed by, if it is. */
static int open_past_cache(struct disk *disk, const struct disk_config *config)
{
	int ret;

	if (config->direct)
		return disk_direct_open(disk);
	if (!config->dontcache)
		return 0;
	ret = disk_try_dontcache(disk);
	if (ret == 0)
		disk->rw_flags = RWF_DONTCACHE;
	return ret;
}

int disk_open(struct disk *disk, const struct disk_config *config)
{
	struct stat st = { 0 };
	int ret;

	*disk = (struct disk){
		.path = config->path,
		.read_only = config->read_only,
		.aio = config->aio,
		.fixed_buffers = config->fixed_buffers,
		.geometry.logical = config->block_size ? config->block_size : DISK_SECTOR,
	};
	disk_sync_init(&disk->sync);
	/* O_NONBLOCK: a FIFO is refused below, not waited for. */
	disk->fd = open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (disk->fd < 0) {
		ret = -errno;
		log_error("disk '%s': cannot open: %s", disk->path, strerror(-ret));
		disk_sync_destroy(&disk->sync);
		return ret;
	}
	fstat(disk->fd, &st);
	disk->is_device = S_ISBLK(st.st_mode);
	ret = disk_look_again(disk, &disk->sectors);
	/* With O_NONBLOCK, io_uring would fail what cannot complete at once. */
	if (ret == 0)
		fcntl(disk->fd, F_SETFL, 0);
	if (ret == 0)
		ret = lock(disk);
	if (ret == 0)
		ret = map_zeros(disk);
	if (ret == 0)
		ret = open_past_cache(disk, config);
	if (ret == 0)
		set_geometry(disk);
	if (ret)
		disk_close(disk);
	return ret;
}

void disk_close(struct disk *disk)
{
	disk_direct_close(disk);
	disk_sync_destroy(&disk->sync);
	if (disk->zeros)
		munmap(disk->zeros, DISK_STEP_MAX);
	/* The ring of a thread that ended may keep the file a little longer. */
	unlock(disk);
	close(disk->fd);
}
