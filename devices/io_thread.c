// SPDX-License-Identifier: BSD-2-Clause
#include "devices/io_thread.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/io_poll.h"
#include "hw/base/counter.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"

/*
 * Submissions beyond these go to the kernel early; completions beyond those wait
 * there until there is room, which costs more.
 */
#define SQ_ENTRIES 256
#define CQ_ENTRIES 1024

/* As many new submissions are worth a call that does not wait. */
#define BATCH 4

/* Of the ring's table of files, whose index is the descriptor. */
#define FILES_MAX 1024

/* Registered memory is cut into pieces of the largest size that the kernel takes. */
#define PIECE_SHIFT 30
#define PIECE_LEN (1ULL << PIECE_SHIFT)

/* Looks between two at the clock. */
#define SPINS 16

enum file_state { FILE_UNKNOWN, FILE_REGISTERED, FILE_REFUSED };

struct io_thread {
	pthread_t id;
	unsigned number;
	char name[16]; /* the kernel's limit */
	int wake;      /* eventfd: there are orders */
	sem_t ready;   /* the ring is made, and what follows is set for good */
	int memory_error;
	struct iovec memory; /* registered; empty once that was refused */

	pthread_mutex_t lock;
	struct io_order *orders, **orders_end; /* lock; to look at orders needs none */

	/* Atomic: written by who looks whether I/O hangs, then by the thread for it. */
	uint32_t epoch;
	uint32_t call_since;
	const char *call;
	const struct io_completion *call_step;

	/* The thread's own. */
	bool use_uring;
	struct io_uring ring;
	struct pollfd *pollfd; /* the wake eventfd, then one a queue */
	struct io_queue *queues, *awake;
	struct io_completion *completed, **completed_end;
	struct io_poll for_guests, for_disks; /* while none, or some, of the I/O is in flight */
	unsigned in_flight;                   /* in the ring */
	bool disk_is_slow;                    /* not all was done within the last enter */
	bool wake_watched, all_watched;
	unsigned files;                /* slots of the table: 0 or FILES_MAX */
	uint8_t file_state[FILES_MAX]; /* enum file_state */
	uint64_t spent; /* bytes begun in this round */
	bool stop;
	struct io_order stop_order;
	struct log_limit messages;

	/* Likewise: accounting. */
	struct io_thread_counts counts; /* atomic */
	unsigned timed_one_in, until_timed; /* rounds */
	uint32_t random;
	bool is_timed;               /* this round */
	uint64_t woken_ns, now_ns;   /* 0: not read */
	struct io_stamp *unsubmitted; /* of what is prepared */
};

/* --- Accounting --- */

/* Marsaglia's xorshift. */
static uint32_t random_next(struct io_thread *thread)
{
	thread->random ^= thread->random << 13;
	thread->random ^= thread->random >> 17;
	thread->random ^= thread->random << 5;
	return thread->random;
}

/*
 * As many as the rate says on average, but never a fixed number, with which a driver's
 * own rhythm could agree.
 */
static unsigned rounds_to_timed(struct io_thread *thread)
{
	return 1 + random_next(thread) % (2 * thread->timed_one_in - 1);
}

/* Is the round that begins a timed one? */
static void pick_round(struct io_thread *thread)
{
	thread->woken_ns = 0;
	thread->is_timed = ACCOUNTING && --thread->until_timed == 0;
	if (thread->is_timed)
		thread->until_timed = rounds_to_timed(thread);
}

static void note_wake(struct io_thread *thread)
{
	thread->now_ns = thread->is_timed ? clock_ns() : 0;
	thread->woken_ns = thread->now_ns;
}

static void stamp_all(struct io_stamp *stamps)
{
	uint64_t now = stamps ? clock_ns() : 0;

	for (; stamps; stamps = stamps->next)
		stamps->ns = now;
}

static void stamp_submitted(struct io_thread *thread)
{
	if (!thread->unsubmitted)
		return;
	stamp_all(thread->unsubmitted);
	thread->unsubmitted = NULL;
}

uint64_t io_thread_woken_ns(const struct io_thread *thread)
{
	return thread->woken_ns;
}

uint64_t io_thread_now(struct io_thread *thread)
{
	if (!thread->now_ns)
		thread->now_ns = clock_ns();
	return thread->now_ns;
}

