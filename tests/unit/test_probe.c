// SPDX-License-Identifier: BSD-2-Clause
/* The probes, as a block device on the mock driver fires them. */
#include "hw/base/probe.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"
#include "tests/unit/blk-rig.h"
#include "tests/unit/fault.h"
#include "tests/unit/files.h"
#include "tests/unit/probe-log.h"
#include "tests/unit/unit.h"
#include "vmm/metadata.h"

#define SECTORS 2048
#define NUMBER 3 /* of the disk */
#define THREAD 5
#define NOTIFY 0xc0003000
#define REQUESTS 1000
#define ALL (RIG_EVENT | RIG_INDIRECT | RIG_FLUSH | RIG_RANGES)

static const bool kinds[] = { true, false }; /* io_uring, poll(2) */

static const uint64_t feature_sets[] = {
	RIG_FLUSH, RIG_EVENT | RIG_FLUSH, ALL, ALL | RIG_IN_ORDER, ALL | RIG_PACKED,
	ALL | RIG_PACKED | RIG_IN_ORDER,
};

/* A request, in the order in which the driver added them, and what came of it. */
struct asked {
	struct rig_request request;
	int id;
	bool needs_disk;
	uint8_t status;
	uint32_t used;
};

static char *folder;
static struct io_thread *thread;
static struct blk_rig rig;
static bool is_uring;
static uint64_t state;
static struct asked asked[REQUESTS];
static unsigned added, rings;
static unsigned seq_of[RIG_SLOTS];

static void setup(void)
{
	folder = files_folder();
}

static void teardown(void)
{
	probe_log_end();
	files_remove(folder);
}

static void go(uint64_t features)
{
	rig_prepare(&rig, features);
	rig.dev->queue[0].notify = NOTIFY;
	rig_go(&rig);
}

static void begin(bool uring, uint64_t features, uint32_t poll_max_us)
{
	static uint8_t image[SECTORS * 512];
	const struct io_thread_config threads = {
		.name = "io-test", .number = THREAD, .queues = 1, .use_uring = uring,
	};
	struct blk_config config = {
		.number = NUMBER,
		.disk.aio = uring ? DISK_AIO_IO_URING : DISK_AIO_SYNC,
		.queues = 1,
		.queue_size = 256,
		.poll_max_us = poll_max_us,
		.packed = true,
		.in_order = true,
		.discard = true,
	};

	files_write(folder, "image", image, sizeof(image));
	config.disk.path = files_path(folder, "image");
	is_uring = uring;
	added = rings = 0;
	probe_log_begin();
	ck_assert_int_eq(io_thread_create(&thread, &threads), 0);
	rig_create(&rig, &config, thread, 256);
	go(features);
}

static void end(void)
{
	rig_check(&rig);
	rig_stop(&rig);
	io_thread_destroy(thread);
	rig_free(&rig);
	probe_log_end();
}

static void add(const struct rig_request *request, bool needs_disk)
{
	int slot = rig_add(&rig, request);

	must(slot >= 0 && added < REQUESTS);
	asked[added] = (struct asked){
		.request = *request, .id = rig.slot[slot].id, .needs_disk = needs_disk,
	};
	seq_of[slot] = added++;
}

static void ring(void)
{
	if (!vq_driver_publish(rig.driver))
		return;
	rings++;
	virtio_queue_kick(virtio_queue_at(rig.dev, 0));
}

static void take(void)
{
	struct rig_result result;
	struct asked *a;

	rig_wait(&rig, &result);
	a = &asked[seq_of[result.slot]];
	a->status = result.request.without_status ? 255 : result.status;
	a->used = result.used;
}

/* --- What each request must have fired --- */

