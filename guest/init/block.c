// SPDX-License-Identifier: BSD-2-Clause
#include "guest/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYS_BLOCK "/sys/class/block"
#define UUID_TEXT_SIZE 37

/* Where a superblock says what it is, in bytes from the device's start. */
struct superblock {
	const char *type;
	const char *magic;
	unsigned magic_len, magic_at;
	unsigned uuid_at;             /* 0: it has none */
	unsigned label_at, label_len; /* NULs fill it */
};

/*
 * The order matters where an older file system was not wiped: a squashfs is
 * copied over whatever is there, mkfs.ext4 spares what btrfs has at 64 KiB.
 */
static const struct superblock superblocks[] = {
	{ "squashfs", "hsqs", 4, 0, 0, 0, 0 },
	{ "xfs", "XFSB", 4, 0, 32, 108, 12 },
	{ "ext4", "\x53\xef", 2, 1024 + 56, 1024 + 104, 1024 + 120, 16 },
	{ "btrfs", "_BHRfS_M", 8, 65536 + 64, 65536 + 32, 65536 + 299, 256 },
};

static bool read_at(int fd, void *dst, size_t size, uint64_t at)
{
	return pread(fd, dst, size, at) == (ssize_t)size;
}

static uint64_t little_endian(const uint8_t *bytes, unsigned len)
{
	uint64_t value = 0;

	while (len--)
		value = value << 8 | bytes[len];
	return value;
}

/* A GPT's UUIDs have their first three fields little-endian, others do not. */
static void uuid_text(char text[UUID_TEXT_SIZE], const uint8_t *uuid, bool gpt)
{
	static const uint8_t swap[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (unsigned i = 0; i < 16; i++)
		text += sprintf(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
				uuid[gpt ? swap[i] : i]);
}

static void device_path(char dev[BLOCK_NAME_SIZE], const char *name)
{
	snprintf(dev, BLOCK_NAME_SIZE, "/dev/%s", name);
	/* sysfs has '!' for the slash of names such as cciss/c0d0. */
	for (dev += strlen("/dev/"); *dev; dev++) {
		if (*dev == '!')
			*dev = '/';
	}
}

static int device_open(const char *name)
{
	char dev[BLOCK_NAME_SIZE];

	device_path(dev, name);
	return open(dev, O_RDONLY | O_CLOEXEC);
}

static uint64_t sys_number(const char *name, const char *attribute)
{
	char path[PATH_MAX], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), SYS_BLOCK "/%s/%s", name, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	(void)!read(fd, text, sizeof(text) - 1);
	close(fd);
	return strtoull(text, NULL, 10);
}

static const struct superblock *find_superblock(int fd)
{
	const struct superblock *end = superblocks + sizeof(superblocks) / sizeof(*superblocks);
	char magic[8];

	for (const struct superblock *s = superblocks; s < end; s++) {
		if (read_at(fd, magic, s->magic_len, s->magic_at) &&
		    !memcmp(magic, s->magic, s->magic_len))
			return s;
	}
	return NULL;
}

