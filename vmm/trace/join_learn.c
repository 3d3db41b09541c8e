// SPDX-License-Identifier: BSD-2-Clause
/* What has to be known of the whole recording before its first event is used. */
#include "vmm/trace/join_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/trace/array.h"

/* Which stamp an event tells; 0: none, since TRACE_ISSUE is the guest's to tell. */
static const uint8_t stamp_of[TRACE_EVENT_TYPES] = {
	[TRACE_EVENT_KVM_EXIT] = TRACE_EXIT,
	[TRACE_EVENT_KVM_MMIO] = TRACE_DOORBELL,
	[TRACE_EVENT_KVM_FAST_MMIO] = TRACE_DOORBELL,
	[TRACE_EVENT_KVM_PIO] = TRACE_DOORBELL,
	[TRACE_EVENT_EXIT_PIO] = TRACE_DOORBELL,
	[TRACE_EVENT_EXIT_MMIO] = TRACE_DOORBELL,
	[TRACE_EVENT_WAKING] = TRACE_WAKING,
	[TRACE_EVENT_IN] = TRACE_RUNNING,
	[TRACE_EVENT_POP] = TRACE_POP,
	[TRACE_EVENT_SUBMIT] = TRACE_SUBMIT,
	[TRACE_EVENT_ENTER] = TRACE_ENTER,
	[TRACE_EVENT_COMPLETE] = TRACE_COMPLETE,
	[TRACE_EVENT_PUSH] = TRACE_PUSH,
	[TRACE_EVENT_PUBLISH] = TRACE_PUBLISH,
	[TRACE_EVENT_INTERRUPT] = TRACE_INTERRUPT,
	[TRACE_EVENT_KVM_MSI] = TRACE_ROUTED,
	[TRACE_EVENT_KVM_LINE] = TRACE_ROUTED,
	[TRACE_EVENT_KVM_ACCEPT] = TRACE_ACCEPT,
	[TRACE_EVENT_KVM_INJECT] = TRACE_INJECT,
	[TRACE_EVENT_KVM_ENTRY] = TRACE_ENTRY,
};

static void learn_vcpu(struct join *join, uint64_t vcpu, uint64_t tid)
{
	struct trace *trace = join->trace;
	struct trace_thread *thread = trace_thread(trace, tid);

	if (!thread || vcpu >= TRACE_VCPUS || trace->thread_of_vcpu[vcpu])
		return;
	thread->vcpu = (uint16_t)vcpu;
	trace->thread_of_vcpu[vcpu] = (uint32_t)(thread - trace->thread) + 1;
}

static void learn_tsc(struct join *join)
{
	const uint64_t *arg = join->event.arg;
	struct trace_thread *thread;

	learn_vcpu(join, arg[0], arg[1]);
	thread = trace_thread(join->trace, arg[1]);
	if (!thread)
		return;
	thread->tsc_known = arg[3];
	thread->tsc_offset = arg[2];
}

static void learn_clock(struct join *join)
{
	struct trace *trace = join->trace;
	const uint64_t *arg = join->event.arg;

	if (!array_make_room(&trace->clock, &join->clocks_room, trace->clock_count)) {
		join->error = -ENOMEM;
		return;
	}
	trace->clock[trace->clock_count++] = (struct trace_clock){
		.tsc = arg[0],
		.monotonic = arg[1],
		.tsc_error = arg[2],
	};
}

static void learn_disk(struct join *join)
{
	struct trace *trace = join->trace;
	const uint64_t *arg = join->event.arg;
	struct trace_disk *disk;

	if (arg[0] >= TRACE_DISKS) {
		trace->counters.stray++;
		return;
	}
	while (trace->disk_count <= arg[0]) {
		if (!array_make_room(&trace->disk, &join->disks_room, trace->disk_count)) {
			join->error = -ENOMEM;
			return;
		}
		trace->disk[trace->disk_count++] = (struct trace_disk){ 0 };
	}
	disk = &trace->disk[arg[0]];
	disk->queues = (unsigned)min(arg[1], (uint64_t)UINT16_MAX);
	memcpy(disk->name, arg + 2, sizeof(disk->name) - 1);
	log_disarm(disk->name);
}

