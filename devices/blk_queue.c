// SPDX-License-Identifier: BSD-2-Clause
/* The block device's queues, each on its I/O thread. */
#include "devices/blk_private.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/blk_parse.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"

/*
 * Reads, or writes, that follow each other in the image and in the ring go as one:
 * up to so many bytes, beyond which it gains little and delays the first of them.
 */
#define JOINED_MAX (128u << 10)

/* Of data; Linux seldom makes more for what it reads and writes in small pieces. */
#define PARTS_FEW 4

/* What probes show in its place. */
#define NO_STATUS 255

/* In bytes of the thread's round: to walk the longest chain takes time, and so does any segment. */
#define CHAIN_COST (16u << 10)

struct blk_request {
	struct disk_request disk; /* first: the I/O of this request */
	struct blk_queue *queue;
	uint16_t head; /* atomic: chain.id, for who looks */
	struct blk_request *next_free;
	struct virtqueue_chain chain; /* its iov[] is the queue's, till the next chain */
	struct blk_command command;
	uint64_t seq;       /* its number among those that the queue has popped */
	bool is_submitted;  /* as far as somebody looks */

	/* Of a transfer; until it is done it goes together with those that joined it. */
	struct blk_request *joined; /* the next of them */
	struct blk_request *last;   /* of them: itself, if there is none */
	uint64_t joined_len;        /* of all */
	unsigned joined_count;      /* of all parts */

	unsigned next_segment;
	bool sync_after; /* a flush follows the last segment */
	union blk_parts *parts;        /* those of a long transfer, or segments */
	struct iovec few[PARTS_FEW];   /* those of a short one */
	struct blk_times times;        /* if it is timed, as times.popped tells */
};

static void step_begins(struct disk_request *disk, bool at_once);

/* Once, whatever the queue's life: from then on others look at it. */
static void make_request(struct blk_queue *queue)
{
	struct blk_request *request = &queue->requests[queue->made];

	*request = (struct blk_request){
		.disk = { .cancel = &queue->stopping, .done = queue->done,
			  .step_begins = step_begins },
		.queue = queue,
		.parts = &queue->parts[1 + queue->made],
	};
	request->command.segment = request->parts->segment;
	store_release(&queue->made, queue->made + 1);
}

static struct blk_request *take_free(struct blk_queue *queue)
{
	struct blk_request *request = queue->free;

	if (request) {
		queue->free = request->next_free;
	} else if (queue->fresh < queue->ring->size) {
		request = &queue->requests[queue->fresh++];
		if (queue->fresh > queue->made)
			make_request(queue);
	}
	return request;
}

static void put_free(struct blk_queue *queue, struct blk_request *request)
{
	store_relaxed(&request->disk.since, 0);
	request->next_free = queue->free;
	queue->free = request;
}

/* --- For probes: out of the way of those who do not look --- */

/* Where the data of a request is, as its driver put it, and its length in bytes. */
static uint64_t asked_for(const struct blk_request *request, uint64_t *sector)
{
	const struct blk_command *command = &request->command;
	uint64_t len = 0;

	*sector = command->sector;
	switch (command->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_GET_ID:
		return request->chain.writable_len - 1;
	case VIRTIO_BLK_T_OUT:
		return request->chain.readable_len - sizeof(struct virtio_blk_outhdr);
	}
	/* Of a discard or write zeroes that is in order; all others have none. */
	if (command->segment_count)
		*sector = command->segment->sector;
	for (unsigned i = 0; i < command->segment_count; i++)
		len += (uint64_t)command->segment[i].num_sectors * DISK_SECTOR;
	return len;
}

PROBE_COLD static void tell_popped(const struct blk_request *request)
{
	const struct blk_queue *queue = request->queue;
	const struct virtio_queue *registers = &queue->blk->virtio.queue[queue->index];
	uint64_t sector, len = asked_for(request, &sector);

	probe(pop, queue->io.disk, queue->index, request->seq, request->chain.id,
	      request->command.type, sector, len, load_relaxed(&registers->notify),
	      load_relaxed(&registers->notify_is_port));
}

/* Of several steps only the first counts. */
static void tell_submitted(struct blk_request *request, bool at_once)
{
	const struct blk_queue *queue = request->queue;
	uint64_t sector, len = asked_for(request, &sector);

	if (!request->is_submitted)
		probe(submit, queue->io.disk, queue->index, request->seq, request->command.type,
		      sector, len, at_once);
	request->is_submitted = true;
}

