// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/chrome.h"

#include <errno.h>
#include <inttypes.h>

#include "hw/base/util.h"
#include "vmm/json.h"
#include "vmm/trace/report_print.h"

struct writer {
	struct json json;
	const struct trace *trace;
	uint64_t origin; /* is time 0 */
	/* Perfetto wants no number twice, be it of a process or of a track. */
	unsigned process, last;
};

/* A doorbell or an interrupt, as its vCPU has it. */
struct mark {
	uint64_t begin, end;
	const struct trace_request *request;
	size_t thread;
	bool is_interrupt;
};

static const char *const span_tracks[TRACE_SPANS] = {
	[TRACE_SPAN_RUNNING] = "on CPU",
	[TRACE_SPAN_EXIT] = "out of the guest",
	[TRACE_SPAN_BATCH] = "batches",
	[TRACE_SPAN_POLL] = "polls",
};

/* The caller adds what else there is, and ends the object. */
static void begin_event(struct writer *writer, const char *phase, unsigned track, const char *name)
{
	json_object(&writer->json, NULL);
	json_string(&writer->json, "ph", phase);
	json_unsigned(&writer->json, "pid", writer->process);
	json_unsigned(&writer->json, "tid", track);
	json_string(&writer->json, "name", name);
}

/*
 * Perfetto multiplies microseconds by 1000 and cuts off the fraction, which floating
 * point may have put just below the number meant; so this lies a tenth above it.
 */
static void write_microseconds(struct writer *writer, const char *key, uint64_t ns)
{
	json_decimal(&writer->json, key, ns / 1000, 4, (unsigned)(ns % 1000) * 10 + 1);
}

static void begin_slice(struct writer *writer, unsigned track, const char *name, uint64_t begin,
			uint64_t end)
{
	begin_event(writer, "X", track, name);
	write_microseconds(writer, "ts", begin - writer->origin);
	write_microseconds(writer, "dur", end - begin);
}

/* One end of the request's flow: the bell's, or the interrupt's. */
static void write_flow(struct writer *writer, const struct trace_request *request,
		       bool is_interrupt, const char *end)
{
	char id[24];

	snprintf(id, sizeof(id), "0x%zx",
		 2 * (size_t)(request - writer->trace->request) + is_interrupt);
	json_string(&writer->json, "bind_id", id);
	json_bool(&writer->json, end, true);
}

static void write_name(struct writer *writer, const char *what, unsigned track, const char *name)
{
	char sort[32];

	snprintf(sort, sizeof(sort), "%s_name", what);
	begin_event(writer, "M", track, sort);
	json_object(&writer->json, "args");
	json_string(&writer->json, "name", name);
	json_end(&writer->json);
	json_end(&writer->json);

	snprintf(sort, sizeof(sort), "%s_sort_index", what);
	begin_event(writer, "M", track, sort);
	json_object(&writer->json, "args");
	json_unsigned(&writer->json, "sort_index", track);
	json_end(&writer->json);
	json_end(&writer->json);
}

static void new_process(struct writer *writer, const char *name)
{
	writer->process = ++writer->last;
	write_name(writer, "process", writer->process, name);
}

static unsigned new_track(struct writer *writer, const char *name)
{
	write_name(writer, "thread", ++writer->last, name);
	return writer->last;
}

/* False: what rang is not seen. */
static bool mark_doorbell(struct mark *mark, const struct trace *trace,
			  const struct trace_request *request)
{
	const struct trace_thread *bell = trace_thread(trace, request->bell_tid);
	const uint64_t *t = request->t;

	if (request->doorbell != TRACE_OWN || !t[TRACE_DOORBELL] || !bell)
		return false;
	*mark = (struct mark){
		.begin = t[TRACE_DOORBELL],
		.end = max(t[TRACE_DOORBELL], t[TRACE_WAKING]),
		.request = request,
		.thread = (size_t)(bell - trace->thread),
	};
	return true;
}

/*
 * The last step that is seen of its delivery; false: none is that begins after the
 * sending, for Perfetto drops a flow whose end it meets before its begin.
 */
static bool mark_interrupt(struct mark *mark, const struct trace *trace,
			   const struct trace_request *request)
{
	const struct trace_thread *vcpu = trace_vcpu(trace, request->vcpu);
	uint64_t begin = 0, end = 0;

	if (request->interrupt != TRACE_OWN || !vcpu)
		return false;
	for (unsigned stamp = TRACE_ROUTED; stamp <= TRACE_ENTRY; stamp++) {
		if (!request->t[stamp])
			continue;
		begin = end ? end : request->t[stamp];
		end = request->t[stamp];
	}
	*mark = (struct mark){
		.begin = begin,
		.end = end,
		.request = request,
		.thread = (size_t)(vcpu - trace->thread),
		.is_interrupt = true,
	};
	return request->t[TRACE_INTERRUPT] && begin > request->t[TRACE_INTERRUPT];
}

