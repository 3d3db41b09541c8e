// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk_watch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/blk_private.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"

enum hang { HANG_REQUEST, HANG_DOORBELL, HANG_INTERRUPT, HANGS };

struct hang_state {
	uint32_t since; /* the epoch; 0: all is well */
	bool told;
};

struct watched_queue {
	struct hang_state hang[HANGS];
	/* Work that nobody took: the sleep of the queue, and the epoch before it was seen. */
	uint32_t asleep, waits_since;
};

struct blk_watch {
	struct blk *blk;
	double epoch_s;
	bool (*held_still)(void);
	uint32_t asked;    /* the epoch in which that was */
	uint32_t forgiven; /* what is not told of counts from this epoch at the earliest */
	struct log_limit begun, over; /* lines of each kind */
	struct watched_queue queue[];
};

struct blk_watch *blk_watch_create(struct blk *blk, double epoch_s, bool (*held_still)(void))
{
	struct blk_watch *watch = calloc(1, sizeof(*watch) + blk->virtio.queue_count *
					 sizeof(*watch->queue));

	if (watch) {
		watch->blk = blk;
		watch->epoch_s = epoch_s;
		watch->held_still = held_still;
	}
	return watch;
}

void blk_watch_free(struct blk_watch *watch)
{
	free(watch);
}

/* --- What is said --- */

struct line {
	char text[256];
	size_t len;
};

__attribute__((format(printf, 2, 3)))
static void add(struct line *line, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line->text + line->len, sizeof(line->text) - line->len, fmt, args);
	va_end(args);
	line->len = min(line->len + (size_t)max(len, 0), sizeof(line->text) - 1);
}

static void describe_request(struct line *line, const struct blk_look *look)
{
	static const char *const what[] = {
		[DISK_READ] = "read",
		[DISK_WRITE] = "write",
		[DISK_WRITE_STABLE] = "stable write",
		[DISK_FLUSH] = "flush",
		[DISK_DISCARD] = "discard",
		[DISK_ZERO] = "write of zeroes",
		[DISK_ZERO_UNMAP] = "write of zeroes",
	};

	add(line, "a %s", what[look->op]);
	if (look->op != DISK_FLUSH)
		add(line, " of %" PRIu64 " bytes at sector %" PRIu64, look->len,
		    look->offset / DISK_SECTOR);
	add(line, " (head %u)", look->head);
}

/* Where is it?  What the thread began in an earlier epoch went to the kernel since. */
static void describe_place(struct line *line, const struct blk_look *look)
{
	const struct io_place *place = &look->place;

	if (look->in_call)
		add(line, "%s is in %s for it", place->thread, place->call);
	else if (look->waits)
		add(line, "not submitted: it waits for another request of the same image");
	else if (place->step && place->since <= look->since)
		add(line, "not submitted: %s is in %s for another request", place->thread,
		    place->call);
	else if (place->call)
		add(line, "submitted, and the host's disk owes it; %s is in %s", place->thread,
		    place->call);
	else
		add(line, "submitted, and the host's disk owes it; %s runs", place->thread);
}

static void describe_hang(struct line *line, const struct blk_look *look, double seconds)
{
	describe_request(line, look);
	add(line, " is not done after %g s: ", seconds);
	describe_place(line, look);
	if (look->count > 1)
		add(line, " (%u more like it)", look->count - 1);
}

static void describe_doorbell(struct line *line, const struct blk_look *look, const char *held,
			      double seconds)
{
	const struct virtqueue_rest *rest = &look->rest;

	add(line, "requests are not taken after %g s: ", seconds);
	if (look->place.step)
		add(line, "%s is in %s for another request", look->place.thread, look->place.call);
	else
		add(line, "the guest has not rung");
	if (held)
		add(line, ", and cannot: %s", held);
	if (rest->is_packed)
		add(line, " (packed ring: the descriptor at %u is available)", rest->popped);
	else
		add(line, " (available index %u, taken %u)", look->seen, rest->popped);
}

static void describe_interrupt(struct line *line, const char *held, double seconds)
{
	add(line, "the guest waits for an interrupt after %g s: %s", seconds, held);
}

static const char *const is_over[] = {
	[HANG_REQUEST] = "requests are done again",
	[HANG_DOORBELL] = "requests are taken again",
	[HANG_INTERRUPT] = "interrupts are held back no more",
};

/* --- What is found --- */

/* Seconds that what was noted in epoch @since has surely lasted. */
static double age(const struct blk_watch *watch, uint32_t since, uint32_t now)
{
	return (now - since - 1) * watch->epoch_s;
}

static bool is_long(const struct blk_watch *watch, uint32_t since, uint32_t now)
{
	return since && now - max(since, watch->forgiven) >= BLK_WATCH_EPOCHS;
}

/* Does time not count?  It takes long to find out: once a look. */
static bool is_held_still(struct blk_watch *watch, uint32_t now)
{
	if (watch->asked != now && watch->held_still())
		watch->forgiven = now;
	watch->asked = now;
	return watch->forgiven == now;
}

