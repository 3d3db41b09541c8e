/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The running VM that a user means.  It is found in /proc alone: vmm leaves no
 * file behind that tells what runs.  One thread; @proc is "/proc" but in tests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct trace_target {
	pid_t pid;
	char *name; /* its --name; NULL: it has none; owned */
	char *exe;  /* the program's file, as the kernel tells it; owned */
	char whose[sizeof(" of user 4294967295")]; /* so; empty: the caller's own */
};

/*
 * Find the VM that @word means: a number is a PID, anything else the --name of a
 * vmm that this user may look at.  Nobody keeps others from their own VM by a VM of
 * the same name: one of the caller's, or of who called sudo, comes before other users'.
 * Returns 0; -ESRCH, -EINVAL where several are meant, or another -errno, having said
 * why on stderr and what runs.
 */
int trace_target_find(const char *proc, const char *word, struct trace_target *target);

void trace_target_free(struct trace_target *target);

/*
 * The ids of its own threads, not io_uring's, which come and go, in rising order, to be
 * freed; *@count: how many.  NULL if it has ended, or there is no memory; says nothing.
 */
pid_t *trace_target_threads(const char *proc, pid_t pid, size_t *count);

/*
 * Are threads called in here as events of the kernel call them?  They are not in a
 * container's PID namespace.
 */
bool trace_target_ids_are_global(const char *proc);

/* Does it block or catch the signal @signo, which ends other processes? */
bool trace_target_takes(const char *proc, pid_t pid, int signo);

/* Of a vmm; others may lay down programs of any size, with holes in them. */
#define TRACE_PROGRAM_MAX (256u << 20)

/* Does the program at @path have the probes that vmm has?  0, -ENOENT or another -errno. */
int trace_target_probes(const char *path);