/* The events that perf lost on a CPU are younger than what it kept there before. */
static uint64_t lost_since(const struct join *join)
{
	uint64_t since = join->trace->end;

	if (join->event.cpu != TRACE_EVENT_NO_CPU)
		return max(join->cpu_last[join->event.cpu], join->trace->begin);
	for (unsigned i = 0; i < join->cpus; i++)
		if (join->cpu_last[i])
			since = min(since, join->cpu_last[i]);
	return since;
}

static void learn_loss(struct join *join)
{
	const struct trace_event *event = &join->event;
	struct trace_counters *counters = &join->trace->counters;
	uint64_t before = lost_since(join);
	struct join_loss *last = join->loss_count ? &join->loss[join->loss_count - 1] : NULL;

	counters->lost += event->arg[0];
	if (!counters->lost_at)
		counters->lost_at = before;
	/* They come by their ends; those that overlap become one. */
	while (last && last->end >= before) {
		before = min(before, last->begin);
		last = --join->loss_count ? last - 1 : NULL;
	}
	if (!array_make_room(&join->loss, &join->losses_room, join->loss_count)) {
		join->error = -ENOMEM;
		return;
	}
	join->loss[join->loss_count++] = (struct join_loss){ before, event->time };
}

static void learn_queue(struct join *join, uint64_t notify, uint64_t bus)
{
	const uint64_t *arg = join->event.arg;
	struct join_queue *queue = NULL;

	if (arg[0] < TRACE_DISKS && arg[1] < TRACE_QUEUES)
		queue = join_queue(join, arg[0], arg[1]);
	if (queue && !queue->has_notify)
		join_place(join, queue, notify, bus);
}

void join_learn(struct join *join)
{
	const struct trace_event *event = &join->event;
	struct trace *trace = join->trace;

	if (!trace->begin)
		trace->begin = event->time;
	trace->end = event->time;
	if (stamp_of[event->type])
		trace->shows[stamp_of[event->type]] = true;
	switch (event->type) {
	case TRACE_EVENT_KVM_EXIT:
	case TRACE_EVENT_KVM_ENTRY:
	case TRACE_EVENT_EXIT_PIO:
	case TRACE_EVENT_EXIT_MMIO:
	case TRACE_EVENT_EXIT_OTHER:
		learn_vcpu(join, event->arg[0], event->tid);
		break;
	case TRACE_EVENT_VCPU_TSC:
		learn_tsc(join);
		break;
	case TRACE_EVENT_CLOCK:
		learn_clock(join);
		break;
	case TRACE_EVENT_DISK:
		learn_disk(join);
		break;
	case TRACE_EVENT_POP:
		learn_queue(join, event->arg[7], event->arg[8]);
		break;
	case TRACE_EVENT_QUEUE_START:
		learn_queue(join, event->arg[4], event->arg[5]);
		break;
	case TRACE_EVENT_LOST:
		learn_loss(join);
		break;
	}
	if (event->cpu != TRACE_EVENT_NO_CPU) {
		join->cpu_last[event->cpu] = event->time;
		join->cpus = max(join->cpus, event->cpu + 1u);
	}
}

/* Threads that no event tells to be vCPUs are known by their names. */
void join_learned(struct join *join)
{
	for (size_t i = 0; i < join->trace->thread_count; i++) {
		const struct trace_thread *thread = &join->trace->thread[i];
		char *end;

		if (strncmp(thread->name, "vcpu", 4) || thread->vcpu != TRACE_NO_VCPU)
			continue;
		unsigned long vcpu = strtoul(thread->name + 4, &end, 10);
		if (!*end && end != thread->name + 4)
			learn_vcpu(join, vcpu, thread->tid);
	}
}
