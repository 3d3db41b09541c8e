// SPDX-License-Identifier: BSD-2-Clause
/*
 * Hangs of each kind, made on the mock, and looked at when the test says so: an
 * epoch is as long as it likes, and nothing waits for a clock.
 */
#include "devices/blk_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/blk_private.h"
#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "tests/unit/blk-rig.h"
#include "tests/unit/fault.h"
#include "tests/unit/files.h"
#include "tests/unit/on-thread.h"
#include "tests/unit/unit.h"

#define SECTORS 2048
#define QUEUES 4
#define EPOCH_S 15.0 /* that is said */

static const bool kinds[] = { true, false }; /* io_uring, poll(2) */

static const uint64_t feature_sets[] = {
	0, RIG_EVENT, RIG_PACKED, RIG_EVENT | RIG_PACKED, RIG_EVENT | RIG_IN_ORDER,
};

static const struct rig_request read_one = { .type = VIRTIO_BLK_T_IN, .in = 512, .sector = 7 };
static const struct rig_request write_one = { .type = VIRTIO_BLK_T_OUT, .out = 512, .sector = 9 };
static const struct rig_request flush = { .type = VIRTIO_BLK_T_FLUSH };

static char *folder;
static struct io_thread *thread, *second; /* NULL: one serves all */
static struct blk_rig rig;
static struct blk_watch *watch;
static uint32_t epoch;
static bool still; /* somebody holds a thread */

static void setup(void)
{
	folder = files_folder();
}

static void teardown(void)
{
	files_remove(folder);
}

static bool held_still(void)
{
	return still;
}

static struct io_thread *thread_begin(const char *name, bool uring)
{
	const struct io_thread_config config = {
		.name = name, .queues = QUEUES, .use_uring = uring,
	};
	struct io_thread *made;

	ck_assert_int_eq(io_thread_create(&made, &config), 0);
	io_thread_set_epoch(made, 1);
	return made;
}

static void begin(bool uring, unsigned threads, uint16_t queues, uint64_t features)
{
	struct io_thread *both[2];
	struct blk_threads pool = { .thread = both, .count = threads };
	struct blk_config config = {
		.disk.aio = uring ? DISK_AIO_IO_URING : DISK_AIO_SYNC,
		.queues = queues,
		.queue_size = 256,
		.packed = true,
		.in_order = true,
		.discard = true,
	};

	files_write(folder, "image", NULL, 0);
	config.disk.path = files_path(folder, "image");
	ck_assert_int_eq(truncate(config.disk.path, SECTORS * DISK_SECTOR), 0);
	both[0] = thread = thread_begin("io0", uring);
	both[1] = second = threads > 1 ? thread_begin("io1", uring) : NULL;
	rig_create_on(&rig, &config, &pool, 64);
	rig_prepare(&rig, features | RIG_FLUSH | RIG_INDIRECT);
	rig_go(&rig);
	watch = blk_watch_create(rig.blk, EPOCH_S, held_still);
	ck_assert_ptr_nonnull(watch);
	epoch = 1;
}

static void end(void)
{
	rig_stop(&rig);
	io_thread_destroy(thread);
	if (second)
		io_thread_destroy(second);
	blk_watch_free(watch);
	rig_free(&rig);
}

/* An epoch is over: what is said then, to be freed. */
static char *look(void)
{
	epoch++;
	io_thread_set_epoch(thread, epoch);
	if (second)
		io_thread_set_epoch(second, epoch);
	files_capture();
	blk_watch_look(watch, epoch);
	return files_captured();
}

/* @count looks say nothing; of the next one, @text is what it says. */
static void expect(unsigned count, const char *text)
{
	char *said;

	while (count--) {
		said = look();
		ck_assert_str_eq(said, "");
		free(said);
	}
	said = look();
	ck_assert_str_eq(said, text);
	free(said);
}

static void expect_nothing(unsigned count)
{
	expect(count - 1, "");
}

