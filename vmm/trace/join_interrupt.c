// SPDX-License-Identifier: BSD-2-Clause
/* Interrupts: from what is published to the vCPU's next entry. */
#include "vmm/trace/join_private.h"

#include <errno.h>
#include <stdlib.h>

#include "hw/base/util.h"

/* The argument "how" of the probe. */
#define HOW_LINE 1
#define HOW_SENT_MAX HOW_LINE

#define VECTORS 256

/* Other threads' interrupts between a thread's kvm_apic_accept_irq and its next event. */
#define LATER_MAX 1024

static struct trace_request *request_at(const struct join *join, uint32_t number)
{
	return &join->trace->request[number];
}

static void end_request(struct join *join, uint32_t number, enum trace_way interrupt)
{
	struct trace_request *request = request_at(join, number);
	struct join_state *state = &join->state[number];

	request->t[TRACE_PUBLISH] = join->event.time;
	request->interrupt = (uint8_t)interrupt;
	state->fate = join->in_loss || state->epoch != join->epoch ? JOIN_TORN : JOIN_WHOLE;
}

/* The last @count that were pushed, but for those of which the recording has no push. */
void join_publish(struct join *join, struct join_thread *thread)
{
	const uint64_t *arg = join->event.arg;
	struct join_queue *queue = join_queue(join, arg[0], arg[1]);
	enum trace_way rest = arg[3] ? TRACE_COALESCED : TRACE_SUPPRESSED;
	struct join_numbers batch;
	size_t first;

	join_end_round(thread);
	if (!queue)
		return;
	queue->result.publishes++;
	queue->result.suppressed += !arg[3];
	batch = queue->pushed;
	queue->pushed = queue->batch;
	queue->pushed.count = 0;
	first = batch.count > arg[2] ? batch.count - (size_t)arg[2] : 0;
	if (batch.count < arg[2] && arg[3])
		rest = TRACE_UNKNOWN;
	for (size_t i = first; i < batch.count; i++)
		if (batch.at[i] != JOIN_NONE)
			end_request(join, batch.at[i], rest);
	queue->batch = batch;
	queue->batch_first = first;
	queue->batch_is_known = arg[3] && batch.count >= arg[2] && first < batch.count;
	if (queue->batch_is_known && batch.at[first] != JOIN_NONE)
		request_at(join, batch.at[first])->interrupt = TRACE_UNKNOWN;
}

static void hold(struct join *join, const struct join_queue *queue)
{
	for (size_t i = queue->batch_first; i < queue->batch.count; i++)
		if (queue->batch.at[i] != JOIN_NONE)
			request_at(join, queue->batch.at[i])->interrupt = TRACE_HELD;
}

void join_interrupt(struct join *join, struct join_thread *thread)
{
	const uint64_t *arg = join->event.arg;
	struct join_queue *queue;
	uint32_t owner = JOIN_NONE;

	/* Whatever it is about, KVM's next events are its. */
	thread->delivery = (struct join_delivery){ .request = JOIN_NONE };
	if (arg[1] == UINT16_MAX)
		return;
	queue = join_queue(join, arg[0], arg[1]);
	if (!queue)
		return;
	if (queue->batch_is_known)
		owner = queue->batch.at[queue->batch_first];
	if (arg[2] > HOW_SENT_MAX) {
		queue->result.held++;
		if (queue->batch_is_known)
			hold(join, queue);
	} else {
		queue->result.interrupts++;
		thread->delivery = (struct join_delivery){
			.stage = JOIN_SENT,
			.request = owner,
			.is_line = arg[2] == HOW_LINE,
			.address = arg[3],
			.data = arg[4],
		};
		if (owner != JOIN_NONE) {
			request_at(join, owner)->interrupt = TRACE_OWN;
			request_at(join, owner)->t[TRACE_INTERRUPT] = join->event.time;
		}
	}
	queue->batch_is_known = false;
}

