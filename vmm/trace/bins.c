// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/bins.h"

#include "hw/base/util.h"

/* Whole numbers only: this decides, and trace_bins_position() draws. */
static unsigned row_of(const struct trace_bins *bins, uint64_t ns)
{
	return histogram_bucket(ns) * bins->rows_per_octave >> HISTOGRAM_STEP_BITS;
}

double trace_bins_position(const struct trace_bins *bins, uint64_t ns)
{
	unsigned octave = max(log2_floor(ns), HISTOGRAM_STEP_BITS + 0u);

	return (octave - HISTOGRAM_STEP_BITS + (double)ns / (double)(1ULL << octave)) *
	       bins->rows_per_octave;
}

uint64_t trace_bins_step(uint64_t range, unsigned count)
{
	uint64_t ten = 1, least = range / count;

	while (ten <= UINT64_MAX / 100 && 10 * ten <= least)
		ten *= 10;
	return ten > least ? ten : 2 * ten > least ? 2 * ten : 5 * ten > least ? 5 * ten : 10 * ten;
}

/* Fine rows where the times lie close together. */
static unsigned choose_rows(unsigned octaves)
{
	return octaves <= 6 ? 8 : octaves <= 14 ? 4 : 2;
}

static void scale(struct trace_bins *bins, const struct trace *trace)
{
	uint64_t end = 0, shortest = UINT64_MAX, longest = 0;

	bins->begin = UINT64_MAX;
	for (size_t i = 0; i < trace->request_count; i++) {
		const struct trace_request *request = &trace->request[i];
		uint64_t whole = trace_whole(request), from = request->t[trace_first(request)];

		bins->begin = min(bins->begin, from);
		end = max(end, from + whole);
		shortest = min(shortest, whole);
		longest = max(longest, whole);
	}
	bins->slice_ns = trace_bins_step(end - bins->begin,
					 min(trace->request_count, (size_t)TRACE_BINS_MAX));
	bins->count = (end - bins->begin) / bins->slice_ns + 1;
	bins->rows_per_octave = choose_rows(log2_floor(longest) - log2_floor(shortest) + 1);
	bins->row_first = row_of(bins, shortest);
	bins->row_last = row_of(bins, longest);
}

static void add(struct trace_bins *bins, const struct trace_request *request)
{
	uint64_t from = request->t[trace_first(request)], ns[TRACE_LAYERS];
	struct trace_bin *bin = &bins->bin[(from - bins->begin) / bins->slice_ns];

	bins->disk[request->disk] = true;
	bin->requests++;
	bin->row[row_of(bins, trace_whole(request)) - bins->row_first]++;
	trace_layers(request, ns);
	for (unsigned i = 0; i < TRACE_LAYERS; i++)
		bin->layer[i] += ns[i];
}

struct trace_bins *trace_bins_make(const struct trace *trace)
{
	struct trace_bins *bins = calloc(1, sizeof(*bins));

	if (!bins || !trace->request_count)
		return bins;
	scale(bins, trace);
	for (size_t i = 0; i < trace->request_count; i++)
		add(bins, &trace->request[i]);
	return bins;
}
