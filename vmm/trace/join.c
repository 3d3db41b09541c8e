// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/join_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/util.h"
#include "vmm/trace/array.h"

/* --- Queues, threads and requests --- */

bool join_push(struct join *join, join_list *list, uint32_t request)
{
	struct join_state *state = &join->state[request];

	if (state->is_listed) {
		join->trace->counters.stray++;
		return false;
	}
	state->is_listed = true;
	state->next = *list;
	*list = request + 1;
	return true;
}

uint32_t join_pull(struct join *join, join_list *list)
{
	struct join_state *state = &join->state[*list - 1];
	uint32_t request = *list - 1;

	state->is_listed = false;
	*list = state->next;
	return request;
}

void join_drop(struct join *join, join_list *list, enum join_fate fate)
{
	while (*list)
		join->state[join_pull(join, list)].fate = fate;
}

/* Nothing that was under way goes on where events were lost. */
static void queue_reset(struct join_queue *queue, uint32_t epoch)
{
	queue->epoch = epoch;
	queue->bell.time = queue->later.time = 0;
	queue->unseen = 0;
	queue->is_seen = false;
	queue->own_round = queue->orphan_round = 0;
	queue->pushed.count = 0;
	queue->batch_is_known = false;
}

static void thread_reset(struct join *join, struct join_thread *thread)
{
	struct join_delivery *delivery = &thread->delivery;

	join_drop_interrupts(join, thread, JOIN_TORN);
	if (delivery->request != JOIN_NONE &&
	    (delivery->stage == JOIN_SENT || delivery->stage == JOIN_ROUTED))
		join->state[delivery->request].fate = JOIN_TORN;
	while (thread->submitted)
		join_pull(join, &thread->submitted);
	*thread = (struct join_thread){
		.epoch = join->epoch,
		.round = 1,
		.delivery = { .request = JOIN_NONE },
	};
}

struct join_thread *join_thread(struct join *join, uint32_t tid)
{
	struct join_thread *thread =
		&join->thread[trace_thread(join->trace, tid) - join->trace->thread];

	if (thread->epoch != join->epoch)
		thread_reset(join, thread);
	return thread;
}

static struct join_queue *queue_add(struct join *join, uint64_t disk, uint64_t index)
{
	struct join_queue *queue = calloc(1, sizeof(*queue));

	if (!queue) {
		join->error = -ENOMEM;
		return NULL;
	}
	queue->result.disk = (uint16_t)disk;
	queue->result.index = (uint16_t)index;
	queue->epoch = join->epoch;
	join->queue[disk * TRACE_QUEUES + index] = queue;
	join->queue_count++;
	return queue;
}

struct join_queue *join_queue(struct join *join, uint64_t disk, uint64_t index)
{
	struct join_queue *queue;

	if (disk >= TRACE_DISKS || index >= TRACE_QUEUES) {
		join->trace->counters.stray++;
		return NULL;
	}
	queue = join->queue[disk * TRACE_QUEUES + index];
	if (!queue)
		return queue_add(join, disk, index);
	if (queue->epoch != join->epoch)
		queue_reset(queue, join->epoch);
	return queue;
}

static void numbers_add(struct join *join, struct join_numbers *numbers, uint32_t number)
{
	if (!array_make_room(&numbers->at, &numbers->room, numbers->count))
		join->error = -ENOMEM;
	else
		numbers->at[numbers->count++] = number;
}