const char *block_fstype(const char *dev)
{
	const struct superblock *s;
	int fd = open(dev, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("cannot open %s: %s", dev, strerror(errno));
	s = find_superblock(fd);
	close(fd);
	return s ? s->type : NULL;
}

/* --- What a device can be told by: does the one called @name have @want? --- */

static bool has_uuid(const char *name, const char *want)
{
	int fd = device_open(name);
	const struct superblock *s = find_superblock(fd);
	char text[UUID_TEXT_SIZE] = "";
	uint8_t uuid[16];

	if (s && s->uuid_at && read_at(fd, uuid, sizeof(uuid), s->uuid_at))
		uuid_text(text, uuid, false);
	close(fd);
	return *text && !strcasecmp(text, want);
}

static bool has_label(const char *name, const char *want)
{
	int fd = device_open(name);
	const struct superblock *s = find_superblock(fd);
	char label[257] = "";
	bool same;

	same = s && s->label_len && read_at(fd, label, s->label_len, s->label_at) &&
	       !strcmp(label, want);
	close(fd);
	return same;
}

/* A GPT's protective MBR has an entry of type 0xee. */
static bool is_protective(const uint8_t *mbr)
{
	for (unsigned i = 0; i < 4; i++) {
		if (mbr[446 + 16 * i + 4] == 0xee)
			return true;
	}
	return false;
}

/*
 * The partition table is read here because uevents have PARTUUID only since
 * Linux 6.10.  @number counts from 1.
 */
static void partition_uuid(int fd, unsigned number, char text[UUID_TEXT_SIZE])
{
	uint8_t mbr[512], header[92], uuid[16];
	uint64_t table, entry_size;
	unsigned sector = 512;

	if (!read_at(fd, mbr, sizeof(mbr), 0) || mbr[510] != 0x55 || mbr[511] != 0xaa)
		return;
	if (!is_protective(mbr)) {
		sprintf(text, "%08x-%02x", (unsigned)little_endian(mbr + 440, 4), number);
		return;
	}
	ioctl(fd, BLKSSZGET, &sector);
	if (!read_at(fd, header, sizeof(header), sector) || memcmp(header, "EFI PART", 8) ||
	    number > little_endian(header + 80, 4))
		return;
	table = little_endian(header + 72, 8) * sector;
	entry_size = little_endian(header + 84, 4);
	if (read_at(fd, uuid, sizeof(uuid), table + (number - 1) * entry_size + 16))
		uuid_text(text, uuid, true);
}

static bool has_partuuid(const char *name, const char *want)
{
	unsigned number = sys_number(name, "partition");
	char link[PATH_MAX], path[PATH_MAX], text[UUID_TEXT_SIZE] = "", *disk;
	int fd;

	snprintf(path, sizeof(path), SYS_BLOCK "/%s", name);
	if (!number || !realpath(path, link))
		return false;
	/* .../block/vda/vda1 */
	*strrchr(link, '/') = '\0';
	disk = strrchr(link, '/') + 1;
	fd = device_open(disk);
	partition_uuid(fd, number, text);
	close(fd);
	return *text && !strcasecmp(text, want);
}

static bool find_by(bool has(const char *, const char *), const char *want,
		    char dev[BLOCK_NAME_SIZE])
{
	DIR *dir = opendir(SYS_BLOCK);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		found = *entry->d_name != '.' && has(entry->d_name, want);
		if (found)
			device_path(dev, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

bool block_find(const char *spec, char dev[BLOCK_NAME_SIZE])
{
	struct stat st;

	if (!strncmp(spec, "PARTUUID=", 9))
		return find_by(has_partuuid, spec + 9, dev);
	if (!strncmp(spec, "UUID=", 5))
		return find_by(has_uuid, spec + 5, dev);
	if (!strncmp(spec, "LABEL=", 6))
		return find_by(has_label, spec + 6, dev);
	if (strncmp(spec, "/dev/", 5))
		die("root=%s: init knows /dev/NAME, PARTUUID=, UUID= and LABEL= only", spec);
	snprintf(dev, BLOCK_NAME_SIZE, "%s", spec);
	return !stat(dev, &st) && S_ISBLK(st.st_mode);
}

void block_list(char *text, size_t size)
{
	DIR *dir = opendir(SYS_BLOCK);
	struct dirent *entry;
	size_t len = 0;
	uint64_t sectors;

	snprintf(text, size, "%s", dir ? "none" : "");
	while (dir && len < size && (entry = readdir(dir))) {
		sectors = sys_number(entry->d_name, "size");
		/* Unused loop devices are empty, RAM disks nobody's root. */
		if (*entry->d_name == '.' || !sectors || !strncmp(entry->d_name, "ram", 3))
			continue;
		len += snprintf(text + len, size - len, "%s%s %" PRIu64 " MiB", len ? ", " : "",
				entry->d_name, sectors >> 11);
	}
	if (dir)
		closedir(dir);
}