/* The same with the head that the ring gave it in place of %u, and no more than that. */
static void expect_head(unsigned count, int slot, const char *format)
{
	char text[512];
	unsigned head = 0;

	while (rig.slot_of[head] != slot)
		must(++head < VIRTQUEUE_SIZE_MAX);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, head);
#pragma GCC diagnostic pop
	expect(count, text);
}

static struct blk_look look_at(unsigned queue)
{
	struct blk_look found;

	blk_queue_look(&rig.blk->queue[queue], epoch, &found);
	return found;
}

/* Until @done() says so of a look. */
static void wait_for(unsigned queue, bool (*done)(const struct blk_look *look))
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	struct blk_look found;

	do {
		must(clock_ns() < deadline);
		found = look_at(queue);
	} while (!done(&found));
}

static bool is_asleep(const struct blk_look *found)
{
	return found->asleep && found->place.waits;
}

static bool is_taken(const struct blk_look *found)
{
	return found->count && found->asleep && found->place.waits;
}

static bool is_in_call(const struct blk_look *found)
{
	return found->in_call;
}

static bool is_waiting(const struct blk_look *found)
{
	return found->waits;
}

static bool has_no_work(const struct blk_look *found)
{
	return found->asleep && !found->has_work;
}

static void wait_result(struct blk_rig *r)
{
	struct rig_result result;

	rig_wait(r, &result);
	must(result.status == VIRTIO_BLK_S_OK);
}

static int add_request(struct blk_rig *r, const struct rig_request *request)
{
	int slot = (int)rig_free_slot(r);

	/* What expect_head() looks for is its last head. */
	for (unsigned i = 0; i < VIRTQUEUE_SIZE_MAX; i++)
		if (r->slot_of[i] == slot)
			r->slot_of[i] = -1;
	must(rig_add(r, request) == slot);
	return slot;
}

static void do_one(struct blk_rig *r)
{
	add_request(r, &read_one);
	rig_kick(r);
	wait_result(r);
}

/* --- Requests that the disk has --- */

/* The disk is a pipe, which has nothing to read: the thread goes on, the request does not. */
static int pipe_begin(int *file)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	*file = fcntl(rig.disk.fd, F_DUPFD_CLOEXEC, 0);
	on_thread_replace_file(thread, rig.disk.fd, ends[0]);
	return ends[1];
}

static void pipe_give(int to, unsigned count)
{
	static const uint8_t sector[512];

	while (count--)
		ck_assert_int_eq(write(to, sector, sizeof(sector)), sizeof(sector));
}

static void pipe_end(int to, int file)
{
	on_thread_replace_file(thread, rig.disk.fd, file);
	close(to);
}

START_TEST(disk_owes_it)
{
	for (unsigned f = 0; f < sizeof(feature_sets) / sizeof(*feature_sets); f++) {
		int file, to, slot;

		begin(true, 1, 1, feature_sets[f]);
		to = pipe_begin(&file);
		expect_nothing(5);
		slot = add_request(&rig, &read_one);
		rig_kick(&rig);
		wait_for(0, is_taken);
		expect_head(2, slot, "vmm: warning: disk 'test': queue 0: a read of 512 bytes at "
			    "sector 7 (head %u) is not done after 30 s: submitted, and the host's "
			    "disk owes it; io0 is in io_uring_enter(2)\n");
		expect_nothing(4);
		pipe_give(to, 1);
		wait_result(&rig);
		expect(0, "vmm: disk 'test': queue 0: requests are done again, after 105 s\n");
		expect_nothing(4);
		pipe_end(to, file);
		end();
	}
}
END_TEST