void io_thread_stamp(struct io_thread *thread, struct io_stamp *stamps, bool is_inline)
{
	struct io_stamp *last = stamps;

	if (is_inline) {
		stamp_all(stamps);
		return;
	}
	while (last->next)
		last = last->next;
	last->next = thread->unsubmitted;
	thread->unsubmitted = stamps;
}

const char *io_thread_name(const struct io_thread *thread)
{
	return thread->name;
}

void io_thread_count(const struct io_thread *thread, struct io_thread_counts *counts)
{
	*counts = (struct io_thread_counts){
		.sleeps = load_relaxed(&thread->counts.sleeps),
		.poll_hits = load_relaxed(&thread->counts.poll_hits),
		.poll_misses = load_relaxed(&thread->counts.poll_misses),
	};
}

/* --- Orders, completions, queues --- */

void io_thread_order(struct io_thread *thread, struct io_order *order)
{
	order->next = NULL;
	pthread_mutex_lock(&thread->lock);
	store_relaxed(thread->orders_end, order);
	thread->orders_end = &order->next;
	pthread_mutex_unlock(&thread->lock);
	eventfd_write(thread->wake, 1);
}

static void run_orders(struct io_thread *thread)
{
	struct io_order *order, *next;

	if (!load_relaxed(&thread->orders))
		return;
	pthread_mutex_lock(&thread->lock);
	order = thread->orders;
	store_relaxed(&thread->orders, NULL);
	thread->orders_end = &thread->orders;
	pthread_mutex_unlock(&thread->lock);
	for (; order; order = next) {
		next = order->next;
		order->run(order);
	}
}

void io_thread_complete(struct io_thread *thread, struct io_completion *completion, int result)
{
	thread->now_ns = 0;
	completion->result = result;
	completion->next = NULL;
	*thread->completed_end = completion;
	thread->completed_end = &completion->next;
}

/* --- For who looks whether I/O hangs --- */

/* The calls in which the thread waits for work. */
static const char in_enter[] = "io_uring_enter(2)", in_poll[] = "poll(2)";

void io_thread_set_epoch(struct io_thread *thread, uint32_t epoch)
{
	store_relaxed(&thread->epoch, epoch);
}

uint32_t io_thread_epoch(const struct io_thread *thread)
{
	return load_relaxed(&thread->epoch);
}

void io_thread_call(struct io_thread *thread, const char *call, const struct io_completion *step)
{
	store_relaxed(&thread->call_since, io_thread_epoch(thread));
	store_relaxed(&thread->call_step, step);
	store_release(&thread->call, call);
}

void io_thread_called(struct io_thread *thread)
{
	store_relaxed(&thread->call, NULL);
}

struct io_place io_thread_place(const struct io_thread *thread)
{
	struct io_place place = {
		.thread = thread->name,
		.call = load_acquire(&thread->call),
	};

	place.waits = place.call == in_enter || place.call == in_poll;
	if (place.call && !place.waits) {
		place.step = load_relaxed(&thread->call_step);
		place.since = load_relaxed(&thread->call_since);
	}
	return place;
}

/* --- Rounds: what is begun --- */

void io_thread_spend(struct io_thread *thread, uint64_t bytes)
{
	thread->spent += bytes;
}

bool io_thread_is_spent(const struct io_thread *thread)
{
	return thread->spent >= IO_ROUND_BYTES;
}

/* What these complete in turn is for the next round: orders come in between. */
static void run_completed(struct io_thread *thread)
{
	struct io_completion **end = thread->completed_end, *completion;
	bool last = false;

	thread->now_ns = 0;
	while (!last && (completion = thread->completed)) {
		last = &completion->next == end;
		thread->completed = completion->next;
		if (!thread->completed)
			thread->completed_end = &thread->completed;
		completion->done(completion, completion->result);
	}
}

static void wake(struct io_thread *thread, struct io_queue *queue)
{
	if (queue->awake)
		return;
	queue->awake = true;
	queue->next_awake = thread->awake;
	thread->awake = queue;
}

static void rang(struct io_thread *thread, struct io_queue *queue)
{
	probe(doorbell, queue->disk, queue->index);
	counter_add(&queue->doorbells, 1);
	wake(thread, queue);
}

void io_thread_add_queue(struct io_thread *thread, struct io_queue *queue)
{
	wake(thread, queue);
	if (queue->added)
		return;
	queue->added = true;
	queue->next = thread->queues;
	thread->queues = queue;
	thread->all_watched = false;
}

