// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/layers.h"

#include <string.h>

const struct trace_layer_words trace_layer_words[TRACE_LAYERS] = {
	[TRACE_LAYER_ISSUE] = { "issue", "issue", "issue",
		"guest block layer to the exit, doorbell or pop" },
	[TRACE_LAYER_EXIT] = { "KVM exit", "exit", "exit",
		"exit to doorbell" },
	[TRACE_LAYER_SIGNAL] = { "wake-up", "wake", "wake",
		"doorbell to the I/O thread made runnable" },
	[TRACE_LAYER_CPU] = { "CPU wait", "cpu", "cpu",
		"till the I/O thread has a CPU" },
	[TRACE_LAYER_POP] = { "pop", "pop", "pop",
		"till it has taken the request from the ring" },
	[TRACE_LAYER_SUBMIT] = { "submit", "submit", "submit",
		"till the host kernel has the request" },
	[TRACE_LAYER_DISK] = { "disk", "disk", "disk",
		"till the disk is done" },
	[TRACE_LAYER_PUBLISH] = { "publish", "publ", "publish",
		"till the driver can see it, interrupt sent" },
	[TRACE_LAYER_DELIVER] = { "interrupt", "intr", "interrupt",
		"till a local APIC has taken the interrupt" },
	[TRACE_LAYER_INJECT] = { "inject", "inject", "inject",
		"till the vCPU is ready for it" },
	[TRACE_LAYER_ENTRY] = { "entry", "entry", "entry",
		"till the guest runs with it" },
	[TRACE_LAYER_DONE] = { "guest", "guest", "guest",
		"till the guest's block layer has it back" },
};

/* Which layer ends with a stamp. */
static const uint8_t layer_of[TRACE_STAMPS] = {
	[TRACE_EXIT] = TRACE_LAYER_ISSUE,
	[TRACE_DOORBELL] = TRACE_LAYER_EXIT,
	[TRACE_WAKING] = TRACE_LAYER_SIGNAL,
	[TRACE_RUNNING] = TRACE_LAYER_CPU,
	[TRACE_POP] = TRACE_LAYER_POP,
	[TRACE_SUBMIT] = TRACE_LAYER_SUBMIT,
	[TRACE_ENTER] = TRACE_LAYER_SUBMIT,
	[TRACE_COMPLETE] = TRACE_LAYER_DISK,
	[TRACE_PUSH] = TRACE_LAYER_PUBLISH,
	[TRACE_PUBLISH] = TRACE_LAYER_PUBLISH,
	[TRACE_INTERRUPT] = TRACE_LAYER_PUBLISH,
	[TRACE_ROUTED] = TRACE_LAYER_DELIVER,
	[TRACE_ACCEPT] = TRACE_LAYER_DELIVER,
	[TRACE_INJECT] = TRACE_LAYER_INJECT,
	[TRACE_ENTRY] = TRACE_LAYER_ENTRY,
	[TRACE_DONE] = TRACE_LAYER_DONE,
};

enum trace_stamp trace_first(const struct trace_request *request)
{
	unsigned stamp = 0;

	while (stamp < TRACE_POP && !request->t[stamp])
		stamp++;
	return stamp;
}

enum trace_stamp trace_last(const struct trace_request *request)
{
	unsigned stamp = TRACE_DONE;

	while (stamp > TRACE_POP && !request->t[stamp])
		stamp--;
	return stamp;
}

uint64_t trace_whole(const struct trace_request *request)
{
	return request->t[trace_last(request)] - request->t[trace_first(request)];
}

unsigned trace_layers(const struct trace_request *request, uint64_t ns[TRACE_LAYERS])
{
	enum trace_stamp from = trace_first(request);
	unsigned seen = 0;

	memset(ns, 0, TRACE_LAYERS * sizeof(*ns));
	for (unsigned to = from + 1; to < TRACE_STAMPS; to++) {
		unsigned layer = from == TRACE_ISSUE ? TRACE_LAYER_ISSUE : layer_of[to];

		if (!request->t[to])
			continue;
		ns[layer] += request->t[to] - request->t[from];
		seen |= 1u << layer;
		from = to;
	}
	return seen;
}
