// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/io_thread.h"
#include "tests/unit/blk-rig.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"

#define NAME "a \"disk\"\x1b\xff"

static char *folder;
static struct blk_rig rig;
static struct io_thread *thread;

static const struct rig_request read_one = { .type = VIRTIO_BLK_T_IN, .in = 512 };

static void begin(void)
{
	static const uint8_t image[65536];
	const struct io_thread_config thread_config = {
		.name = "io7", .queues = 1, .timed_one_in = 1,
	};
	struct blk_config config = {
		.disk.aio = DISK_AIO_SYNC, .queues = 1, .queue_size = 256, .packed = true,
	};

	folder = files_folder();
	files_write(folder, "image", image, sizeof(image));
	config.disk.path = files_path(folder, "image");
	ck_assert_int_eq(io_thread_create(&thread, &thread_config), 0);
	rig_create(&rig, &config, thread, 256);
	rig_prepare(&rig, RIG_EVENT);
	rig_go(&rig);
	ck_assert_uint_eq(rig_do(&rig, &read_one), VIRTIO_BLK_S_OK);
}

static void end(void)
{
	rig_stop(&rig);
	io_thread_destroy(thread);
	rig_free(&rig);
	files_remove(folder);
}

/* Twice, if @twice: one that is shorter must leave nothing of the one before. */
static struct stats_view view_of(bool twice)
{
	static struct stats_disk disks[2];

	disks[0] = disks[1] = (struct stats_disk){ NAME, rig.blk };
	return (struct stats_view){
		.disk = disks, .disk_count = twice ? 2 : 1, .thread = &thread, .thread_count = 1,
	};
}

static bool contains(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

START_TEST(table)
{
	struct stats_view view;
	char *told;

	begin();
	view = view_of(false);
	files_capture();
	stats_print(&view);
	told = files_captured();
	ck_assert(contains(told, "vmm: statistics; "));
	/* A terminal does not obey a name. */
	ck_assert(contains(told, "disk 'a \"disk\"?\xff'\n"));
	ck_assert(contains(told, "\n  read: 1 requests, 0 in flight, 0 failed, 512\n"));
	ck_assert(contains(told, "\n    submit to complete "));
	ck_assert(!contains(told, "write"));
	ck_assert(contains(told, "\n      0  io7 "));
	ck_assert(contains(told, "\nthread io7: "));
	free(told);
	end();
}
END_TEST

START_TEST(file_is_replaced_in_its_place)
{
	static char text[1 << 16];
	struct stats_view view;
	struct stat before, after;
	const char *path;
	ssize_t len;
	int fd;

	begin();
	view = view_of(true);
	path = files_path(folder, "stats");
	/* It keeps what is in it until there is something to write. */
	files_text(folder, "stats", "before");
	fd = stats_open(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(before.st_size, 6);
	ck_assert_int_eq(stats_write(fd, path, &view), 0);
	view = view_of(false);
	ck_assert_int_eq(stats_write(fd, path, &view), 0);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	len = read(fd, text, sizeof(text) - 1);
	ck_assert_int_eq(len, after.st_size);
	ck_assert_str_eq(&text[len - 3], "\n}\n");
	ck_assert(contains(text, "\"path\":\"a \\\"disk\\\"\\u001b\\ufffd\""));
	ck_assert(contains(text, "\"requests\":1,"));
	/* One document with one disk. */
	ck_assert_ptr_null(strstr(strstr(text, "\"path\"") + 1, "\"path\""));
	ck_assert_ptr_null(strstr(strstr(text, "\"end_time_us\"") + 1, "\"end_time_us\""));
	close(fd);
	end();
}
END_TEST

START_TEST(files_that_will_not_do)
{
	const struct {
		const char *name;
		int error;
	} bad[] = { { ".", -EISDIR }, { "none/file", -ENOENT }, { "image", -EBUSY } };
	char *told;

	begin();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		files_capture();
		ck_assert_int_eq(stats_open(files_path(folder, bad[i].name)), bad[i].error);
		told = files_captured();
		ck_assert(contains(told, "vmm: --stats '"));
		free(told);
	}
	end();
}
END_TEST

/* Nothing of it is lost in silence. */
START_TEST(no_room)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct stats_view view;
	char *told;

	begin();
	view = view_of(false);
	files_capture();
	ck_assert_int_lt(stats_write(fd, "full", &view), 0);
	told = files_captured();
	ck_assert(contains(told, "vmm: --stats 'full': cannot write: "));
	free(told);
	close(fd);
	end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");

	unit_tcase(suite, "stats", table, file_is_replaced_in_its_place, files_that_will_not_do,
		   no_room);
	return unit_run(suite);
}
