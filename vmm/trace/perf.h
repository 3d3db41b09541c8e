/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running perf(1), without a shell.  Its output goes to a file in memory, of which
 * the last lines are shown if it fails.  One thread, which blocks the signals that
 * it waits for itself: perf gets a process group of its own, so that a Ctrl-C
 * ends it only when we say so, and dies with us.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* A command line.  Zeroed memory is an empty one. */
struct perf_command {
	char **argv; /* owned, as the words are */
	size_t count;
	size_t shown; /* words that perf_text() has; 0: all of them */
	int output;   /* where its stdout goes, borrowed; 0: to what it says on stderr */
	int error;    /* -ENOMEM: a word is missing */
};

/* Add a word. */
void perf_add(struct perf_command *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Words that follow are for our use of it, and make no sense when typed. */
static inline void perf_hide_rest(struct perf_command *command)
{
	command->shown = command->count;
}

/* As one can type it, to be freed; NULL without memory. */
char *perf_text(const struct perf_command *command);

void perf_free(struct perf_command *command);

struct perf {
	pid_t pid;
	int pid_fd; /* becomes readable when it ends */
	int output; /* what it wrote to stderr, and to stdout if that went nowhere else */
};

/*
 * Start @command, and say so under -v.  The descriptors of @keep, which ends with
 * -1, stay open in it under the same numbers; NULL: none.  Returns 0 or -errno,
 * having said why.
 */
int perf_start(struct perf *perf, const struct perf_command *command, const int *keep);

/*
 * Wait until it has ended, @timeout_ms at most (then it is killed), and forget it.
 * Returns 0; -ENOENT if there is no perf; -EIO if it failed, having said @what on
 * stderr and its last lines, or how it ended; NULL: having said nothing.
 */
int perf_finish(struct perf *perf, int timeout_ms, const char *what);

/*
 * Start @command, finish it, and free it.  @output: what it wrote, to be freed if
 * 0 is returned; NULL: that does not matter.
 */
int perf_run(struct perf_command *command, const char *what, char **output);