static bool is_range(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* Three segments from the request's sector on, of which one is empty. */
static uint64_t segments(const struct rig_request *r, struct virtio_blk_discard_write_zeroes *to)
{
	to[0] = (struct virtio_blk_discard_write_zeroes){ r->sector + 1, 8, 0 };
	to[1] = (struct virtio_blk_discard_write_zeroes){ r->sector, 0, 0 };
	to[2] = (struct virtio_blk_discard_write_zeroes){ r->sector + 16, 4, 0 };
	return 12 * 512;
}

static int64_t expected_op(const struct asked *a)
{
	return a->request.without_status ? 255 : (int64_t)a->request.type;
}

static int64_t expected_sector(const struct asked *a)
{
	const struct rig_request *r = &a->request;

	if (r->without_status)
		return 0;
	return (int64_t)r->sector + (is_range(r->type) && a->needs_disk);
}

static int64_t expected_len(const struct asked *a)
{
	const struct rig_request *r = &a->request;

	if (r->without_status)
		return 0;
	if (is_range(r->type))
		return a->needs_disk ? 12 * 512 : 0;
	return r->type == VIRTIO_BLK_T_OUT ? r->out : r->in;
}

enum step { NOTHING, POPPED, SUBMITTED, COMPLETED, PUSHED };

struct life {
	enum step step;
	int64_t head;
	size_t submitted; /* the event */
};

static void check_pop(const struct probe_event *e, struct life *life)
{
	const struct asked *a = &asked[e->pop.seq];

	must(life[e->pop.seq].step++ == NOTHING);
	must(e->pop.seq == 0 || life[e->pop.seq - 1].step >= POPPED);
	must(e->pop.disk == NUMBER && e->pop.queue == 0);
	/* The mock's names in a packed ring are others. */
	must(e->pop.head == a->id || (rig.features & RIG_PACKED));
	life[e->pop.seq].head = e->pop.head;
	must(e->pop.op == expected_op(a));
	must(e->pop.sector == expected_sector(a));
	must(e->pop.len == expected_len(a));
	must(e->pop.notify == NOTIFY && e->pop.bus == 0);
}

static void check_submit(const struct probe_event *e, struct life *life)
{
	const struct asked *a = &asked[e->submit.seq];

	must(life[e->submit.seq].step++ == POPPED);
	must(e->submit.disk == NUMBER && e->submit.queue == 0);
	must(a->needs_disk);
	must(e->submit.op == expected_op(a));
	must(e->submit.sector == expected_sector(a));
	must(e->submit.len == expected_len(a));
	must(e->submit.how == !is_uring || a->request.type == VIRTIO_BLK_T_FLUSH);
}

static void check_complete(const struct probe_event *e, struct life *life)
{
	must(life[e->complete.seq].step++ == SUBMITTED);
	must(e->complete.disk == NUMBER && e->complete.queue == 0);
	must(!e->complete.result == !asked[e->complete.seq].status);
}

static void check_push(const struct probe_event *e, struct life *life)
{
	const struct asked *a = &asked[e->push.seq];

	must(life[e->push.seq].step == (a->needs_disk ? COMPLETED : POPPED));
	life[e->push.seq].step = PUSHED;
	must(e->push.disk == NUMBER && e->push.queue == 0);
	must(e->push.head == life[e->push.seq].head);
	must(e->push.status == a->status);
	must(e->push.written == a->used);
}

/* Each of the requests has been its way once, and was seen at each step. */
static void check_requests(void)
{
	struct life *life = calloc(added, sizeof(*life));
	size_t entered = 0, published = 0, wanted = 0;

	for (size_t i = 0; i < probe_log_count(); i++) {
		const struct probe_event *e = probe_log_at(i);

		switch (e->id) {
		case PROBE_LOG_pop:
			check_pop(e, life);
			break;
		case PROBE_LOG_submit:
			check_submit(e, life);
			life[e->submit.seq].submitted = i;
			break;
		case PROBE_LOG_enter:
			must(e->enter.thread == THREAD);
			if (e->enter.submitted)
				entered = i;
			break;
		case PROBE_LOG_complete:
			check_complete(e, life);
			/* What was put on the ring was also taken. */
			must(probe_log_at(life[e->complete.seq].submitted)->submit.how ||
			     entered > life[e->complete.seq].submitted);
			break;
		case PROBE_LOG_push:
			check_push(e, life);
			break;
		case PROBE_LOG_publish:
			must(e->publish.disk == NUMBER && e->publish.queue == 0);
			must(e->publish.count > 0);
			published += (size_t)e->publish.count;
			wanted += (size_t)e->publish.interrupt;
			break;
		case PROBE_LOG_interrupt:
			must(e->interrupt.disk == NUMBER && e->interrupt.queue == 0);
			must(e->interrupt.how == VIRTIO_INTERRUPT_MESSAGE);
			must(e->interrupt.address == RIG_MESSAGE);
			break;
		default:
			break;
		}
	}
	for (unsigned i = 0; i < added; i++)
		must(life[i].step == PUSHED);
	ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_pop), added);
	ck_assert_uint_eq(published, added);
	ck_assert_uint_eq(wanted, probe_log_count_of(PROBE_LOG_interrupt));
	ck_assert_uint_eq(wanted, rig.interrupts);
	free(life);
}

/* --- Requests --- */