/* The line tells of the oldest, and counts those that are as old. */
START_TEST(several)
{
	int file, to, slot;

	begin(true, 1, 1, 0);
	to = pipe_begin(&file);
	slot = add_request(&rig, &read_one);
	add_request(&rig, &read_one);
	rig_kick(&rig);
	wait_for(0, is_taken);
	expect_nothing(1);
	add_request(&rig, &read_one);
	rig_kick(&rig);
	expect_head(1, slot, "vmm: warning: disk 'test': queue 0: a read of 512 bytes at "
		    "sector 7 (head %u) is not done after 30 s: submitted, and the host's "
		    "disk owes it; io0 is in io_uring_enter(2) (1 more like it)\n");
	/* Some that are slow are still too slow: it is said once. */
	pipe_give(to, 2);
	wait_result(&rig);
	wait_result(&rig);
	expect_nothing(2);
	pipe_give(to, 1);
	wait_result(&rig);
	expect(0, "vmm: disk 'test': queue 0: requests are done again, after 75 s\n");
	pipe_end(to, file);
	end();
}
END_TEST

/* Those that go together are one: the line tells of all bytes. */
START_TEST(joined)
{
	struct rig_request request = read_one;
	int file, to, slot = -1;

	begin(true, 1, 1, 0);
	to = pipe_begin(&file);
	for (unsigned i = 0; i < 4; i++) {
		int one = add_request(&rig, &request);

		slot = i ? slot : one;
		request.sector++;
	}
	rig_kick(&rig);
	wait_for(0, is_taken);
	expect_head(2, slot, "vmm: warning: disk 'test': queue 0: a read of 2048 bytes at "
		    "sector 7 (head %u) is not done after 30 s: submitted, and the host's "
		    "disk owes it; io0 is in io_uring_enter(2)\n");
	pipe_give(to, 4);
	for (unsigned i = 0; i < 4; i++)
		wait_result(&rig);
	expect(0, "vmm: disk 'test': queue 0: requests are done again, after 45 s\n");
	pipe_end(to, file);
	end();
}
END_TEST

/* --- Requests that a call of the thread has --- */

static const struct {
	struct rig_request request;
	const char *text;
} calls[] = {
	{ { .type = VIRTIO_BLK_T_IN, .in = 512, .sector = 7 },
	  "a read of 512 bytes at sector 7 (head %u) is not done after 30 s: io0 is in "
	  "preadv2(2) for it" },
	{ { .type = VIRTIO_BLK_T_OUT, .out = 1024, .sector = 1 },
	  "a write of 1024 bytes at sector 1 (head %u) is not done after 30 s: io0 is in "
	  "pwritev2(2) for it" },
	{ { .type = VIRTIO_BLK_T_FLUSH },
	  "a flush (head %u) is not done after 30 s: io0 is in fdatasync(2) for it" },
	{ { .type = VIRTIO_BLK_T_DISCARD, .out = 16 },
	  "a discard of 4096 bytes at sector 16 (head %u) is not done after 30 s: io0 is in "
	  "fallocate(2) for it" },
	{ { .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = 16 },
	  "a write of zeroes of 4096 bytes at sector 16 (head %u) is not done after 30 s: "
	  "io0 is in fallocate(2) for it" },
};

START_TEST(in_call)
{
	const struct virtio_blk_discard_write_zeroes segment = { .sector = 16, .num_sectors = 8 };
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC), slot;
	char text[512];

	begin(false, 1, 1, RIG_RANGES);
	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		fault_gate(gate);
		if (calls[i].request.out == sizeof(segment))
			rig_fill(&rig, rig_free_slot(&rig), &segment, sizeof(segment));
		slot = add_request(&rig, &calls[i].request);
		rig_kick(&rig);
		wait_for(0, is_in_call);
		snprintf(text, sizeof(text), "vmm: warning: disk 'test': queue 0: %s\n",
			 calls[i].text);
		expect_head(2, slot, text);
		fault_gate(-1);
		eventfd_write(gate, 1);
		wait_result(&rig);
		expect(0, "vmm: disk 'test': queue 0: requests are done again, after 45 s\n");
	}
	end();
	close(gate);
}
END_TEST

