// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/bench.h"

#include <stddef.h>

#include "guest/kit/bench_load.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/user.h"

enum {
	SIZE_MAX_BYTES = 1 << 20,
	QUEUE_ENTRIES_MAX = 1024,
	MS_MAX = 50000,               /* the local APIC timer ends 68 s after its start */
	REQUESTS_MAX = 100000,
	HALT_MS = PATIENCE_MS + 1000, /* what wakes the driver has come, or never does */
};

struct bench_case {
	enum bench_op op;
	uint32_t size;
	unsigned depth, queues;
};

static const char *const op_names[BENCH_OPS] = {
	[BENCH_RANDREAD] = "randread", [BENCH_READ] = "read",     [BENCH_RANDWRITE] = "randwrite",
	[BENCH_WRITE] = "write",       [BENCH_RANDRW] = "randrw", [BENCH_FLUSH] = "flush",
};
static const char *const wait_names[BENCH_WAITS] = {
	[BENCH_POLL] = "poll",
	[BENCH_INTERRUPT] = "interrupt",
	[BENCH_HALT] = "halt",
};

static struct bench_load load;
static uint64_t tsc_khz;

/* --- Options --- */

/* The number at *text, which moves behind it; 0 if there is none, or it is too large. */
static unsigned number_parse(const char **text)
{
	unsigned value = 0;

	for (; **text >= '0' && **text <= '9' && value < 100000000; (*text)++)
		value = value * 10 + (unsigned)(**text - '0');
	return value;
}

