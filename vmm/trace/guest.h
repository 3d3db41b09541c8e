/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's side of a recording: its own record of its block layer, joined with
 * the VMM's requests on one time line.
 *
 * The guest stamps its events with its TSC, which is the host's plus an offset
 * that KVM tells for each vCPU; guest CPU N is vCPU N.  Pairs of the host's TSC
 * and CLOCK_MONOTONIC, read at the recording's ends, give a line from the one to
 * the other, and those between them how far it may be wrong.
 *
 * A request of the guest and one of the VMM are the same if operation, sector and
 * length are equal, the guest's lasts from before the pop to after the push, and no
 * other of either side could be meant.  Nothing is guessed: what is not unique is
 * counted, and left alone.  Which of the guest's devices is which disk is learnt
 * from the requests that only one disk had.
 */
#pragma once

#include <stdio.h>

#include "vmm/trace/trace.h"

struct trace_guest_device {
	uint32_t major, minor;
	int disk;           /* -1: it is none, or that cannot be told */
	uint64_t requests;  /* while it was recorded */
	uint64_t joined;
	uint64_t ambiguous; /* several could be meant */
	uint64_t absent;    /* the VMM's part has no such request */
};

#define TRACE_GUEST_DEVICES 64

struct trace_guest {
	struct trace_guest_device device[TRACE_GUEST_DEVICES];
	unsigned device_count;
	uint64_t devices_ignored; /* events of devices beyond these */
	uint64_t broken;          /* lines that make no sense */
	uint64_t muddled;         /* of equal requests at one time: which is which? */
	uint64_t joined;          /* of the VMM's requests */
	uint64_t error;           /* ns: how far the time lines may be apart, at the pairs */
};

struct json;

/*
 * Read @file, and fill in TRACE_ISSUE and TRACE_DONE of the requests that were
 * found in it, and trace->guest: @guest is to live as long as @trace.
 * Stamps of a doorbell before the issue, or of an interrupt after the end, were another
 * request's: they are taken away.  0, or -errno, having said why.
 */
int trace_guest_load(struct trace *trace, const char *file, struct trace_guest *guest);

/* What came of it, as text, and as the member "guest" of an object. */
void trace_guest_print(const struct trace_guest *guest, const struct trace *trace, FILE *out);
void trace_guest_write(const struct trace_guest *guest, struct json *json);