/* What others on the thread made available is told of, too, and is not laid to the guest. */
START_TEST(in_call_for_another)
{
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC), slot;
	struct blk_rig other;

	begin(false, 1, 2, 0);
	rig_join(&other, &rig, 1);
	do_one(&other);
	wait_for(1, is_asleep);
	fault_gate(gate);
	slot = add_request(&rig, &read_one);
	rig_kick(&rig);
	wait_for(0, is_in_call);
	expect_nothing(1);
	add_request(&other, &read_one);
	rig_kick(&other);
	expect_head(1, slot, "vmm: warning: disk 'test': queue 0: a read of 512 bytes at sector 7 "
		    "(head %u) is not done after 30 s: io0 is in preadv2(2) for it\n");
	expect(0, "vmm: warning: disk 'test': queue 1: requests are not taken after 30 s: io0 is "
	       "in preadv2(2) for another request (available index 2, taken 1)\n");
	fault_gate(-1);
	eventfd_write(gate, 1);
	wait_result(&rig);
	wait_result(&other);
	expect(0, "vmm: disk 'test': queue 0: requests are done again, after 60 s\n"
	       "vmm: disk 'test': queue 1: requests are taken again, after 45 s\n");
	rig_stop(&rig);
	rig_leave(&other);
	end();
	close(gate);
}
END_TEST

/* A flush on one thread waits for that on another. */
START_TEST(turns)
{
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	struct blk_rig other;
	char *said;

	begin(false, 2, 2, 0);
	rig_join(&other, &rig, 1);
	fault_gate(gate);
	add_request(&rig, &flush);
	rig_kick(&rig);
	wait_for(0, is_in_call);
	add_request(&other, &flush);
	rig_kick(&other);
	wait_for(1, is_waiting);
	expect_nothing(2);
	said = look();
	ck_assert_ptr_nonnull(strstr(said, "queue 0: a flush (head "));
	ck_assert_ptr_nonnull(strstr(said, "is not done after 30 s: io0 is in fdatasync(2) for it\n"));
	ck_assert_ptr_nonnull(strstr(said, "queue 1: a flush (head "));
	ck_assert_ptr_nonnull(strstr(said, "is not done after 30 s: not submitted: it waits for "
				     "another request of the same image\n"));
	free(said);
	eventfd_write(gate, 1);
	wait_result(&rig);
	wait_for(1, is_in_call);
	ck_assert(!look_at(1).waits);
	fault_gate(-1);
	eventfd_write(gate, 1);
	wait_result(&other);
	expect(0, "vmm: disk 'test': queue 0: requests are done again, after 45 s\n"
	       "vmm: disk 'test': queue 1: requests are done again, after 45 s\n");
	rig_stop(&rig);
	rig_leave(&other);
	end();
	close(gate);
}
END_TEST

/* One that gets on, step by step, does not hang, however long it takes. */
START_TEST(progress)
{
	const struct rig_request request = { .type = VIRTIO_BLK_T_OUT, .out = 8192 };
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC), slot;

	begin(false, 1, 1, 0);
	fault_gate(gate);
	fault_inject(FAULT_WRITE, 16, 0, 512);
	slot = add_request(&rig, &request);
	rig_kick(&rig);
	wait_for(0, is_in_call);
	for (unsigned i = 0; i < 15; i++) {
		expect_nothing(2);
		eventfd_write(gate, 1);
		do
			wait_for(0, is_in_call);
		while (look_at(0).len != request.out - (i + 1) * 512);
	}
	expect_head(2, slot, "vmm: warning: disk 'test': queue 0: a write of 512 bytes at "
		    "sector 15 (head %u) is not done after 30 s: io0 is in pwritev2(2) for it\n");
	fault_gate(-1);
	eventfd_write(gate, 1);
	wait_result(&rig);
	fault_inject(FAULT_WRITE, 0, 0, 0);
	end();
	close(gate);
}
END_TEST

