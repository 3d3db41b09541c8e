// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/bench_load.h"

#include <stddef.h>

#include "guest/kit/print.h"
#include "guest/kit/user.h"
#include "guest/kit/x86.h"

enum {
	READS_OF_TEN = 7,
	BUCKET_BITS = 6, /* 64 buckets to a power of two: 1.6 % */
	BUCKETS_PER_POWER = 1 << BUCKET_BITS,
};

/* Slots whose requests have ended. */
struct slots {
	unsigned count;
	uint16_t slots[BENCH_DEPTH_MAX];
};

/* --- Times --- */

/* Below 2^7 a bucket a tick, above it the same number of buckets for every power of two. */
static unsigned bucket_of(uint64_t ticks)
{
	unsigned shift = ticks < 2 * BUCKETS_PER_POWER
				 ? 0
				 : 63 - BUCKET_BITS - (unsigned)__builtin_clzll(ticks);

	return (shift << BUCKET_BITS) + (unsigned)(ticks >> shift);
}

/* The middle of a bucket. */
static uint64_t bucket_ticks(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * BUCKETS_PER_POWER)
		return bucket;
	shift = (bucket >> BUCKET_BITS) - 1;
	return ((bucket - ((uint64_t)shift << BUCKET_BITS)) << shift) + (1ull << shift >> 1);
}

static void time_note(struct bench_load *load, uint64_t ticks)
{
	struct bench_result *result = &load->result;

	load->buckets[bucket_of(ticks)]++;
	result->sum += ticks;
	if (ticks > result->max)
		result->max = ticks;
}

/* What so many of a thousand requests took at most, as near as the buckets tell. */
static uint64_t time_below(const struct bench_load *load, unsigned permille)
{
	uint64_t wanted = (load->result.requests * permille + 999) / 1000, seen = 0, ticks;
	unsigned bucket = 0;

	while (bucket < BENCH_BUCKETS - 1 && (seen += load->buckets[bucket]) < wanted)
		bucket++;
	ticks = bucket_ticks(bucket);
	return ticks < load->result.max ? ticks : load->result.max;
}

/* --- Requests --- */

/* Marsaglia's xorshift: three shifts, and it comes back only after 2^64 - 1 steps. */
static uint32_t random_next(struct bench_load *load)
{
	load->random ^= load->random << 13;
	load->random ^= load->random >> 7;
	load->random ^= load->random << 17;
	return (uint32_t)(load->random >> 32);
}

static uint64_t block_next(struct bench_load *load)
{
	if (load->op != BENCH_READ && load->op != BENCH_WRITE)
		return random_next(load) * load->blocks >> 32;
	if (load->next_block == load->blocks)
		load->next_block = 0;
	return load->next_block++;
}

static enum blk_type type_next(struct bench_load *load)
{
	switch (load->op) {
	case BENCH_FLUSH:
		return BLK_FLUSH;
	case BENCH_RANDWRITE:
	case BENCH_WRITE:
		return BLK_OUT;
	case BENCH_RANDRW:
		return random_next(load) % 10 < READS_OF_TEN ? BLK_IN : BLK_OUT;
	default:
		return BLK_IN;
	}
}

/* The first and the last word of a slot's data, as the pattern has them. */
static void ends_write(const struct bench_load *load, const struct bench_slot *slot, uint32_t size)
{
	uint64_t *data = slot->data, word = load->words + slot->message->sector * SECTOR_WORDS;

	data[0] = word;
	data[size / 8 - 1] = word + size / 8 - 1;
}

static bool ends_are_right(const struct bench_load *load, const struct bench_slot *slot,
			   uint32_t size)
{
	const uint64_t *data = slot->data;
	uint64_t word = load->words + slot->message->sector * SECTOR_WORDS;

	return data[0] == word && data[size / 8 - 1] == word + size / 8 - 1;
}

static void submit(struct bench_load *load, struct bench_ring *ring, unsigned index)
{
	struct bench_slot *slot = &ring->slots[index];
	struct bench_message *message = slot->message;
	uint32_t size = ring->shape.size;

	if (load->result.requests == load->limit)
		return;

	message->type = type_next(load);
	message->sector = message->type == BLK_FLUSH ? 0 : block_next(load) * (size / SECTOR_SIZE);
	message->status = BLK_UNWRITTEN;
	if (load->op == BENCH_RANDRW)
		bench_ring_turn(ring, index, message->type == BLK_IN);
	if (load->verify && message->type == BLK_OUT)
		ends_write(load, slot, size);
	if (load->log)
		load->log[load->result.requests] = (struct bench_log){
			.sector = message->sector,
			.length = size,
			.type = message->type,
			.queue = (uint32_t)(ring - load->rings),
		};
	slot->in_flight = true;
	load->in_flight++;
	load->result.requests++;
	bench_ring_add(ring, index);
}

