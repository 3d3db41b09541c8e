/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The probes of a program as events of the kernel, which perf records: tracefs
 * knows them while a recording runs, as sdt_vmm:*.  One thread.
 *
 * They have one name for the whole machine, so only one recording can run at a
 * time.  That is a lock on tracefs's own list: it needs no file, and a recorder
 * that is killed lets go of it.  What such a one left is removed by the next.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define TRACE_UPROBES_GROUP "sdt_vmm"

struct trace_uprobes {
	const char *tracefs; /* where that is mounted */
	int lock;            /* its list; perf record holds it too, and ends before it is free */
	bool added;
};

/*
 * Add the probes of the program that process @pid runs, also if its file is gone
 * or not to be seen from here.  Returns 0; -ENODEV if there is no tracefs;
 * -EBUSY if another recording runs; or another -errno, having said why and left
 * nothing behind.
 */
int trace_uprobes_add(struct trace_uprobes *uprobes, pid_t pid);

/* Nobody records them any more. */
void trace_uprobes_remove(struct trace_uprobes *uprobes);

/* Does the kernel have the event @group:@name now?  Any probe added is one. */
bool trace_uprobes_event(const char *tracefs, const char *group, const char *name);