static int compare_marks(const void *a, const void *b)
{
	const struct mark *left = a, *right = b;
	int order = compare_numbers(left->thread, right->thread);

	return order ? order : compare_numbers(left->begin, right->begin);
}

/* By queue and by the time at which they began. */
static int compare_requests(const void *a, const void *b)
{
	const struct trace_request *left = *(const struct trace_request *const *)a;
	const struct trace_request *right = *(const struct trace_request *const *)b;
	int order = compare_numbers(left->disk, right->disk);

	if (!order)
		order = compare_numbers(left->queue, right->queue);
	if (!order)
		order = compare_numbers(left->t[trace_first(left)], right->t[trace_first(right)]);
	return order ? order : compare_numbers(left->seq, right->seq);
}

/* Returns how many there are of this thread's. */
static size_t write_marks(struct writer *writer, const struct mark *mark, size_t count,
			  size_t thread)
{
	unsigned track = 0;
	char name[64];
	size_t i;

	for (i = 0; i < count && mark[i].thread == thread; i++) {
		bool last = i + 1 == count || mark[i + 1].thread != thread;
		uint64_t end = last ? mark[i].end : min(mark[i].end, mark[i + 1].begin);

		if (!track) {
			snprintf(name, sizeof(name), "%s (%" PRIu32 ") doorbells, interrupts",
				 writer->trace->thread[thread].name,
				 writer->trace->thread[thread].tid);
			track = new_track(writer, name);
		}
		snprintf(name, sizeof(name), "%s disk %u queue %u",
			 mark[i].is_interrupt ? "interrupt" : "doorbell", mark[i].request->disk,
			 mark[i].request->queue);
		begin_slice(writer, track, name, mark[i].begin, end);
		write_flow(writer, mark[i].request, mark[i].is_interrupt,
			   mark[i].is_interrupt ? "flow_in" : "flow_out");
		json_end(&writer->json);
	}
	return i;
}

static const char *span_name(const struct trace *trace, const struct trace_span *span)
{
	switch (span->kind) {
	case TRACE_SPAN_EXIT:
		return span->reason < trace->reason_count ? trace->reason[span->reason].name :
							    "exit";
	case TRACE_SPAN_BATCH:
		return "batch";
	case TRACE_SPAN_POLL:
		return span->reason ? "hit" : "miss";
	default:
		return "running";
	}
}

static size_t write_spans(struct writer *writer, const struct trace_span *span, size_t count,
			  size_t thread)
{
	const struct trace_thread *owner = &writer->trace->thread[thread];
	unsigned track = 0;
	char name[64];
	size_t i;

	for (i = 0; i < count && span[i].thread == thread; i++) {
		bool last = i + 1 == count || span[i + 1].thread != thread ||
			    span[i + 1].kind != span[i].kind;

		if (!track || span[i].kind != span[i - 1].kind) {
			snprintf(name, sizeof(name), "%s (%" PRIu32 ") %s", owner->name,
				 owner->tid, span_tracks[span[i].kind]);
			track = new_track(writer, name);
		}
		begin_slice(writer, track, span_name(writer->trace, &span[i]), span[i].begin,
			    last ? span[i].end : min(span[i].end, span[i + 1].begin));
		json_end(&writer->json);
	}
	return i;
}

static int write_threads(struct writer *writer)
{
	const struct trace *trace = writer->trace;
	struct mark *marks = calloc(2 * trace->request_count + 1, sizeof(*marks));
	size_t count = 0, mark = 0, span = 0;

	if (!marks)
		return -ENOMEM;
	for (size_t i = 0; i < trace->request_count; i++) {
		count += mark_doorbell(&marks[count], trace, &trace->request[i]);
		count += mark_interrupt(&marks[count], trace, &trace->request[i]);
	}
	qsort(marks, count, sizeof(*marks), compare_marks);
	new_process(writer, "virtual machine");
	for (size_t i = 0; i < trace->thread_count; i++) {
		span += write_spans(writer, &trace->span[span], trace->span_count - span, i);
		mark += write_marks(writer, &marks[mark], count - mark, i);
	}
	free(marks);
	return 0;
}

static void write_request_args(struct writer *writer, const struct trace_request *request)
{
	json_object(&writer->json, "args");
	json_unsigned(&writer->json, "seq", request->seq);
	json_unsigned(&writer->json, "sector", request->sector);
	json_unsigned(&writer->json, "bytes", request->len);
	json_unsigned(&writer->json, "head", request->head);
	json_unsigned(&writer->json, "status", request->status);
	json_string(&writer->json, "doorbell", trace_way_words[request->doorbell].name);
	json_string(&writer->json, "interrupt", trace_way_words[request->interrupt].name);
	json_end(&writer->json);
}

