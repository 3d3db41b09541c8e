/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A writer of "newc" cpio archives, the form in which Linux takes its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel),
 * into memory of the caller: in a run that is guest RAM, and each file is read
 * straight into its place there.
 *
 * A writer without memory only counts: run the same calls twice, first with a
 * NULL buffer to learn the size from cpio.len, then for real.
 *
 * Everything belongs to root and is dated 1970, so equal input gives an equal
 * archive.  A writer is used by one thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cpio {
	uint8_t *buf; /* the caller's; NULL: only count */
	size_t size;  /* bytes at buf */
	size_t len;   /* bytes written, or counted, so far */
	uint32_t ino; /* inode number given last */
};

/* @buf may be at any address; the archive's alignment counts from its start. */
void cpio_init(struct cpio *cpio, void *buf, size_t size);

/*
 * Each of the following adds one entry, whose folder must have been added
 * before.  Returns 0; -ENOSPC if the entry does not fit, and -EFBIG if the
 * format cannot express its size: then nothing was added.
 */
int cpio_add_folder(struct cpio *cpio, const char *name, mode_t mode);
int cpio_add_char_device(struct cpio *cpio, const char *name, mode_t mode, unsigned major,
			 unsigned minor);
int cpio_add_data(struct cpio *cpio, const char *name, mode_t mode, const void *data, size_t size);

/*
 * A file with the first @size bytes of @fd, which stays open and whose offset
 * does not matter.  If those bytes cannot be read the entry is added all the
 * same, with zeros for what is missing, so that the archive keeps its planned
 * size and holds nothing that was in the buffer before; the return value is
 * then that of file_read_at() (vmm/file.h).
 */
int cpio_add_file(struct cpio *cpio, const char *name, mode_t mode, int fd, size_t size);

/* The archive's last entry. */
int cpio_end(struct cpio *cpio);
