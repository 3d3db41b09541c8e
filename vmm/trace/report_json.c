// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/util.h"
#include "vmm/json.h"
#include "vmm/stats.h"
#include "vmm/trace/guest.h"
#include "vmm/trace/report_print.h"

/* Bumped when the same name no longer means the same: Documentation/trace.schema.json. */
#define SCHEMA_VERSION 1

static const char *const stamp_names[TRACE_STAMPS] = {
	[TRACE_ISSUE] = "issue",       [TRACE_EXIT] = "exit",
	[TRACE_DOORBELL] = "doorbell", [TRACE_WAKING] = "waking",
	[TRACE_RUNNING] = "running",   [TRACE_POP] = "pop",
	[TRACE_SUBMIT] = "submit",     [TRACE_ENTER] = "enter",
	[TRACE_COMPLETE] = "complete", [TRACE_PUSH] = "push",
	[TRACE_PUBLISH] = "publish",   [TRACE_INTERRUPT] = "interrupt",
	[TRACE_ROUTED] = "routed",     [TRACE_ACCEPT] = "accept",
	[TRACE_INJECT] = "inject",     [TRACE_ENTRY] = "entry",
	[TRACE_DONE] = "done",
};

static void write_recording(struct json *json, const struct trace *trace)
{
	json_object(json, "recording");
	json_unsigned(json, "begin_ns", trace->begin);
	json_unsigned(json, "end_ns", trace->end);
	json_unsigned(json, "events", trace->counters.events);
	json_unsigned(json, "lost_events", trace->counters.lost);
	json_unsigned(json, "requests", trace->request_count);
	json_unsigned(json, "begun_before", trace->counters.begun_before);
	json_unsigned(json, "not_ended", trace->counters.not_ended);
	json_unsigned(json, "torn", trace->counters.torn);
	json_unsigned(json, "broken_lines", trace->counters.broken);
	json_unsigned(json, "stray_events", trace->counters.stray);
	json_unsigned(json, "disordered_stamps", trace->counters.disordered);
	json_unsigned(json, "unclear_doorbells", trace->counters.doorbells_unclear);
	if (trace->guest)
		json_unsigned(json, "guest_error_ns", trace->guest->error);
	json_array(json, "not_shown");
	for (unsigned i = TRACE_EXIT; i < TRACE_DONE; i++)
		if (!trace->shows[i])
			json_string(json, NULL, stamp_names[i]);
	json_end(json);
	json_end(json);
}

static void write_summary(struct json *json, const char *key, const struct trace_summary *summary)
{
	json_object(json, key);
	json_unsigned(json, "count", summary->count);
	json_unsigned(json, "total_ns", summary->total);
	json_unsigned(json, "min_ns", summary->min);
	json_unsigned(json, "p50_ns", summary->p50);
	json_unsigned(json, "p90_ns", summary->p90);
	json_unsigned(json, "p99_ns", summary->p99);
	json_unsigned(json, "p999_ns", summary->p999);
	json_unsigned(json, "max_ns", summary->max);
	json_end(json);
}

/* All but those of the bits @never. */
static void write_ways(struct json *json, const char *key, const uint64_t *count, unsigned never)
{
	json_object(json, key);
	for (unsigned i = 0; i < TRACE_WAYS; i++)
		if (!(never & 1u << i))
			json_unsigned(json, trace_way_words[i].name, count[i]);
	json_end(json);
}

static void write_group(struct json *json, const struct trace_group *group)
{
	json_object(json, NULL);
	json_unsigned(json, "disk", group->disk);
	json_string(json, "operation", trace_op_name(group->op));
	json_unsigned(json, "type", group->op);
	json_unsigned(json, "requests", group->whole.count);
	json_unsigned(json, "bytes", group->bytes);
	json_unsigned(json, "failed", group->errors);
	json_object(json, "layers");
	for (unsigned i = 0; i < TRACE_LAYERS; i++)
		if (group->layer[i].count)
			write_summary(json, trace_layer_words[i].key, &group->layer[i]);
	json_end(json);
	write_summary(json, "whole", &group->whole);
	write_summary(json, "full", &group->full);
	write_summary(json, "part", &group->part);
	write_ways(json, "doorbell", group->doorbell, 1u << TRACE_SUPPRESSED | 1u << TRACE_HELD);
	write_ways(json, "interrupt", group->interrupt, 1u << TRACE_POLLED);
	stats_write_buckets(json, &group->wholes);
	json_end(json);
}

