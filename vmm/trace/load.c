// SPDX-License-Identifier: BSD-2-Clause
/* A trace from a file: perf script reads it, and its lines are taken as they come. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/file.h"
#include "vmm/trace/join.h"
#include "vmm/trace/perf_data.h"
#include "vmm/trace/trace.h"

/* So that perf script need not wait for each line to be taken. */
#define PIPE_SIZE (1 << 20)

struct trace_thread *trace_thread(const struct trace *trace, uint32_t tid)
{
	uint32_t at = trace->thread_bucket[tid % TRACE_BUCKETS];

	while (at && trace->thread[at - 1].tid != tid)
		at = trace->thread[at - 1].next;
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

/* In the child: never returns. */
static void run_perf(const char *file, int output, int errors)
{
	char *const argv[] = {
		(char *)"perf", (char *)"script", (char *)"-i", (char *)file, (char *)"--ns",
		(char *)"--show-switch-events", (char *)"--show-lost-events", (char *)"-F",
		(char *)"comm,tid,cpu,time,event,trace", NULL,
	};

	if (dup2(output, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0)
		execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Why perf failed: the last line that it printed. */
static void report_perf(const char *file, int status, int errors)
{
	char text[512], *line;
	ssize_t len = pread(errors, text, sizeof(text) - 1, 0);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		log_error("perf is not installed: Debian has it in the package linux-perf");
		return;
	}
	text[len > 0 ? len : 0] = '\0';
	for (line = text + strlen(text); line > text && line[-1] == '\n';)
		*--line = '\0';
	line = strrchr(text, '\n');
	log_error("%s: perf script failed: %s", file, line ? line + 1 : text);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

static int load_from(struct trace *trace, const char *file, int output, pid_t pid, int errors)
{
	FILE *text = fdopen(output, "r");
	int ret = -ENOMEM, status;

	if (text) {
		ret = load(trace, text, file);
		fclose(text); /* perf ends at its next line, if this did not take all */
	} else {
		close(output);
	}
	status = wait_for(pid);
	if (ret == 0 && status) {
		report_perf(file, status, errors);
		ret = -EIO;
	}
	return ret ? ret : judge(trace, file);
}

int trace_load(struct trace *trace, const char *file)
{
	int output[2], errors, ret;
	uint64_t lost;
	pid_t pid;

	*trace = (struct trace){ 0 };
	ret = check_file(file, &lost);
	if (ret)
		return ret;
	errors = memfd_create("perf-errors", MFD_CLOEXEC);
	if (errors < 0 || pipe2(output, O_CLOEXEC)) {
		ret = -errno;
		log_error("cannot run perf: %s", strerror(-ret));
		goto close_errors;
	}
	fcntl(output[0], F_SETPIPE_SZ, PIPE_SIZE);
	pid = fork();
	if (pid == 0)
		run_perf(file, output[1], errors);
	ret = pid < 0 ? -errno : 0;
	close(output[1]);
	if (ret) {
		log_error("cannot run perf: %s", strerror(-ret));
		close(output[0]);
		goto close_errors;
	}
	ret = load_from(trace, file, output[0], pid, errors);
	trace->counters.lost = max(trace->counters.lost, lost);
	if (ret)
		trace_free(trace);
close_errors:
	if (errors >= 0)
		close(errors);
	return ret;
}
