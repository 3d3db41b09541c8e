// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/perf_data.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/util.h"

static const char magic[] = "PERFILE2"; /* in the order of bytes of this machine */

struct file_header {
	char magic[8];
	uint64_t size, attr_size;
	struct {
		uint64_t offset, size;
	} attrs, data;
};

struct lost_record {
	struct perf_event_header header;
	uint64_t id, lost;
};

struct lost_samples_record {
	struct perf_event_header header;
	uint64_t lost;
};

struct counter {
	uint64_t samples, lost_records, lost_samples;
};

/* False: it is too short. */
static bool count_record(const struct perf_event_header *header, struct counter *counter)
{
	const struct lost_record *lost = (const void *)header;
	const struct lost_samples_record *samples = (const void *)header;

	switch (header->type) {
	case PERF_RECORD_SAMPLE:
		counter->samples++;
		return true;
	case PERF_RECORD_LOST:
		if (header->size < sizeof(*lost))
			return false;
		counter->lost_records += lost->lost;
		return true;
	case PERF_RECORD_LOST_SAMPLES:
		if (header->size < sizeof(*samples))
			return false;
		counter->lost_samples += samples->lost;
		return true;
	default:
		return true;
	}
}

static int count(const char *data, uint64_t size, struct perf_data_counts *counts)
{
	const struct file_header *file = (const void *)data;
	const struct perf_event_header *header;
	struct counter counter = { 0 };
	uint64_t left;

	if (size < sizeof(*file) || memcmp(file->magic, magic, sizeof(file->magic)) ||
	    file->data.offset > size || file->data.size > size - file->data.offset ||
	    file->data.offset % sizeof(uint64_t))
		return -EINVAL;
	data += file->data.offset;
	for (left = file->data.size; left; left -= header->size, data += header->size) {
		header = (const void *)data;
		if (left < sizeof(*header) || left < header->size ||
		    header->size < sizeof(*header) || header->size % sizeof(uint64_t) ||
		    !count_record(header, &counter))
			return -EINVAL;
	}
	counts->events = counter.samples;
	/*
	 * Kernels from 6.0 on tell a loss in both ways.  One knows of other records
	 * too, the other of what was lost last.
	 */
	counts->lost = max(counter.lost_records, counter.lost_samples);
	return 0;
}

int perf_data_count(const char *path, struct perf_data_counts *counts)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	struct stat st = { 0 };
	void *data = NULL;

	*counts = (struct perf_data_counts){ 0 };
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		ret = -errno;
	else if (!st.st_size)
		ret = -EINVAL;
	if (!ret) {
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		ret = data == MAP_FAILED ? -errno : count(data, (uint64_t)st.st_size, counts);
	}
	if (data && data != MAP_FAILED)
		munmap(data, (size_t)st.st_size);
	close(fd);
	return ret;
}