void io_thread_want_flush(struct io_thread *thread, struct io_queue *queue)
{
	queue->flush_wanted = true;
	wake(thread, queue);
}

static void serve(struct io_thread *thread)
{
	struct io_queue *queue;

	run_orders(thread);
	run_completed(thread); /* what earlier rounds left */
	for (queue = thread->awake; queue; queue = queue->next_awake) {
		if (!queue->has_work(queue))
			continue;
		thread->now_ns = 0;
		queue->serve(queue);
	}
	run_completed(thread);
	for (queue = thread->awake; queue; queue = queue->next_awake) {
		if (!queue->flush_wanted)
			continue;
		queue->flush_wanted = false;
		queue->flush(queue);
	}
}

/* --- The io_uring kind --- */

/* What user_data points to is told by its lowest bit; the wake eventfd is 0. */
#define IS_QUEUE 1

/*
 * In the newer modes completions are posted only in an enter, and until then a flag
 * tells of them; in the older ones they appear by themselves.
 */
static bool is_flagged(const struct io_thread *thread)
{
	return load_relaxed(thread->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Submit, and wait for @wanted completions: without any, only if that does something. */
static int submit(struct io_thread *thread, unsigned wanted)
{
	int ret;

	if (probe_wanted(enter)) {
		unsigned prepared = io_uring_sq_ready(&thread->ring);

		if (prepared || wanted || is_flagged(thread))
			probe_enter(thread->number, prepared, wanted);
	}
	stamp_submitted(thread);
	store_relaxed(&thread->call, in_enter);
	ret = wanted ? io_uring_submit_and_wait(&thread->ring, wanted) :
		       io_uring_submit(&thread->ring);
	io_thread_called(thread);
	return ret;
}

static struct io_uring_sqe *get_sqe(struct io_thread *thread)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&thread->ring);

	if (!sqe && submit(thread, 0) > 0)
		sqe = io_uring_get_sqe(&thread->ring);
	return sqe;
}

struct io_uring_sqe *io_thread_sqe(struct io_thread *thread)
{
	struct io_uring_sqe *sqe;

	if (!thread->use_uring)
		return NULL;
	/* What goes in one call reaches the disk together: it would idle until then. */
	if (thread->disk_is_slow && io_uring_sq_ready(&thread->ring) >= BATCH)
		submit(thread, 0);
	sqe = get_sqe(thread);
	thread->in_flight += sqe != NULL;
	return sqe;
}

void io_thread_use_file(struct io_thread *thread, struct io_uring_sqe *sqe, int fd)
{
	unsigned slot = (unsigned)fd;

	if (slot >= thread->files)
		return;
	if (thread->file_state[slot] == FILE_UNKNOWN)
		thread->file_state[slot] =
			io_uring_register_files_update(&thread->ring, slot, &fd, 1) == 1 ?
			FILE_REGISTERED : FILE_REFUSED;
	if (thread->file_state[slot] == FILE_REGISTERED)
		sqe->flags |= IOSQE_FIXED_FILE;
}

void io_thread_use_buffer(const struct io_thread *thread, struct io_uring_sqe *sqe)
{
	uint64_t start = sqe->addr - (uintptr_t)thread->memory.iov_base;
	uint64_t end = start + sqe->len;

	if (start >= thread->memory.iov_len || end > thread->memory.iov_len)
		return;
	if (start >> PIECE_SHIFT != (end - 1) >> PIECE_SHIFT)
		return;
	sqe->opcode = sqe->opcode == IORING_OP_READ ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
	sqe->buf_index = (uint16_t)(start >> PIECE_SHIFT);
}

/*
 * A multishot poll reports each signal on an eventfd without the eventfd being
 * read; its counter just grows.
 */
static bool watch(struct io_thread *thread, int fd, uintptr_t data)
{
	struct io_uring_sqe *sqe = get_sqe(thread);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	io_uring_sqe_set_data64(sqe, data);
	return true;
}

static void watch_all(struct io_thread *thread)
{
	if (!thread->wake_watched)
		thread->wake_watched = watch(thread, thread->wake, 0);
	thread->all_watched = thread->wake_watched;
	for (struct io_queue *queue = thread->queues; queue; queue = queue->next) {
		if (!queue->watched)
			queue->watched = watch(thread, queue->doorbell,
					       (uintptr_t)queue | IS_QUEUE);
		thread->all_watched &= queue->watched;
	}
}

