// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/probes.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/trace/perf.h"

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

bool trace_probes_event(const char *tracefs, const char *group, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/events/%s/%s", tracefs, group, name);
	return !access(path, F_OK);
}

/* Take the lock; without tracefs, or the right to it, say how to get that. */
static int lock(struct trace_probes *probes)
{
	char path[PATH_MAX];

	probes->tracefs = find_tracefs();
	if (!probes->tracefs) {
		log_error("tracefs is not mounted; as root: mount -t tracefs nodev %s",
			  mount_points[0]);
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "%s/uprobe_events", probes->tracefs);
	/* Not O_TRUNC: that removes the probes of everybody. */
	probes->lock = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (probes->lock < 0) {
		log_error("cannot add probes: %s: %s%s", path, strerror(errno),
			  geteuid() ? "; recording takes root" : "");
		return -errno;
	}
	if (flock(probes->lock, LOCK_EX | LOCK_NB)) {
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
	perf_add(&command, TRACE_PROBES_GROUP ":*");
	return perf_run(&command, "cannot remove the probes " TRACE_PROBES_GROUP
				  ":*: does anybody else record them?");
}

static int add_events(struct trace_probes *probes, const char *exe)
{
	struct perf_command command = { 0 };
	int ret;

	/* Or it keeps a copy of the program in ~/.debug. */
	perf_add(&command, "perf");
	perf_add(&command, "--buildid-dir");
	perf_add(&command, "%s", probes->folder);
	perf_add(&command, "probe");
	perf_add(&command, "-x");
	perf_add(&command, "%s", exe);
	perf_add(&command, TRACE_PROBES_GROUP ":*");
	/* If it fails after some of them, these have to go too. */
	probes->added = true;
	ret = perf_run(&command, "cannot add the probes");
	/* It may fail and say that it did not: where @exe has a blank, for one. */
	if (!ret && !trace_probes_event(probes->tracefs, TRACE_PROBES_GROUP, "pop")) {
		log_error("'%s': perf cannot add its probes", exe);
		ret = -EINVAL;
	}
	return ret;
}

/*
 * Where perf may put what it wants to keep of the program: a link, if it can.  In an
 * overlay a link to a file of a lower layer makes a copy, whose probes are not those
 * of the program that runs.  So this is a file system of its own where there is one.
 */
static const char *temporary_folder(void)
{
	const char *folder = getenv("TMPDIR");

	if (folder && strlen(folder) < 32)
		return folder;
	return access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
}

int trace_probes_add(struct trace_probes *probes, const char *exe)
{
	int ret;

	*probes = (struct trace_probes){ .lock = -1 };
	ret = lock(probes);
	if (ret)
		goto fail;
	snprintf(probes->folder, sizeof(probes->folder), "%s/vmm-trace-XXXXXX",
		 temporary_folder());
	if (!mkdtemp(probes->folder)) {
		ret = -errno;
		log_error("%s: %s", probes->folder, strerror(errno));
		*probes->folder = '\0';
		goto fail;
	}
	if (trace_probes_event(probes->tracefs, TRACE_PROBES_GROUP, "")) {
		log_warn("removing the probes " TRACE_PROBES_GROUP ":* that somebody left");
		ret = remove_events();
	}
	if (!ret)
		ret = add_events(probes, exe);
	if (!ret)
		return 0;
fail:
	trace_probes_remove(probes);
	return ret;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void trace_probes_remove(struct trace_probes *probes)
{
	if (probes->added && trace_probes_event(probes->tracefs, TRACE_PROBES_GROUP, ""))
		remove_events();
	if (*probes->folder)
		nftw(probes->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	if (probes->lock >= 0)
		close(probes->lock);
	*probes = (struct trace_probes){ .lock = -1 };
}
