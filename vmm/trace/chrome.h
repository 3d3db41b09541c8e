/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdio.h>

#include "vmm/trace/trace.h"

/*
 * Write the trace in the Trace Event format, as JSON, which Perfetto and
 * chrome://tracing open.  500 to 1000 bytes a request.
 *
 * The VM is a process whose threads have a track for each kind of span, and a vCPU
 * one with its doorbells and interrupts.  Each queue is a process whose tracks hold
 * its requests, one more where another is in flight: what overlaps stands on
 * different tracks, for both viewers want slices of one track nested.  A request
 * contains its layers.  Flows lead from doorbells to the pop, and from the sending
 * of interrupts to the last that is seen of them.
 *
 * 0, or -errno with nothing said, also where @file cannot be written.
 */
int trace_chrome_write(const struct trace *trace, FILE *file);
