/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/trace/tape.h"
#include "vmm/trace/trace.h"

/*
 * Make requests, and all else that @trace tells, of the events of a sorted
 * @tape.  0 or -ENOMEM; @trace is to be freed either way.
 *
 * Events belong together by disk, queue and seq, or since they follow each other
 * on one thread: never by a guess.  What was under way while perf lost events is
 * left out and counted.
 */
int trace_join(struct trace *trace, const struct tape *tape);
