// SPDX-License-Identifier: BSD-2-Clause
#include <inttypes.h>
#include <string.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"
#include "vmm/number.h"
#include "vmm/trace/report_print.h"

#define BAR_COLUMNS 44
#define HISTOGRAM_LINES 24

struct trace_time trace_time(uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	struct trace_time time;
	double value = (double)ns;
	unsigned unit = 0;

	/* What would be printed as 1000 is 1 of the next unit. */
	for (; value >= 999.5 && unit + 1 < array_size(units); unit++)
		value /= 1000;
	snprintf(time.text, sizeof(time.text), value < 100 ? "%.3g%s" : "%.0f%s", value,
		 units[unit]);
	return time;
}

const struct trace_way_words trace_way_words[TRACE_WAYS] = {
	[TRACE_OWN] = { "own",
		"popped first after a doorbell; published first with an interrupt" },
	[TRACE_COALESCED] = { "coalesced", "together with one that has it" },
	[TRACE_POLLED] = { "polled", "found by a look into the ring" },
	[TRACE_SUPPRESSED] = { "suppressed", "the driver does not want any" },
	[TRACE_HELD] = { "held", "it could not be sent" },
	[TRACE_UNKNOWN] = { "unknown", "the recording cannot tell" },
};

/* --- A group --- */

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_time(FILE *out, uint64_t ns)
{
	fprintf(out, " %7s", trace_time(ns).text);
}

static void print_summary(FILE *out, const char *name, const struct trace_summary *summary,
			  uint64_t whole)
{
	if (!summary->count)
		return;
	fprintf(out, "  %-10s %9" PRIu64 " %6.1f%%", name, summary->count,
		percent(summary->total, whole));
	print_time(out, summary->total / summary->count);
	print_time(out, summary->p50);
	print_time(out, summary->p90);
	print_time(out, summary->p99);
	print_time(out, summary->p999);
	print_time(out, summary->max);
	putc('\n', out);
}

static void print_disk(const struct trace *trace, unsigned disk, FILE *out)
{
	fprintf(out, "disk %u", disk);
	if (disk < trace->disk_count && *trace->disk[disk].name)
		fprintf(out, " (%s)", trace->disk[disk].name);
}

/* Where the two sums are not the same, the program is wrong. */
static void print_sums(const struct trace_group *group, FILE *out)
{
	uint64_t layers = trace_layers_total(group), whole = group->whole.total;

	fprintf(out, "  sum of all layers %.6f s, of all wholes %.6f s: difference %.2f%%\n",
		(double)layers / (double)NS_PER_S, (double)whole / (double)NS_PER_S,
		percent(layers > whole ? layers - whole : whole - layers, whole));
}

static void print_ways(FILE *out, const char *what, const uint64_t *count)
{
	const char *gap = "";

	fprintf(out, "  %-10s ", what);
	for (unsigned i = 0; i < TRACE_WAYS; i++)
		if (count[i]) {
			fprintf(out, "%s%s %" PRIu64, gap, trace_way_words[i].name, count[i]);
			gap = ", ";
		}
	putc('\n', out);
}

static void print_bar(FILE *out, unsigned first, unsigned end, uint64_t count, uint64_t most)
{
	unsigned columns = (unsigned)(((double)count * BAR_COLUMNS + (double)most - 1) /
				      (double)most);

	fprintf(out, "  %7s .. %-7s %9" PRIu64 "  ",
		trace_time(histogram_bucket_start(first)).text,
		end < HISTOGRAM_BUCKETS ? trace_time(histogram_bucket_start(end)).text : "", count);
	for (unsigned i = 0; i < columns; i++)
		putc('#', out);
	putc('\n', out);
}

