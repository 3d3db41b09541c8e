/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The events of a recording, in the order of their time, some forty bytes each.
 * All are read before the first is used: which address is whose doorbell may be told
 * after the first one rang.
 */
#pragma once

#include "vmm/trace/events.h"

struct tape {
	/* Of each event: its time; its type, CPU and thread; its arguments. */
	uint64_t *word;
	size_t words, words_room;
	size_t *order; /* where each begins, by time; NULL: as they stand */
	size_t events;
	uint64_t last; /* time */
	bool disordered;
	size_t reasons_room, threads_room, tids_room; /* of the trace */
};

/*
 * Append @event.  Its thread, and the reason of an exit, whose number becomes its
 * second argument, are entered in @trace.  0, -ENOMEM, or -E2BIG: no VM has so many
 * reasons.
 */
int tape_add(struct tape *tape, struct trace *trace, struct trace_event *event);

/* Put them into order, if they are not.  0 or -ENOMEM. */
int tape_sort(struct tape *tape);

/* The event number @index, without its text; each once, in turn, from 0. */
struct tape_cursor {
	size_t index, at;
};
bool tape_next(const struct tape *tape, struct tape_cursor *cursor,
		    struct trace_event *event);

void tape_free(struct tape *tape);
