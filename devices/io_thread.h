/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that serves queues.  It sleeps in one place, and doorbells, disk
 * completions and orders from other threads all wake it there.
 *
 * With io_uring, all of these are completions of one ring, which the thread
 * makes itself (a ring belongs to its creator): one io_uring_enter submits
 * everything and takes what is done.  Where io_uring is refused, the thread
 * waits in poll(2) on the same eventfds, and disks do their I/O inline.
 *
 * One round: submit; call done() for what completed; run orders; let the queues
 * that have work pop their requests; call done() for what was done inline; then
 * flush each queue that asked for it, so that a batch is published once and
 * interrupts at most once.
 *
 * A queue that rang, or was flushed, is awake: its ring is looked at in each
 * round, and its driver need not ring.  Before the thread sleeps, it spins for a
 * while if that pays (devices/io_poll.h), looking at the rings of the queues that
 * are awake and at its own; then it arms those queues.
 *
 * What is begun in a round is bounded, so that one guest's largest requests keep
 * neither orders nor other queues waiting for long: see io_thread_spend().
 */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define IO_ROUND_BYTES (32u << 20)

/*
 * Rounds, of which one is timed: see io_thread_woken_ns().  Enough of them for
 * percentiles, few enough to cost nothing.
 */
#define IO_TIMED_ONE_IN 128

struct io_uring_sqe;
struct io_thread;

/* Something that completes on the thread. */
struct io_completion {
	void (*done)(struct io_completion *completion, int result);
	/* The thread's, between io_thread_complete() and done(). */
	struct io_completion *next;
	int result;
};

/* An order from another thread. */
struct io_order {
	void (*run)(struct io_order *order);
	struct io_order *next; /* the thread's, until run() */
};

/* A queue that the thread serves. */
struct io_queue {
	unsigned disk, index; /* for probes */
	int doorbell;         /* eventfd; borrowed */
	uint64_t poll_max_ns; /* how long the thread may spin for it; 0: not at all */
	/* A cheap look, which may err: is there work to begin? */
	bool (*has_work)(const struct io_queue *queue);
	void (*serve)(struct io_queue *queue); /* begin some of it */
	void (*flush)(struct io_queue *queue); /* the round ends */
	/* Ask the driver to ring from now on.  True: there is work already. */
	bool (*arm)(struct io_queue *queue);

	/* The thread's. */
	struct io_queue *next, *next_awake;
	bool added, watched, awake, flush_wanted;
	uint64_t doorbells; /* atomic: seen so far */
};

/* When something was handed to the kernel. */
struct io_stamp {
	uint64_t ns; /* 0: not yet */
	struct io_stamp *next;
};

/* What a thread did so far. */
struct io_thread_counts {
	uint64_t sleeps;                /* waits in the kernel */
	uint64_t poll_hits, poll_misses; /* times it spun, and there was work or none */
};

struct io_thread_config {
	const char *name;
	unsigned number;       /* for probes */
	unsigned queues;       /* the most that it will serve */
	bool use_uring;        /* false: it is the poll(2) kind */
	const cpu_set_t *cpus; /* where it may run; NULL: where the caller may */
	unsigned timed_one_in; /* for tests; 0: IO_TIMED_ONE_IN */
	/*
	 * Guest memory to register on the ring, which pins all of it: see
	 * io_thread_use_buffer().  It outlives the thread; empty: none.
	 */
	struct iovec memory;
};

/*
 * Start a thread.  Where the kernel refuses io_uring (-v says so), it is the
 * poll(2) kind, too.  It takes orders at once, and makes its ring while the
 * caller goes on.  Nothing of @config is used later.  Returns 0 or -errno,
 * -EINVAL if none of @cpus can be used.
 */
int io_thread_create(struct io_thread **thread, const struct io_thread_config *config);

/*
 * Wait until the thread's memory is registered, which takes a while.  Returns 0, or
 * -errno, the thread having printed why; where there is no io_uring, too.  Its
 * creator calls it, once.
 */
int io_thread_wait_for_memory(struct io_thread *thread);

