// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open_regular(int folder, const char *path, uint64_t *size)
{
	/* The open of a FIFO would wait for its writer. */
	int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
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