/* So many buckets to a line that the lines are not too many. */
static void print_histogram(const struct trace_group *group, FILE *out)
{
	unsigned first = histogram_bucket(group->whole.min);
	unsigned last = histogram_bucket(group->whole.max), step = 1;
	uint64_t line[HISTOGRAM_LINES] = { 0 }, most = 0;

	while (last / step - first / step >= HISTOGRAM_LINES)
		step *= 2;
	first -= first % step;
	for (unsigned i = first; i <= last; i++) {
		line[(i - first) / step] += group->wholes.bucket[i];
		most = max(most, line[(i - first) / step]);
	}
	fprintf(out, "\n  whole: from .. to   requests\n");
	for (unsigned i = first; i <= last; i += step)
		print_bar(out, i, i + step, line[(i - first) / step], most);
}

static void print_group(const struct trace *trace, const struct trace_group *group, FILE *out)
{
	char bytes[NUMBER_BYTES_LEN];

	putc('\n', out);
	print_disk(trace, group->disk, out);
	fprintf(out, ", %s: %" PRIu64 " requests, %s", trace_op_name(group->op), group->whole.count,
		number_format_bytes(bytes, group->bytes));
	if (group->errors)
		fprintf(out, ", %" PRIu64 " failed", group->errors);
	fprintf(out, "\n\n  %-10s %9s %7s %7s %7s %7s %7s %7s %7s\n", "layer", "count", "share",
		"mean", "p50", "p90", "p99", "p99.9", "max");
	for (unsigned i = 0; i < TRACE_LAYERS; i++)
		print_summary(out, trace_layer_words[i].name, &group->layer[i], group->whole.total);
	print_summary(out, "whole", &group->whole, group->whole.total);
	if (group->full.count && group->part.count) {
		print_summary(out, "  full", &group->full, group->whole.total);
		print_summary(out, "  part", &group->part, group->whole.total);
	}
	print_sums(group, out);
	print_ways(out, "doorbells", group->doorbell);
	print_ways(out, "interrupts", group->interrupt);
	print_histogram(group, out);
}

/* --- What the words mean --- */

static bool has_layer(const struct trace_groups *groups, unsigned layer)
{
	for (size_t i = 0; i < groups->count; i++)
		if (groups->group[i].layer[layer].count)
			return true;
	return false;
}

static bool has_way(const struct trace_groups *groups, unsigned way)
{
	for (size_t i = 0; i < groups->count; i++)
		if (groups->group[i].doorbell[way] || groups->group[i].interrupt[way])
			return true;
	return false;
}

static void print_legend(const struct trace *trace, const struct trace_groups *groups, FILE *out)
{
	fputs("\nLayers, each from where the one before it ends:\n", out);
	for (unsigned i = 0; i < TRACE_LAYERS; i++)
		if (has_layer(groups, i))
			fprintf(out, "  %-10s %s\n", trace_layer_words[i].name, trace_layer_words[i].help);
	/* By what this host shows. */
	fprintf(out, "  %-10s from its %s, or its pop if it has no doorbell of its own,\n"
		"  %-10s to its %s, or its publish if it has none\n", "whole",
		trace->guest ? "issue" : trace->shows[TRACE_EXIT] ? "exit" : "doorbell", "",
		trace->guest ? "end in the guest" :
		trace->shows[TRACE_ENTRY] ? "interrupt's entry" : "interrupt's acceptance");
	fprintf(out, "  %-10s with a doorbell and an interrupt of its own; part: all others\n",
		"full");
	fprintf(out, "  %-10s of the sum of all wholes\n", "share");
	fputs("Doorbells and interrupts:\n", out);
	for (unsigned i = 0; i < TRACE_WAYS; i++)
		if (has_way(groups, i))
			fprintf(out, "  %-10s %s\n", trace_way_words[i].name,
				trace_way_words[i].help);
}