static void write_request(struct json *json, const struct trace_request *request)
{
	json_object(json, NULL);
	json_unsigned(json, "disk", request->disk);
	json_unsigned(json, "queue", request->queue);
	json_unsigned(json, "seq", request->seq);
	json_unsigned(json, "head", request->head);
	json_string(json, "operation", trace_op_name(request->op));
	json_unsigned(json, "sector", request->sector);
	json_unsigned(json, "bytes", request->len);
	json_unsigned(json, "status", request->status);
	json_string(json, "doorbell", trace_way_words[request->doorbell].name);
	json_string(json, "interrupt", trace_way_words[request->interrupt].name);
	json_unsigned(json, "whole_ns", trace_whole(request));
	json_object(json, "stamps");
	for (unsigned i = 0; i < TRACE_STAMPS; i++)
		if (request->t[i])
			json_unsigned(json, stamp_names[i], request->t[i]);
	json_end(json);
	json_end(json);
}

static void write_queue(struct json *json, const struct trace_queue *queue)
{
	json_object(json, NULL);
	json_unsigned(json, "disk", queue->disk);
	json_unsigned(json, "queue", queue->index);
	json_unsigned(json, "thread", queue->tid);
	json_unsigned(json, "pops", queue->pops);
	json_unsigned(json, "pushes", queue->pushes);
	json_unsigned(json, "publishes", queue->publishes);
	json_unsigned(json, "doorbells", queue->doorbells);
	json_unsigned(json, "doorbells_extra", queue->doorbells_extra);
	json_unsigned(json, "doorbells_idle", queue->doorbells_idle);
	json_unsigned(json, "interrupts", queue->interrupts);
	json_unsigned(json, "suppressed", queue->suppressed);
	json_unsigned(json, "held", queue->held);
	json_end(json);
}

static void write_thread(struct json *json, const struct trace_thread *thread)
{
	json_object(json, NULL);
	json_unsigned(json, "tid", thread->tid);
	json_string(json, "name", thread->name);
	if (thread->vcpu != TRACE_NO_VCPU)
		json_unsigned(json, "vcpu", thread->vcpu);
	if (thread->serves) {
		json_unsigned(json, "sleeps", thread->sleeps);
		json_unsigned(json, "poll_hits", thread->poll_hits);
		json_unsigned(json, "poll_hit_ns", thread->hit_ns);
		json_unsigned(json, "poll_misses", thread->poll_misses);
		json_unsigned(json, "poll_miss_ns", thread->miss_ns);
	}
	json_end(json);
}

static void write_lists(struct json *json, const struct trace *trace)
{
	json_array(json, "disks");
	for (size_t i = 0; i < trace->disk_count; i++) {
		json_object(json, NULL);
		json_unsigned(json, "disk", i);
		json_string(json, "name", trace->disk[i].name);
		json_unsigned(json, "queues", trace->disk[i].queues);
		json_end(json);
	}
	json_end(json);
	json_array(json, "queues");
	for (size_t i = 0; i < trace->queue_count; i++)
		write_queue(json, &trace->queue[i]);
	json_end(json);
	json_array(json, "threads");
	for (size_t i = 0; i < trace->thread_count; i++)
		write_thread(json, &trace->thread[i]);
	json_end(json);
	json_array(json, "exits");
	for (size_t i = 0; i < trace->reason_count; i++) {
		json_object(json, NULL);
		json_string(json, "reason", trace->reason[i].name);
		json_unsigned(json, "count", trace->reason[i].count);
		json_end(json);
	}
	json_end(json);
}

void trace_print_json(const struct trace *trace, const struct trace_groups *groups, FILE *out)
{
	struct json json = { .file = out, .lines = 3 };

	json_object(&json, NULL);
	json_unsigned(&json, "vmm_trace", SCHEMA_VERSION);
	write_recording(&json, trace);
	if (trace->guest)
		trace_guest_write(trace->guest, &json);
	json_array(&json, "groups");
	for (size_t i = 0; i < groups->count; i++)
		write_group(&json, &groups->group[i]);
	json_end(&json);
	json_array(&json, "slowest");
	for (size_t i = 0; i < groups->slowest_count; i++)
		write_request(&json, &trace->request[groups->slowest[i]]);
	json_end(&json);
	write_lists(&json, trace);
	json_end(&json);
}
