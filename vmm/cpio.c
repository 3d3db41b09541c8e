// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "hw/base/util.h"
#include "vmm/file.h"

#define HEADER_SIZE 110
#define ALIGN 4

/* What differs from entry to entry in the header. */
struct entry {
	const char *name;
	mode_t mode;
	size_t size;
	unsigned major, minor;
};

void cpio_init(struct cpio *cpio, void *buf, size_t size)
{
	*cpio = (struct cpio){ .buf = buf, .size = buf ? size : SIZE_MAX };
}

static void write_header(uint8_t *dst, const struct entry *e, uint32_t ino)
{
	char header[HEADER_SIZE + 1];

	/* ino mode uid gid | nlink mtime size | dev rdev | name size, checksum */
	snprintf(header, sizeof(header),
		 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ino, e->mode, 0, 0,
		 S_ISDIR(e->mode) ? 2 : 1, 0, (unsigned)e->size, 0, 0, e->major, e->minor,
		 (unsigned)strlen(e->name) + 1, 0);
	memcpy(dst, header, HEADER_SIZE);
}

/*
 * Add everything of an entry but its data, whose place is set to *@data: NULL
 * if only counting.
 */
static int add_entry(struct cpio *cpio, const struct entry *e, uint8_t **data)
{
	size_t head = align_up(HEADER_SIZE + strlen(e->name) + 1, ALIGN);
	size_t total;
	uint8_t *dst;

	*data = NULL;
	if (e->size > UINT32_MAX)
		return -EFBIG;
	total = head + align_up(e->size, ALIGN);
	if (total > cpio->size - cpio->len)
		return -ENOSPC;
	cpio->ino++;
	if (cpio->buf) {
		dst = cpio->buf + cpio->len;
		/* The name's padding and its NUL, then that of the data. */
		memset(dst + head - ALIGN, 0, ALIGN);
		memset(dst + head + e->size, 0, total - head - e->size);
		write_header(dst, e, cpio->ino);
		memcpy(dst + HEADER_SIZE, e->name, strlen(e->name));
		*data = dst + head;
	}
	cpio->len += total;
	return 0;
}

int cpio_add_folder(struct cpio *cpio, const char *name, mode_t mode)
{
	uint8_t *data;

	return add_entry(cpio, &(struct entry){ .name = name, .mode = S_IFDIR | mode }, &data);
}

int cpio_add_char_device(struct cpio *cpio, const char *name, mode_t mode, unsigned major,
			 unsigned minor)
{
	struct entry e = {
		.name = name,
		.mode = S_IFCHR | mode,
		.major = major,
		.minor = minor,
	};
	uint8_t *data;

	return add_entry(cpio, &e, &data);
}

static int add_regular(struct cpio *cpio, const char *name, mode_t mode, size_t size,
		       uint8_t **data)
{
	struct entry e = { .name = name, .mode = S_IFREG | mode, .size = size };

	return add_entry(cpio, &e, data);
}

int cpio_add_data(struct cpio *cpio, const char *name, mode_t mode, const void *data, size_t size)
{
	uint8_t *dst;
	int ret = add_regular(cpio, name, mode, size, &dst);

	if (!ret && dst)
		memcpy(dst, data, size);
	return ret;
}

int cpio_add_file(struct cpio *cpio, const char *name, mode_t mode, int fd, size_t size)
{
	uint8_t *dst;
	int ret = add_regular(cpio, name, mode, size, &dst);

	if (ret || !dst)
		return ret;
	return file_read_at(fd, dst, size, 0);
}

int cpio_end(struct cpio *cpio)
{
	uint8_t *data;

	/* The kernel compares the name only; its inode number is a free choice. */
	return add_entry(cpio, &(struct entry){ .name = "TRAILER!!!" }, &data);
}
