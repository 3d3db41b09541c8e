// SPDX-License-Identifier: BSD-2-Clause
/* What the host can do with an image, and in which units. */
#include "devices/disk_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"

/* --- Where it is --- */

#define PLACE_LEN 48

/* What @disk lies on, for messages. */
static const char *place_of(const struct disk *disk, char text[static PLACE_LEN])
{
	static const struct {
		uint32_t magic;
		const char *name;
	} known[] = {
		{ EXT4_SUPER_MAGIC, "ext4" }, /* ext2 and ext3, too */
		{ XFS_SUPER_MAGIC, "xfs" },
		{ BTRFS_SUPER_MAGIC, "btrfs" },
		{ F2FS_SUPER_MAGIC, "f2fs" },
		{ 0x2fc12fc1, "zfs" },
		{ 0xca451a4e, "bcachefs" },
		{ TMPFS_MAGIC, "tmpfs" },
		{ RAMFS_MAGIC, "ramfs" },
		{ HUGETLBFS_MAGIC, "hugetlbfs" },
		{ OVERLAYFS_SUPER_MAGIC, "overlay" },
		{ NFS_SUPER_MAGIC, "nfs" },
		{ 0xfe534d42, "smb" },
		{ V9FS_MAGIC, "9p" },
		{ 0x65735546, "fuse" },
		{ SQUASHFS_MAGIC, "squashfs" },
		{ ISOFS_SUPER_MAGIC, "iso9660" },
		{ MSDOS_SUPER_MAGIC, "vfat" },
		{ EXFAT_SUPER_MAGIC, "exfat" },
	};
	struct statfs fs = { 0 };

	if (disk->is_device) {
		snprintf(text, PLACE_LEN, "the block device");
		return text;
	}
	fstatfs(disk->fd, &fs);
	for (unsigned i = 0; i < array_size(known); i++) {
		if ((uint32_t)fs.f_type != known[i].magic)
			continue;
		snprintf(text, PLACE_LEN, "its file system (%s)", known[i].name);
		return text;
	}
	snprintf(text, PLACE_LEN, "its file system (0x%x)", (uint32_t)fs.f_type);
	return text;
}

static int refuses(const struct disk *disk, const char *what, int ret)
{
	char place[PLACE_LEN];

	log_error("disk '%s': %s refuses %s: %s", disk->path, place_of(disk, place), what,
		  strerror(-ret));
	return ret;
}

/* --- Direct I/O --- */

/* As the host tells it.  0, -EOPNOTSUPP for never, or -ENOSYS: it does not tell. */
static int ask_statx(const struct disk *disk)
{
	struct disk_direct *direct = disk->direct;
	struct statx st = { 0 };

	if (statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) ||
	    !(st.stx_mask & STATX_DIOALIGN))
		return -ENOSYS;
	direct->offset_align = st.stx_dio_offset_align;
	direct->memory_align = st.stx_dio_mem_align;
	return direct->offset_align ? 0 : -EOPNOTSUPP;
}

static int ask_device(const struct disk *disk)
{
	struct disk_direct *direct = disk->direct;
	int block = 0;

	if (!disk->is_device || ioctl(disk->fd, BLKSSZGET, &block) || block <= 0)
		return -ENOSYS;
	direct->offset_align = (uint32_t)block;
	direct->memory_align = min((uint32_t)block, (uint32_t)DISK_ALIGN_MEMORY_MAX);
	return 0;
}

/* The least with which the first bytes can be read. */
static int try_reads(const struct disk *disk)
{
	static const uint32_t sizes[] = { DISK_SECTOR, DISK_ALIGN_STRICT };
	struct disk_direct *direct = disk->direct;
	ssize_t got = -1;

	for (unsigned i = 0; i < array_size(sizes) && got < 0; i++) {
		direct->offset_align = direct->memory_align = sizes[i];
		/* At a multiple of this size and of no larger one. */
		got = pread(disk->fd, direct->pool + sizes[i], sizes[i], 0);
		if (got < 0 && errno != EINVAL)
			break;
	}
	return got < 0 ? -errno : 0;
}

static bool can_serve(uint32_t align, uint32_t most)
{
	return align <= most && is_power_of_two(align);
}

int disk_align_find(struct disk *disk)
{
	struct disk_direct *direct = disk->direct;
	int ret;

	if (fcntl(disk->fd, F_SETFL, O_DIRECT))
		return refuses(disk, "direct I/O", -errno);
	ret = ask_statx(disk);
	if (ret == -ENOSYS)
		ret = ask_device(disk);
	if (ret == -ENOSYS)
		ret = try_reads(disk);
	if (ret)
		return refuses(disk, "direct I/O", ret);
	/* Less than a sector is never asked for. */
	direct->offset_align = max(direct->offset_align, (uint32_t)DISK_SECTOR);
	if (can_serve(direct->offset_align, DISK_ALIGN_MAX) &&
	    can_serve(direct->memory_align, DISK_ALIGN_MEMORY_MAX))
		return 0;
	log_error("disk '%s': direct I/O is in units of %u bytes there, from addresses in units of "
		  "%u; at most %u and %u can be done", disk->path, direct->offset_align,
		  direct->memory_align, DISK_ALIGN_MAX, DISK_ALIGN_MEMORY_MAX);
	return -EOPNOTSUPP;
}

/* --- Past the page cache --- */

int disk_try_dontcache(const struct disk *disk)
{
	uint8_t sector[DISK_SECTOR];
	const struct iovec part = { sector, sizeof(sector) };

	/* Whoever takes it for a read takes it for a write. */
	if (preadv2(disk->fd, &part, 1, 0, RWF_DONTCACHE) >= 0)
		return 0;
	return refuses(disk, "dontcache (RWF_DONTCACHE)", -errno);
}
