// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/histogram.h"

#include "hw/base/fence.h"
#include "hw/base/util.h"

#define STEPS (1u << HISTOGRAM_STEP_BITS)

/* Of a number, its highest bit tells the power of two, and the next ones the step. */
unsigned histogram_bucket(uint64_t value)
{
	unsigned power;

	if (value < STEPS)
		return (unsigned)value;
	power = log2_floor(value) - HISTOGRAM_STEP_BITS;
	return min((power << HISTOGRAM_STEP_BITS) + (unsigned)(value >> power),
		   HISTOGRAM_BUCKETS - 1u);
}

uint64_t histogram_bucket_start(unsigned bucket)
{
	unsigned power = bucket >> HISTOGRAM_STEP_BITS;

	if (!power)
		return bucket;
	return (uint64_t)(STEPS + bucket % STEPS) << (power - 1);
}

static void increase(uint64_t *field, uint64_t by)
{
	store_relaxed(field, load_relaxed(field) + by);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	increase(&histogram->bucket[histogram_bucket(value)], 1);
	increase(&histogram->sum, value);
	if (value > load_relaxed(&histogram->max))
		store_relaxed(&histogram->max, value);
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	to->max = max(to->max, load_relaxed(&from->max));
	to->sum += load_relaxed(&from->sum);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->bucket[i] += load_relaxed(&from->bucket[i]);
}

uint64_t histogram_count(const struct histogram *histogram)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += histogram->bucket[i];
	return count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	double wanted = (double)histogram_count(histogram) * percent / 100;
	uint64_t seen = 0, start, end;
	unsigned i;

	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += histogram->bucket[i];
		if (seen && (double)seen >= wanted)
			break;
	}
	start = histogram_bucket_start(i);
	end = histogram_bucket_start(i + 1);
	/* Of the last one, nothing is known but the largest. */
	if (i == HISTOGRAM_BUCKETS - 1)
		return histogram->max;
	return min(start + (end - start) / 2, histogram->max);
}