/* So it is with one of several segments. */
START_TEST(progress_by_segments)
{
	const struct rig_request request = { .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = 64 };
	struct virtio_blk_discard_write_zeroes segment[4];
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	begin(false, 1, 1, RIG_RANGES);
	for (unsigned i = 0; i < 4; i++)
		segment[i] = (struct virtio_blk_discard_write_zeroes){
			.sector = 64 * i, .num_sectors = 8,
		};
	fault_gate(gate);
	rig_fill(&rig, rig_free_slot(&rig), segment, sizeof(segment));
	add_request(&rig, &request);
	rig_kick(&rig);
	for (unsigned i = 0; i < 4; i++) {
		do
			wait_for(0, is_in_call);
		while (look_at(0).offset != segment[i].sector * DISK_SECTOR);
		expect_nothing(2);
		eventfd_write(gate, 1);
	}
	wait_result(&rig);
	fault_gate(-1);
	end();
	close(gate);
}
END_TEST

/* Two that went together failed, and each goes by itself: the second hangs. */
START_TEST(apart)
{
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC), slot;
	struct rig_request request = read_one;

	begin(false, 1, 1, 0);
	fault_gate(gate);
	fault_inject(FAULT_READ, 1, EIO, 0);
	add_request(&rig, &request);
	request.sector++;
	slot = add_request(&rig, &request);
	rig_kick(&rig);
	wait_for(0, is_in_call);
	eventfd_write(gate, 2);
	do
		wait_for(0, is_in_call);
	while (look_at(0).offset != request.sector * DISK_SECTOR);
	expect_head(2, slot, "vmm: warning: disk 'test': queue 0: a read of 512 bytes at sector 8 "
		    "(head %u) is not done after 30 s: io0 is in preadv2(2) for it "
		    "(1 more like it)\n");
	eventfd_write(gate, 1);
	wait_result(&rig);
	wait_result(&rig);
	fault_gate(-1);
	end();
	close(gate);
}
END_TEST

/* A stop waits for a request that hangs, which is what is told of, then too. */
START_TEST(stop_waits)
{
	int file, to;

	begin(true, 1, 1, 0);
	to = pipe_begin(&file);
	add_request(&rig, &read_one);
	rig_kick(&rig);
	wait_for(0, is_taken);
	rig_reset_order(&rig);
	expect_nothing(2);
	free(look());
	expect_nothing(3);
	pipe_give(to, 1);
	rig_reset_wait(&rig);
	expect(0, "vmm: disk 'test': queue 0: requests are done again, after 90 s\n");
	pipe_end(to, file);
	end();
}
END_TEST

/* --- Work that is not taken --- */

START_TEST(not_rung)
{
	for (unsigned k = 0; k < sizeof(kinds); k++)
		for (unsigned f = 0; f < sizeof(feature_sets) / sizeof(*feature_sets); f++) {
			bool packed = feature_sets[f] & RIG_PACKED;

			begin(kinds[k], 1, 1, feature_sets[f]);
			/* More than a lap. */
			for (unsigned i = 0; i < 70; i++)
				must(rig_do(&rig, &write_one) == VIRTIO_BLK_S_OK);
			wait_for(0, is_asleep);
			expect_nothing(5);
			add_request(&rig, &read_one);
			vq_driver_publish(rig.driver);
			expect(2, packed ? "vmm: warning: disk 'test': queue 0: requests are not taken "
			       "after 30 s: the guest has not rung (packed ring: the descriptor at 18 "
			       "is available)\n" :
			       "vmm: warning: disk 'test': queue 0: requests are not taken after 30 s: "
			       "the guest has not rung (available index 71, taken 70)\n");
			expect_nothing(3);
			virtio_queue_kick(virtio_queue_at(rig.dev, 0));
			wait_result(&rig);
			wait_for(0, is_asleep);
			expect(0, "vmm: disk 'test': queue 0: requests are taken again, after 90 s\n");
			expect_nothing(3);
			end();
		}
}
END_TEST

START_TEST(not_master)
{
	begin(true, 1, 1, RIG_EVENT);
	wait_for(0, is_asleep);
	rig.doorbell_held = "PCI bus mastering is off";
	add_request(&rig, &read_one);
	vq_driver_publish(rig.driver);
	expect(2, "vmm: warning: disk 'test': queue 0: requests are not taken after 30 s: the guest "
	       "has not rung, and cannot: PCI bus mastering is off (available index 1, taken 0)\n");
	/* It gives up. */
	rig_reset_order(&rig);
	rig_reset_wait(&rig);
	expect(0, "vmm: disk 'test': queue 0: the guest stopped it, after 45 s\n");
	expect_nothing(3);
	end();
}
END_TEST

