// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the block device counts and times.  A thread is made to sleep where a delay is
 * to be: then it must be found in that stage and in no other.
 */
#include "devices/blk_stats.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/blk-rig.h"
#include "tests/unit/fault.h"
#include "tests/unit/files.h"
#include "tests/unit/on-thread.h"
#include "tests/unit/unit.h"

#define SECTORS 2048
#define QUEUES 2
#define FEATURES (RIG_EVENT | RIG_INDIRECT | RIG_FLUSH | RIG_RANGES | VIRTIO_BIT(VIRTIO_BLK_F_MQ))
#define DELAY_MS 300
#define DELAY (DELAY_MS * (uint64_t)NS_PER_MS)

static const bool kinds[] = { true, false }; /* io_uring, poll(2) */

static char *folder;
static struct io_thread *thread, *second; /* NULL: one serves all */
static struct blk_rig rig, lane;
static uint64_t state;

static const struct rig_request read_one = { .type = VIRTIO_BLK_T_IN, .in = 512 };
static const struct rig_request flush_one = { .type = VIRTIO_BLK_T_FLUSH };
static const struct rig_request get_id = { .type = VIRTIO_BLK_T_GET_ID, .in = 20 };

static struct io_thread *begin_thread(bool uring, unsigned one_in)
{
	const struct io_thread_config config = {
		.name = "io-test", .queues = QUEUES, .use_uring = uring, .timed_one_in = one_in,
	};
	struct io_thread *made;

	ck_assert_int_eq(io_thread_create(&made, &config), 0);
	return made;
}

/* A device with two queues, on one thread, or on two. */
static void begin(bool uring, bool packed, unsigned one_in, bool two_threads)
{
	static const uint8_t image[SECTORS * 512];
	static struct io_thread *both[2];
	struct blk_threads pool = { .thread = both, .count = two_threads ? 2 : 1 };
	struct blk_config config = {
		.disk.aio = uring ? DISK_AIO_IO_URING : DISK_AIO_SYNC,
		.queues = QUEUES, .queue_size = 256, .packed = true, .discard = true,
	};

	folder = files_folder();
	files_write(folder, "image", image, sizeof(image));
	config.disk.path = files_path(folder, "image");
	both[0] = thread = begin_thread(uring, one_in);
	both[1] = second = two_threads ? begin_thread(uring, one_in) : NULL;
	rig_create_on(&rig, &config, &pool, 256);
	rig_prepare(&rig, FEATURES | (packed ? RIG_PACKED : 0));
	rig_go(&rig);
}

static void end(void)
{
	rig_stop(&rig);
	io_thread_destroy(thread);
	if (second)
		io_thread_destroy(second);
	rig_free(&rig);
	files_remove(folder);
}

/* With lane, too. */
static void end_both(void)
{
	virtio_device_shut_down(rig.dev);
	rig_leave(&lane);
	end();
}

static struct blk_op_counts counts_of(unsigned queue, enum blk_op op)
{
	struct blk_op_counts counts;

	blk_count_op(rig.blk, queue, op, &counts);
	return counts;
}

static void times_of(unsigned queue, enum blk_op op, enum blk_stage stage,
		     struct histogram *times)
{
	*times = (struct histogram){ 0 };
	blk_add_latency(rig.blk, queue, op, stage, times);
}

static void nothing(void *opaque)
{
	(void)opaque;
}

/* The round in which the last request was published has ended. */
static void settle(void)
{
	on_thread(thread, nothing, NULL);
	if (second)
		on_thread(second, nothing, NULL);
}

static void wait_in_flight(unsigned queue, enum blk_op op, uint64_t count)
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;

	while (counts_of(queue, op).in_flight != count) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 0);
	}
}

/* --- Counts --- */

struct expected {
	uint64_t requests, errors, bytes;
	uint64_t timed; /* those that the disk saw */
};

static struct expected expected[BLK_OPS];

static void expect(enum blk_op op, uint64_t requests, uint64_t errors, uint64_t bytes,
		   uint64_t timed)
{
	expected[op].requests += requests;
	expected[op].errors += errors;
	expected[op].bytes += bytes;
	expected[op].timed += timed;
}

