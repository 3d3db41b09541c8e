/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a request spent its time.  A layer is the time between two stamps that
 * follow each other among those that the request has; so the layers of a request
 * add up to its whole exactly, whatever was not seen.  What a missing stamp would
 * have divided belongs to the later layer.
 */
#pragma once

#include "vmm/trace/trace.h"

enum trace_layer {
	TRACE_LAYER_ISSUE,   /* guest block layer to the exit, doorbell or pop */
	TRACE_LAYER_EXIT,    /* exit to the doorbell */
	TRACE_LAYER_SIGNAL,  /* doorbell to the I/O thread made runnable */
	TRACE_LAYER_CPU,     /* till that has a CPU */
	TRACE_LAYER_POP,     /* till it has popped the request */
	TRACE_LAYER_SUBMIT,  /* till the kernel has it */
	TRACE_LAYER_DISK,    /* till the disk is done */
	TRACE_LAYER_PUBLISH, /* till the driver can see it, and the interrupt is sent */
	TRACE_LAYER_DELIVER, /* till a local APIC has taken the interrupt */
	TRACE_LAYER_INJECT,  /* till the vCPU is ready for it */
	TRACE_LAYER_ENTRY,   /* till the guest runs with it */
	TRACE_LAYER_DONE,    /* till the guest's block layer has it back */
	TRACE_LAYERS
};

/* For a column of 10, one of 6, a member of JSON, and a line of explanation. */
extern const struct trace_layer_words {
	const char *name, *abbreviation, *key, *help;
} trace_layer_words[TRACE_LAYERS];

/*
 * The first and the last stamp of the request: its whole is from the one to the
 * other.  A request without a doorbell of its own begins with its pop, and one
 * without an interrupt of its own ends when it is published.
 */
enum trace_stamp trace_first(const struct trace_request *request);
enum trace_stamp trace_last(const struct trace_request *request);
uint64_t trace_whole(const struct trace_request *request);

/* Fills in @ns; bit n of what is returned: the request has layer n. */
unsigned trace_layers(const struct trace_request *request, uint64_t ns[TRACE_LAYERS]);
