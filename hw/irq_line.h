/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A level-triggered interrupt line, shared by any number of sources: it is
 * high while at least one of them asserts it.
 *
 * A source says what it asserts by a function, not by a value.  The line asks
 * it under the line's own mutex, so when two threads change what a source
 * depends on, the one that updates last sees both changes, and the line cannot
 * stay at a level that nobody holds.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/* Filled in by the interrupt controller's owner. */
struct irq_line_ops {
	/* Drive input @gsi.  Called under the line's mutex, on changes only. */
	void (*set)(void *opaque, unsigned gsi, bool level);
};

struct irq_line {
	pthread_mutex_t lock; /* guards the level of line and sources */
	unsigned asserted;    /* how many sources hold the line */
	unsigned gsi;         /* I/O APIC input; constant */
	const struct irq_line_ops *ops;
	void *opaque;
};

struct irq_source {
	struct irq_line *line;
	bool level; /* what the line last counted; the line's lock */
	bool (*asserted)(void *opaque);
	void *opaque;
};

void irq_line_init(struct irq_line *line, unsigned gsi, const struct irq_line_ops *ops,
		   void *opaque);
void irq_line_destroy(struct irq_line *line);

/*
 * Connect @source, not asserted.  @line outlives it; it may be NULL until the
 * first update.
 */
void irq_source_init(struct irq_source *source, struct irq_line *line,
		     bool (*asserted)(void *opaque), void *opaque);

/*
 * Ask @source again and set its line accordingly.  Any thread, after each
 * change to what asserted() depends on.
 */
void irq_source_update(struct irq_source *source);