static uint8_t do_segments(uint32_t type, const struct virtio_blk_discard_write_zeroes *segments,
			   unsigned count)
{
	const struct rig_request request = { .type = type, .out = count * sizeof(*segments) };

	rig_fill(&rig, rig_free_slot(&rig), segments, request.out);
	return rig_do(&rig, &request);
}

static void do_batch(const struct rig_request *first, unsigned count)
{
	struct rig_request request = *first;
	struct rig_result result;

	for (unsigned i = 0; i < count; i++, request.sector++)
		must(rig_add(&rig, &request) >= 0);
	rig_kick(&rig);
	while (count--)
		rig_wait(&rig, &result);
}

static void do_transfers(void)
{
	const struct rig_request write = { .type = VIRTIO_BLK_T_OUT, .out = 512, .sector = 100 };
	const struct rig_request outside = { .type = VIRTIO_BLK_T_IN, .in = 512, .sector = SECTORS };
	const struct rig_request odd = { .type = VIRTIO_BLK_T_OUT, .out = 100 };

	for (unsigned i = 0; i < 5; i++)
		must(rig_do(&rig, &read_one) == VIRTIO_BLK_S_OK);
	expect(BLK_OP_READ, 5, 0, 5 * 512, 5);
	/* These go together. */
	do_batch(&read_one, 8);
	expect(BLK_OP_READ, 8, 0, 8 * 512, 8);
	do_batch(&write, 8);
	expect(BLK_OP_WRITE, 8, 0, 8 * 512, 8);
	must(rig_do(&rig, &outside) == VIRTIO_BLK_S_IOERR);
	expect(BLK_OP_READ, 1, 1, 0, 0);
	must(rig_do(&rig, &odd) == VIRTIO_BLK_S_IOERR);
	expect(BLK_OP_WRITE, 1, 1, 0, 0);
}

static void do_ranges(void)
{
	const struct virtio_blk_discard_write_zeroes segments[] = {
		{ .sector = 8, .num_sectors = 8 }, { .sector = 64, .num_sectors = 4 },
	}, empty = { .sector = 8 }, bad = { .num_sectors = 8, .flags = 2 };

	must(do_segments(VIRTIO_BLK_T_DISCARD, segments, 2) == VIRTIO_BLK_S_OK);
	expect(BLK_OP_DISCARD, 1, 0, 12 * 512, 1);
	must(do_segments(VIRTIO_BLK_T_WRITE_ZEROES, segments, 2) == VIRTIO_BLK_S_OK);
	expect(BLK_OP_WRITE_ZEROES, 1, 0, 12 * 512, 1);
	must(do_segments(VIRTIO_BLK_T_WRITE_ZEROES, &empty, 1) == VIRTIO_BLK_S_OK);
	expect(BLK_OP_WRITE_ZEROES, 1, 0, 0, 0);
	must(do_segments(VIRTIO_BLK_T_DISCARD, &bad, 1) == VIRTIO_BLK_S_UNSUPP);
	expect(BLK_OP_DISCARD, 1, 1, 0, 0);
}

static void do_others(void)
{
	const struct rig_request unknown = { .type = 99, .in = 512 };
	const struct rig_request mute = { .type = VIRTIO_BLK_T_FLUSH, .without_status = true };

	must(rig_do(&rig, &flush_one) == VIRTIO_BLK_S_OK);
	must(rig_do(&rig, &flush_one) == VIRTIO_BLK_S_OK);
	expect(BLK_OP_FLUSH, 2, 0, 0, 2);
	must(rig_do(&rig, &get_id) == VIRTIO_BLK_S_OK);
	expect(BLK_OP_GET_ID, 1, 0, 0, 0);
	must(rig_do(&rig, &unknown) == VIRTIO_BLK_S_UNSUPP);
	rig_do(&rig, &mute);
	expect(BLK_OP_OTHER, 2, 2, 0, 0);
}

/* The image ends inside the second of four that go together. */
static void do_failures(void)
{
	const struct rig_request last = { .type = VIRTIO_BLK_T_IN, .in = 512, .sector = 8 };

	ck_assert_int_eq(ftruncate(rig.disk.fd, 8 * 512 + 700), 0);
	files_capture();
	do_batch(&last, 4);
	free(files_captured());
	expect(BLK_OP_READ, 4, 3, 512, 4);
}

