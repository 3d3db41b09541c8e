/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the disks did so far: as a table for people, and as JSON for programs
 * (Documentation/stats.schema.json).  Both only read, and never wait for an I/O
 * thread.  The main thread.
 */
#pragma once

struct blk;
struct histogram;
struct io_thread;
struct json;

struct stats_disk {
	const char *path;
	const struct blk *blk;
};

/* Whose; borrowed. */
struct stats_view {
	const struct stats_disk *disk;
	unsigned disk_count;
	struct io_thread *const *thread;
	unsigned thread_count;
};

/* Print the table on stderr; nothing waits for its reader. */
void stats_print(const struct stats_view *view);

/*
 * Open, or create, the file at @path, which nobody else uses: what is in it stays
 * till the first stats_write().  Returns the descriptor, or -errno having said why.
 */
int stats_open(const char *path);

/*
 * Replace all that is in the file, in its place, since to rename another one would be
 * to write beside it.  Who reads meanwhile may find less, or both: so the document's
 * first and last member are the same time, and differ in what is not one whole.
 * Returns 0, or -errno having said why.
 */
int stats_write(int fd, const char *path, const struct stats_view *view);

/* The member "buckets" of an object: each that has something in it as [from, to, count]. */
void stats_write_buckets(struct json *json, const struct histogram *times);
