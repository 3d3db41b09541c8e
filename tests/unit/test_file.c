// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define SIZE 1000

START_TEST(only_regular_files_open)
{
	char folder[] = "/tmp/vmm-unit-XXXXXX";
	uint64_t size = 0;
	int at, fd;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mkfifoat(at, "fifo", 0600), 0);
	fd = openat(at, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, 5LL << 30), 0);
	close(fd);

	fd = file_open_regular(at, "file", &size);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(size, 5ULL << 30);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	ck_assert_int_eq(file_open_regular(at, "none", &size), -ENOENT);
	/* With nobody at the other end it must not wait. */
	ck_assert_int_eq(file_open_regular(at, "fifo", &size), -EINVAL);
	ck_assert_int_eq(file_open_regular(AT_FDCWD, "/dev/null", &size), -EINVAL);
	ck_assert_int_eq(file_open_regular(AT_FDCWD, folder, &size), -EISDIR);

	unlinkat(at, "file", 0);
	unlinkat(at, "fifo", 0);
	close(at);
	rmdir(folder);
}
END_TEST

START_TEST(what_is_missing_reads_as_zeros)
{
	uint8_t data[SIZE], buf[SIZE];
	int fd = memfd_create("file", MFD_CLOEXEC);

	memset(data, 0x55, sizeof(data));
	ck_assert_int_eq(write(fd, data, SIZE), SIZE);
	for (size_t at = 0; at <= SIZE; at += 100) {
		memset(buf, 0xaa, sizeof(buf));
		ck_assert_int_eq(file_read_at(fd, buf, SIZE - at, at), 0);
		ck_assert_mem_eq(buf, data, SIZE - at);

		memset(buf, 0xaa, sizeof(buf));
		ck_assert_int_eq(file_read_at(fd, buf, SIZE, at), at ? -ENODATA : 0);
		ck_assert_mem_eq(buf, data, SIZE - at);
		for (size_t i = SIZE - at; i < SIZE; i++)
			ck_assert_uint_eq(buf[i], 0);
	}
	close(fd);
	memset(buf, 0xaa, sizeof(buf));
	ck_assert_int_eq(file_read_at(-1, buf, SIZE, 0), -EBADF);
	for (size_t i = 0; i < SIZE; i++)
		ck_assert_uint_eq(buf[i], 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file");

	unit_tcase(suite, "file", only_regular_files_open, what_is_missing_reads_as_zeros);
	return unit_run(suite);
}
