// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/uprobes.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/trace/perf.h"
#include "vmm/trace/target.h"

#define FOLDER_SIZE 64

/* The second is where it was before Linux 4.1; it is mounted when one looks. */
static const char *const mount_points[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

static const char *find_tracefs(void)
{
	struct statfs fs;

	for (unsigned i = 0; i < array_size(mount_points); i++)
		if (!statfs(mount_points[i], &fs) && fs.f_type == TRACEFS_MAGIC)
			return mount_points[i];
	return NULL;
}

bool trace_uprobes_event(const char *tracefs, const char *group, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/events/%s/%s", tracefs, group, name);
	return !access(path, F_OK);
}

/* Take the lock; without tracefs, or the right to it, say how to get that. */
static int lock(struct trace_uprobes *uprobes)
{
	char path[PATH_MAX];

	uprobes->tracefs = find_tracefs();
	if (!uprobes->tracefs) {
		log_error("tracefs is not mounted; as root: mount -t tracefs nodev %s",
			  mount_points[0]);
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "%s/uprobe_events", uprobes->tracefs);
	/* Not O_TRUNC: that removes the probes of everybody. */
	uprobes->lock = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (uprobes->lock < 0) {
		log_error("cannot add probes: %s: %s%s", path, strerror(errno),
			  geteuid() ? "; recording takes root" : "");
		return -errno;
	}
	if (flock(uprobes->lock, LOCK_EX | LOCK_NB)) {
		log_error("another 'vmm trace record' runs, or is about to end: one at a time");
		return -EBUSY;
	}
	return 0;
}

static int remove_events(void)
{
	struct perf_command command = { 0 };

	perf_add(&command, "perf");
	perf_add(&command, "probe");
	perf_add(&command, "--del");
	perf_add(&command, TRACE_UPROBES_GROUP ":*");
	return perf_run(&command, "cannot remove the probes " TRACE_UPROBES_GROUP
				  ":*: does anybody else record them?", NULL);
}

/* For @folder, of FOLDER_SIZE bytes. */
static int make_folder(char *folder)
{
	const char *parent = getenv("TMPDIR");
	int ret;

	/* perf takes a path up to its first blank. */
	if (!parent || strlen(parent) > FOLDER_SIZE / 2 || strpbrk(parent, " \t:"))
		parent = "/tmp";
	snprintf(folder, FOLDER_SIZE, "%s/vmm-trace-XXXXXX", parent);
	if (mkdtemp(folder))
		return 0;
	ret = -errno;
	log_error("%s: %s", folder, strerror(errno));
	return ret;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

/*
 * The program that runs, by a name that perf can read: it may have none any more.
 * This is a copy too for perf to keep a link to: one to a program in the lower layer
 * of an overlay would make another file of it, which is not the one that runs.
 */
static int copy_program(int exe, const char *copy)
{
	int to = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t room = TRACE_PROGRAM_MAX; /* it may be another than was looked at */
	int ret = 0;
	ssize_t n = -1;

	if (to >= 0)
		while ((n = sendfile(to, exe, NULL, min(room, (size_t)1 << 20))) > 0)
			room -= (size_t)n;
	if (n < 0) {
		ret = -errno;
		log_error("cannot copy the program to %s: %s", copy, strerror(errno));
	}
	if (to >= 0)
		close(to);
	return ret;
}

/* The lines that define the probes of the program @exe, as those of a copy. */
static int read_definitions(int exe, char **lines)
{
	struct perf_command command = { 0 };
	char folder[FOLDER_SIZE], copy[FOLDER_SIZE + sizeof("/vmm")];
	int ret;

	ret = make_folder(folder);
	if (ret)
		return ret;
	snprintf(copy, sizeof(copy), "%s/vmm", folder);
	perf_add(&command, "perf");
	/* Or it would keep a copy of its own in ~/.debug. */
	perf_add(&command, "--buildid-dir");
	perf_add(&command, "%s", folder);
	perf_add(&command, "probe");
	perf_add(&command, "-x");
	perf_add(&command, "%s", copy);
	perf_add(&command, "-D");
	perf_add(&command, TRACE_UPROBES_GROUP ":*");
	ret = copy_program(exe, copy);
	if (!ret)
		ret = perf_run(&command, "cannot find the probes of vmm", lines);
	perf_free(&command);
	nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	return ret;
}

/*
 * @line, "p:GROUP/NAME COPY:OFFSET ARGUMENTS", goes to tracefs for @exe.  perf does
 * not write there itself: it takes any event of that NAME, of whatever group, for
 * one in the way.
 */
static int define(const struct trace_uprobes *uprobes, const char *line, const char *exe)
{
	static const char group[] = "p:" TRACE_UPROBES_GROUP "/";
	const char *name_end = strchr(line, ' '), *path_end;
	char text[1024];
	int len;

	path_end = name_end ? strchr(name_end, ':') : NULL;
	if (!path_end || strncmp(line, group, strlen(group)))
		return 0; /* what perf says besides */
	len = snprintf(text, sizeof(text), "%.*s %s%s\n", (int)(name_end - line), line, exe,
		       path_end);
	if (len < (int)sizeof(text) && write(uprobes->lock, text, (size_t)len) == len)
		return 0;
	log_error("%s/uprobe_events: %s: %s", uprobes->tracefs, line, strerror(errno));
	return -EIO;
}

static int add_events(struct trace_uprobes *uprobes, pid_t pid)
{
	char path[32], *lines, *next, *line;
	int exe, ret;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	exe = open(path, O_RDONLY | O_CLOEXEC);
	if (exe < 0) {
		log_error("%s: %s", path, strerror(errno));
		return -errno;
	}
	ret = read_definitions(exe, &lines);
	if (ret)
		goto out;
	/* That file again, whatever the process runs by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	/* If it fails after some of them, these have to go too. */
	uprobes->added = true;
	for (next = lines; !ret && (line = strsep(&next, "\n"));)
		ret = define(uprobes, line, path);
	free(lines);
	if (!ret && !trace_uprobes_event(uprobes->tracefs, TRACE_UPROBES_GROUP, "pop")) {
		log_error("perf finds no probes of vmm: was it built without libelf?");
		ret = -ENOENT;
	}
out:
	close(exe);
	return ret;
}

int trace_uprobes_add(struct trace_uprobes *uprobes, pid_t pid)
{
	int ret;

	*uprobes = (struct trace_uprobes){ .lock = -1 };
	ret = lock(uprobes);
	if (!ret && trace_uprobes_event(uprobes->tracefs, TRACE_UPROBES_GROUP, "")) {
		log_warn("removing the probes " TRACE_UPROBES_GROUP ":* that somebody left");
		ret = remove_events();
	}
	if (!ret)
		ret = add_events(uprobes, pid);
	if (!ret)
		return 0;
	trace_uprobes_remove(uprobes);
	return ret;
}

void trace_uprobes_remove(struct trace_uprobes *uprobes)
{
	if (uprobes->added && trace_uprobes_event(uprobes->tracefs, TRACE_UPROBES_GROUP, ""))
		remove_events();
	if (uprobes->lock >= 0)
		close(uprobes->lock);
	*uprobes = (struct trace_uprobes){ .lock = -1 };
}
