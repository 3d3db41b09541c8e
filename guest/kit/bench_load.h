/* SPDX-License-Identifier: BSD-2-Clause */
/* The load itself: keeps all slots of all rings in flight, and measures. At CPL 3. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kit/bench_ring.h"

enum { BENCH_QUEUES_MAX = 16, BENCH_BUCKETS = 3776 };

enum bench_op {
	BENCH_RANDREAD,
	BENCH_READ,
	BENCH_RANDWRITE,
	BENCH_WRITE,
	BENCH_RANDRW,
	BENCH_FLUSH,
	BENCH_OPS,
};

enum bench_wait { BENCH_POLL, BENCH_INTERRUPT, BENCH_HALT, BENCH_WAITS };

/* A request as it was submitted. */
struct bench_log {
	uint64_t sector;
	uint32_t length, type, queue;
};

/* What was seen between the first submission and the last completion. Times in TSC ticks. */
struct bench_result {
	uint64_t requests, errors, doorbells, interrupts;
	uint64_t elapsed, sum, max;
	uint64_t permille_500, permille_900, permille_990, permille_999;
	const char *failure; /* why it did not come to its end; NULL */
};

struct bench_load {
	enum bench_op op;
	enum bench_wait wait;
	bool verify;
	uint64_t words;  /* the disk's pattern at word 0 */
	uint64_t blocks; /* of the requests' size on the disk */
	unsigned queues;
	uint64_t patience; /* ticks without an end after which the device is given up */
	struct bench_ring rings[BENCH_QUEUES_MAX];

	uint64_t duration; /* of the next bench_load_run(), ticks */
	uint64_t limit;    /* of its requests */
	struct bench_log *log; /* NULL, or as many */
	struct bench_result result;

	/* Private. */
	uint64_t random, next_block, deadline;
	unsigned in_flight;
	uint32_t buckets[BENCH_BUCKETS]; /* how many requests took so long */
};

/* For user_run(), with a struct bench_load: the rings' slots; and then the load, once or more. */
void bench_load_prepare(void *load);
void bench_load_run(void *load);