PROBE_COLD static void step_begins(struct disk_request *disk, bool at_once)
{
	struct blk_request *request = container_of(disk, struct blk_request, disk);

	for (; request; request = request->joined)
		tell_submitted(request, at_once);
}

PROBE_COLD static void tell_completed(struct blk_request *request, int result)
{
	const struct blk_queue *queue = request->queue;

	/* One without a step of its own: another's flush was for both, or it was given up. */
	tell_submitted(request, true);
	probe(complete, queue->io.disk, queue->index, request->seq, result);
}

PROBE_COLD static void tell_pushed(const struct blk_request *request, uint8_t status,
				   uint32_t written)
{
	const struct blk_queue *queue = request->queue;

	probe(push, queue->io.disk, queue->index, request->seq, request->chain.id, status,
	      written);
}

/* --- Requests --- */

/* A timed one stays till it is published: the driver has no use for its slot before. */
static void put_timed(struct blk_queue *queue, struct blk_request *request)
{
	request->times.completed = io_thread_now(queue->thread);
	/* The disk had no need of a step: another's flush was for both. */
	if (request->disk.submitted)
		request->times.submitted.ns = request->times.completed;
	request->disk.submitted = NULL;
	request->next_free = queue->timed;
	queue->timed = request;
}

/* Inline, and so is complete(): they are on the way of each request. */
static inline void give_back(struct blk_request *request, uint32_t written)
{
	struct blk_queue *queue = request->queue;

	virtqueue_push(queue->ring, &request->chain, written);
	counter_add(&queue->stats.completed[request->command.op], 1);
	if (request->times.popped)
		put_timed(queue, request);
	else
		put_free(queue, request);
	io_thread_want_flush(queue->thread, &queue->io);
}

/* Report a request to the driver; @data bytes stand before its status byte. */
static inline void complete(struct blk_request *request, uint8_t result, uint64_t data)
{
	uint32_t written = blk_used_len(request->chain.writable_len, data);

	*request->command.status = result;
	if (probe_wanted(push))
		tell_pushed(request, result, written);
	give_back(request, written);
}

static void count_error(const struct blk_request *request)
{
	counter_add(&request->queue->stats.errors[request->command.op], 1);
}

/* The disk has done @len bytes of the request. */
static void count_bytes(const struct blk_request *request, uint64_t len)
{
	counter_add(&request->queue->stats.bytes[request->command.op], len);
}

/* The guest learns no more than IOERR; here is why. */
static void report_failure(const struct blk_request *request, int result)
{
	static const char *const verb[] = {
		[DISK_READ] = "read",
		[DISK_WRITE] = "write",
		[DISK_WRITE_STABLE] = "write",
		[DISK_FLUSH] = "flush",
		[DISK_DISCARD] = "discard",
		[DISK_ZERO] = "write zeroes to",
		[DISK_ZERO_UNMAP] = "write zeroes to",
	};
	struct blk *blk = request->queue->blk;
	const struct blk_command *command = &request->command;
	char range[64] = "";

	if (request->disk.op != DISK_FLUSH)
		snprintf(range, sizeof(range), " %" PRIu64 " bytes at %" PRIu64, command->len,
			 command->offset);
	log_limited(&blk->errors, "%s: cannot %s%s: %s", blk->virtio.name, verb[request->disk.op],
		    range, strerror(-result));
}

/* A timed request and those that joined it are to know when they are submitted first. */
static void want_submitted(struct blk_request *request)
{
	struct disk_request *disk = &request->disk;

	/* What is left there was given up before it was submitted, and would come twice. */
	disk->submitted = NULL;
	for (; request && !request->times.submitted.ns; request = request->joined) {
		request->times.submitted.next = disk->submitted;
		disk->submitted = &request->times.submitted;
	}
}

/* Start I/O on the image from where the command says. */
static void start_parts(struct blk_request *request, uint64_t len, struct iovec *iov,
			unsigned iov_count)
{
	struct blk_queue *queue = request->queue;

	store_relaxed(&request->head, request->chain.id);
	store_relaxed(&request->disk.offset, request->command.offset);
	store_relaxed(&request->disk.len, len);
	request->disk.iov = iov;
	request->disk.iov_count = iov_count;
	if (request->times.popped)
		want_submitted(request);
	queue->in_flight++;
	disk_queue(queue->blk->disk, queue->thread, &request->disk);
}