static void check_op(enum blk_op op, bool all_timed)
{
	const struct expected *wanted = &expected[op];
	struct blk_op_counts counts = counts_of(0, op);
	struct histogram times;

	ck_assert_uint_eq(counts.requests, wanted->requests);
	ck_assert_uint_eq(counts.errors, wanted->errors);
	ck_assert_uint_eq(counts.bytes, wanted->bytes);
	ck_assert_uint_eq(counts.in_flight, 0);
	for (enum blk_stage stage = 0; stage < BLK_STAGES && all_timed; stage++) {
		bool of_all = stage == BLK_STAGE_WAKE_TO_POP || stage == BLK_STAGE_POP_TO_PUBLISH;

		times_of(0, op, stage, &times);
		ck_assert_uint_eq(histogram_count(&times),
				  of_all ? wanted->requests : wanted->timed);
	}
}

static void check_counts(bool uring, bool packed, unsigned one_in)
{
	struct blk_queue_counts counts;
	uint64_t requests = 0;

	begin(uring, packed, one_in, false);
	memset(expected, 0, sizeof(expected));
	do_transfers();
	do_ranges();
	do_others();
	do_failures();
	settle();
	for (enum blk_op op = 0; op < BLK_OPS; op++) {
		check_op(op, one_in == 1);
		requests += expected[op].requests;
		ck_assert_uint_eq(counts_of(1, op).requests, 0);
	}
	blk_count_queue(rig.blk, 0, &counts);
	ck_assert_uint_eq(counts.interrupts, load_acquire(&rig.interrupts));
	ck_assert_uint_ge(counts.publishes, counts.interrupts);
	ck_assert_uint_ge(requests, counts.publishes);
	ck_assert_uint_ge(counts.publishes, 18); /* one each, and one a batch */
	ck_assert_uint_ge(counts.doorbells, 1);
	ck_assert_str_eq(blk_queue_thread(rig.blk, 0), "io-test");
	rig_check(&rig);
	end();
}

START_TEST(all_is_counted)
{
	for (unsigned i = 0; i < 4; i++) {
		check_counts(kinds[i / 2], i % 2, 1);
		check_counts(kinds[i / 2], i % 2, 1000000);
	}
}
END_TEST

/* A read of a pipe is in flight until there is something in it. */
START_TEST(in_flight_is_exact)
{
	static const uint8_t data[3 * 512];
	struct rig_request request = read_one;
	struct rig_result result;
	int ends[2];

	begin(true, false, 1, false);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	on_thread_replace_file(thread, rig.disk.fd, ends[0]);
	for (unsigned i = 0; i < 3; i++, request.sector += 100)
		must(rig_add(&rig, &request) >= 0);
	rig_kick(&rig);
	wait_in_flight(0, BLK_OP_READ, 3);
	ck_assert_uint_eq(counts_of(0, BLK_OP_READ).requests, 0);
	ck_assert_uint_eq(counts_of(0, BLK_OP_WRITE).in_flight, 0);
	ck_assert_uint_eq(counts_of(1, BLK_OP_READ).in_flight, 0);
	ck_assert_int_eq(write(ends[1], data, sizeof(data)), sizeof(data));
	for (unsigned i = 0; i < 3; i++)
		rig_wait(&rig, &result);
	ck_assert_uint_eq(counts_of(0, BLK_OP_READ).in_flight, 0);
	ck_assert_uint_eq(counts_of(0, BLK_OP_READ).requests, 3);
	close(ends[1]);
	end();
}
END_TEST

static struct rig_request random_request(void)
{
	struct rig_request request = { .sector = vq_random(&state, SECTORS) };

	switch (vq_random(&state, 4)) {
	case 0: request.type = VIRTIO_BLK_T_FLUSH; break;
	case 1: request = get_id; break;
	case 2: request.type = VIRTIO_BLK_T_OUT; request.out = 512; break;
	default: request.type = VIRTIO_BLK_T_IN; request.in = 512; break;
	}
	return request;
}