static void take(struct io_thread *thread, const struct io_uring_cqe *cqe)
{
	bool still_watched = cqe->flags & IORING_CQE_F_MORE;
	uintptr_t data = (uintptr_t)io_uring_cqe_get_data64(cqe);

	if (!data) {
		thread->wake_watched = still_watched;
		thread->all_watched &= still_watched;
	} else if (data & IS_QUEUE) {
		struct io_queue *queue = (struct io_queue *)(data & ~(uintptr_t)IS_QUEUE);

		queue->watched = still_watched;
		thread->all_watched &= still_watched;
		rang(thread, queue);
	} else {
		struct io_completion *completion = (struct io_completion *)data;

		thread->in_flight--;
		completion->done(completion, cqe->res);
	}
}

/* Submit, sleep until @wanted completions are there, and take all of them: how many? */
static unsigned enter(struct io_thread *thread, unsigned wanted)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	int ret;

	if (!thread->all_watched)
		watch_all(thread);
	if (wanted)
		probe(sleep, thread->number);
	ret = submit(thread, wanted);
	note_wake(thread);
	if (wanted)
		probe(wake, thread->number, io_uring_cq_ready(&thread->ring));
	/* EAGAIN and EBUSY: the kernel wants completions taken first. */
	if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		log_limited(&thread->messages, "%s: io_uring: %s", thread->name, strerror(-ret));
	io_uring_for_each_cqe(&thread->ring, head, cqe) {
		take(thread, cqe);
		count++;
	}
	io_uring_cq_advance(&thread->ring, count);
	thread->disk_is_slow = thread->in_flight;
	return count;
}

/*
 * The cheapest mode first: completions are then posted only when the thread
 * asks for them, so nothing interrupts it (6.1); else without an interrupt to
 * a thread in user space (5.19); else plain, but for what an entry that the
 * kernel refuses does to those after it (5.18).
 */
static const struct {
	unsigned flags;
	const char *since; /* Linux */
} ring_modes[] = {
	{ IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
	  IORING_SETUP_SUBMIT_ALL, "6.1" },
	{ IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
	  "5.19" },
	{ IORING_SETUP_SUBMIT_ALL, "5.18" },
	{ 0, "5.13" },
};

static int init_ring(struct io_thread *thread)
{
	int ret = -EINVAL;
	unsigned i;

	for (i = 0; ret == -EINVAL && i < array_size(ring_modes); i++) {
		struct io_uring_params params = {
			.flags = ring_modes[i].flags | IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};

		ret = io_uring_queue_init_params(SQ_ENTRIES, &thread->ring, &params);
	}
	if (ret == 0 && i > 1)
		log_info_limited(&thread->messages, "%s: this kernel's io_uring is as of Linux %s",
				 thread->name, ring_modes[i - 1].since);
	return ret;
}

static int make_ring(struct io_thread *thread)
{
	int ret = init_ring(thread);

	/* A feature of the kernel that brought multishot polls (5.13). */
	if (ret == 0 && !(thread->ring.features & IORING_FEAT_RSRC_TAGS)) {
		io_uring_queue_exit(&thread->ring);
		ret = -ENOSYS;
	}
	if (ret)
		return ret;
	/* Each saves look-ups: of the ring (5.18), of files (5.19; limited as open files are). */
	io_uring_register_ring_fd(&thread->ring);
	if (io_uring_register_files_sparse(&thread->ring, FILES_MAX) == 0)
		thread->files = FILES_MAX;
	return 0;
}

static int register_memory(struct io_thread *thread)
{
	const struct iovec *memory = &thread->memory;
	size_t count = (memory->iov_len + PIECE_LEN - 1) >> PIECE_SHIFT;
	struct iovec *piece = calloc(count, sizeof(*piece));
	int ret;

	if (!piece)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		size_t start = i << PIECE_SHIFT;

		piece[i].iov_base = (uint8_t *)memory->iov_base + start;
		piece[i].iov_len = min(memory->iov_len - start, (size_t)PIECE_LEN);
	}
	ret = io_uring_register_buffers(&thread->ring, piece, (unsigned)count);
	free(piece);
	return ret;
}

/* --- The poll(2) kind --- */