/* Of all kinds, also such as are refused; true: it needs the disk. */
static bool random_request(struct rig_request *r)
{
	*r = (struct rig_request){ .sector = vq_random(&state, SECTORS - 32) };
	switch (vq_random(&state, 10)) {
	case 0:
		r->type = VIRTIO_BLK_T_FLUSH;
		return true;
	case 1:
		r->type = VIRTIO_BLK_T_GET_ID;
		r->in = 20;
		return false;
	case 2:
		r->type = 0x12345678;
		return false;
	case 3:
		r->type = vq_random(&state, 2) ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES;
		r->out = 3 * sizeof(struct virtio_blk_discard_write_zeroes);
		return rig.features & RIG_RANGES;
	case 4:
		r->sector = SECTORS; /* beyond the end */
		r->in = 512;
		return false;
	case 5:
		return false; /* a read of nothing */
	case 6:
		r->type = VIRTIO_BLK_T_OUT;
		r->out = 512;
		r->without_status = true;
		return false;
	case 7:
		r->type = VIRTIO_BLK_T_OUT;
		r->out = 1024;
		return true;
	default:
		r->in = 512 * (1 + vq_random(&state, 8));
		return true;
	}
}

static void add_random(void)
{
	struct virtio_blk_discard_write_zeroes segment[3];
	struct rig_request r;
	bool needs_disk = random_request(&r);

	segments(&r, segment);
	if (is_range(r.type))
		rig_fill(&rig, rig_free_slot(&rig), segment, sizeof(segment));
	add(&r, needs_disk);
}

START_TEST(each_request)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned f = 0; f < array_size(feature_sets); f++)
			for (unsigned depth = 1; depth <= 16; depth *= 4) {
				begin(kinds[k], feature_sets[f], 0);
				for (unsigned i = 0; i < 160 / depth; i++) {
					for (unsigned n = 0; n < depth; n++)
						add_random();
					ring();
					for (unsigned n = 0; n < depth; n++)
						take();
				}
				end();
				check_requests();
			}
}
END_TEST

static void eight(uint64_t sector)
{
	struct rig_request r = { .in = 512, .sector = sector };

	for (unsigned i = 0; i < 8; i++, r.sector++)
		add(&r, true);
	ring();
	for (unsigned i = 0; i < 8; i++)
		take();
}

/* One call for all, or if that fails one for each: each has its own events, once. */
START_TEST(joined)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		unsigned before = fault_count(FAULT_READ);

		begin(kinds[k], ALL, 0);
		eight(16);
		if (!kinds[k]) {
			fault_inject(FAULT_READ, 1, EIO, 0);
			eight(32);
			files_capture();
			fault_inject(FAULT_READ, 9, EIO, 0);
			eight(48);
			free(files_captured());
			ck_assert_uint_eq(fault_count(FAULT_READ) - before, 1 + 9 + 9);
			ck_assert_uint_eq(asked[23].status, VIRTIO_BLK_S_IOERR);
		}
		end();
		check_requests();
		ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_submit), added);
	}
}
END_TEST

/* A read of several calls, and one that the host refuses. */
START_TEST(several_steps)
{
	const struct rig_request r = { .in = 4096 };
	unsigned before = fault_count(FAULT_READ);

	begin(false, ALL, 0);
	fault_inject(FAULT_READ, 3, 0, 700);
	add(&r, true);
	ring();
	take();
	ck_assert_uint_eq(fault_count(FAULT_READ) - before, 4);
	files_capture();
	fault_inject(FAULT_READ, 1, EIO, 0);
	add(&r, true);
	ring();
	take();
	free(files_captured());
	end();
	check_requests();
	for (size_t i = 0; i < probe_log_count(); i++) {
		const struct probe_event *e = probe_log_at(i);

		if (e->id == PROBE_LOG_complete)
			ck_assert_int_eq(e->complete.result, e->complete.seq ? -EIO : 0);
	}
}
END_TEST

