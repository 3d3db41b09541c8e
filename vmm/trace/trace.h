/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A recording of "vmm trace record", as requests: when each of them passed which
 * point of the path from the guest's doorbell to the guest's interrupt.
 *
 * All times are nanoseconds of CLOCK_MONOTONIC; 0 means that it was not seen.
 * One thread; what points into a trace is valid until trace_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/trace/request.h"

struct trace_disk {
	char name[65]; /* the image's; "" if it is not known */
	unsigned queues;
};

/* What there is at most, by Linux and by vmm: a recording that tells of more is damaged. */
#define TRACE_TIDS (1u << 22)
#define TRACE_VCPUS 4096
#define TRACE_DISKS 264 /* on PCI, but for its bridge, and on virtio-mmio */
#define TRACE_QUEUES 256 /* of a disk */

#define TRACE_COMM_LEN 16

struct trace_thread {
	uint32_t tid;
	uint16_t vcpu; /* its number; TRACE_NO_VCPU: it is none */
	bool serves;   /* it popped requests */
	char name[TRACE_COMM_LEN];
	uint64_t sleeps, poll_hits, poll_misses, hit_ns, miss_ns;
	bool tsc_known;
	uint64_t tsc_offset; /* guest TSC = host TSC + this, modulo 2^64 */
};

enum trace_span_kind {
	TRACE_SPAN_RUNNING, /* the thread has a CPU */
	TRACE_SPAN_EXIT,    /* the vCPU is out of the guest: kvm_exit to kvm_entry */
	TRACE_SPAN_BATCH,   /* the I/O thread works: from its wake to its sleep */
	TRACE_SPAN_POLL,    /* it spins */
	TRACE_SPANS
};

/* What a thread did, for pictures: sorted by thread, kind and begin. */
struct trace_span {
	uint64_t begin, end;
	uint32_t thread; /* index of trace.thread[] */
	uint16_t kind;
	uint16_t reason; /* of an exit: index of trace.reason[]; of a poll: 1 a hit, 0 a miss */
};

struct trace_reason {
	char name[32];
	uint64_t count;
};

/* The same moment by two clocks. */
struct trace_clock {
	uint64_t tsc, monotonic;
	uint64_t tsc_error; /* ticks that passed while both were read */
};

/* A queue of a disk, and what happened on it within the recording. */
struct trace_queue {
	uint16_t disk, index;
	uint32_t tid;       /* the I/O thread's */
	uint64_t doorbells; /* that KVM saw */
	uint64_t doorbells_extra; /* of these: while one was waiting */
	uint64_t doorbells_idle;  /* of these: there was nothing to pop */
	uint64_t pops, pushes, publishes;
	uint64_t suppressed; /* publishes without an interrupt: the driver wants none */
	uint64_t interrupts; /* sent */
	uint64_t held;       /* not sent */
};

struct trace_counters {
	uint64_t events;
	uint64_t lost;    /* events that perf could not keep ... */
	uint64_t lost_at; /* ... for the first time; 0: none, or only what came last */
	uint64_t broken;  /* lines that nobody understands */
	uint64_t doorbells_unclear; /* the address is shared, and no value is told */
	/* Requests that are not in trace.request[]. */
	uint64_t begun_before; /* popped before the recording began */
	uint64_t not_ended;    /* not answered when it ended */
	uint64_t torn;         /* under way while events were lost */
	uint64_t stray;        /* events that fit no request: the recording is damaged */
	uint64_t disordered;   /* stamps left out, since they precede earlier ones */
};

struct trace_guest; /* vmm/trace/guest.h */

struct trace {
	uint64_t begin, end; /* of the recording */

	struct trace_request *request; /* whole ones, by the time of their pop */
	size_t request_count;
	struct trace_disk *disk; /* by number */
	size_t disk_count;
	struct trace_queue *queue; /* by disk and index */
	size_t queue_count;
	struct trace_thread *thread;
	size_t thread_count;
	uint32_t *thread_of_tid; /* index + 1; 0: none */
	size_t tid_count;
	uint32_t thread_of_vcpu[TRACE_VCPUS]; /* likewise */
	struct trace_span *span;
	size_t span_count;
	struct trace_reason *reason;
	size_t reason_count;
	struct trace_clock *clock; /* by time */
	size_t clock_count;
	bool shows[TRACE_STAMPS]; /* does the recording tell this of any request? */
	struct trace_counters counters;

	/* NULL: TRACE_ISSUE and TRACE_DONE are not filled in.  Of trace_guest_load()'s caller. */
	const struct trace_guest *guest;
};

/*
 * Load the perf.data @file.  0; or -errno, having said why, with nothing to free.
 */
int trace_load(struct trace *trace, const char *file);

/* The same from what perf script printed; @name is for messages. */
int trace_load_text(struct trace *trace, FILE *text, const char *name);

void trace_free(struct trace *trace);

/* Any number is allowed.  NULL: no event of that thread, or it is no vCPU's that is known. */
struct trace_thread *trace_thread(const struct trace *trace, uint64_t tid);
struct trace_thread *trace_vcpu(const struct trace *trace, uint64_t vcpu);

/* "read", "write", ...; never NULL. */
const char *trace_op_name(unsigned op);