static void sleep_in_poll(struct io_thread *thread)
{
	struct pollfd *pfd = thread->pollfd;
	struct io_queue *queue;
	eventfd_t count;
	nfds_t fds = 0;
	int ready;

	pfd[fds++] = (struct pollfd){ .fd = thread->wake, .events = POLLIN };
	for (queue = thread->queues; queue; queue = queue->next)
		pfd[fds++] = (struct pollfd){ .fd = queue->doorbell, .events = POLLIN };
	probe(sleep, thread->number);
	store_relaxed(&thread->call, in_poll);
	ready = poll(pfd, fds, -1);
	io_thread_called(thread);
	probe(wake, thread->number, max(ready, 0));
	if (ready <= 0)
		return;
	note_wake(thread);
	if (pfd->revents)
		eventfd_read(thread->wake, &count);
	for (queue = thread->queues; queue; queue = queue->next) {
		if (!(++pfd)->revents)
			continue;
		eventfd_read(queue->doorbell, &count);
		rang(thread, queue);
	}
}

/* --- Rounds --- */

static bool has_work(const struct io_thread *thread)
{
	if (thread->completed)
		return true;
	for (const struct io_queue *queue = thread->awake; queue; queue = queue->next_awake)
		if (queue->has_work(queue))
			return true;
	return false;
}

/* Submit, and take what is done by now: was there any? */
static bool look(struct io_thread *thread)
{
	if (thread->use_uring)
		return enter(thread, 0);
	note_wake(thread);
	return false;
}

static bool is_ring_ready(const struct io_thread *thread)
{
	return thread->use_uring && (io_uring_cq_ready(&thread->ring) || is_flagged(thread));
}

static bool is_wanted(const struct io_thread *thread)
{
	return has_work(thread) || load_relaxed(&thread->orders);
}

/* Spin until @deadline, or until there seems to be something to do: does there? */
static bool spin(const struct io_thread *thread, uint64_t deadline)
{
	do {
		for (unsigned i = 0; i < SPINS; i++) {
			if (is_ring_ready(thread) || is_wanted(thread))
				return true;
			cpu_relax();
		}
	} while (clock_ns() < deadline);
	return false;
}

/* Spin as long as it pays: is there something to do? */
static bool spin_and_look(struct io_thread *thread, struct io_poll *poll, uint64_t begin,
			  uint64_t longest)
{
	uint64_t waited;

	if (!spin(thread, begin + min(poll->ns, longest))) {
		probe(poll_miss, thread->number, clock_ns() - begin);
		counter_add(&thread->counts.poll_misses, 1);
		return false;
	}
	waited = clock_ns() - begin;
	probe(poll_hit, thread->number, waited);
	counter_add(&thread->counts.poll_hits, 1);
	/* Something else had the CPU, such as the vCPU that is waited for. */
	if (waited > longest)
		io_poll_slept(poll, waited, longest);
	/* The kernel may leave its flag set with nothing behind it, until it sets it again. */
	return look(thread) || is_wanted(thread);
}

static uint64_t poll_max_ns(const struct io_thread *thread)
{
	uint64_t ns = 0;

	for (const struct io_queue *queue = thread->awake; queue; queue = queue->next_awake)
		ns = max(ns, queue->poll_max_ns);
	return ns;
}

/*
 * Let the queues sleep; true: there is work after all.  In the poll(2) kind they
 * stay awake, since nothing but their rings would tell while the thread spins.
 */
static bool arm_all(struct io_thread *thread)
{
	struct io_queue **link = &thread->awake, *queue;
	bool more = false;

	while ((queue = *link)) {
		bool has_more = queue->arm(queue);

		more |= has_more;
		if (has_more || !thread->use_uring) {
			link = &queue->next_awake;
		} else {
			queue->awake = false;
			*link = queue->next_awake;
		}
	}
	return more;
}

/* Nothing is left to do: spin if that pays, then sleep. */
static void idle(struct io_thread *thread)
{
	struct io_poll *poll = thread->in_flight ? &thread->for_disks : &thread->for_guests;
	uint64_t longest = poll_max_ns(thread), begin = 0;
	bool spins = longest && poll->ns;

	/* What completes at once is published before drivers are asked to ring. */
	if (thread->use_uring && (spins || io_uring_sq_ready(&thread->ring) >= BATCH) &&
	    look(thread))
		return;
	if (longest)
		begin = clock_ns();
	if (spins && spin_and_look(thread, poll, begin, longest))
		return;
	if (arm_all(thread)) {
		look(thread);
		return;
	}
	counter_add(&thread->counts.sleeps, 1);
	if (thread->use_uring)
		enter(thread, 1);
	else
		sleep_in_poll(thread);
	if (longest)
		io_poll_slept(poll, clock_ns() - begin, longest);
}

