// SPDX-License-Identifier: BSD-2-Clause
/* Doorbells: from the vCPU's exit to the pop that they belong to. */
#include "vmm/trace/join_private.h"

/*
 * The queues at addresses of one hash: more than a disk has, with one address for all.
 * Those beyond have no doorbells.
 */
#define PLACES_MAX 1024

/* A doorbell's address, in the hash. */
static struct join_queue **bucket_at(struct join *join, uint64_t address)
{
	return &join->bucket_at[(address ^ address >> 12) / 4 % JOIN_BUCKETS];
}

void join_place(struct join *join, struct join_queue *queue, uint64_t notify, uint64_t bus)
{
	struct join_queue **link;
	unsigned places = 0;

	if (queue->has_notify && queue->notify == notify && queue->bus == bus)
		return;
	if (queue->has_notify) {
		for (link = bucket_at(join, queue->notify); *link != queue;)
			link = &(*link)->next_at;
		*link = queue->next_at;
	}
	for (link = bucket_at(join, notify); *link && places < PLACES_MAX; places++)
		link = &(*link)->next_at;
	queue->has_notify = places < PLACES_MAX;
	if (!queue->has_notify)
		return;
	queue->notify = notify;
	queue->bus = bus != 0;
	queue->next_at = NULL;
	*link = queue;
}

/*
 * Whose doorbell is at the address?  Where several queues share it, the lower 16
 * bits of what is written tell (virtio 1.4, section 4.1.5.2).
 */
static struct join_queue *find_bell(struct join *join, unsigned bus, uint64_t address,
				    const uint64_t *value)
{
	struct join_queue *queue = *bucket_at(join, address), *found = NULL, *named = NULL;
	unsigned count = 0;

	for (; queue; queue = queue->next_at) {
		if (queue->notify != address || queue->bus != bus)
			continue;
		found = queue;
		count++;
		if (value && (*value & 0xffff) == queue->result.index)
			named = queue;
	}
	if (count > 1 && !named)
		join->trace->counters.doorbells_unclear++;
	found = count > 1 ? named : found;
	/* As it is in this epoch. */
	return found ? join_queue(join, found->result.disk, found->result.index) : NULL;
}

static void ring(struct join *join, const struct join_thread *thread, struct join_queue *queue)
{
	struct join_bell *bell = &queue->bell;

	queue->result.doorbells++;
	queue->unseen++;
	if (bell->time && queue->is_seen)
		bell = &queue->later;
	if (bell->time) {
		queue->result.doorbells_extra++;
		return;
	}
	*bell = (struct join_bell){ join->event.time, thread->exit, join->event.tid };
}

void join_kvm_exit(struct join *join, struct join_thread *thread)
{
	join->trace->reason[join->event.arg[1]].count++;
	thread->exit = join->event.time;
	thread->exit_reason = (uint16_t)join->event.arg[1];
}

/* kvm_mmio, kvm_fast_mmio, kvm_pio */
void join_kvm_write(struct join *join, struct join_thread *thread)
{
	const struct trace_event *event = &join->event;
	unsigned bus = event->type == TRACE_EVENT_KVM_PIO;
	bool has_value = event->type != TRACE_EVENT_KVM_FAST_MMIO;
	struct join_queue *queue = find_bell(join, bus, event->arg[0],
					     has_value ? &event->arg[1] : NULL);

	thread->bell_open = queue;
	thread->bell_address = event->arg[0];
	thread->bell_bus = (uint8_t)bus;
	if (queue)
		ring(join, thread, queue);
}

/* The exit's own probe tells once more what KVM told, or all that there is. */
void join_exit_probe(struct join *join, struct join_thread *thread)
{
	const struct trace_event *event = &join->event;
	unsigned bus = event->type == TRACE_EVENT_EXIT_PIO;
	struct join_queue *queue;

	if (!event->arg[3])
		return;
	if (thread->bell_open && thread->bell_address == event->arg[1] &&
	    thread->bell_bus == bus) {
		thread->bell_open = false;
		return;
	}
	queue = find_bell(join, bus, event->arg[1], &event->arg[4]);
	if (queue)
		ring(join, thread, queue);
}

/* The I/O thread saw it: what it pops in this round, it pops for its sake. */
void join_doorbell(struct join *join, struct join_thread *thread)
{
	struct join_queue *queue = join_queue(join, join->event.arg[0], join->event.arg[1]);

	if (!queue)
		return;
	if (queue->unseen)
		queue->unseen--;
	else
		queue->orphan_round = thread->round;
	if (queue->is_seen || !queue->bell.time)
		return;
	queue->is_seen = true;
	queue->next_seen = thread->seen;
	thread->seen = queue;
}

/*
 * The thread sleeps, spins or publishes: it has served all queues whose doorbells it
 * saw.  Where it found nothing to pop, the doorbell belongs to nothing that comes later.
 */
void join_end_round(struct join_thread *thread)
{
	struct join_queue *queue, *next;

	for (queue = thread->seen; queue; queue = next) {
		next = queue->next_seen;
		queue->is_seen = false;
		if (!queue->bell.time)
			continue;
		queue->result.doorbells_idle++;
		queue->bell = queue->later;
		queue->later.time = 0;
	}
	thread->seen = NULL;
	thread->round++;
}

/* Only as far as the thread was not awake by itself. */
static void stamp_wakeup(const struct join_thread *thread, struct trace_request *request)
{
	uint64_t bell = request->t[TRACE_DOORBELL];

	if (thread->running <= bell)
		return;
	request->t[TRACE_RUNNING] = thread->running;
	if (thread->waking >= bell && thread->waking <= thread->running)
		request->t[TRACE_WAKING] = thread->waking;
}

void join_own_bell(struct join *join, struct join_thread *thread, struct join_queue *queue,
		   struct trace_request *request)
{
	if (queue->bell.time) {
		request->doorbell = TRACE_OWN;
		request->t[TRACE_EXIT] = queue->bell.exit;
		request->t[TRACE_DOORBELL] = queue->bell.time;
		request->bell_tid = queue->bell.tid;
		stamp_wakeup(thread, request);
		queue->result.doorbells_extra += queue->later.time != 0;
		queue->bell.time = queue->later.time = 0;
		queue->own_round = thread->round;
	} else if (queue->own_round == thread->round) {
		request->doorbell = TRACE_COALESCED;
	} else if (join->in_loss || thread->round == 1 || queue->orphan_round == thread->round) {
		request->doorbell = TRACE_UNKNOWN;
	} else {
		request->doorbell = TRACE_POLLED;
	}
}
