/* SPDX-License-Identifier: BSD-2-Clause */
/* What "vmm trace report" prints of a trace. */
#pragma once

#include <stdio.h>

#include "vmm/trace/groups.h"

/* Such as "999ns", "1.23us", "45.6ms" or "12s": six characters, three figures at most. */
struct trace_time {
	char text[24];
};
struct trace_time trace_time(uint64_t ns);

/* For people, at most 80 columns wide. */
void trace_print_text(const struct trace *trace, const struct trace_groups *groups, FILE *out);

/* For programs: Documentation/trace.schema.json. */
void trace_print_json(const struct trace *trace, const struct trace_groups *groups, FILE *out);

extern const struct trace_way_words {
	const char *name, *help;
} trace_way_words[TRACE_WAYS];