static bool skip(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

static uint32_t size_parse(const char **text)
{
	unsigned size = number_parse(text);

	if (size > SIZE_MAX_BYTES)
		return 0;
	if (skip(text, 'k'))
		return size * 1024;
	if (skip(text, 'm'))
		return size * 1024 * 1024;
	return size;
}

/* The index in `names` of the word at *text, which moves behind it; `count` if it is none. */
static unsigned name_parse(const char **text, const char *const *names, unsigned count)
{
	size_t length = 0;

	while ((*text)[length] >= 'a' && (*text)[length] <= 'z')
		length++;
	for (unsigned i = 0; i < count; i++) {
		if (strlen(names[i]) != length || memcmp(names[i], *text, length))
			continue;
		*text += length;
		return i;
	}
	return count;
}

/* One case of bench=; *text moves to the next. False if one of the two is missing or wrong. */
static bool case_parse(const char **text, struct bench_case *it)
{
	unsigned op = name_parse(text, op_names, BENCH_OPS);

	if (op == BENCH_OPS || !skip(text, '/'))
		return false;
	it->op = (enum bench_op)op;
	it->size = size_parse(text);
	if (!skip(text, '/'))
		return false;
	it->depth = number_parse(text);
	if (!skip(text, '/'))
		return false;
	it->queues = number_parse(text);
	return it->size >= SECTOR_SIZE && it->size <= SIZE_MAX_BYTES &&
	       it->size % SECTOR_SIZE == 0 && it->depth >= 1 && it->depth <= BENCH_DEPTH_MAX &&
	       it->queues >= 1 && it->queues <= BENCH_QUEUES_MAX &&
	       (!**text || (skip(text, ',') && **text));
}

static enum bench_wait wait_parse(void)
{
	const char *text = option("wait", "poll");
	unsigned wait = name_parse(&text, wait_names, BENCH_WAITS);

	if (wait == BENCH_WAITS || *text)
		test_give_up("wait= is not poll, interrupt or halt");
	return (enum bench_wait)wait;
}

static bool switch_parse(const char *name, const char *otherwise)
{
	const char *value = option(name, otherwise);

	if (!list_has("on,off", value))
		test_give_up("indirect=, verify= and log= are on or off");
	return list_has(value, "on");
}

static unsigned ms_parse(const char *name, const char *otherwise)
{
	const char *text = option(name, otherwise);
	unsigned ms = number_parse(&text);

	if (*text || ms > MS_MAX)
		test_give_up("bench-ms= and warm-ms= are milliseconds, up to 50000");
	return ms;
}

/* 0: any number. */
static unsigned requests_parse(void)
{
	const char *text = option("bench-requests", "0");
	unsigned requests = number_parse(&text);

	if (*text || requests > REQUESTS_MAX)
		test_give_up("bench-requests= is a number up to 100000");
	return requests;
}

/* --- Set-up --- */

/* Bytes in a descriptor, by the limits that the device tells of. */
static uint32_t segment_size(const struct blk *disk)
{
	uint64_t size = disk->device.features & FEATURE(F_BLK_SIZE_MAX)
				? blk_config(disk, BLK_SIZE_MAX, 4)
				: SIZE_MAX_BYTES;

	return size && size < SIZE_MAX_BYTES ? (uint32_t)size : SIZE_MAX_BYTES;
}

static struct bench_shape shape_make(const struct blk *disk, const struct bench_case *it)
{
	uint32_t size = it->op == BENCH_FLUSH ? 0 : it->size, segment = segment_size(disk);
	uint32_t segments = (size + segment - 1) / segment;
	uint64_t limit = disk->device.features & FEATURE(F_BLK_SEG_MAX)
				 ? blk_config(disk, BLK_SEG_MAX, 4)
				 : 1;

	if (segments > limit || segments + 2 > BENCH_PIECES_MAX)
		test_give_up("bench: the device takes no request of that size");
	return (struct bench_shape){
		.size = size,
		.segment = segment,
		.depth = (uint16_t)it->depth,
		.pieces = (uint16_t)(segments + 2),
		.indirect = disk->device.features & FEATURE(F_INDIRECT_DESC),
	};
}

static void negotiate(struct blk *disk, const struct bench_case *it)
{
	uint64_t features = FEATURE(F_EVENT_IDX) | FEATURE(F_BLK_SIZE_MAX) | FEATURE(F_BLK_SEG_MAX);

	if (list_has(option("in-order", "off"), "on"))
		test_give_up("bench: not with in-order=on");
	if (switch_parse("indirect", "on"))
		features |= FEATURE(F_INDIRECT_DESC);
	if (it->queues > 1)
		features |= FEATURE(F_BLK_MQ);
	if (it->op == BENCH_FLUSH)
		features |= FEATURE(F_BLK_FLUSH);
	virtio_negotiate(&disk->device, features);
	if (it->op == BENCH_FLUSH && !(disk->device.features & FEATURE(F_BLK_FLUSH)))
		test_give_up("bench: the device has no FLUSH");
	if (it->queues > virtio_read16(&disk->device, NUM_QUEUES) ||
	    it->queues >= disk->device.msix.count)
		test_give_up("bench: the device has fewer queues, or fewer vectors");
}

/* An upper limit of what bench_ring_create() allocates, a page for each of its rounds. */
static bool memory_suffices(const struct bench_shape *shape, unsigned entries, unsigned queues)
{
	uint64_t slot = sizeof(struct bench_slot) + sizeof(struct bench_message) +
			shape->pieces * sizeof(struct virtq_desc) + shape->size + PAGE_SIZE;

	return queues * (shape->depth * slot + entries * 32ull + 8 * PAGE_SIZE) <= heap_left();
}

static void rings_create(struct blk *disk, const struct bench_shape *shape, unsigned queues)
{
	struct virtio_device *device = &disk->device;
	uint16_t entries;

	virtio_write16(device, QUEUE_SELECT, 0);
	entries = virtio_read16(device, QUEUE_SIZE);
	if (entries > QUEUE_ENTRIES_MAX)
		entries = QUEUE_ENTRIES_MAX;
	if (bench_ring_entries(shape) > entries || shape->pieces > entries)
		test_give_up("bench: the queue is too short for that depth");
	if (!memory_suffices(shape, entries, queues))
		test_give_up("bench: depth, queues and size take more memory than there is");
	msix_enable(&device->msix, true);
	for (unsigned i = 0; i < queues; i++) {
		msix_route(&device->msix, ENTRY_QUEUE + i, user_event_vector(i));
		bench_ring_create(&load.rings[i], device, (uint16_t)i, entries,
				  (uint16_t)(ENTRY_QUEUE + i), shape);
	}
	virtio_set_status(device, STATUS_LIVE);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
}

/* NULL with log=off. */
static struct bench_log *log_create(unsigned requests)
{
	size_t size = requests * sizeof(struct bench_log);

	if (!switch_parse("log", "off"))
		return NULL;
	if (!size)
		test_give_up("log=on: not without bench-requests=");
	if (size + PAGE_SIZE > heap_left())
		test_give_up("log=on: there is no memory for so many requests");
	return heap_take(size, 64);
}

static void load_prepare(struct blk *disk, const struct bench_case *it)
{
	struct bench_shape shape;

	heap_reset();
	blk_quiesce(disk);
	negotiate(disk, it);
	load.op = it->op;
	load.wait = wait_parse();
	load.verify = switch_parse("verify", "off");
	load.words = (uint64_t)disk->number << 56;
	load.blocks = disk->capacity / (it->size / SECTOR_SIZE);
	load.queues = it->queues;
	load.patience = PATIENCE_MS * tsc_khz;
	load.next_block = 0;
	load.random = 0x9e3779b97f4a7c15; /* the same requests in every run; any number but 0 */
	if (!load.blocks)
		test_give_up("bench: the disk is smaller than a request");
	shape = shape_make(disk, it);
	rings_create(disk, &shape, it->queues);
	user_run(bench_load_prepare, &load);
}

/* --- Run and print --- */

static void load_run(const struct blk *disk, unsigned ms)
{
	load.duration = ms * tsc_khz;
	deadline_start(ms + HALT_MS);
	user_run(bench_load_run, &load);
	deadline_stop();
	if (!load.result.failure)
		return;
	print("# status 0x%x\n", virtio_status(&disk->device));
	test_give_up(load.result.failure);
}

static uint64_t ns(uint64_t ticks)
{
	return ticks * 1000000 / tsc_khz;
}

static void result_print(const struct bench_case *it)
{
	const struct bench_result *result = &load.result;
	uint64_t us = ns(result->elapsed) / 1000;

	print("bench: op=%s size=%u depth=%u queues=%u wait=%s ring=%s", op_names[it->op], it->size,
	      it->depth, it->queues, wait_names[load.wait],
	      load.rings[0].queue.packed ? "packed" : "split");
	print(" requests=%lu ms=%lu.%lu iops=%lu mean_ns=%lu", result->requests, us / 1000,
	      us / 100 % 10, result->requests * 1000000 / us, ns(result->sum / result->requests));
	print(" p50_ns=%lu p90_ns=%lu p99_ns=%lu p999_ns=%lu max_ns=%lu", ns(result->permille_500),
	      ns(result->permille_900), ns(result->permille_990), ns(result->permille_999),
	      ns(result->max));
	print(" doorbells=%lu interrupts=%lu errors=%lu\n", result->doorbells, result->interrupts,
	      result->errors);
	print_flush();
}

static void log_print(void)
{
	for (uint64_t i = 0; load.log && i < load.result.requests; i++) {
		const struct bench_log *it = &load.log[i];

		print("request: queue=%u op=%u sector=%lu len=%u\n", it->queue, it->type,
		      it->sector, it->length);
	}
	print_flush();
}

static void case_run(struct blk *disk, const struct bench_case *it)
{
	unsigned warm_ms = ms_parse("warm-ms", "200"), requests = requests_parse();
	struct bench_log *log;

	load_prepare(disk, it);
	log = log_create(requests);
	load.log = NULL;
	load.limit = UINT64_MAX;
	if (warm_ms)
		load_run(disk, warm_ms);
	print("# bench-begin\n");
	print_flush();
	load.log = log;
	if (requests)
		load.limit = requests;
	load_run(disk, ms_parse("bench-ms", "1000"));
	result_print(it);
	log_print();
	blk_quiesce(disk);
}

void bench_run(struct blk *disk)
{
	const char *text = option("bench", "");
	struct bench_case it;

	/* All of it is read once before the first case runs. */
	do {
		if (!case_parse(&text, &it))
			test_give_up("bench= is not OP/SIZE/DEPTH/QUEUES,...: see bench.h");
	} while (*text);
	user_init();
	tsc_khz = irq_tsc_khz();
	for (text = option("bench", ""); *text && case_parse(&text, &it);)
		case_run(disk, &it);
}
