// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/exit_status.h"
#include "vmm/metadata.h"
#include "vmm/trace/metadata.h"
#include "vmm/trace/perf.h"
#include "vmm/trace/perf_data.h"
#include "vmm/trace/record_command.h"
#include "vmm/trace/record_options.h"
#include "vmm/trace/target.h"
#include "vmm/trace/uprobes.h"

#define PROC "/proc"
/* perf attaches to every thread, and writes what is in its buffers. */
#define START_TIMEOUT_NS (60 * NS_PER_S)
#define STOP_TIMEOUT_MS 60000
#define METADATA_PERIOD_NS ((uint64_t)5 * NS_PER_S)

struct recording {
	struct record_options options;
	struct trace_target target;
	int target_fd;
	int file;
	bool file_is_ours; /* nothing is in it that was there before */
	struct trace_uprobes uprobes;
	struct perf perf;
	int control[2], ack[2]; /* pipes; ours: control[1], ack[0] */
	int signals;
	uint64_t begin, ns; /* when perf had attached; how long it was */
};

/* What ends a wait. */
enum wake { WAKE_ACK, WAKE_SIGNAL, WAKE_TARGET, WAKE_PERF, WAKES, WAKE_TIME = WAKES, WAKE_ERROR };

/* Wait for one of these, for @ns at most. */
static enum wake wait_for(const struct recording *rec, uint64_t ns)
{
	struct pollfd fds[WAKES] = {
		[WAKE_ACK] = { .fd = rec->ack[0], .events = POLLIN },
		[WAKE_SIGNAL] = { .fd = rec->signals, .events = POLLIN },
		[WAKE_TARGET] = { .fd = rec->target_fd, .events = POLLIN },
		[WAKE_PERF] = { .fd = rec->perf.pid_fd, .events = POLLIN },
	};
	struct timespec timeout = {
		.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S),
	};
	int n;

	do
		n = ppoll(fds, WAKES, &timeout, NULL);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return WAKE_TIME;
	for (unsigned i = 0; n > 0 && i < WAKES; i++)
		if (fds[i].revents & POLLIN)
			return i;
	return WAKE_ERROR;
}

/* From here on these are read, not obeyed: what was set up gets removed. */
static int block_signals(struct recording *rec)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction hup;
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < array_size(ends); i++)
		sigaddset(&set, ends[i]);
	/* nohup(1) */
	if (!sigaction(SIGHUP, NULL, &hup) && hup.sa_handler == SIG_IGN)
		sigdelset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* perf may have ended when it is told something. */
	signal(SIGPIPE, SIG_IGN);
	rec->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (rec->signals >= 0)
		return 0;
	log_error("signals: %s", strerror(errno));
	return -errno;
}

static int open_pipes(struct recording *rec)
{
	if (!pipe2(rec->control, O_CLOEXEC) && !pipe2(rec->ack, O_CLOEXEC))
		return 0;
	log_error("pipe: %s", strerror(errno));
	return -errno;
}

/* Is this a VM that can be recorded, and that the signal does not end? */
static int check_target(struct recording *rec)
{
	const struct trace_target *target = &rec->target;
	char path[64];
	int ret;

	rec->target_fd = (int)syscall(SYS_pidfd_open, target->pid, 0);
	if (rec->target_fd < 0) {
		log_error("PID %d: %s", target->pid, strerror(errno));
		return -errno;
	}
	snprintf(path, sizeof(path), PROC "/%d/exe", target->pid);
	ret = trace_target_probes(path);
	if (ret == -ENOENT)
		log_error("PID %d: its program '%s' is not vmm, or was built with PROBES=no",
			  target->pid, target->exe);
	else if (ret)
		log_error("PID %d: '%s': %s", target->pid, target->exe, strerror(-ret));
	if (ret)
		return ret;
	if (!trace_target_takes(PROC, target->pid, METADATA_SIGNAL)) {
		log_error("PID %d: it is not ready yet, or ends", target->pid);
		return -EAGAIN;
	}
	return 0;
}

/*
 * Is the file or link @st at @path another user's, in a folder like /tmp?  It may lead
 * anywhere by the time that perf opens it.  Linux sees to that by itself where
 * fs.protected_symlinks and fs.protected_regular are set, by the same rule.
 */