static void nothing(void *opaque)
{
	(void)opaque;
}

/* Of a ring that makes no sense the driver was told; then no other ring is served either. */
START_TEST(broken)
{
	struct blk_rig other;
	char *said;

	begin(true, 1, 2, 0);
	rig_join(&other, &rig, 1);
	wait_for(0, is_asleep);
	wait_for(1, is_asleep);
	add_request(&other, &read_one);
	vq_driver_publish(other.driver);
	files_capture();
	vq_split_avail(rig.driver, 0, 300, 0);
	virtio_queue_kick(virtio_queue_at(rig.dev, 0));
	while (!virtio_device_is_broken(rig.dev))
		poll(NULL, 0, 1);
	on_thread(thread, nothing, NULL); /* and has said so */
	said = files_captured();
	ck_assert_ptr_nonnull(strstr(said, "needs a reset"));
	free(said);
	expect_nothing(5);
	rig_stop(&rig);
	rig_leave(&other);
	end();
}
END_TEST

/* --- Interrupts that are held back --- */

START_TEST(interrupt)
{
	for (unsigned k = 0; k < sizeof(kinds); k++)
		for (unsigned f = 0; f < sizeof(feature_sets) / sizeof(*feature_sets); f++) {
			begin(kinds[k], 1, 1, feature_sets[f]);
			rig.interrupt_held = "the MSI-X vector is masked";
			vq_driver_listen(rig.driver, 1);
			add_request(&rig, &read_one);
			rig_kick(&rig);
			must(rig_told(&rig, RIG_DEADLINE_MS));
			wait_for(0, is_asleep);
			expect(2, "vmm: warning: disk 'test': queue 0: the guest waits for an interrupt "
			       "after 30 s: the MSI-X vector is masked\n");
			expect_nothing(3);
			rig.interrupt_held = NULL;
			expect(0, "vmm: disk 'test': queue 0: interrupts are held back no more, "
			       "after 90 s\n");
			expect_nothing(3);
			wait_result(&rig);
			end();
		}
}
END_TEST

/* Of another queue on the thread, whatever happens there. */
START_TEST(interrupt_beside_load)
{
	for (unsigned k = 0; k < sizeof(kinds); k++) {
		struct blk_rig other;
		char *said = NULL;

		begin(kinds[k], 1, 2, RIG_EVENT);
		rig_join(&other, &rig, 1);
		rig.interrupt_held = "the MSI-X vector is masked";
		vq_driver_listen(rig.driver, 1);
		add_request(&rig, &read_one);
		rig_kick(&rig);
		must(rig_told(&rig, RIG_DEADLINE_MS));
		wait_for(0, is_asleep);
		for (unsigned i = 0; i < 3; i++) {
			do_one(&other);
			vq_driver_mute(other.driver);
			wait_for(1, is_asleep);
			free(said);
			said = look();
		}
		ck_assert_str_eq(said, "vmm: warning: disk 'test': queue 0: the guest waits for an "
				 "interrupt after 30 s: the MSI-X vector is masked\n");
		free(said);
		wait_result(&rig);
		rig_stop(&rig);
		rig_leave(&other);
		end();
	}
}
END_TEST

/* Who polls wishes for none. */
START_TEST(polling)
{
	for (unsigned f = 0; f < sizeof(feature_sets) / sizeof(*feature_sets); f++) {
		bool packed = feature_sets[f] & RIG_PACKED;

		/* As far as an event can be on a packed ring, it may be a wish. */
		if (packed && (feature_sets[f] & RIG_EVENT))
			continue;
		begin(true, 1, 1, feature_sets[f]);
		rig.interrupt_held = "the MSI-X vector is masked";
		vq_driver_mute(rig.driver);
		for (unsigned i = 0; i < 3; i++) {
			struct rig_result result;

			add_request(&rig, &read_one);
			rig_kick(&rig);
			while (!rig_poll(&rig, &result))
				poll(NULL, 0, 0);
			wait_for(0, is_asleep);
			expect_nothing(5);
		}
		end();
	}
}
END_TEST