/* A reset gives up what is under way; the numbers go on after it. */
START_TEST(reset_under_way)
{
	struct rig_request r = { .type = VIRTIO_BLK_T_DISCARD, .out = 48 };
	struct virtio_blk_discard_write_zeroes segment[3];
	unsigned before = fault_count(FAULT_RANGE), starts = 0;
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	begin(false, ALL, 0);
	segments(&r, segment);
	rig_fill(&rig, rig_free_slot(&rig), segment, sizeof(segment));
	fault_gate(gate);
	add(&r, true);
	ring();
	while (fault_count(FAULT_RANGE) == before)
		poll(NULL, 0, 0);
	rig_reset_order(&rig);
	eventfd_write(gate, 100);
	rig_reset_wait(&rig);
	fault_gate(-1);
	asked[0].status = VIRTIO_BLK_S_IOERR;
	asked[0].used = 1;
	go(ALL);
	r = (struct rig_request){ .in = 512 };
	add(&r, true);
	ring();
	take();
	end();
	close(gate);
	check_requests();
	for (size_t i = 0; i < probe_log_count(); i++) {
		const struct probe_event *e = probe_log_at(i);

		if (e->id == PROBE_LOG_complete)
			ck_assert_int_eq(e->complete.result, e->complete.seq ? 0 : -ECANCELED);
		if (e->id == PROBE_LOG_queue_start)
			starts++;
		if (e->id == PROBE_LOG_queue_stop)
			ck_assert_uint_eq(starts--, 1);
	}
	ck_assert_uint_eq(starts, 0);
	ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_queue_start), 2);
}
END_TEST

/* --- The device --- */

/* The next event of @id from *@at on, which moves behind it. */
static const struct probe_event *next(enum probe_log_id id, size_t *at)
{
	const struct probe_event *e;

	do
		e = probe_log_at((*at)++);
	while (e->id != id);
	return e;
}

START_TEST(device)
{
	static const uint8_t statuses[] = { 0x1, 0x3, 0xb, 0xf, 0xf | 0x40, 0 };
	const struct probe_event *e;
	size_t at = 0;

	begin(true, ALL, 0);
	virtio_config_read(rig.dev, 0, 8);
	ck_assert(blk_set_capacity(rig.blk, SECTORS + 8));
	virtio_config_read(rig.dev, 0, 8);
	ck_assert(blk_set_capacity(rig.blk, SECTORS));
	files_capture();
	virtio_device_broken(rig.dev, "for a test");
	virtio_device_broken(rig.dev, "and again");
	virtio_set_status(rig.dev, 0xf);
	free(files_captured());
	end();

	for (unsigned i = 0; i < array_size(statuses) - 2; i++) {
		e = next(PROBE_LOG_device_status, &at);
		ck_assert_int_eq(e->device_status.disk, NUMBER);
		ck_assert_int_eq(e->device_status.status, statuses[i]);
		if (i == 1) {
			e = next(PROBE_LOG_device_features, &at);
			ck_assert_int_eq(e->device_features.disk, NUMBER);
			ck_assert_uint_eq((uint64_t)e->device_features.features, rig.features);
		}
	}
	at = 0;
	e = next(PROBE_LOG_queue_start, &at);
	ck_assert_int_eq(e->queue_start.disk, NUMBER);
	ck_assert_int_eq(e->queue_start.queue, 0);
	ck_assert_int_eq(e->queue_start.size, 256);
	ck_assert_int_eq(e->queue_start.packed, 0);
	ck_assert_int_eq(e->queue_start.notify, NOTIFY);
	for (unsigned i = 1; i <= 2; i++) {
		e = next(PROBE_LOG_config_change, &at);
		ck_assert_int_eq(e->config_change.disk, NUMBER);
		ck_assert_int_eq(e->config_change.generation, i);
	}
	e = next(PROBE_LOG_device_broken, &at);
	ck_assert_int_eq(e->device_broken.disk, NUMBER);
	ck_assert_str_eq((const char *)(uintptr_t)e->device_broken.why, "for a test");
	for (unsigned i = array_size(statuses) - 2; i < array_size(statuses); i++)
		ck_assert_int_eq(next(PROBE_LOG_device_status, &at)->device_status.status,
				 statuses[i]);
	ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_device_broken), 1);
	ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_queue_stop), 1);
}
END_TEST

/* --- The thread --- */

/* It sleeps and wakes in turn; each ring that it asked for wakes it or is found. */
START_TEST(sleep_and_wake)
{
	const struct rig_request r = { .in = 512 };

	for (unsigned k = 0; k < array_size(kinds); k++) {
		bool asleep = false;

		begin(kinds[k], ALL, 0);
		for (unsigned i = 0; i < 200; i++) {
			add(&r, true);
			ring();
			take();
		}
		end();
		check_requests();
		for (size_t i = 0; i < probe_log_count(); i++) {
			const struct probe_event *e = probe_log_at(i);

			if (e->id == PROBE_LOG_sleep || e->id == PROBE_LOG_wake) {
				must(asleep == (e->id == PROBE_LOG_wake));
				must(e->sleep.thread == THREAD);
				asleep = !asleep;
			}
			/* It says what it does next, once it is about to sleep. */
			must(!asleep || e->id == PROBE_LOG_sleep || e->id == PROBE_LOG_enter ||
			     e->id >= PROBE_LOG_queue_start);
			if (e->id == PROBE_LOG_doorbell)
				must(e->doorbell.disk == NUMBER && e->doorbell.queue == 0);
		}
		ck_assert(!asleep);
		ck_assert_uint_eq(probe_log_count_of(PROBE_LOG_doorbell), rings);
	}
}
END_TEST

