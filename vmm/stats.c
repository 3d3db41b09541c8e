// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "devices/blk_stats.h"
#include "devices/io_thread.h"
#include "hw/base/clock.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/json.h"
#include "vmm/number.h"

static const struct {
	double percent;
	const char *title, *key;
} percentiles[] = {
	{ 50, "p50", "p50" }, { 90, "p90", "p90" }, { 99, "p99", "p99" }, { 99.9, "p99.9", "p999" },
};

/* Add what all queues of the disk have done. */
static void sum_op(const struct blk *blk, enum blk_op op, struct blk_op_counts *sum)
{
	struct blk_op_counts one;

	*sum = (struct blk_op_counts){ 0 };
	for (unsigned i = 0; i < blk_queue_count(blk); i++) {
		blk_count_op(blk, i, op, &one);
		sum->requests += one.requests;
		sum->in_flight += one.in_flight;
		sum->errors += one.errors;
		sum->bytes += one.bytes;
	}
}

static void sum_queue(const struct blk *blk, unsigned queue, struct blk_op_counts *sum)
{
	struct blk_op_counts one;

	*sum = (struct blk_op_counts){ 0 };
	for (enum blk_op op = 0; op < BLK_OPS; op++) {
		blk_count_op(blk, queue, op, &one);
		sum->requests += one.requests;
		sum->in_flight += one.in_flight;
	}
}

/* --- The table --- */

/* Microseconds, of which the first digits matter. */
static void print_time(FILE *out, uint64_t ns)
{
	fprintf(out, " %8.*f", ns < 1000 * NS_PER_US, (double)ns / NS_PER_US);
}

static void print_stage(FILE *out, enum blk_stage stage, const struct histogram *times)
{
	fprintf(out, "    %-19s", blk_stage_name[stage]);
	for (unsigned i = 0; i < array_size(percentiles); i++)
		print_time(out, histogram_percentile(times, percentiles[i].percent));
	print_time(out, times->max);
	fprintf(out, " %10" PRIu64 "\n", histogram_count(times));
}

static void print_titles(FILE *out)
{
	fprintf(out, "    %-19s", "microseconds");
	for (unsigned i = 0; i < array_size(percentiles); i++)
		fprintf(out, " %8s", percentiles[i].title);
	fprintf(out, " %8s %10s\n", "max", "timed");
}

static void print_stages(FILE *out, const struct blk *blk, enum blk_op op)
{
	bool titled = false;

	for (enum blk_stage stage = 0; stage < BLK_STAGES; stage++) {
		struct histogram times = { 0 };

		for (unsigned i = 0; i < blk_queue_count(blk); i++)
			blk_add_latency(blk, i, op, stage, &times);
		if (!histogram_count(&times))
			continue;
		if (!titled)
			print_titles(out);
		titled = true;
		print_stage(out, stage, &times);
	}
}

static void print_op(FILE *out, const struct blk *blk, enum blk_op op)
{
	struct blk_op_counts counts;
	char bytes[NUMBER_BYTES_LEN];

	sum_op(blk, op, &counts);
	if (!counts.requests && !counts.in_flight)
		return;
	fprintf(out, "  %s: %" PRIu64 " requests, %" PRIu64 " in flight, %" PRIu64 " failed, %s\n",
		blk_op_name[op], counts.requests, counts.in_flight, counts.errors,
		number_format_bytes(bytes, counts.bytes));
	print_stages(out, blk, op);
}

static void print_queue(FILE *out, const struct blk *blk, unsigned queue)
{
	struct blk_queue_counts counts;
	struct blk_op_counts sum;

	blk_count_queue(blk, queue, &counts);
	sum_queue(blk, queue, &sum);
	fprintf(out, "  %5u  %-7s %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %12" PRIu64
		" %12" PRIu64 "\n", queue, blk_queue_thread(blk, queue), sum.requests,
		sum.in_flight, counts.doorbells, counts.publishes, counts.interrupts);
}

static void print_disk(FILE *out, const struct stats_disk *disk)
{
	fprintf(out, "disk '%s'\n", disk->path);
	for (enum blk_op op = 0; op < BLK_OPS; op++)
		print_op(out, disk->blk, op);
	fprintf(out, "  %5s  %-7s %12s %10s %12s %12s %12s\n", "queue", "thread", "requests",
		"in flight", "doorbells", "publishes", "interrupts");
	for (unsigned i = 0; i < blk_queue_count(disk->blk); i++)
		print_queue(out, disk->blk, i);
}

static void print_thread(FILE *out, const struct io_thread *thread)
{
	struct io_thread_counts counts;

	io_thread_count(thread, &counts);
	fprintf(out, "thread %s: %" PRIu64 " sleeps; spun %" PRIu64 " times with work, %" PRIu64
		" times without\n", io_thread_name(thread), counts.sleeps, counts.poll_hits,
		counts.poll_misses);
}

void stats_print(const struct stats_view *view)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out) {
		log_error("statistics: %s", strerror(errno));
		return;
	}
	fprintf(out, "vmm: statistics; about one request in %d is timed\n", IO_TIMED_ONE_IN);
	for (unsigned i = 0; i < view->disk_count; i++)
		print_disk(out, &view->disk[i]);
	for (unsigned i = 0; i < view->thread_count; i++)
		print_thread(out, view->thread[i]);
	if (fclose(out) == 0)
		log_text(text, len);
	else
		log_error("statistics: %s", strerror(ENOMEM));
	free(text);
}

/* --- JSON --- */

void stats_write_buckets(struct json *json, const struct histogram *times)
{
	json_array(json, "buckets");
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (!times->bucket[i])
			continue;
		json_array(json, NULL);
		json_unsigned(json, NULL, histogram_bucket_start(i));
		json_unsigned(json, NULL, histogram_bucket_start(i + 1));
		json_unsigned(json, NULL, times->bucket[i]);
		json_end(json);
	}
	json_end(json);
}

