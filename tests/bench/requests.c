// SPDX-License-Identifier: BSD-2-Clause
/*
 * usage: requests split|packed direct|indirect COUNT BATCH
 *
 * Reads a sector COUNT times, in batches of BATCH, through the block device on the
 * mock driver: for tests/bench/requests.sh, which counts what the I/O thread does.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/blk-rig.h"

#define BATCH_MAX 64

static bool packed, indirect;
static unsigned long count, batch;

static void run(struct blk_rig *rig, enum rig_cut cut)
{
	struct rig_request read = { .type = VIRTIO_BLK_T_IN, .in = DISK_SECTOR, .cut = cut };
	struct rig_result result;

	for (unsigned long done = 0; done < count; done += batch) {
		for (unsigned i = 0; i < batch; i++) {
			read.sector = i;
			must(rig_add(rig, &read) >= 0);
		}
		rig_kick(rig);
		for (unsigned i = 0; i < batch; i++) {
			rig_wait(rig, &result);
			must(result.status == VIRTIO_BLK_S_OK);
		}
	}
}

/* The rig's checks want a test round them. */
START_TEST(requests)
{
	static struct blk_rig rig;
	const struct io_thread_config thread_config = { .name = "io0", .queues = 1 };
	struct blk_config config = {
		.disk.aio = DISK_AIO_SYNC, .queues = 1, .queue_size = 256, .packed = true,
	};
	struct io_thread *thread;
	char path[32];
	int fd = memfd_create("image", 0);

	must(ftruncate(fd, BATCH_MAX * DISK_SECTOR) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config.disk.path = path;
	must(io_thread_create(&thread, &thread_config) == 0);
	rig_create(&rig, &config, thread, 256);
	rig_prepare(&rig, RIG_EVENT | RIG_INDIRECT | (packed ? RIG_PACKED : 0));
	rig_go(&rig);
	run(&rig, indirect ? RIG_TABLE : RIG_PLAIN);
	rig_stop(&rig);
	io_thread_destroy(thread);
	rig_free(&rig);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("requests");
	SRunner *runner = srunner_create(suite);
	TCase *tcase = tcase_create("requests");
	int failed;

	if (argc == 5) {
		count = strtoul(argv[3], NULL, 10);
		batch = strtoul(argv[4], NULL, 10);
	}
	if (!batch || batch > BATCH_MAX) {
		fprintf(stderr, "usage: requests split|packed direct|indirect COUNT BATCH\n");
		return 2;
	}
	packed = !strcmp(argv[1], "packed");
	indirect = !strcmp(argv[2], "indirect");
	tcase_add_test(tcase, requests);
	suite_add_tcase(suite, tcase);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