/* The slot's next request begins with the end of this one. */
static void complete(struct bench_load *load, struct bench_ring *ring, unsigned index, uint64_t now)
{
	struct bench_slot *slot = &ring->slots[index];
	const struct bench_message *message = slot->message;

	if (!slot->in_flight) {
		load->result.failure = "the device used a request twice";
		return;
	}
	slot->in_flight = false;
	load->in_flight--;
	time_note(load, now - slot->started);
	slot->started = now;
	if (message->status != BLK_OK || (load->verify && message->type == BLK_IN &&
					  !ends_are_right(load, slot, ring->shape.size)))
		load->result.errors++;
}

/* --- The load --- */

/* Ends all requests that the device has used by now; their slots are added to `free`. */
static void ring_take(struct bench_load *load, struct bench_ring *ring, struct slots *free)
{
	uint64_t now = 0;
	int slot = 0;

	while (free->count < ring->shape.depth && !load->result.failure) {
		slot = bench_ring_take(ring);
		if (slot < 0)
			break;
		if (!now)
			now = cpu_tsc();
		complete(load, ring, (unsigned)slot, now);
		free->slots[free->count++] = (uint16_t)slot;
	}
	if (slot == BENCH_RING_BAD)
		load->result.failure = "the device used what it was not given";
}

static void ring_give(struct bench_load *load, struct bench_ring *ring, const struct slots *free)
{
	for (unsigned i = 0; i < free->count; i++)
		submit(load, ring, free->slots[i]);
	bench_ring_offer(ring);
}

static bool ring_poll(struct bench_load *load, struct bench_ring *ring, bool again)
{
	struct slots free;

	free.count = 0;
	ring_take(load, ring, &free);
	if (free.count && again)
		ring_give(load, ring, &free);
	return free.count;
}

/*
 * As the common drivers do it: no more interrupts until the ring is found empty, and new requests
 * after that.
 */
static void ring_interrupted(struct bench_load *load, struct bench_ring *ring, bool again)
{
	struct slots free;

	free.count = 0;
	do {
		bench_ring_disarm(ring);
		ring_take(load, ring, &free);
	} while (!bench_ring_arm(ring) && free.count < ring->shape.depth && !load->result.failure);
	if (free.count && again)
		ring_give(load, ring, &free);
}

static void rings_poll(struct bench_load *load, bool again)
{
	bool any = false;

	for (unsigned i = 0; i < load->queues; i++)
		any |= ring_poll(load, &load->rings[i], again);
	if (!any)
		cpu_relax();
}

static void rings_wait(struct bench_load *load, bool again)
{
	uint32_t count = user_event_count;
	bool any = false;

	for (unsigned i = 0; i < load->queues; i++) {
		if (!user_event[i])
			continue;
		any = true;
		user_event[i] = 0;
		ring_interrupted(load, &load->rings[i], again);
	}
	if (any)
		return;
	if (load->wait == BENCH_HALT)
		user_halt(count);
	else
		cpu_relax();
}

static void rings_serve(struct bench_load *load, bool again)
{
	if (load->wait == BENCH_POLL)
		rings_poll(load, again);
	else
		rings_wait(load, again);
}

static void rings_start(struct bench_load *load, uint64_t now)
{
	for (unsigned i = 0; i < load->queues; i++) {
		struct bench_ring *ring = &load->rings[i];

		if (load->wait != BENCH_POLL)
			(void)bench_ring_arm(ring);
		for (unsigned slot = 0; slot < ring->shape.depth; slot++) {
			ring->slots[slot].started = now;
			submit(load, ring, slot);
		}
		bench_ring_offer(ring);
	}
}

static uint64_t doorbells(const struct bench_load *load)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < load->queues; i++)
		sum += load->rings[i].doorbells;
	return sum;
}

static void summarize(struct bench_load *load)
{
	struct bench_result *result = &load->result;

	result->permille_500 = time_below(load, 500);
	result->permille_900 = time_below(load, 900);
	result->permille_990 = time_below(load, 990);
	result->permille_999 = time_below(load, 999);
}

void bench_load_prepare(void *argument)
{
	struct bench_load *load = argument;

	for (unsigned i = 0; i < load->queues; i++)
		bench_ring_fill(&load->rings[i],
				load->op != BENCH_RANDWRITE && load->op != BENCH_WRITE);
}

void bench_load_run(void *argument)
{
	struct bench_load *load = argument;
	struct bench_result *result = &load->result;
	uint64_t start, now;
	uint64_t doorbells_before = doorbells(load), interrupts_before = user_event_count;

	*result = (struct bench_result){ .failure = NULL };
	memset(load->buckets, 0, sizeof(load->buckets));
	start = now = cpu_tsc();
	rings_start(load, start);
	for (; !result->failure && now - start < load->duration && result->requests < load->limit;
	     now = cpu_tsc())
		rings_serve(load, true);
	for (; !result->failure && load->in_flight; now = cpu_tsc()) {
		rings_serve(load, false);
		if (now - start > load->duration + load->patience)
			result->failure = "the device left requests unused";
	}
	result->elapsed = now - start;
	result->doorbells = doorbells(load) - doorbells_before;
	result->interrupts = user_event_count - interrupts_before;
	summarize(load);
}