static unsigned random_batch(unsigned most)
{
	struct rig_result result;
	unsigned count = 1 + vq_random(&state, most);

	for (unsigned i = 0; i < count; i++) {
		const struct rig_request request = random_request();

		must(rig_add(&rig, &request) >= 0);
	}
	rig_kick(&rig);
	/* Some are still there when the next come, and take their slots. */
	for (unsigned i = 0; i < count; i++)
		rig_wait(&rig, &result);
	return count;
}

/* Whatever becomes of slots and queues, each request's times are kept once, for its op. */
START_TEST(each_is_timed_once)
{
	struct histogram times;

	for (unsigned i = 0; i < 4; i++) {
		begin(kinds[i / 2], i % 2, 1, false);
		for (unsigned round = 0; round < 50; round++) {
			random_batch(40);
			must(rig_add(&rig, &read_one) >= 0);
			rig_kick(&rig);
			rig_reset_order(&rig);
			rig_reset_wait(&rig);
			rig_prepare(&rig, rig.features);
			rig_go(&rig);
		}
		settle();
		for (enum blk_op op = 0; op < BLK_OPS; op++) {
			ck_assert_uint_eq(counts_of(0, op).in_flight, 0);
			times_of(0, op, BLK_STAGE_WAKE_TO_POP, &times);
			ck_assert_uint_eq(histogram_count(&times), counts_of(0, op).requests);
			times_of(0, op, BLK_STAGE_POP_TO_PUBLISH, &times);
			ck_assert_uint_eq(histogram_count(&times), counts_of(0, op).requests);
		}
		end();
	}
}
END_TEST

/* About as many as the rate says, of small batches and of large ones. */
START_TEST(rate)
{
	static const unsigned depths[] = { 1, 40 };
	struct histogram times;

	for (unsigned i = 0; i < array_size(depths); i++) {
		uint64_t requests = 0, timed = 0;

		begin(true, false, 8, false);
		for (unsigned round = 0; round < 4000; round++)
			requests += random_batch(depths[i]);
		settle();
		for (enum blk_op op = 0; op < BLK_OPS; op++) {
			times_of(0, op, BLK_STAGE_WAKE_TO_POP, &times);
			timed += histogram_count(&times);
		}
		ck_assert_uint_ge(timed * 8, requests * 7 / 10);
		ck_assert_uint_le(timed * 8, requests * 13 / 10);
		end();
	}
}
END_TEST

/* --- Delays --- */

/* Of the ones that @queue has timed, the longest took DELAY in @where and nowhere else. */
static void check_delay(unsigned queue, enum blk_op op, enum blk_stage where)
{
	struct histogram times;

	for (enum blk_stage stage = 0; stage < BLK_STAGES; stage++) {
		times_of(queue, op, stage, &times);
		ck_assert_uint_ge(histogram_count(&times), 1);
		/* What is not before the pop is part of the whole. */
		if (stage == where ||
		    (stage == BLK_STAGE_POP_TO_PUBLISH && where != BLK_STAGE_WAKE_TO_POP))
			ck_assert_uint_ge(times.max, DELAY);
		else
			ck_assert_uint_lt(times.max, DELAY);
	}
}

static void sleep_ms(void *opaque)
{
	(void)opaque;
	poll(NULL, 0, DELAY_MS);
}

struct stall {
	struct io_order order;
	int begun, go_on;
};

static void run_stall(struct io_order *order)
{
	struct stall *stall = container_of(order, struct stall, order);
	eventfd_t count;

	eventfd_write(stall->begun, 1);
	eventfd_read(stall->go_on, &count);
}

/* Keep the thread busy: what comes until stall_end() is all there in its next round. */
static void stall_begin(struct stall *stall)
{
	eventfd_t count;

	*stall = (struct stall){
		.order.run = run_stall,
		.begun = eventfd(0, EFD_CLOEXEC),
		.go_on = eventfd(0, EFD_CLOEXEC),
	};
	io_thread_order(thread, &stall->order);
	eventfd_read(stall->begun, &count);
}

static void stall_end(struct stall *stall)
{
	eventfd_write(stall->go_on, 1);
}

static void stall_free(struct stall *stall)
{
	close(stall->begun);
	close(stall->go_on);
}

static void run_sleep(struct io_order *order)
{
	(void)order;
	sleep_ms(NULL);
}

