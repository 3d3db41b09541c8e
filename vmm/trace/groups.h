/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace in figures: the requests of each disk and operation, by layer.
 * Percentiles are exact: of 1000 times, p99 is the 990th in rising order.
 */
#pragma once

#include "hw/base/histogram.h"
#include "vmm/trace/layers.h"

/* In ns. */
struct trace_summary {
	uint64_t count, total, min, p50, p90, p99, p999, max;
};

struct trace_group {
	uint16_t disk;
	uint8_t op;
	uint64_t errors, bytes;
	uint64_t doorbell[TRACE_WAYS], interrupt[TRACE_WAYS];
	struct trace_summary layer[TRACE_LAYERS]; /* of the requests that have it */
	struct trace_summary whole;
	struct trace_summary full; /* wholes with a doorbell and an interrupt of their own */
	struct trace_summary part; /* the others */
	struct histogram wholes;
};

struct trace_groups {
	struct trace_group *group; /* by disk and operation */
	size_t count;
	uint32_t *slowest; /* numbers of requests, the slowest first */
	size_t slowest_count;
};

/*
 * Of all disks, or of the one with number @disk, if that is not negative; with the
 * @slowest requests.  0, or -ENOMEM.
 */
int trace_groups_make(struct trace_groups *groups, const struct trace *trace, int disk,
		      size_t slowest);
void trace_groups_free(struct trace_groups *groups);

/* The sum of all layers: it equals whole.total. */
uint64_t trace_layers_total(const struct trace_group *group);