static void write_times(struct json *json, const char *key, const struct histogram *times)
{
	json_object(json, key);
	json_unsigned(json, "count", histogram_count(times));
	json_unsigned(json, "sum", times->sum);
	json_unsigned(json, "max", times->max);
	for (unsigned i = 0; i < array_size(percentiles); i++)
		json_unsigned(json, percentiles[i].key,
			      histogram_percentile(times, percentiles[i].percent));
	stats_write_buckets(json, times);
	json_end(json);
}

/* "wake to pop" is the key wake_to_pop. */
static void write_stage(struct json *json, enum blk_stage stage, const struct histogram *times)
{
	char key[32];

	snprintf(key, sizeof(key), "%s", blk_stage_name[stage]);
	for (char *c = key; (c = strchr(c, ' ')); )
		*c = '_';
	write_times(json, key, times);
}

static void write_op(struct json *json, const struct blk *blk, unsigned queue, enum blk_op op)
{
	struct blk_op_counts counts;

	blk_count_op(blk, queue, op, &counts);
	json_object(json, NULL);
	json_string(json, "operation", blk_op_name[op]);
	json_unsigned(json, "requests", counts.requests);
	json_unsigned(json, "in_flight", counts.in_flight);
	json_unsigned(json, "errors", counts.errors);
	json_unsigned(json, "bytes", counts.bytes);
	json_object(json, "times_ns");
	for (enum blk_stage stage = 0; stage < BLK_STAGES; stage++) {
		struct histogram times = { 0 };

		blk_add_latency(blk, queue, op, stage, &times);
		if (histogram_count(&times))
			write_stage(json, stage, &times);
	}
	json_end(json);
	json_end(json);
}

static void write_queue(struct json *json, const struct blk *blk, unsigned queue)
{
	struct blk_queue_counts counts;

	blk_count_queue(blk, queue, &counts);
	json_object(json, NULL);
	json_string(json, "thread", blk_queue_thread(blk, queue));
	json_unsigned(json, "doorbells", counts.doorbells);
	json_unsigned(json, "publishes", counts.publishes);
	json_unsigned(json, "interrupts", counts.interrupts);
	json_array(json, "operations");
	for (enum blk_op op = 0; op < BLK_OPS; op++)
		write_op(json, blk, queue, op);
	json_end(json);
	json_end(json);
}

static void write_disk(struct json *json, const struct stats_disk *disk)
{
	json_object(json, NULL);
	json_string(json, "path", disk->path);
	json_array(json, "queues");
	for (unsigned i = 0; i < blk_queue_count(disk->blk); i++)
		write_queue(json, disk->blk, i);
	json_end(json);
	json_end(json);
}

static void write_thread(struct json *json, const struct io_thread *thread)
{
	struct io_thread_counts counts;

	io_thread_count(thread, &counts);
	json_object(json, NULL);
	json_string(json, "name", io_thread_name(thread));
	json_unsigned(json, "sleeps", counts.sleeps);
	json_unsigned(json, "poll_hits", counts.poll_hits);
	json_unsigned(json, "poll_misses", counts.poll_misses);
	json_end(json);
}

/* Since 1970: no two documents in a file have the same. */
static uint64_t time_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / NS_PER_US;
}

static void write_all(FILE *out, const struct stats_view *view)
{
	struct json json = { .file = out, .lines = 8 };
	uint64_t now = time_us();

	json_object(&json, NULL);
	json_unsigned(&json, "time_us", now);
	json_string(&json, "version", VMM_VERSION);
	json_unsigned(&json, "pid", (uint64_t)getpid());
	json_unsigned(&json, "timed_one_in", IO_TIMED_ONE_IN);
	json_array(&json, "disks");
	for (unsigned i = 0; i < view->disk_count; i++)
		write_disk(&json, &view->disk[i]);
	json_end(&json);
	json_array(&json, "threads");
	for (unsigned i = 0; i < view->thread_count; i++)
		write_thread(&json, view->thread[i]);
	json_end(&json);
	json_unsigned(&json, "end_time_us", now);
	json_end(&json);
}

/* --- The file --- */

static int cannot(const char *what, const char *path, int error)
{
	log_error("--stats '%s': cannot %s: %s", path, what, strerror(error));
	return -error;
}

/* Also against what else this process has open: a disk image is never overwritten. */
static bool is_used(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &whole) && (errno == EAGAIN || errno == EACCES);
}

int stats_open(const char *path)
{
	/* Not to wait for the other end of a pipe. */
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	int ret = 0;
	struct stat st;

	if (fd < 0)
		return cannot("open", path, errno);
	if (fstat(fd, &st)) {
		ret = cannot("open", path, errno);
	} else if (!S_ISREG(st.st_mode)) {
		log_error("--stats '%s': not a regular file", path);
		ret = -EINVAL;
	} else if (is_used(fd)) {
		log_error("--stats '%s': it is locked, as a disk or by another process", path);
		ret = -EBUSY;
	}
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* All of it, where there is room for it. */
static int write_whole(int fd, const char *text, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t ret = pwrite(fd, text + done, len - done, (off_t)done);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			return ret ? -errno : -EIO; /* some file systems say so */
		done += (size_t)ret;
	}
	return 0;
}

int stats_write(int fd, const char *path, const struct stats_view *view)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int ret;

	if (!out)
		return cannot("write", path, errno);
	write_all(out, view);
	if (fclose(out))
		ret = -ENOMEM;
	else if (ftruncate(fd, 0))
		ret = -errno;
	else
		ret = write_whole(fd, text, len);
	free(text);
	return ret ? cannot("write", path, -ret) : 0;
}