static void write_request(struct writer *writer, unsigned track,
			  const struct trace_request *request)
{
	uint64_t ns[TRACE_LAYERS], at = request->t[trace_first(request)];
	struct mark mark;

	trace_layers(request, ns);
	begin_slice(writer, track, trace_op_name(request->op), at, at + trace_whole(request));
	write_request_args(writer, request);
	json_end(&writer->json);
	/* One without length at the end of its request would count as behind it. */
	for (unsigned i = 0; i < TRACE_LAYERS; at += ns[i++]) {
		if (!ns[i])
			continue;
		begin_slice(writer, track, trace_layer_words[i].name, at, at + ns[i]);
		if (at == request->t[TRACE_POP] && mark_doorbell(&mark, writer->trace, request))
			write_flow(writer, request, false, "flow_in");
		else if (at == request->t[TRACE_INTERRUPT] &&
			 mark_interrupt(&mark, writer->trace, request))
			write_flow(writer, request, true, "flow_out");
		json_end(&writer->json);
	}
}

/*
 * Tracks of a queue on which requests lie one after the other, and when the last one of
 * each ends: a tree, of which end[1] is the root, 2n and 2n + 1 are under n, and what is
 * not a leaf is the lesser of the two.
 */
struct lanes {
	uint64_t *end;
	size_t leaves; /* as many as there are requests, or more */
	size_t count;  /* of those in use */
};

static void set_end(struct lanes *lanes, size_t lane, uint64_t end)
{
	size_t node = lanes->leaves + lane;

	for (lanes->end[node] = end; node /= 2;)
		lanes->end[node] = min(lanes->end[2 * node], lanes->end[2 * node + 1]);
}

/* Put a request on the first track that is free.  Returns the track. */
static unsigned use_lane(struct writer *writer, struct lanes *lanes, uint64_t begin, uint64_t end)
{
	size_t node = 1, lane;
	char name[32];

	while (node < lanes->leaves)
		node = 2 * node + (lanes->end[2 * node] > begin);
	lane = node - lanes->leaves;
	set_end(lanes, lane, end);
	if (lane == lanes->count) {
		snprintf(name, sizeof(name), "in flight: %zu", ++lanes->count);
		new_track(writer, name);
	}
	/* Their numbers follow that of their process. */
	return writer->process + 1 + (unsigned)lane;
}

static void new_queue(struct writer *writer, const struct trace_request *request)
{
	const struct trace *trace = writer->trace;
	char name[128];

	snprintf(name, sizeof(name), "disk %u queue %u %s", request->disk, request->queue,
		 request->disk < trace->disk_count ? trace->disk[request->disk].name : "");
	new_process(writer, name);
}

static int write_queues(struct writer *writer, const struct trace_request **requests)
{
	const struct trace_request *before = NULL, *request;
	struct lanes lanes = { .leaves = 1 };

	while (lanes.leaves < writer->trace->request_count)
		lanes.leaves *= 2;
	lanes.end = calloc(2 * lanes.leaves, sizeof(*lanes.end));
	if (!lanes.end)
		return -ENOMEM;
	for (size_t i = 0; i < writer->trace->request_count; i++, before = request) {
		uint64_t begin;

		request = requests[i];
		if (!before || before->disk != request->disk || before->queue != request->queue) {
			new_queue(writer, request);
			while (lanes.count)
				set_end(&lanes, --lanes.count, 0);
		}
		begin = request->t[trace_first(request)];
		write_request(writer,
			      use_lane(writer, &lanes, begin, begin + trace_whole(request)),
			      request);
	}
	free(lanes.end);
	return 0;
}

static int write_requests(struct writer *writer)
{
	const struct trace *trace = writer->trace;
	const struct trace_request **requests = calloc(trace->request_count + 1,
						       sizeof(*requests));
	int ret;

	if (!requests)
		return -ENOMEM;
	for (size_t i = 0; i < trace->request_count; i++)
		requests[i] = &trace->request[i];
	qsort(requests, trace->request_count, sizeof(*requests), compare_requests);
	ret = write_queues(writer, requests);
	free(requests);
	return ret;
}

static uint64_t find_origin(const struct trace *trace)
{
	uint64_t origin = trace->begin;

	for (size_t i = 0; i < trace->request_count; i++)
		origin = min(origin, trace->request[i].t[trace_first(&trace->request[i])]);
	for (size_t i = 0; i < trace->span_count; i++)
		origin = min(origin, trace->span[i].begin);
	return origin;
}

int trace_chrome_write(const struct trace *trace, FILE *file)
{
	struct writer writer = {
		.json = { .file = file, .lines = 2 },
		.trace = trace,
		.origin = find_origin(trace),
	};
	int ret;

	json_object(&writer.json, NULL);
	json_array(&writer.json, "traceEvents");
	ret = write_threads(&writer);
	if (!ret)
		ret = write_requests(&writer);
	json_end(&writer.json);
	json_object(&writer.json, "otherData");
	json_string(&writer.json, "clock", "CLOCK_MONOTONIC");
	json_unsigned(&writer.json, "origin_ns", writer.origin);
	json_unsigned(&writer.json, "lost_events", trace->counters.lost);
	json_end(&writer.json);
	json_end(&writer.json);
	if (fflush(file))
		return -errno;
	return ferror(file) ? -EIO : ret;
}
