// SPDX-License-Identifier: BSD-2-Clause
#include "devices/io_thread.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"

/*
 * Submissions beyond these go to the kernel early; completions beyond twice as
 * many wait there until there is room.
 */
#define RING_ENTRIES 256

/* Of the ring's table of files, whose index is the descriptor. */
#define FILES_MAX 1024

enum file_state { FILE_UNKNOWN, FILE_REGISTERED, FILE_REFUSED };

struct io_thread {
	pthread_t id;
	char name[16]; /* the kernel's limit */
	int wake;      /* eventfd: there are orders */

	pthread_mutex_t lock;
	struct io_order *orders, **orders_end; /* lock */

	/* The thread's own. */
	bool use_uring;
	struct io_uring ring;
	struct pollfd *poll; /* the wake eventfd, then one a queue */
	struct io_queue *queues;
	struct io_completion *completed, **completed_end;
	bool wake_watched;
	unsigned files;                /* slots of the table: 0 or FILES_MAX */
	uint8_t file_state[FILES_MAX]; /* enum file_state */
	bool work_left; /* do not sleep before the next round */
	uint64_t spent; /* bytes begun in this round */
	bool stop;
	struct io_order stop_order;
	struct log_limit messages;
};

/* --- Orders, completions, queues --- */

void io_thread_order(struct io_thread *thread, struct io_order *order)
{
	order->next = NULL;
	pthread_mutex_lock(&thread->lock);
	*thread->orders_end = order;
	thread->orders_end = &order->next;
	pthread_mutex_unlock(&thread->lock);
	eventfd_write(thread->wake, 1);
}

static void run_orders(struct io_thread *thread)
{
	struct io_order *order, *next;

	pthread_mutex_lock(&thread->lock);
	order = thread->orders;
	thread->orders = NULL;
	thread->orders_end = &thread->orders;
	pthread_mutex_unlock(&thread->lock);
	for (; order; order = next) {
		next = order->next;
		order->run(order);
	}
}

void io_thread_complete(struct io_thread *thread, struct io_completion *completion, int result)
{
	completion->result = result;
	completion->next = NULL;
	*thread->completed_end = completion;
	thread->completed_end = &completion->next;
}

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

	while (!last && (completion = thread->completed)) {
		last = &completion->next == end;
		thread->completed = completion->next;
		if (!thread->completed)
			thread->completed_end = &thread->completed;
		completion->done(completion, completion->result);
	}
	if (thread->completed)
		thread->work_left = true;
}

void io_thread_add_queue(struct io_thread *thread, struct io_queue *queue)
{
	if (queue->added)
		return;
	queue->added = true;
	queue->next = thread->queues;
	thread->queues = queue;
}

void io_thread_ring_again(struct io_thread *thread, struct io_queue *queue)
{
	queue->ring_again = true;
	thread->work_left = true;
}

void io_thread_want_flush(struct io_queue *queue)
{
	queue->flush_wanted = true;
}

/* What follows each wait. */
static void serve(struct io_thread *thread)
{
	struct io_queue *queue;

	thread->work_left = false;
	run_orders(thread);
	run_completed(thread); /* what earlier rounds left */
	for (queue = thread->queues; queue; queue = queue->next) {
		if (!queue->ring_again)
			continue;
		queue->ring_again = false;
		queue->rung(queue);
	}
	run_completed(thread);
	for (queue = thread->queues; queue; queue = queue->next) {
		if (!queue->flush_wanted)
			continue;
		queue->flush_wanted = false;
		queue->flush(queue);
	}
}

/* --- The io_uring kind --- */

/* What user_data points to is told by its lowest bit; the wake eventfd is 0. */
#define IS_QUEUE 1

struct io_uring_sqe *io_thread_sqe(struct io_thread *thread)
{
	struct io_uring_sqe *sqe;

	if (!thread->use_uring)
		return NULL;
	sqe = io_uring_get_sqe(&thread->ring);
	if (!sqe && io_uring_submit(&thread->ring) > 0)
		sqe = io_uring_get_sqe(&thread->ring);
	return sqe;
}

static enum file_state set_file(struct io_thread *thread, unsigned slot, int fd)
{
	int ret = io_uring_register_files_update(&thread->ring, slot, &fd, 1);

	return ret == 1 ? FILE_REGISTERED : FILE_REFUSED;
}

void io_thread_use_file(struct io_thread *thread, struct io_uring_sqe *sqe, int fd)
{
	unsigned slot = (unsigned)fd;

	if (slot >= thread->files)
		return;
	if (thread->file_state[slot] == FILE_UNKNOWN)
		thread->file_state[slot] = set_file(thread, slot, fd);
	if (thread->file_state[slot] == FILE_REGISTERED)
		sqe->flags |= IOSQE_FIXED_FILE;
}