/*
 * The thread has an order to run before it looks at the ring.  With io_uring, the queue
 * sleeps until the next round; the other kind looks at it in this one.
 */
START_TEST(late_pop)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct io_order order = { .run = run_sleep };
		struct rig_result result;
		struct stall stall;

		begin(kinds[k], false, 1, false);
		settle();
		stall_begin(&stall);
		must(rig_add(&rig, &read_one) >= 0);
		rig_kick(&rig);
		if (kinds[k])
			io_thread_order(thread, &order);
		else
			sleep_ms(NULL);
		stall_end(&stall);
		rig_wait(&rig, &result);
		settle();
		check_delay(0, BLK_OP_READ, BLK_STAGE_WAKE_TO_POP);
		stall_free(&stall);
		end();
	}
}
END_TEST

/* A flush waits for its turn, which one on another thread has. */
START_TEST(late_submit)
{
	unsigned before = fault_count(FAULT_FLUSH);
	struct rig_result result;
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	begin(false, false, 1, true);
	rig_join(&lane, &rig, 1);
	fault_gate(gate);
	must(rig_add(&lane, &flush_one) >= 0);
	rig_kick(&lane);
	while (fault_count(FAULT_FLUSH) == before)
		poll(NULL, 0, 0);
	must(rig_add(&rig, &flush_one) >= 0);
	rig_kick(&rig);
	wait_in_flight(0, BLK_OP_FLUSH, 1);
	sleep_ms(NULL);
	fault_gate(-1);
	eventfd_write(gate, 1);
	rig_wait(&lane, &result);
	rig_wait(&rig, &result);
	settle();
	check_delay(0, BLK_OP_FLUSH, BLK_STAGE_POP_TO_SUBMIT);
	check_delay(1, BLK_OP_FLUSH, BLK_STAGE_SUBMIT_TO_COMPLETE);
	close(gate);
	end_both();
}
END_TEST

/* A pipe, or the gate before a system call, has the data later. */
START_TEST(late_disk)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		static const uint8_t data[512];
		struct rig_result result;
		int gate = eventfd(0, EFD_CLOEXEC), ends[2];
		unsigned before = fault_count(FAULT_READ);

		begin(kinds[k], false, 1, false);
		ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
		if (kinds[k])
			on_thread_replace_file(thread, rig.disk.fd, ends[0]);
		else
			fault_gate(gate);
		must(rig_add(&rig, &read_one) >= 0);
		rig_kick(&rig);
		if (kinds[k])
			wait_in_flight(0, BLK_OP_READ, 1);
		while (!kinds[k] && fault_count(FAULT_READ) == before)
			poll(NULL, 0, 0);
		/* It is submitted right after it is popped. */
		poll(NULL, 0, DELAY_MS / 2);
		sleep_ms(NULL);
		fault_gate(-1);
		eventfd_write(gate, 1);
		ck_assert_int_eq(write(ends[1], data, sizeof(data)), sizeof(data));
		rig_wait(&rig, &result);
		settle();
		check_delay(0, BLK_OP_READ, BLK_STAGE_SUBMIT_TO_COMPLETE);
		close(ends[1]);
		if (!kinds[k])
			close(ends[0]);
		close(gate);
		end();
	}
}
END_TEST

static void raise_late(struct virtio_notifier *notifier)
{
	struct blk_rig *of = container_of(notifier, struct blk_rig, notifier);

	sleep_ms(NULL);
	eventfd_write(of->interrupt, 1);
}

/* Of two queues that end in one round, one is published after the other's interrupt. */
START_TEST(late_publish)
{
	struct rig_result result;
	struct histogram times;
	struct stall stall;
	unsigned late;

	begin(false, false, 1, false);
	rig_join(&lane, &rig, 1);
	rig.notifier.raise = lane.notifier.raise = raise_late;
	settle();
	stall_begin(&stall);
	must(rig_add(&rig, &read_one) >= 0 && rig_add(&lane, &read_one) >= 0);
	rig_kick(&rig);
	rig_kick(&lane);
	stall_end(&stall);
	rig_wait(&rig, &result);
	rig_wait(&lane, &result);
	settle();
	times_of(0, BLK_OP_READ, BLK_STAGE_COMPLETE_TO_PUBLISH, &times);
	late = times.max < DELAY;
	check_delay(late, BLK_OP_READ, BLK_STAGE_COMPLETE_TO_PUBLISH);
	times_of(!late, BLK_OP_READ, BLK_STAGE_POP_TO_PUBLISH, &times);
	ck_assert_uint_lt(times.max, DELAY);
	stall_free(&stall);
	end_both();
}
END_TEST

