/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line of perf script as an event:
 *
 *	         vcpu0  6066 [000] 34852.491521850: kvm:kvm_mmio: mmio write len 2 ...
 *
 * The lines are of a file that anybody may have written: nothing of them is
 * believed but their form.  Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/trace/trace.h"

/* With their arguments, in order. */
enum trace_event_type {
	/* Of KVM; an unnumbered vCPU is TRACE_NO_VCPU. */
	TRACE_EVENT_KVM_EXIT,      /* vCPU; the reason is text */
	TRACE_EVENT_KVM_ENTRY,     /* vCPU */
	TRACE_EVENT_KVM_MMIO,      /* written: address, value */
	TRACE_EVENT_KVM_FAST_MMIO, /* address */
	TRACE_EVENT_KVM_PIO,       /* written: port, value */
	TRACE_EVENT_KVM_MSI,       /* destination, vector */
	TRACE_EVENT_KVM_LINE,      /* GSI, level */
	TRACE_EVENT_KVM_ACCEPT,    /* local APIC, vector */
	TRACE_EVENT_KVM_POST,      /* likewise, and no vCPU has to be stopped for it */
	TRACE_EVENT_KVM_INJECT,    /* vector */

	/* Of the scheduler. */
	TRACE_EVENT_WAKING, /* whose thread id */
	TRACE_EVENT_IN, /* it gets a CPU: perf's own record of it, as the next */
	TRACE_EVENT_OUT,
	TRACE_EVENT_LOST, /* how many */

	/* Of vmm's probes; their arguments are those of hw/base/probe_table.h. */
	TRACE_EVENT_DOORBELL,
	TRACE_EVENT_WAKE,
	TRACE_EVENT_SLEEP,
	TRACE_EVENT_POLL_HIT,
	TRACE_EVENT_POLL_MISS,
	TRACE_EVENT_POP,
	TRACE_EVENT_SUBMIT,
	TRACE_EVENT_ENTER,
	TRACE_EVENT_COMPLETE,
	TRACE_EVENT_PUSH,
	TRACE_EVENT_PUBLISH,
	TRACE_EVENT_INTERRUPT,
	TRACE_EVENT_QUEUE_START,
	TRACE_EVENT_EXIT_PIO,
	TRACE_EVENT_EXIT_MMIO,
	TRACE_EVENT_EXIT_OTHER,
	TRACE_EVENT_CLOCK,
	TRACE_EVENT_VCPU_TSC,
	TRACE_EVENT_DISK,
	TRACE_EVENT_TYPES
};

#define TRACE_EVENT_ARGS 10
#define TRACE_EVENT_CPUS 8192
#define TRACE_EVENT_NO_CPU 0xffff /* perf does not tell it of each event */

struct trace_event {
	uint64_t time; /* ns, never 0 */
	uint32_t tid; /* below TRACE_TIDS */
	uint16_t cpu; /* below TRACE_EVENT_CPUS, or TRACE_EVENT_NO_CPU */
	uint8_t type; /* enum trace_event_type */
	uint8_t count; /* of arguments */
	char comm[TRACE_COMM_LEN];
	uint64_t arg[TRACE_EVENT_ARGS];
	/* Of an exit; points into the line. */
	const char *reason;
	size_t reason_len;
};

/*
 * Returns 1; 0 for a line that nothing here is about, such as an empty one or an
 * event of another kind; -EINVAL for one that is broken.
 */
int trace_event_parse(struct trace_event *event, const char *line);