/*
 * A queue without a vector has a driver that wants no interrupts.  With EVENT_IDX it
 * cannot say so once for all; but one that wants them asks for some, and not just at 0.
 */
START_TEST(no_vector)
{
	for (unsigned f = 0; f < 2; f++) {
		uint64_t features = feature_sets[f];

		begin(true, 1, 1, features);
		rig.interrupt_held = "the queue has no MSI-X vector";
		rig.interrupt_lost = true;
		wait_for(0, is_asleep);
		expect_nothing(4); /* nothing was completed */
		vq_driver_listen(rig.driver, 1);
		add_request(&rig, &read_one);
		rig_kick(&rig);
		must(rig_told(&rig, RIG_DEADLINE_MS));
		wait_for(0, is_asleep);
		if (features & RIG_EVENT)
			expect_nothing(4);
		else
			expect(2, "vmm: warning: disk 'test': queue 0: the guest waits for an interrupt "
			       "after 30 s: the queue has no MSI-X vector\n");
		wait_result(&rig);
		vq_driver_listen(rig.driver, 1);
		add_request(&rig, &read_one);
		rig_kick(&rig);
		must(rig_told(&rig, RIG_DEADLINE_MS));
		wait_for(0, is_asleep);
		if (features & RIG_EVENT)
			expect(2, "vmm: warning: disk 'test': queue 0: the guest waits for an interrupt "
			       "after 30 s: the queue has no MSI-X vector\n");
		wait_result(&rig);
		end();
	}
}
END_TEST

/* --- What is no hang --- */

/* Each request is done before it is old, at full depth, whatever the time that passes. */
START_TEST(load)
{
	for (unsigned k = 0; k < sizeof(kinds); k++) {
		begin(kinds[k], 1, 1, RIG_EVENT);
		for (unsigned i = 0; i < 1000; i++) {
			while (rig_add(&rig, i % 2 ? &read_one : &write_one) >= 0)
				;
			rig_kick(&rig);
			expect_nothing(1);
			while (vq_driver_in_flight(rig.driver))
				wait_result(&rig);
		}
		end();
	}
}
END_TEST

/* While a debugger holds a thread nothing is told; after that, all ages begin anew. */
START_TEST(held)
{
	int file, to, slot;

	begin(true, 1, 1, 0);
	to = pipe_begin(&file);
	slot = add_request(&rig, &read_one);
	rig_kick(&rig);
	wait_for(0, is_taken);
	still = true;
	expect_nothing(20);
	still = false;
	expect_nothing(1);
	pipe_give(to, 1);
	wait_result(&rig);
	expect_nothing(3);
	slot = add_request(&rig, &read_one);
	rig_kick(&rig);
	wait_for(0, is_taken);
	expect_head(2, slot, "vmm: warning: disk 'test': queue 0: a read of 512 bytes at "
		    "sector 7 (head %u) is not done after 30 s: submitted, and the host's "
		    "disk owes it; io0 is in io_uring_enter(2)\n");
	pipe_give(to, 1);
	wait_result(&rig);
	pipe_end(to, file);
	end();
}
END_TEST