/* The request of the queue with this number, if its pop is in the recording. */
static uint32_t find_request(const struct join *join, const struct join_queue *queue, uint64_t seq)
{
	size_t low = 0, high = queue->request.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t number = queue->request.at[middle];
		uint64_t found = join->trace->request[number].seq;

		if (found == seq)
			return number;
		if (found < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return JOIN_NONE;
}

/* The queue and the request that the event is about; NULL or JOIN_NONE. */
static uint32_t event_request(struct join *join, struct join_queue **queue)
{
	*queue = join_queue(join, join->event.arg[0], join->event.arg[1]);
	return *queue ? find_request(join, *queue, join->event.arg[2]) : JOIN_NONE;
}

/* --- What happens on the I/O thread --- */

static struct trace_request *request_add(struct join *join)
{
	struct trace *trace = join->trace;

	if (!array_make_room(&trace->request, &join->requests_room, trace->request_count) ||
	    !array_make_room(&join->state, &join->states_room, trace->request_count)) {
		join->error = -ENOMEM;
		return NULL;
	}
	join->state[trace->request_count] = (struct join_state){ .epoch = join->epoch };
	return &trace->request[trace->request_count++];
}

/* Pops come in the order of their numbers; what is missing was lost. */
static bool is_next(struct join *join, struct join_queue *queue, uint64_t seq)
{
	const struct join_numbers *known = &queue->request;
	uint64_t last;

	if (!known->count)
		return true;
	last = join->trace->request[known->at[known->count - 1]].seq;
	if (seq <= last) {
		join->trace->counters.stray++;
		return false;
	}
	if (seq > last + 1) {
		join->trace->counters.torn += seq - last - 1;
		/* The doorbell that waits was theirs. */
		queue->bell.time = queue->later.time = 0;
		queue->orphan_round = join_thread(join, join->event.tid)->round;
	}
	return true;
}

static void join_pop(struct join *join, struct join_thread *thread)
{
	const struct trace_event *event = &join->event;
	const uint64_t *arg = event->arg;
	struct join_queue *queue = join_queue(join, arg[0], arg[1]);
	struct trace_request *request;

	if (!queue || !is_next(join, queue, arg[2]))
		return;
	request = request_add(join);
	if (!request)
		return;
	*request = (struct trace_request){
		.t[TRACE_POP] = event->time,
		.disk = queue->result.disk,
		.queue = queue->result.index,
		.seq = arg[2],
		.head = (uint16_t)arg[3],
		.op = (uint8_t)arg[4],
		.sector = arg[5],
		.len = (uint32_t)arg[6],
		.tid = event->tid,
		.vcpu = TRACE_NO_VCPU,
		.interrupt = TRACE_UNKNOWN,
	};
	numbers_add(join, &queue->request, (uint32_t)join->trace->request_count - 1);
	queue->result.tid = event->tid;
	trace_thread(join->trace, event->tid)->serves = true;
	queue->result.pops++;
	join_place(join, queue, arg[7], arg[8]);
	join_own_bell(join, thread, queue, request);
}

static void join_submit(struct join *join, struct join_thread *thread)
{
	struct join_queue *queue;
	uint32_t number = event_request(join, &queue);

	if (number == JOIN_NONE || join->trace->request[number].t[TRACE_SUBMIT])
		return;
	join->trace->request[number].t[TRACE_SUBMIT] = join->event.time;
	if (!join->event.arg[6])
		join_push(join, &thread->submitted, number);
}

static void join_enter(struct join *join, struct join_thread *thread)
{
	while (thread->submitted)
		join->trace->request[join_pull(join, &thread->submitted)].t[TRACE_ENTER] =
			join->event.time;
}

static void join_sleep(struct join *join, struct join_thread *thread)
{
	trace_thread(join->trace, join->event.tid)->sleeps++;
	if (thread->wake)
		join_add_span(join, join->event.tid, TRACE_SPAN_BATCH, thread->wake, 0);
	thread->wake = 0;
	join_end_round(thread);
}

static void join_complete(struct join *join, struct join_thread *thread)
{
	struct join_queue *queue;
	uint32_t number = event_request(join, &queue);

	(void)thread;
	if (number != JOIN_NONE && !join->trace->request[number].t[TRACE_COMPLETE])
		join->trace->request[number].t[TRACE_COMPLETE] = join->event.time;
}

static void push_unknown(struct join *join, const struct join_queue *queue, uint64_t seq)
{
	const struct join_numbers *known = &queue->request;

	if (!known->count || seq < join->trace->request[known->at[0]].seq)
		join->trace->counters.begun_before++;
	else if (!join->trace->counters.lost)
		join->trace->counters.stray++;
}

static void join_answer(struct join *join, struct join_thread *thread)
{
	const uint64_t *arg = join->event.arg;
	struct join_queue *queue;
	uint32_t number = event_request(join, &queue);
	struct trace_request *request;

	(void)thread;
	if (!queue)
		return;
	if (number == JOIN_NONE) {
		push_unknown(join, queue, arg[2]);
	} else {
		request = &join->trace->request[number];
		if (request->t[TRACE_PUSH]) {
			join->trace->counters.stray++;
			return;
		}
		request->t[TRACE_PUSH] = join->event.time;
		request->status = (uint8_t)arg[4];
	}
	queue->result.pushes++;
	numbers_add(join, &queue->pushed, number);
}

static void join_queue_start(struct join *join, struct join_thread *thread)
{
	const uint64_t *arg = join->event.arg;
	struct join_queue *queue = join_queue(join, arg[0], arg[1]);

	bool is_seen = queue && queue->is_seen;

	(void)thread;
	if (!queue)
		return;
	queue_reset(queue, join->epoch);
	/* Of this epoch: it is in the list of the thread that saw it, still. */
	queue->is_seen = is_seen;
	join_place(join, queue, arg[4], arg[5]);
}

static void join_wake(struct join *join, struct join_thread *thread)
{
	thread->wake = join->event.time;
}

static void join_poll(struct join *join, struct join_thread *thread)
{
	struct trace_thread *result = trace_thread(join->trace, join->event.tid);
	bool is_hit = join->event.type == TRACE_EVENT_POLL_HIT;
	uint64_t now = join->event.time;

	join_end_round(thread);
	join_add_span(join, join->event.tid, TRACE_SPAN_POLL, now - min(now, join->event.arg[1]),
		      is_hit);
	if (is_hit) {
		result->poll_hits++;
		result->hit_ns += join->event.arg[1];
	} else {
		result->poll_misses++;
		result->miss_ns += join->event.arg[1];
	}
}

/* --- What the scheduler does --- */

void join_add_span(struct join *join, uint32_t tid, enum trace_span_kind kind, uint64_t begin,
		   uint64_t reason)
{
	struct trace *trace = join->trace;

	if (!array_make_room(&trace->span, &join->spans_room, trace->span_count)) {
		join->error = -ENOMEM;
		return;
	}
	trace->span[trace->span_count++] = (struct trace_span){
		.begin = begin,
		.end = join->event.time,
		.thread = (uint32_t)(trace_thread(trace, tid) - trace->thread),
		.kind = (uint16_t)kind,
		.reason = (uint16_t)reason,
	};
}

static void join_waking(struct join *join, struct join_thread *thread)
{
	const struct trace_thread *woken = trace_thread(join->trace, join->event.arg[0]);

	(void)thread;
	if (woken)
		join_thread(join, woken->tid)->waking = join->event.time;
}

static void join_in(struct join *join, struct join_thread *thread)
{
	thread->running = thread->span_begin = join->event.time;
}

static void join_out(struct join *join, struct join_thread *thread)
{
	if (thread->span_begin)
		join_add_span(join, join->event.tid, TRACE_SPAN_RUNNING, thread->span_begin, 0);
	thread->span_begin = 0;
}

static join_handler *const handlers[TRACE_EVENT_TYPES] = {
	[TRACE_EVENT_KVM_EXIT] = join_kvm_exit,
	[TRACE_EVENT_KVM_ENTRY] = join_kvm_entry,
	[TRACE_EVENT_KVM_MMIO] = join_kvm_write,
	[TRACE_EVENT_KVM_FAST_MMIO] = join_kvm_write,
	[TRACE_EVENT_KVM_PIO] = join_kvm_write,
	[TRACE_EVENT_KVM_MSI] = join_kvm_route,
	[TRACE_EVENT_KVM_LINE] = join_kvm_route,
	[TRACE_EVENT_KVM_ACCEPT] = join_kvm_accept,
	[TRACE_EVENT_KVM_POST] = join_kvm_post,
	[TRACE_EVENT_KVM_INJECT] = join_kvm_inject,
	[TRACE_EVENT_WAKING] = join_waking,
	[TRACE_EVENT_IN] = join_in,
	[TRACE_EVENT_OUT] = join_out,
	[TRACE_EVENT_DOORBELL] = join_doorbell,
	[TRACE_EVENT_WAKE] = join_wake,
	[TRACE_EVENT_SLEEP] = join_sleep,
	[TRACE_EVENT_POLL_HIT] = join_poll,
	[TRACE_EVENT_POLL_MISS] = join_poll,
	[TRACE_EVENT_POP] = join_pop,
	[TRACE_EVENT_SUBMIT] = join_submit,
	[TRACE_EVENT_ENTER] = join_enter,
	[TRACE_EVENT_COMPLETE] = join_complete,
	[TRACE_EVENT_PUSH] = join_answer,
	[TRACE_EVENT_PUBLISH] = join_publish,
	[TRACE_EVENT_INTERRUPT] = join_interrupt,
	[TRACE_EVENT_QUEUE_START] = join_queue_start,
	[TRACE_EVENT_EXIT_PIO] = join_exit_probe,
	[TRACE_EVENT_EXIT_MMIO] = join_exit_probe,
};

/* --- The whole --- */

/* Forget all that is under way where the next gap begins, and where it ends. */
static void mind_losses(struct join *join)
{
	uint64_t now = join->event.time;

	if (join->in_loss && now > join->loss[join->next_loss].end) {
		join->in_loss = false;
		join->next_loss++;
		join->epoch++;
	}
	while (!join->in_loss && join->next_loss < join->loss_count &&
	       now > join->loss[join->next_loss].begin) {
		join->in_loss = now <= join->loss[join->next_loss].end;
		join->next_loss += !join->in_loss;
		join->epoch++;
	}
}

static int for_each(struct join *join, const struct tape *tape, bool learn)
{
	struct tape_cursor cursor = { 0 };

	while (!join->error && tape_next(tape, &cursor, &join->event)) {
		if (learn) {
			join_learn(join);
			continue;
		}
		mind_losses(join);
		if (handlers[join->event.type])
			handlers[join->event.type](join, join_thread(join, join->event.tid));
	}
	return join->error;
}

/* What is under way when the recording ends. */
static void cut_off(struct join *join)
{
	join->event.time = join->trace->end;
	for (size_t i = 0; i < join->trace->thread_count; i++) {
		struct join_thread *thread = &join->thread[i];

		if (thread->epoch != join->epoch)
			thread_reset(join, thread);
		join_drop_interrupts(join, thread, JOIN_CUT);
		if (thread->wake)
			join_add_span(join, join->trace->thread[i].tid, TRACE_SPAN_BATCH,
				      thread->wake, 0);
		if (thread->span_begin)
			join_add_span(join, join->trace->thread[i].tid, TRACE_SPAN_RUNNING,
				      thread->span_begin, 0);
	}
}

/* The stamps of a request never go back: those that would are left out. */
static void check_stamps(struct trace_counters *counters, struct trace_request *request)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < TRACE_STAMPS; i++) {
		if (request->t[i] && request->t[i] < last) {
			request->t[i] = 0;
			counters->disordered++;
		}
		last = max(last, request->t[i]);
	}
}