void io_thread_forget_file(struct io_thread *thread, int fd)
{
	unsigned slot = (unsigned)fd;

	if (slot >= thread->files)
		return;
	if (thread->file_state[slot] == FILE_REGISTERED)
		set_file(thread, slot, -1);
	thread->file_state[slot] = FILE_UNKNOWN;
}

/*
 * A multishot poll reports each signal on an eventfd without the eventfd being
 * read; its counter just grows.
 */
static bool watch(struct io_thread *thread, int fd, uintptr_t data)
{
	struct io_uring_sqe *sqe = io_thread_sqe(thread);

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
	for (struct io_queue *queue = thread->queues; queue; queue = queue->next)
		if (!queue->watched)
			queue->watched = watch(thread, queue->doorbell,
					       (uintptr_t)queue | IS_QUEUE);
}

static void take(struct io_thread *thread, const struct io_uring_cqe *cqe)
{
	bool still_watched = cqe->flags & IORING_CQE_F_MORE;
	uintptr_t data = (uintptr_t)io_uring_cqe_get_data64(cqe);

	if (!data) {
		thread->wake_watched = still_watched;
	} else if (data & IS_QUEUE) {
		struct io_queue *queue = (struct io_queue *)(data & ~(uintptr_t)IS_QUEUE);

		queue->watched = still_watched;
		queue->ring_again = true;
	} else {
		struct io_completion *completion = (struct io_completion *)data;

		completion->done(completion, cqe->res);
	}
}

static void wait_uring(struct io_thread *thread)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	int ret;

	watch_all(thread);
	ret = thread->work_left ? io_uring_submit_and_get_events(&thread->ring) :
				  io_uring_submit_and_wait(&thread->ring, 1);
	/* EAGAIN and EBUSY: the kernel wants completions taken first. */
	if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		log_limited(&thread->messages, "%s: io_uring: %s", thread->name, strerror(-ret));
	io_uring_for_each_cqe(&thread->ring, head, cqe) {
		take(thread, cqe);
		count++;
	}
	io_uring_cq_advance(&thread->ring, count);
}

/*
 * The cheapest mode first: completions are then posted only when the thread
 * asks for them, so nothing interrupts it (6.1); else without an interrupt to
 * a thread in user space (5.19); else plain.
 */
static int make_ring(struct io_thread *thread)
{
	static const unsigned modes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int ret = 0;

	for (unsigned i = 0; i < array_size(modes); i++) {
		ret = io_uring_queue_init(RING_ENTRIES, &thread->ring, modes[i]);
		if (ret != -EINVAL)
			break;
	}
	/* A feature of the kernel that brought multishot polls (5.13). */
	if (ret == 0 && !(thread->ring.features & IORING_FEAT_RSRC_TAGS)) {
		io_uring_queue_exit(&thread->ring);
		ret = -ENOSYS;
	}
	/* 5.19, and the limit of open files: without it, look-ups. */
	if (ret == 0 && io_uring_register_files_sparse(&thread->ring, FILES_MAX) == 0)
		thread->files = FILES_MAX;
	return ret;
}

/* --- The poll(2) kind --- */

static void wait_poll(struct io_thread *thread)
{
	struct pollfd *pfd = thread->poll;
	struct io_queue *queue;
	eventfd_t count;
	nfds_t fds = 0;

	pfd[fds++] = (struct pollfd){ .fd = thread->wake, .events = POLLIN };
	for (queue = thread->queues; queue; queue = queue->next)
		pfd[fds++] = (struct pollfd){ .fd = queue->doorbell, .events = POLLIN };
	if (poll(pfd, fds, thread->work_left ? 0 : -1) <= 0)
		return;
	if (pfd->revents)
		eventfd_read(thread->wake, &count);
	for (queue = thread->queues; queue; queue = queue->next) {
		if (!(++pfd)->revents)
			continue;
		eventfd_read(queue->doorbell, &count);
		queue->ring_again = true;
	}
}

/* --- Life --- */

static void *thread_main(void *opaque)
{
	struct io_thread *thread = opaque;

	pthread_setname_np(pthread_self(), thread->name);
	if (thread->use_uring) {
		int ret = make_ring(thread);

		thread->use_uring = ret == 0;
		if (ret)
			log_info("%s: no io_uring (%s); doing I/O one by one", thread->name,
				 strerror(-ret));
	}
	while (!thread->stop) {
		thread->spent = 0;
		if (thread->use_uring)
			wait_uring(thread);
		else
			wait_poll(thread);
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
	pthread_mutex_destroy(&thread->lock);
	free(thread->poll);
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
	thread->use_uring = config->use_uring;
	thread->orders_end = &thread->orders;
	thread->completed_end = &thread->completed;
	pthread_mutex_init(&thread->lock, NULL);
	thread->poll = calloc(1 + config->queues, sizeof(*thread->poll));
	thread->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!thread->poll)
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
