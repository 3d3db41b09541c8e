// SPDX-License-Identifier: BSD-2-Clause
/* Who waits for whom: with direct I/O for ranges and memory, else to make stable. */
#include "devices/disk_private.h"

#include <errno.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

/* --- Waiting --- */

static void waiters_init(struct disk_waiters *waiters)
{
	waiters->first = NULL;
	waiters->end = &waiters->first;
}

/* All of @from, to the end of @to. */
static void move_all(struct disk_waiters *to, struct disk_waiters *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	waiters_init(from);
}

static void wait_in(struct disk_waiters *waiters, struct disk_request *request)
{
	store_relaxed(&request->waits, true);
	request->next_waiting = NULL;
	*waiters->end = request;
	waiters->end = &request->next_waiting;
}

static struct disk_request *take_out(struct disk_waiters *waiters, struct disk_request **at)
{
	struct disk_request *request = *at;

	store_relaxed(&request->waits, false);
	*at = request->next_waiting;
	if (!*at)
		waiters->end = at;
	return request;
}

/* On the request's own thread: its step begins again. */
static void go_on(struct disk_request *request)
{
	io_thread_complete(request->thread, &request->step, -EAGAIN);
}

static void go_on_here(struct io_order *order)
{
	go_on(container_of(order, struct disk_request, go_on));
}

/* Called on @thread. */
static void wake(struct io_thread *thread, struct disk_request *request)
{
	if (request->thread == thread) {
		go_on(request);
	} else {
		request->go_on.run = go_on_here;
		io_thread_order(request->thread, &request->go_on);
	}
}

/* --- Ranges --- */

static bool may_have(const struct disk_direct *direct, const struct disk_range *wanted)
{
	if (direct->range_count == DISK_RANGES_MAX ||
	    __atomic_load_n(&direct->without_range, __ATOMIC_SEQ_CST))
		return false;
	for (unsigned i = 0; i < direct->range_count; i++)
		if (wanted->start < direct->range[i].end && direct->range[i].start < wanted->end)
			return false;
	return true;
}

static void have(struct disk_direct *direct, struct disk_request *request)
{
	direct->range[direct->range_count++] = request->range;
	request->has_range = true;
}

/* Strictly in order: a long one must not wait while brief ones keep coming. */
static void serve_ranges(struct disk_direct *direct, struct io_thread *thread)
{
	struct disk_waiters *waiters = &direct->for_range;

	while (waiters->first && may_have(direct, &waiters->first->range)) {
		struct disk_request *request = take_out(waiters, &waiters->first);

		have(direct, request);
		wake(thread, request);
	}
}

/*
 * Blocks become larger, then ranges are asked for; here it is asked last: either
 * the change that ends sees who waits for it, or that one sees that it has ended.
 */
static bool are_blocks_sectors(const struct disk_direct *direct)
{
	return __atomic_load_n(&direct->offset_align, __ATOMIC_SEQ_CST) == DISK_SECTOR;
}

bool disk_turn_need_none(struct disk_request *request)
{
	struct disk_direct *direct = request->disk->direct;

	if (!request->needs_none)
		__atomic_fetch_add(&direct->without_range, 1, __ATOMIC_SEQ_CST);
	request->needs_none = true;
	return are_blocks_sectors(direct);
}

static void end_without_range(struct disk_request *request)
{
	struct disk_direct *direct = request->disk->direct;

	if (!request->needs_none)
		return;
	request->needs_none = false;
	if (__atomic_sub_fetch(&direct->without_range, 1, __ATOMIC_SEQ_CST) ||
	    are_blocks_sectors(direct))
		return;
	pthread_mutex_lock(&direct->lock);
	serve_ranges(direct, request->thread);
	pthread_mutex_unlock(&direct->lock);
}

bool disk_turn_take_range(struct disk_request *request, uint64_t start, uint64_t end)
{
	struct disk_direct *direct = request->disk->direct;
	bool mine;

	if (request->has_range)
		return true;
	end_without_range(request);
	request->range = (struct disk_range){ start, end, request };
	pthread_mutex_lock(&direct->lock);
	mine = !direct->for_range.first && may_have(direct, &request->range);
	if (mine)
		have(direct, request);
	else
		wait_in(&direct->for_range, request);
	pthread_mutex_unlock(&direct->lock);
	return mine;
}

void disk_turn_give_range(struct disk_request *request)
{
	struct disk_direct *direct = request->disk->direct;
	struct disk_range *range = direct->range;

	end_without_range(request);
	if (!request->has_range)
		return;
	request->has_range = false;
	pthread_mutex_lock(&direct->lock);
	while (range->owner != request)
		range++;
	*range = direct->range[--direct->range_count];
	serve_ranges(direct, request->thread);
	pthread_mutex_unlock(&direct->lock);
}

/* --- Memory --- */

