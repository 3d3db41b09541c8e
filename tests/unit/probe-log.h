/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Probes, recorded: a test program is linked with these instead of those that
 * perf sees.  Until told otherwise nobody looks, as in the program.
 */
#pragma once

#include <stddef.h>

#include "hw/base/probe.h"

#define PROBE_LOG_ID(name, meaning, ...) PROBE_LOG_##name,
enum probe_log_id { PROBE_TABLE(PROBE_LOG_ID) PROBE_LOG_IDS };

/* The arguments by their names: event->pop.seq. */
#define PROBE_LOG_FIELDS(name, meaning, ...) \
	struct {                             \
		int64_t __VA_ARGS__;         \
	} name;
struct probe_event {
	enum probe_log_id id;
	union {
		PROBE_TABLE(PROBE_LOG_FIELDS)
	};
};

/* Record all probes from here on, with none recorded yet; and no more. */
void probe_log_begin(void);
void probe_log_end(void);

/* What was recorded, in order.  To be asked when all threads that fire are quiet. */
size_t probe_log_count(void);
const struct probe_event *probe_log_at(size_t index);
size_t probe_log_count_of(enum probe_log_id id);