static bool is_planted(const char *path, const struct stat *st)
{
	struct stat folder = { 0 };
	char *copy = strdup(path);
	bool open = !copy || stat(dirname(copy), &folder) ||
		(folder.st_mode & S_ISVTX && folder.st_mode & S_IWOTH);

	free(copy);
	return open && st->st_uid != geteuid() && st->st_uid != folder.st_uid;
}

/* Nothing in it is touched yet. */
static int open_file(struct recording *rec)
{
	const char *path = rec->options.file;
	struct stat st;
	bool is_new = lstat(path, &st);

	if (!is_new && is_planted(path, &st)) {
		log_error("'%s': another user's, in a folder that is open to all", path);
		return -EACCES;
	}
	rec->file = open(path, O_WRONLY | O_CREAT | (is_new ? O_EXCL : O_NONBLOCK) | O_CLOEXEC,
			 0600);
	if (rec->file < 0 || fstat(rec->file, &st)) {
		log_error("'%s': cannot write it: %s", path, strerror(errno));
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		log_error("'%s': not a regular file", path);
		return -EINVAL;
	}
	rec->file_is_ours = !st.st_size;
	return 0;
}

/* Itself, if there is a link to it; but not what somebody else has put there since. */
static void remove_file(const struct recording *rec)
{
	char *target = realpath(rec->options.file, NULL);
	struct stat ours, there;

	if (target && !fstat(rec->file, &ours) && !lstat(target, &there) &&
	    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		unlink(target);
	free(target);
}

static int check_perf(void)
{
	struct perf_command command = { 0 };

	perf_add(&command, "perf");
	perf_add(&command, "--version");
	return perf_run(&command, "perf does not work", NULL);
}

/* What perf finds in the file it would keep as FILE.old. */
static int empty_file(struct recording *rec)
{
	int ret = 0;

	if (ftruncate(rec->file, 0)) {
		ret = -errno;
		log_error("'%s': %s", rec->options.file, strerror(errno));
	}
	rec->file_is_ours = true;
	return ret;
}

static int start_perf(struct recording *rec)
{
	size_t count;
	pid_t *threads = trace_target_threads(PROC, rec->target.pid, &count);
	const struct record_plan plan = {
		.tracefs = rec->uprobes.tracefs,
		.file = rec->options.file,
		.buffer = rec->options.buffer,
		.thread = threads,
		.thread_count = count,
		.ids_are_global = trace_target_ids_are_global(PROC),
		.control = rec->control[0],
		.ack = rec->ack[1],
	};
	const int keep[] = { plan.control, plan.ack, rec->uprobes.lock, -1 };
	struct perf_command command = { 0 };
	int ret;

	if (!threads) {
		log_error("PID %d: it has ended", rec->target.pid);
		return -ESRCH;
	}
	if (!plan.ids_are_global)
		log_warn("wake-ups are not recorded: the kernel numbers the threads that it wakes "
			 "otherwise than this PID namespace");
	ret = empty_file(rec);
	if (!ret) {
		record_command(&command, &plan);
		ret = perf_start(&rec->perf, &command, keep);
		perf_free(&command);
	}
	free(threads);
	return ret;
}

static int tell(const struct recording *rec, const char *order)
{
	size_t len = strlen(order);

	return write(rec->control[1], order, len) == (ssize_t)len ? 0 : -EIO;
}

/* 0: perf records.  Otherwise a signal came, or perf says in perf_finish() what is wrong. */
static int wait_attached(struct recording *rec)
{
	char ack[8];

	tell(rec, "enable\n");
	if (wait_for(rec, START_TIMEOUT_NS) != WAKE_ACK || read(rec->ack[0], ack, sizeof(ack)) <= 0)
		return -EINTR;
	rec->begin = clock_ns();
	return 0;
}

static void fire_metadata(const struct recording *rec)
{
	int ret = trace_metadata_fire(rec->uprobes.tracefs, rec->target.pid, rec->target_fd);

	if (ret && ret != -ESRCH)
		log_warn("the VM does not tell its clocks and disks: %s",
			 ret == -ETIMEDOUT ? "it does not answer" : strerror(-ret));
}

static uint64_t time_left(const struct recording *rec)
{
	uint64_t passed = clock_ns() - rec->begin, duration = rec->options.duration_ns;

	if (!duration)
		return UINT64_MAX;
	return passed < duration ? duration - passed : 0;
}

/* Until it is long enough, a signal comes, or nothing is left to record: why. */
static enum wake record_on(struct recording *rec)
{
	enum wake why = WAKE_TIME;
	uint64_t left;

	fire_metadata(rec);
	fprintf(stderr, "vmm: recording PID %d%s to %s%s\n", rec->target.pid, rec->target.whose,
		rec->options.file, rec->options.duration_ns ? "" : "; Ctrl-C ends it");
	while (why == WAKE_TIME && (left = time_left(rec))) {
		why = wait_for(rec, min(left, METADATA_PERIOD_NS));
		/* By which a report knows how evenly the clocks ran. */
		if (why == WAKE_TIME && left > METADATA_PERIOD_NS)
			trace_metadata_ask(rec->target_fd);
	}
	if (why == WAKE_TIME || why == WAKE_SIGNAL)
		fire_metadata(rec);
	rec->ns = clock_ns() - rec->begin;
	return why;
}

static int summarize(const struct recording *rec)
{
	const char *file = rec->options.file;
	struct perf_data_counts counts;
	int ret = perf_data_count(file, &counts);

	if (ret) {
		log_error("'%s': perf left it unreadable: %s", file, strerror(-ret));
		return ret;
	}
	if (counts.lost)
		log_warn("events were lost: perf's buffers were full; try a larger one than "
			 "--buffer %s", rec->options.buffer);
	fprintf(stderr, "vmm: %" PRIu64 " events, %" PRIu64 " lost, in %.1f s; see: "
		"vmm trace report %s\n",
		counts.events, counts.lost, (double)rec->ns / NS_PER_S, file);
	return 0;
}

static int record_perf(struct recording *rec)
{
	enum wake why = WAKE_ERROR;
	int ret, begun;

	ret = start_perf(rec);
	if (ret)
		return ret;
	begun = wait_attached(rec);
	if (!begun)
		why = record_on(rec);
	tell(rec, "stop\n");
	ret = perf_finish(&rec->perf, STOP_TIMEOUT_MS, "perf record failed");
	if (ret)
		return ret;
	if (begun) {
		log_error("ended before perf was ready: nothing is recorded");
		return begun;
	}
	/* When no thread is left, perf ends by itself. */
	if (why == WAKE_TARGET || why == WAKE_PERF)
		log_warn("the VM has ended");
	return summarize(rec);
}

/* Or is about to: what ends has no program any more. */
static bool has_ended(const struct recording *rec)
{
	char path[64], byte;

	snprintf(path, sizeof(path), PROC "/%d/exe", rec->target.pid);
	return rec->target_fd >= 0 && readlink(path, &byte, 1) < 0;
}

static int record(struct recording *rec)
{
	int ret;

	ret = trace_target_find(PROC, rec->options.target, &rec->target);
	if (!ret)
		ret = check_target(rec);
	if (!ret)
		ret = check_perf();
	if (!ret)
		ret = open_file(rec);
	if (!ret)
		ret = trace_uprobes_add(&rec->uprobes, rec->target.pid);
	if (!ret)
		ret = record_perf(rec);
	/* Which is why, whatever was said before. */
	if (ret && has_ended(rec))
		log_error("PID %d has ended meanwhile", rec->target.pid);
	/* An old recording stays as long as nothing was written over it. */
	if (ret && rec->file_is_ours)
		remove_file(rec);
	return ret;
}

static void close_fds(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int trace_record_main(int argc, char **argv)
{
	struct recording rec = {
		.target_fd = -1,
		.file = -1,
		.uprobes.lock = -1,
		.control = { -1, -1 },
		.ack = { -1, -1 },
		.signals = -1,
	};
	int ret;

	if (record_options_parse(&rec.options, argc, argv)) {
		log_error("see 'vmm help trace'");
		return STATUS_USAGE;
	}
	if (rec.options.help) {
		record_options_help();
		return STATUS_OK;
	}
	log_set_verbose(rec.options.verbose);
	ret = open_pipes(&rec);
	if (!ret)
		ret = block_signals(&rec);
	if (!ret)
		ret = record(&rec);
	trace_uprobes_remove(&rec.uprobes);
	trace_target_free(&rec.target);
	close_fds((const int[]){ rec.target_fd, rec.file, rec.signals, rec.control[0],
				 rec.control[1], rec.ack[0], rec.ack[1] }, 7);
	return ret ? STATUS_ERROR : STATUS_OK;
}
