/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How often values of each size came, such as latencies in nanoseconds: a bucket
 * for each value below 8, then 8 buckets for each power of two, so that a bucket is
 * at most an eighth of what is in it wide.  Zeroed memory is an empty histogram, of
 * which only the pages are touched whose buckets are used.
 *
 * One thread adds; others may read meanwhile, and find each value that was added in
 * time, but not the same number of them in all fields.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 3 /* the buckets of a power of two, as one */
#define HISTOGRAM_VALUE_BITS 40
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

struct histogram {
	/* All atomic. */
	uint64_t sum, max;
	uint64_t bucket[HISTOGRAM_BUCKETS]; /* the last one for all that is larger, too */
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* Add all of @from, to which another thread may be adding. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* --- Of one to which nobody is adding. --- */

uint64_t histogram_count(const struct histogram *histogram);

/*
 * What @percent of the values are at most: the middle of a bucket, so that it errs by
 * a sixteenth of it at most; and no more than the largest of them.  0 without any.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* The bucket of a value, and the least in it; of HISTOGRAM_BUCKETS, what is not told apart. */
unsigned histogram_bucket(uint64_t value);
uint64_t histogram_bucket_start(unsigned bucket);
