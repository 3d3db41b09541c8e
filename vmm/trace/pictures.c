// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/pictures.h"

#include <errno.h>
#include <string.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/trace/chrome.h"
#include "vmm/trace/layers.h"
#include "vmm/trace/svg.h"

/* What a browser's tab holds a few times over is about what Perfetto opens. */
#define LARGE_MB 500

static void keep_requests(struct trace *trace, int disk)
{
	size_t kept = 0;

	for (size_t i = 0; i < trace->request_count; i++) {
		const struct trace_request *request = &trace->request[i];
		uint64_t begin = request->t[trace_first(request)];

		if (begin >= trace->begin && begin < trace->end &&
		    (disk < 0 || request->disk == disk))
			trace->request[kept++] = *request;
	}
	trace->request_count = kept;
}

/* Cut at both ends, or one that is much longer would move the pictures' time 0. */
static void keep_spans(struct trace *trace)
{
	size_t kept = 0;

	for (size_t i = 0; i < trace->span_count; i++) {
		struct trace_span span = trace->span[i];

		span.begin = max(span.begin, trace->begin);
		span.end = min(span.end, trace->end);
		if (span.begin < span.end)
			trace->span[kept++] = span;
	}
	trace->span_count = kept;
}

/* The whole stays as it is: something of it may lie outside of its events. */
static void keep_part(struct trace *trace, const struct trace_pictures *pictures)
{
	if (!pictures->from && !pictures->to && pictures->disk < 0)
		return;
	if (pictures->to)
		trace->end = trace->begin + min(pictures->to, trace->end - trace->begin);
	trace->begin += min(pictures->from, trace->end - trace->begin);
	keep_requests(trace, pictures->disk);
	keep_spans(trace);
}

static int write_file(const struct trace *trace, const char *name,
		      int (*write)(const struct trace *trace, FILE *file))
{
	FILE *file = fopen(name, "we");
	long size;
	int ret;

	if (!file) {
		ret = -errno;
		log_error("%s: cannot be created: %s", name, strerror(errno));
		return ret;
	}
	ret = write(trace, file);
	size = ftell(file);
	if (fclose(file) && ret == 0)
		ret = -errno;
	if (ret)
		log_error("%s: cannot be written: %s", name, strerror(-ret));
	else if (size >> 20 >= LARGE_MB)
		log_warn("%s: %ld MiB may be too much for a browser; --from, --to and --disk make "
			 "it smaller", name, size >> 20);
	return ret;
}

int trace_pictures_write(struct trace *trace, const struct trace_pictures *pictures)
{
	int ret = 0;

	keep_part(trace, pictures);
	if (pictures->chrome)
		ret = write_file(trace, pictures->chrome, trace_chrome_write);
	if (ret == 0 && pictures->svg)
		ret = write_file(trace, pictures->svg, trace_svg_write);
	return ret;
}
