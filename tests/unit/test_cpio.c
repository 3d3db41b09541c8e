// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/cpio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/newc.h"
#include "tests/unit/unit.h"

#define DIRT 0xaa
#define CAPACITY 65536

/* Zero-length, every alignment, and around a page. */
static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 4095, 4096, 4097 };
#define SIZES (sizeof(sizes) / sizeof(*sizes))

static uint8_t archive[CAPACITY], pattern[8192];

static void fill_pattern(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i * 7 + i / 251;
}

static int pattern_file(size_t size)
{
	int fd = memfd_create("pattern", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, pattern, size), (ssize_t)size);
	return fd;
}

/* One entry of each kind and files of all sizes, until one call fails. */
static int compose(struct cpio *cpio, int fd)
{
	char name[32];
	int ret;

	ret = cpio_add_folder(cpio, "dev", 0755);
	if (!ret)
		ret = cpio_add_char_device(cpio, "dev/console", 0600, 5, 1);
	for (size_t i = 0; !ret && i < SIZES; i++) {
		/* The names' lengths take all alignments as well. */
		snprintf(name, sizeof(name), "%.*s%zu", (int)i % 5, "abcde", sizes[i]);
		ret = cpio_add_data(cpio, name, 0640, pattern, sizes[i]);
		if (!ret) {
			name[0] = 'F';
			ret = cpio_add_file(cpio, name, 0755, fd, sizes[i]);
		}
	}
	return ret ? ret : cpio_end(cpio);
}

START_TEST(nothing_but_trailer)
{
	struct newc_entry entry;
	struct cpio cpio;
	size_t offset = 0;

	memset(archive, DIRT, sizeof(archive));
	cpio_init(&cpio, archive, sizeof(archive));
	ck_assert_int_eq(cpio_end(&cpio), 0);
	ck_assert_uint_eq(cpio.len, 124);
	ck_assert(!newc_next(archive, cpio.len, &offset, &entry));
	ck_assert_uint_eq(archive[cpio.len], DIRT);
}
END_TEST

START_TEST(all_kinds_and_sizes)
{
	struct newc_entry entry;
	struct cpio cpio;
	size_t offset = 0, i;
	uint32_t ino = 0;
	int fd;

	fill_pattern();
	fd = pattern_file(sizeof(pattern));
	memset(archive, DIRT, sizeof(archive));
	cpio_init(&cpio, archive, sizeof(archive));
	ck_assert_int_eq(compose(&cpio, fd), 0);

	ck_assert(newc_next(archive, cpio.len, &offset, &entry));
	ck_assert_str_eq(entry.name, "dev");
	ck_assert_uint_eq(entry.mode, S_IFDIR | 0755);
	ck_assert_uint_eq(entry.nlink, 2);
	ck_assert_uint_eq(entry.size, 0);
	ino = entry.ino;

	ck_assert(newc_next(archive, cpio.len, &offset, &entry));
	ck_assert_str_eq(entry.name, "dev/console");
	ck_assert_uint_eq(entry.mode, S_IFCHR | 0600);
	ck_assert_uint_eq(entry.major, 5);
	ck_assert_uint_eq(entry.minor, 1);
	ck_assert_uint_gt(entry.ino, ino);

	for (i = 0; i < 2 * SIZES; i++) {
		ino = entry.ino;
		ck_assert(newc_next(archive, cpio.len, &offset, &entry));
		ck_assert_uint_gt(entry.ino, ino);
		ck_assert_uint_eq(entry.nlink, 1);
		ck_assert_uint_eq(entry.mode, S_IFREG | (i % 2 ? 0755 : 0640));
		ck_assert_uint_eq(entry.size, sizes[i / 2]);
		ck_assert_uint_eq((entry.data - archive) % 4, 0);
		if (entry.size)
			ck_assert_mem_eq(entry.data, pattern, entry.size);
	}
	ck_assert(!newc_next(archive, cpio.len, &offset, &entry));
	ck_assert_uint_eq(archive[cpio.len], DIRT);
	close(fd);
}
END_TEST

START_TEST(counting_agrees_with_writing)
{
	struct cpio count, cpio;
	int fd = pattern_file(sizeof(pattern));

	cpio_init(&count, NULL, 0);
	/* No file is needed to count. */
	ck_assert_int_eq(compose(&count, -1), 0);
	cpio_init(&cpio, archive, count.len);
	ck_assert_int_eq(compose(&cpio, fd), 0);
	ck_assert_uint_eq(cpio.len, count.len);
	close(fd);
}
END_TEST