/* Is it to be told of? */
static bool is_hang(struct blk_watch *watch, uint32_t since, uint32_t now)
{
	return is_long(watch, since, now) && !is_held_still(watch, now);
}

static void begins(struct blk_watch *watch, unsigned index, enum hang kind, uint32_t since,
		   const struct line *line)
{
	struct hang_state *hang = &watch->queue[index].hang[kind];

	hang->since = since;
	hang->told = log_allowed(&watch->begun);
	if (hang->told)
		log_warn("%s: queue %u: %s", watch->blk->virtio.name, index, line->text);
}

/* Nobody is told of the end who was not told of the beginning. */
static void ends(struct blk_watch *watch, unsigned index, enum hang kind, uint32_t now)
{
	struct hang_state *hang = &watch->queue[index].hang[kind];
	const struct virtio_device *dev = &watch->blk->virtio;
	bool stopped = load_relaxed(&dev->queue[index].state) == QUEUE_STOPPED;

	/* A stop ends no request: it waits for them. */
	stopped &= kind != HANG_REQUEST;
	if (hang->told && log_allowed(&watch->over))
		log_error("%s: queue %u: %s, after %g s", dev->name, index,
			  stopped ? "the guest stopped it" : is_over[kind],
			  age(watch, hang->since, now));
	hang->since = 0;
}

static void judge_requests(struct blk_watch *watch, unsigned index, const struct blk_look *look,
			   uint32_t now)
{
	bool known = watch->queue[index].hang[HANG_REQUEST].since;
	struct line line = { .len = 0 };

	if (known && !look->since)
		ends(watch, index, HANG_REQUEST, now);
	if (known || !is_hang(watch, look->since, now))
		return;
	describe_hang(&line, look, age(watch, look->since, now));
	begins(watch, index, HANG_REQUEST, look->since, &line);
}

static void judge_doorbell(struct blk_watch *watch, unsigned index, const struct blk_look *look,
			   uint32_t now)
{
	struct watched_queue *queue = &watch->queue[index];
	bool known = queue->hang[HANG_DOORBELL].since;
	struct line line = { .len = 0 };

	/* What is there now, and was not in the last look, came in the epoch between. */
	if (!look->has_work)
		queue->waits_since = 0;
	else if (!queue->waits_since || queue->asleep != look->asleep)
		queue->waits_since = now - 1;
	queue->asleep = look->asleep;
	if (known && !queue->waits_since)
		ends(watch, index, HANG_DOORBELL, now);
	if (known || !is_hang(watch, queue->waits_since, now))
		return;
	describe_doorbell(&line, look, virtio_queue_doorbell_held(&watch->blk->virtio),
			  age(watch, queue->waits_since, now));
	begins(watch, index, HANG_DOORBELL, queue->waits_since, &line);
}

static void judge_interrupt(struct blk_watch *watch, unsigned index, const struct blk_look *look,
			    uint32_t now)
{
	bool known = watch->queue[index].hang[HANG_INTERRUPT].since, lost = false;
	struct line line = { .len = 0 };
	const char *held = NULL;

	/* What the last batch needed is pending for as long as the queue sleeps. */
	if (known || is_long(watch, look->asleep, now))
		held = virtio_queue_interrupt_held(&watch->blk->virtio, index, &lost);
	if (look->asleep && !(lost ? look->certainly_owed : look->owed))
		held = NULL;
	if (known && !held)
		ends(watch, index, HANG_INTERRUPT, now);
	if (known || !held || !is_hang(watch, look->asleep, now))
		return;
	describe_interrupt(&line, held, age(watch, look->asleep, now));
	begins(watch, index, HANG_INTERRUPT, look->asleep, &line);
}

/* Returns whether the queue is in use. */
static bool look_at_queue(struct blk_watch *watch, unsigned index, uint32_t now)
{
	struct blk *blk = watch->blk;
	enum virtio_queue_state state = load_relaxed(&blk->virtio.queue[index].state);
	struct blk_look look;

	blk_queue_look(&blk->queue[index], now > BLK_WATCH_EPOCHS ? now - BLK_WATCH_EPOCHS : 0,
		       &look);
	/* Of a broken device the driver was told, and its rings are served no more. */
	if (virtio_device_is_broken(&blk->virtio)) {
		look.asleep = 0;
		look.has_work = false;
	}
	judge_requests(watch, index, &look, now);
	judge_doorbell(watch, index, &look, now);
	judge_interrupt(watch, index, &look, now);
	return state != QUEUE_STOPPED;
}

bool blk_watch_look(struct blk_watch *watch, uint32_t now)
{
	bool in_use = false;

	/* Once seen, it is asked about until it is over. */
	if (watch->forgiven == now - 1)
		is_held_still(watch, now);
	for (unsigned i = 0; i < watch->blk->virtio.queue_count; i++)
		in_use |= look_at_queue(watch, i, now);
	return in_use;
}