/* Ends and frees the thread.  Its queues are idle: nothing is in flight. */
void io_thread_destroy(struct io_thread *thread);

/* Have order->run() called on the thread.  Any thread. */
void io_thread_order(struct io_thread *thread, struct io_order *order);

/*
 * Time for those who look whether I/O hangs (devices/blk_watch.h): a number that
 * the looker moves on, so that to note it costs no look at a clock.  0: nobody
 * looks.  Any thread.
 */
void io_thread_set_epoch(struct io_thread *thread, uint32_t epoch);
uint32_t io_thread_epoch(const struct io_thread *thread);

/* Where the thread is, as far as one look tells.  Any thread. */
struct io_place {
	const char *thread; /* its name */
	const char *call;   /* such as "preadv2(2)"; NULL: in none that may take long */
	bool waits;         /* it is the one in which the thread waits for work */
	/* Of the other calls: for whom, and since which epoch. */
	const struct io_completion *step;
	uint32_t since;
};

struct io_place io_thread_place(const struct io_thread *thread);

/* For accounting.  Any thread. */
const char *io_thread_name(const struct io_thread *thread);
void io_thread_count(const struct io_thread *thread, struct io_thread_counts *counts);

/* --- On the thread itself only. --- */

/*
 * Serve a queue from now on: it is awake, and its doorbell is watched.  It stays
 * until the thread ends, so that stopping a queue need not wait for the poll to be
 * cancelled; one that is there already is only woken.
 */
void io_thread_add_queue(struct io_thread *thread, struct io_queue *queue);

/* Call queue->flush() once at the end of this round; the queue is awake. */
void io_thread_want_flush(struct io_thread *thread, struct io_queue *queue);

/*
 * An empty submission entry; once prepared, its data is set to a struct
 * io_completion.  NULL where the thread has no io_uring, or no room now: then
 * do the work inline and call io_thread_complete().
 */
struct io_uring_sqe *io_thread_sqe(struct io_thread *thread);

/*
 * Let @sqe, which is prepared for @fd, take the file from the ring's own table,
 * which it joins at its first use: that saves the kernel a look-up a request.
 * It stays there, open, so @fd is not closed before the thread has ended.
 */
void io_thread_use_file(struct io_thread *thread, struct io_uring_sqe *sqe, int fd);

/*
 * Let @sqe, a READ or a WRITE that is prepared, take its memory from what is
 * registered, if all of it lies there: that saves the kernel the pinning of its
 * pages, which is most of what a large direct request costs.
 */
void io_thread_use_buffer(const struct io_thread *thread, struct io_uring_sqe *sqe);

/*
 * Work on @bytes begins in this round.  True once those of a round are
 * IO_ROUND_BYTES or more: then each queue may begin one request, and the rest
 * waits for later rounds.
 */
void io_thread_spend(struct io_thread *thread, uint64_t bytes);
bool io_thread_is_spent(const struct io_thread *thread);

/*
 * The thread makes a system call for @step that may take long: @call, a constant.
 * Then it is back.
 */
void io_thread_call(struct io_thread *thread, const char *call, const struct io_completion *step);
void io_thread_called(struct io_thread *thread);

/* Have @completion called with @result, later in this round or in the next. */
void io_thread_complete(struct io_thread *thread, struct io_completion *completion, int result);

/*
 * --- Accounting.  A round is timed with a probability of one in IO_TIMED_ONE_IN,
 * whatever is in it: so is each request.  Times are of CLOCK_MONOTONIC. ---
 */

/* When the thread woke for this round, or looked for work last; 0: it is not timed. */
uint64_t io_thread_woken_ns(const struct io_thread *thread);

/* The time now, read once for all that is done in a row without a system call. */
uint64_t io_thread_now(struct io_thread *thread);

/*
 * Have all of @stamps set: now, if @is_inline, or when what was prepared goes to the
 * kernel, which is before it completes.
 */
void io_thread_stamp(struct io_thread *thread, struct io_stamp *stamps, bool is_inline);
