/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace's requests, counted by the time at which each began: how long its layers
 * took, and how many took how long.  It is of one size, for a request or a million.
 *
 * Times are nanoseconds.
 */
#pragma once

#include "hw/base/histogram.h"
#include "vmm/trace/layers.h"

#define TRACE_BINS_MAX 168
#define TRACE_ROWS_MAX (HISTOGRAM_BUCKETS / 4)

/* The requests that began in one slice of time. */
struct trace_bin {
	uint64_t requests;
	uint64_t layer[TRACE_LAYERS]; /* sums over them */
	uint64_t row[TRACE_ROWS_MAX]; /* how many took so long, from row_first on */
};

struct trace_bins {
	uint64_t begin;    /* CLOCK_MONOTONIC: the first request's first stamp */
	uint64_t slice_ns; /* 1, 2 or 5 times a power of ten */
	unsigned count;    /* 0: there are no requests */
	/*
	 * Rows are buckets of struct histogram, or several as one, so many to a power of
	 * two.  There are requests in the first and in the last.
	 */
	unsigned rows_per_octave, row_first, row_last;
	bool disk[TRACE_DISKS]; /* has requests */
	struct trace_bin bin[TRACE_BINS_MAX];
};

/* The caller frees it.  NULL: no memory. */
struct trace_bins *trace_bins_make(const struct trace *trace);

/* Where @ns stands: the number of its row, and how far in it. */
double trace_bins_position(const struct trace_bins *bins, uint64_t ns);

/* The least of 1, 2 and 5 times a power of ten of which @count reach beyond @range. */
uint64_t trace_bins_step(uint64_t range, unsigned count);
