// SPDX-License-Identifier: BSD-2-Clause
/* A trace from a file: perf script reads it, and its lines are taken as they come. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/file.h"
#include "vmm/trace/join.h"
#include "vmm/trace/perf.h"
#include "vmm/trace/perf_data.h"
#include "vmm/trace/trace.h"

/* So that perf script need not wait for each line to be taken. */
#define PIPE_SIZE (1 << 20)
/* From when it has nowhere left to print to. */
#define PERF_TIMEOUT_MS 60000

struct trace_thread *trace_thread(const struct trace *trace, uint64_t tid)
{
	uint32_t at = tid < trace->tid_count ? trace->thread_of_tid[tid] : 0;

	return at ? &trace->thread[at - 1] : NULL;
}

struct trace_thread *trace_vcpu(const struct trace *trace, uint64_t vcpu)
{
	uint32_t at = vcpu < TRACE_VCPUS ? trace->thread_of_vcpu[vcpu] : 0;

	return at ? &trace->thread[at - 1] : NULL;
}

const char *trace_op_name(unsigned op)
{
	static const char *const names[] = {
		[0] = "read", [1] = "write", [4] = "flush", [8] = "get-id",
		[11] = "discard", [13] = "write-zeroes",
	};

	if (op < sizeof(names) / sizeof(*names) && names[op])
		return names[op];
	return op == 255 ? "unreadable" : "unknown";
}

void trace_free(struct trace *trace)
{
	free(trace->request);
	free(trace->disk);
	free(trace->queue);
	free(trace->thread);
	free(trace->thread_of_tid);
	free(trace->span);
	free(trace->reason);
	free(trace->clock);
	*trace = (struct trace){ 0 };
}

static int read_lines(struct trace *trace, struct tape *tape, FILE *text)
{
	struct trace_event event;
	char *line = NULL;
	size_t room = 0;
	int ret = 0;

	while (ret == 0 && getline(&line, &room, text) >= 0) {
		int is_event = trace_event_parse(&event, line);

		if (is_event < 0)
			trace->counters.broken++;
		else if (is_event)
			ret = tape_add(tape, trace, &event);
	}
	if (ret == 0 && ferror(text))
		ret = -EIO;
	free(line);
	return ret;
}

static int load(struct trace *trace, FILE *text, const char *name)
{
	struct tape tape = { 0 };
	int ret = read_lines(trace, &tape, text);

	if (ret == 0)
		ret = tape_sort(&tape);
	if (ret == 0)
		ret = trace_join(trace, &tape);
	if (ret)
		log_error("%s: cannot be loaded: %s", name, strerror(-ret));
	tape_free(&tape);
	return ret;
}

/* What is no recording of vmm has no probe of vmm's in it. */
static int judge(const struct trace *trace, const char *name)
{
	for (unsigned i = TRACE_POP; i <= TRACE_INTERRUPT; i++)
		if (trace->shows[i])
			return 0;
	if (trace->counters.broken)
		log_error("%s: %llu lines of it are not of perf script", name,
			  (unsigned long long)trace->counters.broken);
	log_error("%s: no request of a vmm in it: was it made by 'vmm trace record', while the "
		  "guest used its disk?", name);
	return -ENODATA;
}

int trace_load_text(struct trace *trace, FILE *text, const char *name)
{
	int ret;

	*trace = (struct trace){ 0 };
	ret = load(trace, text, name);
	if (ret == 0)
		ret = judge(trace, name);
	if (ret)
		trace_free(trace);
	return ret;
}

/* --- perf script --- */

/* What the file says of losses tells also of those after which nothing came. */
static int check_file(const char *file, uint64_t *lost)
{
	struct perf_data_counts counts;
	uint64_t size;
	int fd = file_open_regular(AT_FDCWD, file, &size), ret;

	if (fd < 0) {
		log_error("%s: cannot open: %s", file, strerror(-fd));
		return fd;
	}
	close(fd);
	ret = perf_data_count(file, &counts);
	if (ret == -EINVAL)
		log_error("%s: not a recording, or not all of one", file);
	else if (ret)
		log_error("%s: cannot read: %s", file, strerror(-ret));
	*lost = counts.lost;
	return ret;
}

/* Have perf print what is in @file: the pipe that it comes out of, or -errno. */
static int start_perf(struct perf *perf, const char *file)
{
	struct perf_command command = { 0 };
	int ends[2], ret;

	if (pipe2(ends, O_CLOEXEC)) {
		ret = -errno;
		log_error("pipe: %s", strerror(errno));
		return ret;
	}
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
	command.output = ends[1];
	perf_add(&command, "perf");
	perf_add(&command, "script");
	perf_add(&command, "-i");
	perf_add(&command, "%s", file);
	perf_add(&command, "--ns");
	perf_add(&command, "--show-switch-events");
	perf_add(&command, "--show-lost-events");
	perf_add(&command, "-F");
	perf_add(&command, "comm,tid,cpu,time,event,trace");
	ret = perf_start(perf, &command, NULL);
	perf_free(&command);
	close(ends[1]);
	if (!ret)
		return ends[0];
	close(ends[0]);
	return ret;
}

static int load_pipe(struct trace *trace, int pipe, const char *name)
{
	FILE *text = fdopen(pipe, "r");
	int ret;

	if (!text) {
		log_error("out of memory");
		close(pipe);
		return -ENOMEM;
	}
	ret = load(trace, text, name);
	fclose(text);
	return ret;
}

int trace_load(struct trace *trace, const char *file)
{
	struct perf perf;
	uint64_t lost;
	int pipe, ended, ret;

	*trace = (struct trace){ 0 };
	ret = check_file(file, &lost);
	if (ret)
		return ret;
	pipe = start_perf(&perf, file);
	if (pipe < 0)
		return pipe;
	ret = load_pipe(trace, pipe, file);
	/* If this did not take all, that is why perf fails, and not worth a word. */
	ended = perf_finish(&perf, PERF_TIMEOUT_MS, ret ? NULL : "perf script failed");
	if (!ret)
		ret = ended;
	if (!ret)
		ret = judge(trace, file);
	trace->counters.lost = max(trace->counters.lost, lost);
	if (ret)
		trace_free(trace);
	return ret;
}