/* What the figures lack, and where it went. */
static void print_absent(const struct trace *trace, FILE *out)
{
	static const struct {
		enum trace_stamp stamp;
		const char *what;
	} known[] = {
		{ TRACE_EXIT, "kvm_exit: the whole begins with the doorbell" },
		{ TRACE_DOORBELL, "kvm_mmio, kvm_fast_mmio, kvm_pio: the whole begins with the pop" },
		{ TRACE_WAKING, "sched_waking: the wake-up is part of CPU wait" },
		{ TRACE_RUNNING, "switches of threads: wake-up and CPU wait are part of pop" },
		{ TRACE_ROUTED, "kvm_msi_set_irq, kvm_set_irq: interrupts are not followed" },
		{ TRACE_ACCEPT, "kvm_apic_accept_irq: interrupts are not followed to the vCPU" },
		{ TRACE_INJECT, "kvm_inj_virq: there is no inject" },
		{ TRACE_ENTRY, "kvm_entry: the whole ends when a local APIC has the interrupt" },
	};
	const char *title = "\nThis host does not show:\n";

	for (unsigned i = 0; i < array_size(known); i++)
		if (!trace->shows[known[i].stamp]) {
			fprintf(out, "%s  %s\n", title, known[i].what);
			title = "";
		}
}

/* --- The slowest --- */

static void print_slow(const struct trace *trace, const struct trace_request *request,
		       unsigned shown, FILE *out)
{
	uint64_t ns[TRACE_LAYERS];
	unsigned has = trace_layers(request, ns);

	fprintf(out, "  %7s", trace_time(trace_whole(request)).text);
	for (unsigned i = 0; i < TRACE_LAYERS; i++)
		if (shown >> i & 1)
			fprintf(out, "%7s", has >> i & 1 ? trace_time(ns[i]).text : "-");
	fprintf(out, "\n      %s %u at %" PRIu64 ", disk %u queue %u seq %" PRIu64 ", %.6f s",
		trace_op_name(request->op), request->len, request->sector, request->disk,
		request->queue, request->seq,
		(double)(request->t[TRACE_POP] - trace->begin) / (double)NS_PER_S);
	if (request->doorbell != TRACE_OWN || request->interrupt != TRACE_OWN)
		fprintf(out, "\n      doorbell %s, interrupt %s",
			trace_way_words[request->doorbell].name,
			trace_way_words[request->interrupt].name);
	if (request->status)
		fprintf(out, ", status %u", request->status);
	putc('\n', out);
}

static void print_slowest(const struct trace *trace, const struct trace_groups *groups, FILE *out)
{
	uint64_t ns[TRACE_LAYERS];
	unsigned shown = 0;

	if (!groups->slowest_count)
		return;
	for (size_t i = 0; i < groups->slowest_count; i++)
		shown |= trace_layers(&trace->request[groups->slowest[i]], ns);
	fprintf(out, "\nThe slowest %zu: layer by layer; then operation, bytes and sector, and when\n"
		"it was popped, from the recording's begin on\n\n    whole", groups->slowest_count);
	for (unsigned i = 0; i < TRACE_LAYERS; i++)
		if (shown >> i & 1)
			fprintf(out, "%7s", trace_layer_words[i].abbreviation);
	putc('\n', out);
	for (size_t i = 0; i < groups->slowest_count; i++)
		print_slow(trace, &trace->request[groups->slowest[i]], shown, out);
}

/* --- Counters --- */

static void print_queues(const struct trace *trace, FILE *out)
{
	struct trace_queue sum = { 0 };

	for (size_t i = 0; i < trace->queue_count; i++) {
		const struct trace_queue *queue = &trace->queue[i];

		sum.doorbells += queue->doorbells;
		sum.doorbells_extra += queue->doorbells_extra;
		sum.doorbells_idle += queue->doorbells_idle;
		sum.pops += queue->pops;
		sum.pushes += queue->pushes;
		sum.publishes += queue->publishes;
		sum.suppressed += queue->suppressed;
		sum.interrupts += queue->interrupts;
		sum.held += queue->held;
	}
	fprintf(out, "  requests     %" PRIu64 " popped, %" PRIu64 " pushed, in %" PRIu64
		" publishes\n", sum.pops, sum.pushes, sum.publishes);
	fprintf(out, "  doorbells    %" PRIu64 " rung: %" PRIu64 " while one was waiting, %" PRIu64
		" with nothing to pop\n", sum.doorbells, sum.doorbells_extra, sum.doorbells_idle);
	fprintf(out, "  interrupts   %" PRIu64 " sent; %" PRIu64 " publishes suppressed, %" PRIu64
		" held\n", sum.interrupts, sum.suppressed, sum.held);
}

