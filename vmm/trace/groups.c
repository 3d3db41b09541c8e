// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/groups.h"

#include <errno.h>
#include <stdlib.h>

#include "hw/base/util.h"
#include "vmm/trace/array.h"

/* A request's numbers, in the order of the groups. */
struct order {
	const struct trace *trace;
	uint32_t *number;
	size_t count;
};

static int compare_groups(const void *left, const void *right, void *opaque)
{
	const struct trace *trace = opaque;
	const uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
	const struct trace_request *a = &trace->request[l], *b = &trace->request[r];
	int order = compare_numbers(a->disk, b->disk);

	if (!order)
		order = compare_numbers(a->op, b->op);
	return order ? order : compare_numbers(l, r);
}

static int compare_wholes(const void *left, const void *right, void *opaque)
{
	const struct trace *trace = opaque;
	const uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
	uint64_t a = trace_whole(&trace->request[l]), b = trace_whole(&trace->request[r]);

	return a == b ? compare_numbers(l, r) : compare_numbers(b, a);
}

static int compare_times(const void *left, const void *right)
{
	return compare_numbers(*(const uint64_t *)left, *(const uint64_t *)right);
}

/* Of @time, which is put into order, its element number count * @part / 1000, rounded up. */
static uint64_t percentile(const uint64_t *time, size_t count, unsigned part)
{
	return time[(count * part + 999) / 1000 - 1];
}

static void summarize(struct trace_summary *summary, uint64_t *time, size_t count)
{
	*summary = (struct trace_summary){ .count = count };
	if (!count)
		return;
	qsort(time, count, sizeof(*time), compare_times);
	for (size_t i = 0; i < count; i++)
		summary->total += time[i];
	summary->min = time[0];
	summary->p50 = percentile(time, count, 500);
	summary->p90 = percentile(time, count, 900);
	summary->p99 = percentile(time, count, 990);
	summary->p999 = percentile(time, count, 999);
	summary->max = time[count - 1];
}

static void count_requests(struct trace_group *group, const struct order *order)
{
	for (size_t i = 0; i < order->count; i++) {
		const struct trace_request *request = &order->trace->request[order->number[i]];

		group->errors += request->status != 0;
		group->bytes += request->len;
		group->doorbell[request->doorbell]++;
		group->interrupt[request->interrupt]++;
		histogram_add(&group->wholes, trace_whole(request));
	}
}

static bool is_full(const struct trace_request *request)
{
	return request->doorbell == TRACE_OWN && request->interrupt == TRACE_OWN;
}

static void sum_wholes(struct trace_group *group, const struct order *order, uint64_t *time)
{
	size_t full = 0, part = order->count;

	/* Those that are full from the front, the others from the back. */
	for (size_t i = 0; i < order->count; i++) {
		const struct trace_request *request = &order->trace->request[order->number[i]];

		time[is_full(request) ? full++ : --part] = trace_whole(request);
	}
	summarize(&group->full, time, full);
	summarize(&group->part, time + full, order->count - full);
	summarize(&group->whole, time, order->count);
}

static void sum_layers(struct trace_group *group, const struct order *order, uint64_t *time)
{
	uint64_t ns[TRACE_LAYERS];

	for (unsigned layer = 0; layer < TRACE_LAYERS; layer++) {
		size_t count = 0;

		for (size_t i = 0; i < order->count; i++)
			if (trace_layers(&order->trace->request[order->number[i]], ns) >> layer & 1)
				time[count++] = ns[layer];
		summarize(&group->layer[layer], time, count);
	}
}

/* How many of the requests belong to the group of the first. */
static size_t same_group(const struct order *order)
{
	const struct trace_request *request = order->trace->request;
	const struct trace_request *first = &request[order->number[0]];
	size_t i = 1;

	while (i < order->count && request[order->number[i]].disk == first->disk &&
	       request[order->number[i]].op == first->op)
		i++;
	return i;
}

static int make_groups(struct trace_groups *groups, const struct order *all, uint64_t *time)
{
	struct order order = *all;
	size_t room = 0;

	for (; order.number < all->number + all->count; order.number += order.count) {
		const struct trace_request *request = &all->trace->request[order.number[0]];
		struct trace_group *group;

		if (!array_make_room(&groups->group, &room, groups->count))
			return -ENOMEM;
		group = &groups->group[groups->count++];
		*group = (struct trace_group){ .disk = request->disk, .op = request->op };
		order.count = all->count - (size_t)(order.number - all->number);
		order.count = same_group(&order);
		count_requests(group, &order);
		sum_wholes(group, &order, time);
		sum_layers(group, &order, time);
	}
	return 0;
}

int trace_groups_make(struct trace_groups *groups, const struct trace *trace, int disk,
		      size_t slowest)
{
	struct order all = { .trace = trace };
	uint64_t *time = calloc(trace->request_count + 1, sizeof(*time));
	int ret = -ENOMEM;

	all.number = calloc(trace->request_count + 1, sizeof(*all.number));
	*groups = (struct trace_groups){ .slowest = all.number };
	if (time && all.number) {
		for (size_t i = 0; i < trace->request_count; i++)
			if (disk < 0 || trace->request[i].disk == disk)
				all.number[all.count++] = (uint32_t)i;
		qsort_r(all.number, all.count, sizeof(*all.number), compare_groups, (void *)trace);
		ret = make_groups(groups, &all, time);
		qsort_r(all.number, all.count, sizeof(*all.number), compare_wholes, (void *)trace);
		groups->slowest_count = min(slowest, all.count);
	}
	if (ret)
		trace_groups_free(groups);
	free(time);
	return ret;
}

void trace_groups_free(struct trace_groups *groups)
{
	free(groups->group);
	free(groups->slowest);
	*groups = (struct trace_groups){ 0 };
}

uint64_t trace_layers_total(const struct trace_group *group)
{
	uint64_t total = 0;

	for (unsigned layer = 0; layer < TRACE_LAYERS; layer++)
		total += group->layer[layer].total;
	return total;
}
