// SPDX-License-Identifier: BSD-2-Clause
/* Who waits for whom: with direct I/O for ranges and memory, else to make stable. */
#include "devices/disk_private.h"

#include <errno.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

/* --- Waiting --- */

static void waiters_init(struct disk_waiter *all)
{
	all->next = all->prev = all;
}

/* NULL: nobody waits. */
static struct disk_request *first(const struct disk_waiter *all)
{
	return all->next == all ? NULL : container_of(all->next, struct disk_request, waiter);
}

/* All of @from, to the end of @to. */
static void move_all(struct disk_waiter *to, struct disk_waiter *from)
{
	if (!first(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	waiters_init(from);
}

static void wait_in(struct disk_waiter *all, struct disk_request *request)
{
	struct disk_waiter *waiter = &request->waiter;

	store_relaxed(&request->waits, true);
	*waiter = (struct disk_waiter){ all, all->prev };
	all->prev->next = waiter;
	all->prev = waiter;
}

static void take_out(struct disk_request *request)
{
	struct disk_waiter *waiter = &request->waiter;

	store_relaxed(&request->waits, false);
	waiter->prev->next = waiter->next;
	waiter->next->prev = waiter->prev;
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
	struct disk_request *request;

	while ((request = first(&direct->for_range)) && may_have(direct, &request->range)) {
		take_out(request);
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
	mine = !first(&direct->for_range) && may_have(direct, &request->range);
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
	struct disk_request *next;

	if (!memory)
		return;
	request->bounce.memory = NULL;
	pthread_mutex_lock(&direct->lock);
	next = first(&direct->for_memory);
	if (next) {
		take_out(next);
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
	struct disk_request *request = first(&sync->waiting);

	sync->busy = request;
	if (!request)
		return;
	take_out(request);
	request->has_turn = true;
	move_all(&sync->covered, &sync->waiting);
	wake(thread, request);
}

void disk_sync_give(struct disk_request *request, bool done)
{
	struct disk_sync *sync = &request->disk->sync;
	struct disk_request *covered;

	if (!request->has_turn)
		return;
	request->has_turn = false;
	pthread_mutex_lock(&sync->lock);
	while (done && (covered = first(&sync->covered))) {
		take_out(covered);
		covered->synced = true;
		wake(request->thread, covered);
	}
	move_all(&sync->waiting, &sync->covered);
	next_turn(sync, request->thread);
	pthread_mutex_unlock(&sync->lock);
}

/* --- Stop --- */

/* The stop of a queue asks for each of its own: to walk by those of all queues takes long. */
void disk_cancel(struct disk_request *request)
{
	struct disk *disk = request->disk;
	pthread_mutex_t *lock;

	/* Others may end its wait, but it begins on this thread alone. */
	if (!load_relaxed(&request->waits))
		return;
	lock = request->must_sync ? &disk->sync.lock : &disk->direct->lock;
	pthread_mutex_lock(lock);
	if (request->waits) {
		take_out(request);
		go_on(request);
		/* What is first now may have been waiting for its place only. */
		if (!request->must_sync)
			serve_ranges(disk->direct, request->thread);
	}
	pthread_mutex_unlock(lock);
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