/* Start what the command says, as @op. */
static void start_disk(struct blk_request *request, enum disk_op op)
{
	const struct blk_command *command = &request->command;

	store_relaxed(&request->disk.op, op);
	start_parts(request, command->len, command->iov, command->iov_count);
}

/* Start the transfer that was held, with those that joined it. */
static void start_held(struct blk_queue *queue)
{
	struct blk_request *request = queue->held;

	if (!request)
		return;
	queue->held = NULL;
	start_parts(request, request->joined_len,
		    request->joined ? request->parts->iov : request->command.iov,
		    request->joined_count);
}

/* Is @request the same kind of transfer, where that of @held ends? */
static bool may_join(const struct blk_request *held, const struct blk_request *request)
{
	return held && held->disk.op == request->disk.op &&
		held->command.offset + held->joined_len == request->command.offset &&
		held->command.iov_count <= PARTS_FEW && request->command.iov_count <= PARTS_FEW &&
		held->joined_count + request->command.iov_count <= VIRTQUEUE_CHAIN_MAX &&
		held->joined_len + request->command.len <= JOINED_MAX;
}

static void append_parts(struct blk_request *held, const struct blk_request *request)
{
	memcpy(&held->parts->iov[held->joined_count], request->few,
	       request->command.iov_count * sizeof(*request->few));
	held->joined_count += request->command.iov_count;
}

static void join(struct blk_request *held, struct blk_request *request)
{
	if (!held->joined) {
		held->joined_count = 0;
		append_parts(held, held);
	}
	append_parts(held, request);
	store_relaxed(&request->disk.since, 0); /* the other one's tells */
	held->joined_len += request->command.len;
	held->last->joined = request;
	held->last = request;
}

/* The data of a read or write, whose parts the next chain would overwrite. */
static void start_transfer(struct blk_request *request, enum disk_op op)
{
	struct blk_command *command = &request->command;
	struct iovec *parts = command->iov_count <= PARTS_FEW ? request->few :
		request->parts->iov;

	memcpy(parts, command->iov, command->iov_count * sizeof(*parts));
	command->iov = parts;
	store_relaxed(&request->disk.op, op);
	request->last = request;
	request->joined_len = command->len;
	request->joined_count = command->iov_count;
	if (may_join(request->queue->held, request)) {
		join(request->queue->held, request);
		return;
	}
	start_held(request->queue);
	request->queue->held = request;
}

static bool is_range(const struct blk_request *request)
{
	return request->command.action == BLK_DISCARD ||
		request->command.action == BLK_WRITE_ZEROES;
}

static enum disk_op segment_op(const struct blk_request *request, uint32_t flags)
{
	if (request->command.action == BLK_DISCARD)
		return DISK_DISCARD;
	return (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) && request->queue->blk->discard ?
		DISK_ZERO_UNMAP : DISK_ZERO;
}

/* Start the next part of a discard or write zeroes; false: all is done. */
static bool start_next(struct blk_request *request)
{
	struct blk_command *command = &request->command;

	store_relaxed(&request->disk.since, io_thread_epoch(request->queue->thread));
	while (request->next_segment < command->segment_count) {
		const struct virtio_blk_discard_write_zeroes *segment =
			&command->segment[request->next_segment++];

		if (!segment->num_sectors)
			continue;
		command->offset = segment->sector * DISK_SECTOR;
		command->len = (uint64_t)segment->num_sectors * DISK_SECTOR;
		io_thread_spend(request->queue->thread, CHAIN_COST);
		start_disk(request, segment_op(request, segment->flags));
		return true;
	}
	if (!request->sync_after)
		return false;
	request->sync_after = false;
	command->len = 0;
	start_disk(request, DISK_FLUSH);
	return true;
}

/* write_zeroes_may_unmap turned out to be false (section 5.2.6.2). */
static void check_unmap(struct blk *blk)
{
	if (blk->discard && !disk_may_unmap(blk->disk) && !load_relaxed(&blk->unmap_lost) &&
	    !__atomic_exchange_n(&blk->unmap_lost, true, __ATOMIC_RELAXED))
		virtio_notify_config(&blk->virtio);
}

static void fail(struct blk_request *request, int result)
{
	if (result != -ECANCELED) {
		count_error(request);
		report_failure(request, result);
	}
	complete(request, VIRTIO_BLK_S_IOERR, 0);
}