/* --- Threads --- */

static bool over; /* atomic */

static void *read_all(void *opaque)
{
	struct blk_queue_counts counts;
	struct histogram times;

	while (!load_relaxed(&over))
		for (enum blk_op op = 0; op < BLK_OPS; op++) {
			/* Completed ones were popped before. */
			must(counts_of(0, op).in_flight <= 256);
			times_of(0, op, BLK_STAGE_POP_TO_PUBLISH, &times);
			blk_count_queue(rig.blk, 0, &counts);
		}
	return opaque;
}

START_TEST(read_while_queues_come_and_go)
{
	pthread_t reader;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(kinds[k], false, 1, false);
		store_relaxed(&over, false);
		ck_assert_int_eq(pthread_create(&reader, NULL, read_all, NULL), 0);
		for (unsigned round = 0; round < 200; round++) {
			random_batch(40);
			rig_reset_order(&rig);
			rig_reset_wait(&rig);
			rig_prepare(&rig, rig.features);
			rig_go(&rig);
		}
		store_relaxed(&over, true);
		pthread_join(reader, NULL);
		end();
	}
}
END_TEST

/* --- Waits --- */

static void wait_for_call(enum fault_call call)
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * (uint64_t)NS_PER_MS;

	while (!fault_count(call)) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 0);
	}
}

/*
 * Two writes go together and wait for a third one to be done with the same block.
 * Then the image has shrunk, and each is given up, without having been submitted.
 */
START_TEST(shrinks_while_they_wait)
{
	static const struct fault_direct host = { 4096, 4096, true, 4096, 4096 };
	static const uint64_t sectors[] = { 0, 3, 4 };
	static const uint8_t image[SECTORS * 512];
	struct blk_config config = { .disk.aio = DISK_AIO_SYNC, .disk.direct = true,
				     .queues = 1, .queue_size = 256 };
	int gate = eventfd(0, EFD_SEMAPHORE);
	struct rig_result result;

	folder = files_folder();
	files_write(folder, "image", image, sizeof(image));
	config.disk.path = files_path(folder, "image");
	fault_direct(&host, false);
	thread = begin_thread(false, 1);
	rig_create(&rig, &config, thread, 256);
	rig_prepare(&rig, RIG_EVENT | RIG_FLUSH);
	rig_go(&rig);
	settle();
	fault_gate(gate);
	for (unsigned i = 0; i < array_size(sectors); i++)
		must(rig_add(&rig, &(struct rig_request){ .type = VIRTIO_BLK_T_OUT, .out = 512,
							  .sector = sectors[i] }) >= 0);
	rig_kick(&rig);
	/* The first has read its block, and is about to write it. */
	must(eventfd_write(gate, 1) == 0);
	wait_for_call(FAULT_WRITE);
	must(blk_set_capacity(rig.blk, 3));
	must(eventfd_write(gate, 100) == 0);
	for (unsigned i = 0; i < array_size(sectors); i++) {
		rig_wait(&rig, &result);
		if (!result.request.sector)
			ck_assert_uint_eq(result.status, VIRTIO_BLK_S_OK);
	}
	ck_assert_uint_eq(counts_of(0, BLK_OP_WRITE).errors, 2);
	fault_gate(-1);
	fault_direct(NULL, false);
	rig_stop(&rig);
	io_thread_destroy(thread);
	rig_free(&rig);
	files_remove(folder);
	close(gate);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("blk_stats");

	unit_tcase(suite, "counts", all_is_counted, in_flight_is_exact, each_is_timed_once, rate,
		   read_while_queues_come_and_go);
	unit_tcase(suite, "delays", late_pop, late_submit, late_disk, late_publish,
		   shrinks_while_they_wait);
	return unit_run(suite);
}
