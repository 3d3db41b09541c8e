/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regular files that a user names: kernels, initrds, modules.  They may be
 * changed by others while they are read.  Any thread; prints nothing.
 */
#pragma once

#include <stdint.h>

/*
 * Open @path for reading, as openat(2) finds it from @folder, and tell its
 * size in bytes.  Returns the descriptor; -EISDIR for a folder; -EINVAL for
 * whatever else is not a regular file; or another -errno.
 */
int file_open_regular(int folder, const char *path, uint64_t *size);

/*
 * The same for a @path that a file in @folder gave, and so may be hostile: it
 * must not lead out of @folder, by itself or by links, or it is -EXDEV.
 */
int file_open_beneath(int folder, const char *path, uint64_t *size);

/*
 * Read the @len bytes at @offset into @buf, where zeros stand for what could
 * not be read.  0; -ENODATA if the file ends before that; or another -errno.
 */
int file_read_at(int fd, void *buf, uint64_t len, uint64_t offset);