static void finish(struct blk_request *request, int result)
{
	const struct blk_command *command = &request->command;

	if (probe_wanted(complete))
		tell_completed(request, result);
	if (result) {
		fail(request, result);
		return;
	}
	count_bytes(request, command->len);
	complete(request, VIRTIO_BLK_S_OK, command->action == BLK_READ ? command->len : 0);
}

/* One that failed together with others is done by itself. */
static void start_again(struct blk_request *request)
{
	store_relaxed(&request->disk.since, io_thread_epoch(request->queue->thread));
	start_disk(request, request->disk.op);
}

static void disk_done(struct disk_request *disk, int result)
{
	struct blk_request *request = container_of(disk, struct blk_request, disk), *next;
	struct blk_queue *queue = request->queue;
	bool again = request->joined && result && !queue->stopping;

	queue->in_flight--;
	if (is_range(request)) {
		check_unmap(queue->blk);
		if (result == 0) {
			count_bytes(request, request->command.len);
			request->command.len = 0;
		}
		if (result == 0 && queue->stopping)
			result = -ECANCELED;
		else if (result == 0 && start_next(request))
			return;
	}
	/* Which of those that went together has failed is found out one by one. */
	for (; request; request = next) {
		next = request->joined;
		request->joined = NULL;
		if (again)
			start_again(request);
		else
			finish(request, result);
	}
}

/* In place of disk_done(), which so needs no look at whether anybody wants to hear. */
static void disk_done_first(struct disk_request *disk, int result)
{
	struct blk_queue *queue = container_of(disk, struct blk_request, disk)->queue;
	const struct blk_observer *observer = &queue->blk->observer;
	bool has_read = disk->op == DISK_READ && result == 0;

	disk_done(disk, result);
	if (has_read && queue->done == disk_done_first) {
		queue->done = disk_done;
		observer->has_read(observer->opaque);
	}
}

void blk_queue_tell_read(struct blk_queue *queue)
{
	queue->done = disk_done_first;
}

static void start_io(struct blk_request *request)
{
	/* A write that the driver gave us while this was 0 finds 0 here (section 5.2.6.2). */
	bool stable = !load_acquire(&request->queue->blk->writeback);

	switch (request->command.action) {
	case BLK_READ:
		start_transfer(request, DISK_READ);
		break;
	case BLK_FLUSH:
		start_disk(request, DISK_FLUSH);
		break;
	case BLK_WRITE:
		start_transfer(request, stable ? DISK_WRITE_STABLE : DISK_WRITE);
		break;
	default:
		request->next_segment = 0;
		request->sync_after = stable && request->command.action == BLK_WRITE_ZEROES;
		if (!start_next(request))
			complete(request, VIRTIO_BLK_S_OK, 0);
	}
}

static void execute(struct blk_request *request)
{
	struct blk_queue *queue = request->queue;
	struct blk *blk = queue->blk;
	const struct blk_limits limits = {
		.sectors = load_relaxed(&blk->disk->sectors),
		.read_only = blk->disk->read_only,
		.serial = blk->serial,
		.features = queue->features,
	};

	blk_parse(&request->command, &request->chain, &limits);
	request->seq = queue->popped++;
	request->is_submitted = false;
	if (probe_wanted(pop))
		tell_popped(request);
	counter_add(&queue->stats.popped[request->command.op], 1);
	switch (request->command.action) {
	case BLK_NO_STATUS:
		/* Given back unanswered: a driver must not wait for it forever. */
		count_error(request);
		if (probe_wanted(push))
			tell_pushed(request, NO_STATUS, 0);
		give_back(request, 0);
		break;
	case BLK_DONE:
		if (request->command.result != VIRTIO_BLK_S_OK)
			count_error(request);
		complete(request, request->command.result, request->command.written);
		break;
	default:
		start_io(request);
	}
}

/* It was popped in a timed round, for which the thread woke at @woken. */
static void begin_times(struct blk_request *request, uint64_t woken)
{
	request->times = (struct blk_times){
		.woken = woken,
		.popped = io_thread_now(request->queue->thread),
	};
}

/*
 * Pop until the ring is empty or every request is taken; then chains stay in
 * the ring.  One call pops no more than the queue is long, and one chain once
 * the thread's round is spent, so that a driver that never stops adding, or
 * that asks for much at once, cannot keep other queues waiting.
 */
