/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of perf record: which events, which of them, and how. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct perf_command;

struct record_plan {
	const char *tracefs;
	const char *file;
	const char *buffer; /* for each CPU, as perf's -m takes it */
	const pid_t *thread; /* those recorded, in rising order */
	size_t thread_count;
	bool ids_are_global; /* as trace_target_ids_are_global() says */
	int control, ack; /* perf's ends of the pipes by which it is told */
};

/* Fill @command.  Events that this kernel does not have are left out, and named under -v. */
void record_command(struct perf_command *command, const struct record_plan *plan);

/*
 * The filter that passes on events whose field pid is one of @count threads in
 * rising order, to be freed; NULL without memory.
 */
char *record_threads_filter(const pid_t *thread, size_t count);