/* However much hangs, stderr gets a few lines; and no end without its beginning. */
START_TEST(many)
{
	struct blk_rig other[QUEUES];
	unsigned lines = 0;
	int file, to;
	char *said;

	begin(true, 1, QUEUES, RIG_EVENT);
	to = pipe_begin(&file);
	for (unsigned i = 1; i < QUEUES; i++)
		rig_join(&other[i], &rig, i);
	other[0] = rig;
	for (unsigned i = 0; i < QUEUES; i++) {
		add_request(&other[i], &read_one);
		rig_kick(&other[i]);
		wait_for(i, is_taken);
		add_request(&other[i], &read_one);
		vq_driver_publish(other[i].driver);
	}
	expect_nothing(2);
	said = look();
	for (const char *at = said; (at = strstr(at, "after 30 s")); at++)
		lines++;
	ck_assert_uint_eq(lines, LOG_LIMIT_BURST);
	free(said);
	virtio_queue_kick(virtio_queue_at(rig.dev, QUEUES - 1));
	wait_for(QUEUES - 1, has_no_work);
	expect_nothing(1);
	pipe_give(to, 2 * QUEUES);
	rig_stop(&rig);
	pipe_end(to, file);
	said = look();
	for (const char *at = said; (at = strchr(at, '\n')); at++)
		lines--;
	ck_assert_uint_eq(lines, 0);
	free(said);
	for (unsigned i = 1; i < QUEUES; i++)
		rig_leave(&other[i]);
	end();
}
END_TEST

/* --- Races --- */

static bool over;

static void *look_on(void *opaque)
{
	uint32_t now = 1;

	(void)opaque;
	while (!load_acquire(&over)) {
		now++;
		io_thread_set_epoch(thread, now);
		blk_watch_look(watch, now);
	}
	return NULL;
}

static void reset_queue(struct blk_rig *r)
{
	struct virtio_queue *queue = virtio_queue_at(r->dev, 0);
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * NS_PER_MS;

	virtio_queue_reset(r->dev, queue);
	while (virtio_queue_settle(r->dev, queue))
		must(clock_ns() < deadline);
}

/*
 * One looks without a pause while the queue is used at full speed, stopped, reset,
 * resized and started again with another kind of ring: for the thread sanitizer.
 */
START_TEST(looked_at_always)
{
	for (unsigned k = 0; k < sizeof(kinds); k++) {
		pthread_t looker;

		begin(kinds[k], 1, 1, 0);
		over = false;
		files_capture();
		ck_assert_int_eq(pthread_create(&looker, NULL, look_on, NULL), 0);
		for (unsigned i = 0; i < 200; i++) {
			struct rig_result result;
			unsigned count = 0;

			for (; count < 40 && rig_add(&rig, i % 2 ? &read_one : &write_one) >= 0; count++)
				if (count % 8 == 0)
					rig_kick(&rig);
			rig_kick(&rig);
			while (i % 3 && count--)
				rig_wait(&rig, &result);
			blk_set_capacity(rig.blk, SECTORS - i % 2 * 8);
			if (i % 5 == 0)
				reset_queue(&rig);
			rig_reset_order(&rig);
			rig_reset_wait(&rig);
			rig_prepare(&rig, feature_sets[i % 5] | VIRTIO_BIT(VIRTIO_F_RING_RESET));
			rig_go(&rig);
		}
		store_release(&over, true);
		pthread_join(looker, NULL);
		free(files_captured());
		end();
	}
}
END_TEST

int main(void)
{
	const TTest *const requests[] = {
		disk_owes_it, several, joined, in_call, in_call_for_another, turns, progress,
		progress_by_segments, apart, stop_waits,
	};
	const TTest *const rings[] = {
		not_rung, not_master, broken, interrupt, interrupt_beside_load, polling, no_vector,
	};
	const TTest *const others[] = { load, held, many, looked_at_always };
	const struct {
		const char *name;
		const TTest *const *test;
		size_t count;
	} cases[] = {
		{ "requests", requests, sizeof(requests) / sizeof(*requests) },
		{ "rings", rings, sizeof(rings) / sizeof(*rings) },
		{ "others", others, sizeof(others) / sizeof(*others) },
	};
	Suite *suite = suite_create("blk_watch");

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		TCase *tcase = tcase_create(cases[i].name);

		tcase_set_timeout(tcase, 120);
		tcase_add_checked_fixture(tcase, setup, teardown);
		for (size_t j = 0; j < cases[i].count; j++)
			tcase_add_test(tcase, cases[i].test[j]);
		suite_add_tcase(suite, tcase);
	}
	return unit_run(suite);
}