/* --- Life --- */

/* Make the ring, if there is to be one, and tell the creator. */
static void get_ready(struct io_thread *thread)
{
	int ret = thread->use_uring ? make_ring(thread) : -ENOSYS;

	if (ret && thread->use_uring)
		log_info_limited(&thread->messages, "%s: no io_uring (%s); doing I/O one by one",
				 thread->name, strerror(-ret));
	thread->use_uring = ret == 0;
	if (ret == 0 && thread->memory.iov_len)
		ret = register_memory(thread);
	if (ret && thread->memory.iov_len) {
		log_error("%s: fixed-buffers=on: cannot pin %zu MiB of guest memory for io_uring: "
			  "%s%s", thread->name, thread->memory.iov_len >> 20, strerror(-ret),
			  ret == -ENOMEM ? " (see RLIMIT_MEMLOCK)" : "");
		thread->memory.iov_len = 0;
		thread->memory_error = ret;
	}
	sem_post(&thread->ready);
}

static void *thread_main(void *opaque)
{
	struct io_thread *thread = opaque;

	pthread_setname_np(pthread_self(), thread->name);
	get_ready(thread);
	while (!thread->stop) {
		thread->spent = 0;
		pick_round(thread);
		if (has_work(thread))
			look(thread);
		else
			idle(thread);
		serve(thread);
	}
	if (thread->use_uring)
		io_uring_queue_exit(&thread->ring);
	return NULL;
}

static void io_thread_free(struct io_thread *thread)
{
	if (thread->wake >= 0)
		close(thread->wake);
	sem_destroy(&thread->ready);
	pthread_mutex_destroy(&thread->lock);
	free(thread->pollfd);
	free(thread);
}

static int start_thread(struct io_thread *thread, const struct io_thread_config *config)
{
	pthread_attr_t attr;
	int ret = -pthread_attr_init(&attr);

	if (ret)
		return ret;
	if (config->cpus)
		ret = -pthread_attr_setaffinity_np(&attr, sizeof(*config->cpus), config->cpus);
	if (ret == 0)
		ret = -pthread_create(&thread->id, &attr, thread_main, thread);
	pthread_attr_destroy(&attr);
	return ret;
}

int io_thread_create(struct io_thread **result, const struct io_thread_config *config)
{
	struct io_thread *thread = calloc(1, sizeof(*thread));
	int ret = 0;

	if (!thread)
		return -ENOMEM;
	strncpy(thread->name, config->name, sizeof(thread->name) - 1);
	thread->number = config->number;
	thread->use_uring = config->use_uring;
	thread->orders_end = &thread->orders;
	thread->completed_end = &thread->completed;
	thread->memory = config->memory;
	thread->timed_one_in = config->timed_one_in ? config->timed_one_in : IO_TIMED_ONE_IN;
	thread->random = (uint32_t)clock_ns() | 1;
	thread->until_timed = rounds_to_timed(thread);
	sem_init(&thread->ready, 0, 0);
	pthread_mutex_init(&thread->lock, NULL);
	thread->pollfd = calloc(1 + config->queues, sizeof(*thread->pollfd));
	thread->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!thread->pollfd)
		ret = -ENOMEM;
	else if (thread->wake < 0)
		ret = -errno;
	else
		ret = start_thread(thread, config);
	if (ret) {
		io_thread_free(thread);
		return ret;
	}
	*result = thread;
	return 0;
}

int io_thread_wait_for_memory(struct io_thread *thread)
{
	while (sem_wait(&thread->ready))
		; /* a signal */
	return thread->memory_error;
}

static void stop_thread(struct io_order *order)
{
	container_of(order, struct io_thread, stop_order)->stop = true;
}

void io_thread_destroy(struct io_thread *thread)
{
	thread->stop_order.run = stop_thread;
	io_thread_order(thread, &thread->stop_order);
	pthread_join(thread->id, NULL);
	io_thread_free(thread);
}
