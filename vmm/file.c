// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The open of a FIFO would wait for its writer. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK)

/* Keep @fd, if it is one, for a regular file. */
static int keep_regular(int fd, uint64_t *size)
{
	struct stat st;
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		ret = -errno;
	else if (!S_ISREG(st.st_mode))
		ret = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (ret) {
		close(fd);
		return ret;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

int file_open_regular(int folder, const char *path, uint64_t *size)
{
	return keep_regular(openat(folder, path, OPEN_FLAGS), size);
}

int file_open_beneath(int folder, const char *path, uint64_t *size)
{
	const struct open_how how = {
		.flags = OPEN_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};

	return keep_regular((int)syscall(SYS_openat2, folder, path, &how, sizeof(how)), size);
}

int file_read_at(int fd, void *buf, uint64_t len, uint64_t offset)
{
	uint8_t *to = buf;

	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int ret = n ? -errno : -ENODATA;

			memset(to, 0, len);
			return ret;
		}
		to += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}
