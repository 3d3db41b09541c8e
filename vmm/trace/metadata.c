// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/metadata.h"

#include <errno.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/metadata.h"
#include "vmm/trace/uprobes.h"

/* Its main thread never waits for a disk: this is for a busy host. */
#define ANSWER_TIMEOUT_MS 5000

/* The number of the probe clock, or 0. */
static unsigned clock_id(const char *tracefs)
{
	char path[PATH_MAX];
	unsigned id = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/events/%s/clock/id", tracefs, TRACE_UPROBES_GROUP);
	file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%u", &id) != 1)
			id = 0;
		fclose(file);
	}
	return id;
}

/*
 * An event of our own on the VM's main thread, readable once that has fired the
 * probe: perf's is in its file then, since both get it in one go.
 */
static int watch_clock(const char *tracefs, pid_t pid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = clock_id(tracefs),
		.sample_period = 1,
		.wakeup_events = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static int wait_clock(int fd)
{
	struct pollfd fired = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&fired, 1, ANSWER_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ETIMEDOUT;
	return fired.revents & POLLIN ? 0 : -ESRCH;
}

int trace_metadata_ask(int pid_fd)
{
	return syscall(SYS_pidfd_send_signal, pid_fd, METADATA_SIGNAL, NULL, 0) ? -errno : 0;
}

int trace_metadata_fire(const char *tracefs, pid_t pid, int pid_fd)
{
	size_t size = 2 * (size_t)sysconf(_SC_PAGESIZE);
	int ret, fd = watch_clock(tracefs, pid);
	void *ring;

	if (fd < 0)
		return -errno;
	/* Without a ring it would never be readable. */
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		ret = -errno;
	} else {
		ret = trace_metadata_ask(pid_fd);
		if (!ret)
			ret = wait_clock(fd);
		munmap(ring, size);
	}
	close(fd);
	return ret;
}