bool disk_turn_take_memory(struct disk_request *request)
{
	struct disk_direct *direct = request->disk->direct;
	unsigned slot;
	bool mine;

	if (request->bounce.memory)
		return true;
	pthread_mutex_lock(&direct->lock);
	mine = direct->free;
	if (mine) {
		slot = (unsigned)__builtin_ctz(direct->free);
		direct->free &= ~(1u << slot);
		request->bounce.memory = direct->pool + slot * DISK_BOUNCE_LEN;
	} else {
		wait_in(&direct->for_memory, request);
	}
	pthread_mutex_unlock(&direct->lock);
	return mine;
}

void disk_turn_give_memory(struct disk_request *request)
{
	struct disk_direct *direct = request->disk->direct;
	uint8_t *memory = request->bounce.memory;

	if (!memory)
		return;
	request->bounce.memory = NULL;
	pthread_mutex_lock(&direct->lock);
	if (direct->for_memory.first) {
		struct disk_request *next = take_out(&direct->for_memory,
						     &direct->for_memory.first);

		next->bounce.memory = memory;
		wake(request->thread, next);
	} else {
		direct->free |= 1u << ((size_t)(memory - direct->pool) / DISK_BOUNCE_LEN);
	}
	pthread_mutex_unlock(&direct->lock);
}

/* --- Making stable --- */

static bool take_turn(struct disk_request *request)
{
	struct disk_sync *sync = &request->disk->sync;

	if (sync->busy)
		return false;
	sync->busy = true;
	request->has_turn = true;
	return true;
}

void disk_sync_try(struct disk_request *request)
{
	pthread_mutex_lock(&request->disk->sync.lock);
	take_turn(request);
	pthread_mutex_unlock(&request->disk->sync.lock);
}

bool disk_sync_take(struct disk_request *request)
{
	struct disk_sync *sync = &request->disk->sync;
	bool mine;

	if (request->has_turn)
		return true;
	pthread_mutex_lock(&sync->lock);
	mine = take_turn(request);
	if (!mine)
		wait_in(&sync->waiting, request);
	pthread_mutex_unlock(&sync->lock);
	return mine;
}

/* The first that waits has the turn, and all that wait with it are covered by it. */
static void next_turn(struct disk_sync *sync, struct io_thread *thread)
{
	struct disk_request *request;

	sync->busy = sync->waiting.first;
	if (!sync->busy)
		return;
	request = take_out(&sync->waiting, &sync->waiting.first);
	request->has_turn = true;
	move_all(&sync->covered, &sync->waiting);
	wake(thread, request);
}

void disk_sync_give(struct disk_request *request, bool done)
{
	struct disk_sync *sync = &request->disk->sync;

	if (!request->has_turn)
		return;
	request->has_turn = false;
	pthread_mutex_lock(&sync->lock);
	while (done && sync->covered.first) {
		struct disk_request *covered = take_out(&sync->covered, &sync->covered.first);

		covered->synced = true;
		wake(request->thread, covered);
	}
	move_all(&sync->waiting, &sync->covered);
	next_turn(sync, request->thread);
	pthread_mutex_unlock(&sync->lock);
}

/* --- Stop --- */

static void wake_cancelled(struct disk_waiters *waiters, struct io_thread *thread,
			   const bool *cancel)
{
	struct disk_request **at = &waiters->first;

	while (*at)
		if ((*at)->cancel == cancel)
			wake(thread, take_out(waiters, at));
		else
			at = &(*at)->next_waiting;
}

void disk_cancelled(struct disk *disk, struct io_thread *thread, const bool *cancel)
{
	struct disk_direct *direct = disk->direct;
	struct disk_sync *sync = &disk->sync;

	pthread_mutex_lock(&sync->lock);
	wake_cancelled(&sync->waiting, thread, cancel);
	wake_cancelled(&sync->covered, thread, cancel);
	pthread_mutex_unlock(&sync->lock);
	if (!direct)
		return;
	pthread_mutex_lock(&direct->lock);
	wake_cancelled(&direct->for_memory, thread, cancel);
	wake_cancelled(&direct->for_range, thread, cancel);
	/* What is first now may have been waiting for its place only. */
	serve_ranges(direct, thread);
	pthread_mutex_unlock(&direct->lock);
}

/* --- Life --- */

void disk_turn_init(struct disk_direct *direct)
{
	pthread_mutex_init(&direct->lock, NULL);
	direct->free = ~0u;
	waiters_init(&direct->for_memory);
	waiters_init(&direct->for_range);
}

void disk_turn_destroy(struct disk_direct *direct)
{
	pthread_mutex_destroy(&direct->lock);
}

void disk_sync_init(struct disk_sync *sync)
{
	pthread_mutex_init(&sync->lock, NULL);
	sync->busy = false;
	waiters_init(&sync->waiting);
	waiters_init(&sync->covered);
}

void disk_sync_destroy(struct disk_sync *sync)
{
	pthread_mutex_destroy(&sync->lock);
}