static void pop_all(struct blk_queue *queue)
{
	struct virtqueue *ring = queue->ring;
	struct virtio_device *dev = &queue->blk->virtio;
	uint32_t now = io_thread_epoch(queue->thread);
	uint64_t woken = io_thread_woken_ns(queue->thread);

	for (unsigned budget = ring->size; budget; budget--) {
		struct blk_request *request = take_free(queue);
		int ret;

		if (!request) {
			queue->starved = true;
			return;
		}
		request->chain.iov = queue->parts[0].iov;
		ret = virtqueue_pop(ring, &request->chain);
		if (ret <= 0) {
			put_free(queue, request);
			if (ret < 0)
				virtio_device_broken(dev, ring->why);
			return;
		}
		store_relaxed(&request->disk.since, now);
		io_thread_spend(queue->thread, CHAIN_COST);
		if (woken)
			begin_times(request, woken);
		execute(request);
		if (io_thread_is_spent(queue->thread))
			return;
	}
}

static void queue_serve(struct io_queue *io)
{
	struct blk_queue *queue = container_of(io, struct blk_queue, io);

	store_relaxed(&queue->asleep, 0);
	pop_all(queue);
	start_held(queue);
}

/* A starved queue goes on when it is flushed, whatever comes meanwhile. */
static bool may_pop(const struct blk_queue *queue)
{
	return queue->running && !queue->stopping && !queue->starved &&
		!virtio_device_is_broken(&queue->blk->virtio);
}

static bool queue_has_work(const struct io_queue *io)
{
	struct blk_queue *queue = container_of(io, struct blk_queue, io);

	return may_pop(queue) && virtqueue_has_work(queue->ring);
}

/*
 * Take down what others look at while nothing happens here.  By words, since one may
 * read meanwhile; but a sleep since an epoch that is over is a copy that is whole.
 */
static void note_sleep(struct blk_queue *queue)
{
	union blk_rest rest = { .rest = virtqueue_rest(queue->ring) };

	for (unsigned i = 0; i < array_size(rest.word); i++)
		store_relaxed(&queue->rest.word[i], rest.word[i]);
	store_release(&queue->asleep, io_thread_epoch(queue->thread));
}

static bool queue_arm(struct io_queue *io)
{
	struct blk_queue *queue = container_of(io, struct blk_queue, io);

	if (!may_pop(queue))
		return false;
	if (virtqueue_rearm(queue->ring))
		return true;
	if (!queue->asleep)
		note_sleep(queue);
	return false;
}

/* The queue is awake: who comes to look does not look at the ring; who is at it is waited for. */
static void stop_looking(struct blk_queue *queue)
{
	pthread_mutex_lock(&queue->look_lock);
	pthread_mutex_unlock(&queue->look_lock);
}

/* All that was pushed is published by now. */
static void end_times(struct blk_queue *queue)
{
	uint64_t now = clock_ns();
	struct blk_request *request;

	while ((request = queue->timed)) {
		queue->timed = request->next_free;
		blk_stats_time(&queue->stats, request->command.op, &request->times, now);
		request->times.popped = 0;
		put_free(queue, request);
	}
}

static bool publish(struct blk_queue *queue)
{
	uint16_t before = queue->ring->published;
	bool wanted = virtqueue_publish(queue->ring);
	uint16_t count = queue->ring->published - before;

	if (queue->timed)
		end_times(queue);
	counter_add(&queue->stats.publishes, count != 0);
	counter_add(&queue->stats.interrupts, wanted);
	if (count)
		probe(publish, queue->io.disk, queue->index, count, wanted);
	return wanted;
}

static void queue_flush(struct io_queue *io)
{
	struct blk_queue *queue = container_of(io, struct blk_queue, io);
	struct virtio_device *dev = &queue->blk->virtio;

	store_relaxed(&queue->asleep, 0);
	if (publish(queue))
		virtio_queue_notify(dev, queue->index);
	queue->starved = false;
	/* After this the queue is no longer ours. */
	if (queue->stopping && !queue->in_flight) {
		queue->running = false;
		stop_looking(queue);
		virtio_queue_stopped(dev, queue->index);
	}
}

static void start_on_thread(struct io_order *order)
{
	struct blk_queue *queue = container_of(order, struct blk_queue, start);

	queue->running = true;
	queue->stopping = false;
	queue->starved = false;
	queue->free = NULL;
	queue->timed = NULL;
	queue->fresh = 0;
	/* The driver may have added requests before it had a doorbell to ring. */
	io_thread_add_queue(queue->thread, &queue->io);
}