/* kvm_msi_set_irq, kvm_set_irq */
void join_kvm_route(struct join *join, struct join_thread *thread)
{
	struct join_delivery *delivery = &thread->delivery;
	const uint64_t *arg = join->event.arg;
	bool is_it;

	if (delivery->stage != JOIN_SENT)
		return;
	if (delivery->is_line)
		is_it = join->event.type == TRACE_EVENT_KVM_LINE && arg[0] == delivery->address &&
			arg[1];
	else
		is_it = join->event.type == TRACE_EVENT_KVM_MSI &&
			arg[1] == (delivery->data & 0xff) &&
			(arg[0] & 0xff) == (delivery->address >> 12 & 0xff);
	if (!is_it)
		return;
	delivery->stage = JOIN_ROUTED;
	if (delivery->request != JOIN_NONE)
		request_at(join, delivery->request)->t[TRACE_ROUTED] = join->event.time;
}

static struct join_thread *vcpu_thread(struct join *join, uint64_t vcpu)
{
	const struct trace_thread *thread = trace_vcpu(join->trace, vcpu);

	return thread ? join_thread(join, thread->tid) : NULL;
}

void join_kvm_accept(struct join *join, struct join_thread *thread)
{
	struct join_delivery *delivery = &thread->delivery;
	const uint64_t *arg = join->event.arg;
	struct join_thread *vcpu;
	struct trace_request *request;

	if (delivery->stage != JOIN_ROUTED ||
	    (!delivery->is_line && arg[1] != (delivery->data & 0xff)))
		return;
	delivery->stage = JOIN_ACCEPTED;
	delivery->apic = arg[0];
	delivery->vector = arg[1];
	if (delivery->request == JOIN_NONE)
		return;
	request = request_at(join, delivery->request);
	request->t[TRACE_ACCEPT] = join->event.time;
	request->vcpu = (uint16_t)min(arg[0], (uint64_t)TRACE_NO_VCPU);
	vcpu = vcpu_thread(join, arg[0]);
	if (!join->trace->shows[TRACE_INJECT] || !vcpu || arg[1] >= VECTORS)
		return;
	if (!vcpu->pending)
		vcpu->pending = calloc(VECTORS, sizeof(*vcpu->pending));
	if (!vcpu->pending) {
		join->error = -ENOMEM;
		return;
	}
	join_push(join, &vcpu->pending[arg[1]], delivery->request);
}

/* APICv: no vCPU is stopped for it.  One that is in the guest has it now. */
void join_kvm_post(struct join *join, struct join_thread *thread)
{
	struct join_delivery *delivery = &thread->delivery;
	const uint64_t *arg = join->event.arg;
	struct join_thread *vcpu = vcpu_thread(join, arg[0]);
	join_list *link;

	if (delivery->stage != JOIN_ACCEPTED || delivery->request == JOIN_NONE || !vcpu ||
	    delivery->apic != arg[0] || delivery->vector != arg[1])
		return;
	if (vcpu->pending && arg[1] < VECTORS) {
		link = &vcpu->pending[arg[1]];
		for (unsigned i = 0; i < LATER_MAX && *link; i++) {
			if (*link == delivery->request + 1) {
				join_pull(join, link);
				break;
			}
			link = &join->state[*link - 1].next;
		}
	}
	if (vcpu->exit)
		join_push(join, &vcpu->entering, delivery->request);
	delivery->request = JOIN_NONE;
}

/* One injection is for all that asked for this vector since the last one. */
void join_kvm_inject(struct join *join, struct join_thread *thread)
{
	uint64_t vector = join->event.arg[0];

	if (!thread->pending || vector >= VECTORS)
		return;
	while (thread->pending[vector]) {
		uint32_t number = join_pull(join, &thread->pending[vector]);

		request_at(join, number)->t[TRACE_INJECT] = join->event.time;
		join_push(join, &thread->entering, number);
	}
}

void join_kvm_entry(struct join *join, struct join_thread *thread)
{
	while (thread->entering)
		request_at(join, join_pull(join, &thread->entering))->t[TRACE_ENTRY] =
			join->event.time;
	if (thread->exit)
		join_add_span(join, join->event.tid, TRACE_SPAN_EXIT, thread->exit,
			      thread->exit_reason);
	thread->exit = 0;
}

void join_drop_interrupts(struct join *join, struct join_thread *vcpu, enum join_fate fate)
{
	join_drop(join, &vcpu->entering, fate);
	for (unsigned i = 0; vcpu->pending && i < VECTORS; i++)
		join_drop(join, &vcpu->pending[i], fate);
	free(vcpu->pending);
	vcpu->pending = NULL;
}