static void keep_whole(struct join *join)
{
	struct trace *trace = join->trace;
	size_t kept = 0;

	for (size_t i = 0; i < trace->request_count; i++) {
		const struct join_state *state = &join->state[i];

		if (state->fate == JOIN_WHOLE) {
			check_stamps(&trace->counters, &trace->request[i]);
			trace->request[kept++] = trace->request[i];
		} else if (state->fate == JOIN_TORN || state->epoch != join->epoch) {
			trace->counters.torn++;
		} else {
			trace->counters.not_ended++;
		}
	}
	trace->request_count = kept;
}

static int compare_spans(const void *left, const void *right)
{
	const struct trace_span *l = left, *r = right;

	int order = compare_numbers(l->thread, r->thread);

	if (!order)
		order = compare_numbers(l->kind, r->kind);
	return order ? order : compare_numbers(l->begin, r->begin);
}

static int finish(struct join *join)
{
	struct trace *trace = join->trace;

	cut_off(join);
	keep_whole(join);
	trace->queue = calloc(join->queue_count + 1, sizeof(*trace->queue));
	if (!trace->queue)
		return -ENOMEM;
	for (unsigned i = 0; i < TRACE_DISKS * TRACE_QUEUES; i++)
		if (join->queue[i])
			trace->queue[trace->queue_count++] = join->queue[i]->result;
	if (trace->span_count)
		qsort(trace->span, trace->span_count, sizeof(*trace->span), compare_spans);
	return join->error;
}

static void join_free(struct join *join)
{
	for (unsigned i = 0; i < TRACE_DISKS * TRACE_QUEUES; i++) {
		if (!join->queue[i])
			continue;
		free(join->queue[i]->request.at);
		free(join->queue[i]->pushed.at);
		free(join->queue[i]->batch.at);
		free(join->queue[i]);
	}
	for (size_t i = 0; join->thread && i < join->trace->thread_count; i++)
		free(join->thread[i].pending);
	free(join->thread);
	free(join->state);
	free(join->loss);
	free(join);
}

int trace_join(struct trace *trace, const struct tape *tape)
{
	struct join *join = calloc(1, sizeof(*join));
	int ret = -ENOMEM;

	if (!join)
		return -ENOMEM;
	join->trace = trace;
	join->thread = calloc(trace->thread_count + 1, sizeof(*join->thread));
	if (join->thread)
		ret = for_each(join, tape, true);
	join_learned(join);
	join->epoch = 1;
	if (ret == 0)
		ret = for_each(join, tape, false);
	if (ret == 0)
		ret = finish(join);
	trace->counters.events = tape->events;
	join_free(join);
	return ret;
}