static void stop_on_thread(struct io_order *order)
{
	struct blk_queue *queue = container_of(order, struct blk_queue, stop);

	/* What completed in this round must be published first. */
	queue->stopping = true;
	for (unsigned i = 0; i < queue->fresh; i++)
		disk_cancel(&queue->requests[i].disk);
	io_thread_want_flush(queue->thread, &queue->io);
}

/* --- For who looks whether I/O hangs --- */

/* Of two that are as old, the one that holds up the other. */
static bool is_worse(const struct blk_look *known, const struct blk_look *found)
{
	if (found->since != known->since)
		return !known->since || found->since < known->since;
	if (found->in_call != known->in_call)
		return found->in_call;
	return !found->waits && known->waits;
}

static void look_at_request(const struct blk_request *request, uint32_t since,
			    const struct io_completion *in_call, struct blk_look *look)
{
	struct blk_look found = *look;

	found.since = since;
	found.waits = load_relaxed(&request->disk.waits);
	found.in_call = in_call == &request->disk.step;
	if (!is_worse(look, &found))
		return;
	/* Each an acquire, for the last look: nothing of it is the slot's next request's. */
	found.head = load_acquire(&request->head);
	found.op = load_acquire(&request->disk.op);
	found.offset = load_acquire(&request->disk.offset);
	found.len = load_acquire(&request->disk.len);
	if (load_relaxed(&request->disk.since) == since)
		*look = found;
}

/* What the ring says while the queue sleeps; stop_looking() keeps it there. */
static void look_at_ring(struct blk_queue *queue, struct blk_look *look)
{
	union blk_rest rest;

	pthread_mutex_lock(&queue->look_lock);
	look->asleep = load_acquire(&queue->asleep);
	for (unsigned i = 0; i < array_size(rest.word); i++)
		rest.word[i] = load_acquire(&queue->rest.word[i]);
	/* Else it is another sleep's, or some of it is. */
	if (load_relaxed(&queue->asleep) != look->asleep)
		look->asleep = 0;
	if (look->asleep) {
		look->rest = rest.rest;
		look->has_work = virtqueue_rest_has_work(&rest.rest, &look->seen);
		look->owed = virtqueue_rest_is_owed(&rest.rest, false);
		look->certainly_owed = virtqueue_rest_is_owed(&rest.rest, true);
	}
	pthread_mutex_unlock(&queue->look_lock);
}

void blk_queue_look(struct blk_queue *queue, uint32_t until, struct blk_look *look)
{
	unsigned made = load_acquire(&queue->made);

	*look = (struct blk_look){ .place = io_thread_place(queue->thread) };
	for (unsigned i = 0; i < made; i++) {
		uint32_t since = load_acquire(&queue->requests[i].disk.since);

		if (!since || since > until)
			continue;
		look->count++;
		look_at_request(&queue->requests[i], since, look->place.step, look);
	}
	look_at_ring(queue, look);
}

int blk_queue_init(struct blk *blk, unsigned index, struct io_thread *thread)
{
	struct blk_queue *queue = &blk->queue[index];
	size_t size = blk->virtio.queue_size_max;

	pthread_mutex_init(&queue->look_lock, NULL);
	queue->thread = thread;
	queue->ring = &blk->virtio.queue[index].ring;
	queue->blk = blk;
	queue->index = index;
	queue->done = disk_done;
	queue->start.run = start_on_thread;
	queue->stop.run = stop_on_thread;
	queue->io = (struct io_queue){
		.disk = blk->virtio.number,
		.index = index,
		.doorbell = blk->virtio.queue[index].doorbell,
		.poll_max_ns = blk->poll_max_ns,
		.has_work = queue_has_work,
		.serve = queue_serve,
		.arm = queue_arm,
		.flush = queue_flush,
	};
	/* Not cleared: memory that no request needs stays untouched. */
	queue->requests = aligned_alloc(CACHE_LINE, align_up(size * sizeof(*queue->requests),
							     CACHE_LINE));
	queue->parts = aligned_alloc(sizeof(*queue->parts), (size + 1) * sizeof(*queue->parts));
	if (!queue->requests || !queue->parts)
		return -ENOMEM;
	return blk_stats_init(&queue->stats);
}

void blk_queue_free(struct blk_queue *queue)
{
	pthread_mutex_destroy(&queue->look_lock);
	blk_stats_free(&queue->stats);
	free(queue->parts);
	free(queue->requests);
}