static void print_threads(const struct trace *trace, FILE *out)
{
	for (size_t i = 0; i < trace->thread_count; i++) {
		const struct trace_thread *thread = &trace->thread[i];

		if (!thread->serves)
			continue;
		fprintf(out, "  %-12s %" PRIu64 " sleeps; it spun with success %" PRIu64
			" times (mean %s),\n%15swithout %" PRIu64 " times (mean %s)\n", thread->name,
			thread->sleeps, thread->poll_hits,
			trace_time(thread->hit_ns / max(thread->poll_hits, 1ULL)).text, "",
			thread->poll_misses,
			trace_time(thread->miss_ns / max(thread->poll_misses, 1ULL)).text);
	}
}

static void print_exits(const struct trace *trace, FILE *out)
{
	for (size_t i = 0; i < trace->reason_count; i++)
		fprintf(out, "  %-12s %s %" PRIu64 "\n", i ? "" : "exits", trace->reason[i].name,
			trace->reason[i].count);
}

static void print_counters(const struct trace *trace, FILE *out)
{
	const struct trace_counters *counters = &trace->counters;

	fprintf(out, "\nCounters of the whole recording\n");
	print_queues(trace, out);
	fprintf(out, "  not above    %" PRIu64 " begun before the recording, %" PRIu64
		" not ended in it, %" PRIu64 " torn\n", counters->begun_before, counters->not_ended,
		counters->torn);
	print_threads(trace, out);
	print_exits(trace, out);
	fprintf(out, "  events       %" PRIu64 ", %" PRIu64 " lost\n", counters->events,
		counters->lost);
	if (counters->doorbells_unclear)
		fprintf(out, "  unclear      %" PRIu64 " doorbells of queues that share an address\n",
			counters->doorbells_unclear);
	if (counters->stray || counters->disordered || counters->broken)
		fprintf(out, "  damage       %" PRIu64 " lines unreadable, %" PRIu64
			" events astray, %" PRIu64 " times disordered\n",
			counters->broken, counters->stray, counters->disordered);
}

/* --- The whole --- */

static void print_losses(const struct trace *trace, FILE *out)
{
	const struct trace_counters *counters = &trace->counters;

	if (!counters->lost)
		return;
	fprintf(out, "\nWARNING: perf lost %" PRIu64 " events, ", counters->lost);
	if (counters->lost_at)
		fprintf(out, "the first of them %.6f s after the begin.\n",
			(double)(counters->lost_at - trace->begin) / (double)NS_PER_S);
	else
		fputs("at the end.\n", out);
	fprintf(out, "  Requests that were under way then are left out (%" PRIu64 "), so the slow "
		"ones may be\n  missing; and all counters are too low.  Record again with a larger "
		"--buffer.\n", counters->torn);
}

void trace_print_text(const struct trace *trace, const struct trace_groups *groups, FILE *out)
{
	fprintf(out, "%.3f s, %" PRIu64 " events, %zu requests from pop to publish\n",
		(double)(trace->end - trace->begin) / (double)NS_PER_S, trace->counters.events,
		trace->request_count);
	print_losses(trace, out);
	for (size_t i = 0; i < groups->count; i++)
		print_group(trace, &groups->group[i], out);
	if (groups->count)
		print_legend(trace, groups, out);
	else
		fprintf(out, "\nNo request%s has its whole way in this recording.\n",
			trace->request_count ? " of that disk" : "");
	print_absent(trace, out);
	print_slowest(trace, groups, out);
	print_counters(trace, out);
}
