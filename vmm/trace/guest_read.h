/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a Linux guest recorded of its block layer, as text: tracefs's file "trace",
 * or what "trace-cmd report" prints.  The guest may have written anything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum guest_event_kind {
	GUEST_ISSUE,    /* block_rq_issue: the driver is given the request */
	GUEST_COMPLETE, /* block_rq_complete */
	GUEST_REQUEUE,  /* block_rq_requeue: the driver could not take it */
};

/* What the guest and the VMM both know of a request. */
struct guest_key {
	uint64_t sector; /* of 512 bytes */
	uint32_t len;    /* bytes */
	uint8_t op;      /* VIRTIO_BLK_T_* */
};

struct guest_event {
	uint64_t time;   /* the guest's TSC */
	struct guest_key key;
	uint32_t device; /* major << GUEST_MINOR_BITS | minor */
	uint16_t cpu;
	uint8_t kind;    /* enum guest_event_kind */
};

#define GUEST_MINOR_BITS 20

struct guest_log {
	struct guest_event *event; /* in the order of the file */
	size_t count;
	uint64_t broken;      /* lines of such events that make no sense */
	uint64_t other_clock; /* those whose time is no count of ticks */
};

enum guest_line {
	GUEST_LINE_EVENT,
	GUEST_LINE_OTHER, /* none of these events */
	GUEST_LINE_BROKEN,
	GUEST_LINE_OTHER_CLOCK,
};

/* Fills in @event of a GUEST_LINE_EVENT. */
enum guest_line guest_line_parse(const char *line, struct guest_event *event);

/* Read @file; 0, or -errno, having said why.  log->event is to be freed in any case. */
int guest_log_read(struct guest_log *log, const char *file);