START_TEST(too_small_at_every_size)
{
	static uint8_t dirt[CAPACITY];
	struct cpio cpio;
	size_t full, size;
	int fd = pattern_file(sizeof(pattern));

	memset(dirt, DIRT, sizeof(dirt));
	cpio_init(&cpio, NULL, 0);
	ck_assert_int_eq(compose(&cpio, fd), 0);
	full = cpio.len;
	for (size = 0; size < full; size += size < 2000 ? 1 : 97) {
		memset(archive, DIRT, full);
		cpio_init(&cpio, archive, size);
		ck_assert_int_eq(compose(&cpio, fd), -ENOSPC);
		ck_assert_uint_le(cpio.len, size);
		/* The entry that did not fit has left no trace. */
		ck_assert_mem_eq(archive + cpio.len, dirt, full - cpio.len);
	}
	close(fd);
}
END_TEST

START_TEST(more_than_the_format_holds)
{
	static const size_t too_much[] = { 1UL << 32, 1UL << 63, SIZE_MAX - 2, SIZE_MAX };
	struct cpio cpio;

	for (size_t i = 0; i < sizeof(too_much) / sizeof(*too_much); i++) {
		cpio_init(&cpio, NULL, 0);
		ck_assert_int_eq(cpio_add_file(&cpio, "f", 0644, -1, too_much[i]), -EFBIG);
		ck_assert_uint_eq(cpio.len, 0);
		cpio_init(&cpio, archive, sizeof(archive));
		ck_assert_int_eq(cpio_add_data(&cpio, "f", 0644, "", too_much[i]), -EFBIG);
		ck_assert_uint_eq(cpio.len, 0);
	}
	cpio_init(&cpio, NULL, 0);
	ck_assert_int_eq(cpio_add_file(&cpio, "f", 0644, -1, UINT32_MAX), 0);
	cpio_init(&cpio, archive, sizeof(archive));
	ck_assert_int_eq(cpio_add_file(&cpio, "f", 0644, -1, UINT32_MAX), -ENOSPC);
}
END_TEST

/* Add @fd as 1000 bytes that cannot all be read, and check what is left. */
static void check_bad_file(int fd, size_t good, int error)
{
	struct newc_entry entry;
	struct cpio cpio;
	size_t planned;

	cpio_init(&cpio, NULL, 0);
	cpio_add_file(&cpio, "file", 0644, fd, 1000);
	cpio_end(&cpio);
	planned = cpio.len;

	memset(archive, DIRT, sizeof(archive));
	cpio_init(&cpio, archive, sizeof(archive));
	ck_assert_int_eq(cpio_add_file(&cpio, "file", 0644, fd, 1000), error);
	ck_assert_int_eq(cpio_end(&cpio), 0);
	ck_assert_uint_eq(cpio.len, planned);

	entry = newc_find(archive, cpio.len, "file");
	ck_assert_uint_eq(entry.size, 1000);
	if (good)
		ck_assert_mem_eq(entry.data, pattern, good);
	for (size_t i = good; i < 1000; i++)
		ck_assert_uint_eq(entry.data[i], 0);
}

START_TEST(file_got_shorter)
{
	int fd;

	fill_pattern();
	fd = pattern_file(999);
	check_bad_file(fd, 999, -ENODATA);
	ck_assert_int_eq(ftruncate(fd, 3), 0);
	check_bad_file(fd, 3, -ENODATA);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	check_bad_file(fd, 0, -ENODATA);
	close(fd);
}
END_TEST

START_TEST(file_cannot_be_read)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	check_bad_file(fd, 0, -EISDIR);
	close(fd);
	check_bad_file(-1, 0, -EBADF);
}
END_TEST

START_TEST(file_offset_is_left_alone)
{
	struct newc_entry entry;
	struct cpio cpio;
	int fd;

	fill_pattern();
	fd = pattern_file(100);
	ck_assert_int_eq(lseek(fd, 42, SEEK_SET), 42);
	cpio_init(&cpio, archive, sizeof(archive));
	ck_assert_int_eq(cpio_add_file(&cpio, "file", 0644, fd, 100), 0);
	ck_assert_int_eq(cpio_end(&cpio), 0);
	entry = newc_find(archive, cpio.len, "file");
	ck_assert_mem_eq(entry.data, pattern, 100);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 42);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cpio");

	unit_tcase(suite, "format", nothing_but_trailer, all_kinds_and_sizes,
		   counting_agrees_with_writing);
	unit_tcase(suite, "limits", too_small_at_every_size, more_than_the_format_holds);
	unit_tcase(suite, "files", file_got_shorter, file_cannot_be_read,
		   file_offset_is_left_alone);
	return unit_run(suite);
}