/* Waits that are short beside the longest spin: in the end the spin is as long. */
START_TEST(spinning)
{
	const struct rig_request r = { .in = 512 };
	size_t hits = 0, misses = 0;

	begin(true, ALL, 20 * 1000 * 1000);
	for (unsigned i = 0; i < 40; i++) {
		add(&r, true);
		ring();
		take();
		poll(NULL, 0, 1);
	}
	end();
	check_requests();
	for (size_t i = 0; i < probe_log_count(); i++) {
		const struct probe_event *e = probe_log_at(i);

		if (e->id != PROBE_LOG_poll_hit && e->id != PROBE_LOG_poll_miss)
			continue;
		must(e->poll_hit.thread == THREAD);
		must(e->poll_hit.waited_ns > 0 && e->poll_hit.waited_ns < 20 * NS_PER_S);
		hits += e->id == PROBE_LOG_poll_hit;
		misses += e->id == PROBE_LOG_poll_miss;
	}
	ck_assert_uint_gt(hits, 0);
	ck_assert_uint_gt(misses, 0);
}
END_TEST

/* --- Nobody looks --- */

static int64_t evaluated;

static int64_t evaluate(void)
{
	return ++evaluated;
}

START_TEST(nobody_looks)
{
	size_t seen = 0;

	begin(true, ALL, 0);
	probe_log_end();
	for (unsigned i = 0; i < 100; i++) {
		add_random();
		ring();
		take();
		/* The thread may have been in the middle of one until now. */
		if (i == 0)
			seen = probe_log_count();
	}
	probe(sleep, evaluate());
	end();
	ck_assert_uint_eq(probe_log_count(), seen);
	ck_assert_int_eq(evaluated, 0);
	probe_log_begin();
	probe(sleep, evaluate());
	ck_assert_int_eq(evaluated, 1);
	ck_assert_uint_eq(probe_log_count(), 1);
	ck_assert_int_eq(probe_log_at(0)->sleep.thread, 1);
}
END_TEST

/* --- What a recording needs besides --- */

START_TEST(clocks)
{
	const struct probe_event *e;
	uint64_t before, after, tsc = __builtin_ia32_rdtsc();

	probe_log_begin();
	before = clock_ns();
	metadata_clock();
	after = clock_ns();
	e = probe_log_at(0);
	ck_assert_int_eq(e->id, PROBE_LOG_clock);
	ck_assert_uint_ge((uint64_t)e->clock.monotonic_ns, before);
	ck_assert_uint_le((uint64_t)e->clock.monotonic_ns, after);
	ck_assert_uint_gt((uint64_t)e->clock.tsc, tsc);
	ck_assert_uint_lt((uint64_t)e->clock.tsc, __builtin_ia32_rdtsc());
	ck_assert_int_gt(e->clock.tsc_error, 0);
}
END_TEST

START_TEST(names)
{
	static const char longest[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\xff";
	static const struct {
		const char *path, *name;
	} cases[] = {
		{ "/a/path/disk.img", "disk.img" }, { "disk.img", "disk.img" }, { "a/", "" },
		{ longest, longest },
	};

	probe_log_begin();
	for (unsigned i = 0; i < array_size(cases); i++) {
		const struct probe_event *e;
		char name[65] = "";

		metadata_disk(i, 4, cases[i].path);
		e = probe_log_at(i);
		ck_assert_int_eq(e->id, PROBE_LOG_disk);
		ck_assert_int_eq(e->disk.disk, i);
		ck_assert_int_eq(e->disk.queues, 4);
		memcpy(name, &e->disk.name0, 64);
		ck_assert_str_eq(name, cases[i].name);
	}
	metadata_disk(0, 1, files_path(folder, "x")); /* what was there before is not told */
	ck_assert_int_eq(probe_log_at(array_size(cases))->disk.name0, 'x');
	ck_assert_int_eq(probe_log_at(array_size(cases))->disk.name7, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		each_request, joined, several_steps, reset_under_way, device, sleep_and_wake,
		spinning, nobody_looks, clocks, names,
	};
	Suite *suite = suite_create("probe");
	TCase *tcase = tcase_create("probes");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
