// SPDX-License-Identifier: BSD-2-Clause
#include "devices/io_thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/leaks.h"
#include "tests/unit/on-thread.h"
#include "tests/unit/unit.h"
#include "tests/unit/vq-driver.h"

#define DEADLINE_MS 20000
#define QUEUES 8

/* Tests run for both kinds of thread. */
static bool use_uring;
static struct io_thread *thread;

static void begin(bool uring)
{
	const struct io_thread_config config = {
		.name = "io-test", .queues = QUEUES, .use_uring = uring,
	};

	use_uring = uring;
	ck_assert_int_eq(io_thread_create(&thread, &config), 0);
}

static void for_both(void (*test)(void))
{
	for (unsigned uring = 0; uring < 2; uring++) {
		begin(uring);
		test();
		if (thread)
			io_thread_destroy(thread);
	}
}

/* An eventfd that counts; waiting takes one. */
static int semaphore(void)
{
	int fd = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void post(int fd)
{
	eventfd_write(fd, 1);
}

static bool wait_ms(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	eventfd_t count;

	return poll(&pfd, 1, ms) == 1 && eventfd_read(fd, &count) == 0;
}

static void wait_for(int fd)
{
	ck_assert_msg(wait_ms(fd, DEADLINE_MS), "it did not happen");
}

/* --- Orders --- */

struct numbered {
	struct io_order order;
	unsigned from, number;
};

#define SENDERS 4
#define ORDERS 5000

static struct numbered orders[SENDERS][ORDERS];
static unsigned next_number[SENDERS]; /* the thread's */
static int all_sent;

static void run_numbered(struct io_order *order)
{
	struct numbered *n = container_of(order, struct numbered, order);

	if (n->number == next_number[n->from])
		next_number[n->from]++;
	if (next_number[n->from] == ORDERS && n->number == ORDERS - 1)
		post(all_sent);
}

static void *send_orders(void *opaque)
{
	struct numbered *mine = opaque;

	for (unsigned i = 0; i < ORDERS; i++)
		io_thread_order(thread, &mine[i].order);
	return NULL;
}

/* Each sender's orders run once, in turn. */
static void orders_in_turn(void)
{
	pthread_t sender[SENDERS];

	all_sent = semaphore();
	memset(next_number, 0, sizeof(next_number));
	for (unsigned s = 0; s < SENDERS; s++)
		for (unsigned i = 0; i < ORDERS; i++)
			orders[s][i] = (struct numbered){ { .run = run_numbered }, s, i };
	for (unsigned s = 0; s < SENDERS; s++)
		ck_assert_int_eq(pthread_create(&sender[s], NULL, send_orders, orders[s]), 0);
	for (unsigned s = 0; s < SENDERS; s++) {
		wait_for(all_sent);
		pthread_join(sender[s], NULL);
	}
	close(all_sent);
}

START_TEST(each_order_once_in_turn)
{
	for_both(orders_in_turn);
}
END_TEST

/* An order may give the next one, even itself. */
static unsigned left;
static int chain_done;

static void run_again(struct io_order *order)
{
	if (--left)
		io_thread_order(thread, order);
	else
		post(chain_done);
}

static void order_from_order(void)
{
	struct io_order order = { .run = run_again };

	left = 1000;
	chain_done = semaphore();
	io_thread_order(thread, &order);
	wait_for(chain_done);
	close(chain_done);
}

START_TEST(orders_on_the_thread)
{
	for_both(order_from_order);
}
END_TEST

/* --- Queues --- */

/*
 * A ring of nothing but numbers, in memory: the driver adds work, and rings if it
 * was asked to; the thread takes one a round.
 */
struct work {
	struct io_queue queue;
	int told;       /* a semaphore: flushed */
	unsigned added; /* atomic; the driver's */
	bool asks;      /* atomic; the device wants to be rung for */
	unsigned rings; /* the driver's */

	/* The thread's; atomic. */
	unsigned taken, served, flushed;
	unsigned lies; /* times to speak of work that is not there */
	unsigned naps; /* times to keep the thread from running while it spins */
	bool looked;   /* the thread's; for work, and there was none */
};

static struct work works[QUEUES];
static uint64_t poll_max_ns;

static struct work *work_of(const struct io_queue *queue)
{
	return container_of(queue, struct work, queue);
}

static bool is_left(struct work *work)
{
	return load_acquire(&work->added) != load_relaxed(&work->taken);
}

static bool work_lies(struct work *work)
{
	unsigned lies = load_relaxed(&work->lies);

	if (lies)
		store_relaxed(&work->lies, lies - 1);
	return lies;
}

/* Of the last ring that was made. */
static unsigned *ring_flags;
static bool flag_stays; /* atomic; IORING_SQ_TASKRUN, whatever the kernel does */

#define NAP_MS 3

/* A second look for work, with none in between, is one of a spin. */
static void work_naps(struct work *work)
{
	unsigned naps = load_relaxed(&work->naps);

	if (naps && work->looked) {
		store_relaxed(&work->naps, naps - 1);
		poll(NULL, 0, NAP_MS);
		__atomic_fetch_add(&work->added, 1, __ATOMIC_RELEASE);
	}
	work->looked = true;
}

static bool work_has_work(const struct io_queue *queue)
{
	struct work *work = work_of(queue);

	if (load_relaxed(&flag_stays))
		__atomic_fetch_or(ring_flags, IORING_SQ_TASKRUN, __ATOMIC_RELAXED);
	if (!is_left(work))
		work_naps(work);
	return is_left(work) || work_lies(work);
}

static void work_serve(struct io_queue *queue)
{
	struct work *work = work_of(queue);

	work->looked = false;
	store_release(&work->served, work->served + 1);
	if (!is_left(work))
		return;
	store_relaxed(&work->asks, false);
	store_release(&work->taken, work->taken + 1);
	/* However often it is asked for, it comes once a round. */
	io_thread_want_flush(thread, queue);
	io_thread_want_flush(thread, queue);
}

static bool work_arm(struct io_queue *queue)
{
	struct work *work = work_of(queue);

	store_relaxed(&work->asks, true);
	fence_full(); /* with that in work_add() */
	return is_left(work) || work_lies(work);
}

static void work_flush(struct io_queue *queue)
{
	struct work *work = work_of(queue);

	store_release(&work->flushed, work->flushed + 1);
	post(work->told);
}

static void work_add(struct work *work)
{
	__atomic_fetch_add(&work->added, 1, __ATOMIC_RELEASE);
	fence_full(); /* with that in work_arm() */
	if (load_relaxed(&work->asks)) {
		work->rings++;
		post(work->queue.doorbell);
	}
}

static void add_works(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < QUEUES; i++) {
		io_thread_add_queue(thread, &works[i].queue);
		io_thread_add_queue(thread, &works[i].queue); /* as it was */
	}
}

static void make_works(void)
{
	for (unsigned i = 0; i < QUEUES; i++)
		works[i] = (struct work){
			.queue = {
				.doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
				.poll_max_ns = poll_max_ns,
				.has_work = work_has_work,
				.serve = work_serve,
				.arm = work_arm,
				.flush = work_flush,
			},
			.told = semaphore(),
			.asks = true,
		};
}

static void start_works(void)
{
	make_works();
	on_thread(thread, add_works, NULL);
}

/* The thread ends first: it would go on watching the doorbells. */
static void stop_works(void)
{
	io_thread_destroy(thread);
	thread = NULL;
	for (unsigned i = 0; i < QUEUES; i++) {
		close(works[i].told);
		close(works[i].queue.doorbell);
	}
}

static void nothing(void *opaque)
{
	(void)opaque;
}

/* Without polling, and with much of it. */
static void for_all(void (*test)(void))
{
	static const uint64_t longest[] = { 0, 50 * NS_PER_US, 20 * NS_PER_S };

	for (unsigned i = 0; i < array_size(longest); i++) {
		poll_max_ns = longest[i];
		for_both(test);
	}
}

/* All that is added is done, and flushed once a round; of other queues, nothing. */
static void do_each(void)
{
	start_works();
	for (unsigned round = 1; round <= 500; round++)
		for (unsigned i = 0; i < QUEUES; i++) {
			work_add(&works[i]);
			wait_for(works[i].told);
			ck_assert_uint_eq(load_acquire(&works[i].taken), round);
			ck_assert_uint_eq(load_acquire(&works[i].flushed), round);
		}
	stop_works();
}

START_TEST(doorbells)
{
	for_all(do_each);
}
END_TEST

/* It was rung before the thread looked. */
static void rung_before(void)
{
	io_thread_destroy(thread);
	for (unsigned round = 0; round < 100; round++) {
		begin(use_uring);
		make_works();
		work_add(&works[0]);
		on_thread(thread, add_works, NULL);
		wait_for(works[0].told);
		stop_works();
	}
}

START_TEST(doorbell_at_once)
{
	for_both(rung_before);
}
END_TEST

/* The driver adds at any moment of the thread's; what is lost is never done. */
static void add_at_random(void)
{
	const unsigned times = 30000;
	uint64_t state = 7;

	start_works();
	for (unsigned i = 0; i < times; i++) {
		work_add(&works[vq_random(&state, QUEUES)]);
		for (unsigned pause = vq_random(&state, 1U << vq_random(&state, 14)); pause; pause--)
			cpu_relax();
	}
	for (unsigned i = 0; i < QUEUES; i++)
		for (unsigned told = 0; told < works[i].added; told++)
			wait_for(works[i].told);
	stop_works();
}

START_TEST(no_work_is_lost)
{
	for_all(add_at_random);
}
END_TEST

static void add_thousand(void *opaque)
{
	__atomic_fetch_add(&((struct work *)opaque)->added, 1000, __ATOMIC_RELEASE);
}

/* A queue with work for round after round does not keep the others out. */
static void work_for_rounds(void)
{
	struct work *busy = &works[0], *other = &works[QUEUES - 1];

	start_works();
	add_thousand(busy);
	post(busy->queue.doorbell);
	work_add(other);
	wait_for(other->told);
	for (unsigned i = 0; i < 1000; i++)
		wait_for(busy->told);
	on_thread(thread, nothing, NULL);
	ck_assert_uint_eq(load_acquire(&busy->served), 1000);
	stop_works();
}

START_TEST(rounds)
{
	for_all(work_for_rounds);
}
END_TEST

/* While the thread has work, drivers are not asked to ring, nor need they. */
static void add_while_busy(void)
{
	struct work *busy = &works[0], *other = &works[1];
	unsigned rings;

	start_works();
	store_release(&busy->lies, UINT32_MAX);
	work_add(busy);
	wait_for(busy->told);
	work_add(other);
	wait_for(other->told);
	rings = other->rings;
	for (unsigned i = 0; i < 1000; i++) {
		work_add(other);
		wait_for(other->told);
	}
	ck_assert_uint_eq(other->rings, rings);
	store_release(&busy->lies, 0);
	stop_works();
}

START_TEST(no_rings_while_busy)
{
	for_all(add_while_busy);
}
END_TEST

/* A queue that always speaks of work, and has none, keeps nothing else out. */
static void one_lies(void)
{
	struct work *liar = &works[0], *other = &works[1];

	start_works();
	store_release(&liar->lies, UINT32_MAX);
	work_add(liar);
	wait_for(liar->told);
	for (unsigned i = 0; i < 500; i++) {
		on_thread(thread, nothing, NULL);
		work_add(other);
		wait_for(other->told);
		work_add(liar);
		wait_for(liar->told);
	}
	ck_assert_uint_gt(load_acquire(&liar->served), 501);
	ck_assert_uint_eq(load_acquire(&liar->taken), 501);
	ck_assert_uint_eq(load_acquire(&other->served), 500);
	stop_works();
}

START_TEST(work_that_is_not_there)
{
	for_all(one_lies);
}
END_TEST

static void costs_nothing(void)
{
	struct timespec before, after;
	int64_t used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	poll(NULL, 0, 300);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	used = (after.tv_sec - before.tv_sec) * NS_PER_S + after.tv_nsec - before.tv_nsec;
	ck_assert_int_lt(used, 100 * NS_PER_MS);
}

/* With nothing to do, the thread sleeps, even with eventfds that were rung. */
static void sleeps(void)
{
	start_works();
	for (unsigned i = 0; i < QUEUES; i++) {
		work_add(&works[i]);
		wait_for(works[i].told);
	}
	on_thread(thread, nothing, NULL);
	costs_nothing();
	stop_works();
}

START_TEST(idle_thread_sleeps)
{
	poll_max_ns = 0;
	for_both(sleeps);
	poll_max_ns = NS_PER_MS;
	for_both(sleeps);
}
END_TEST

/* The driver rings for each, once the thread has gone to sleep. */
static void ring_for_each(void)
{
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;

	start_works();
	for (unsigned i = 1; i <= 100; i++) {
		while (!load_acquire(&works[0].asks))
			must(clock_ns() < deadline);
		work_add(&works[0]);
		wait_for(works[0].told);
		ck_assert_uint_eq(works[0].rings, i);
	}
	stop_works();
}

START_TEST(without_polling)
{
	poll_max_ns = 0;
	for_both(ring_for_each);
}
END_TEST

/* Sleeps that are short beside what may be spun make the thread spin in the end. */
static void spin_in_the_end(void)
{
	start_works();
	for (unsigned i = 0; i < 200; i++) {
		work_add(&works[0]);
		wait_for(works[0].told);
		/* While it spins, it takes orders. */
		on_thread(thread, nothing, NULL);
		poll(NULL, 0, 1);
	}
	/* Each ring made it spin twice as long. */
	ck_assert_uint_gt(works[0].rings, 0);
	ck_assert_uint_lt(works[0].rings, 40);
	/* The doorbells of those that sleep are heard. */
	work_add(&works[1]);
	wait_for(works[1].told);
	stop_works();
}

START_TEST(with_polling)
{
	poll_max_ns = 20 * NS_PER_S;
	for_both(spin_in_the_end);
}
END_TEST

/* The ring's flag stays set with nothing behind it: the thread sleeps all the same. */
START_TEST(flag_that_stays)
{
	poll_max_ns = 20 * NS_PER_S;
	begin(true);
	start_works();
	store_relaxed(&flag_stays, true);
	for (unsigned i = 0; i < 100; i++) {
		work_add(&works[0]);
		wait_for(works[0].told);
		poll(NULL, 0, 1);
	}
	costs_nothing();
	/* All wake it as before. */
	work_add(&works[1]);
	wait_for(works[1].told);
	on_thread(thread, nothing, NULL);
	store_relaxed(&flag_stays, false);
	stop_works();
}
END_TEST

/* What ends a spin comes long after it, each time: the thread learns to sleep. */
static void has_no_cpu(void)
{
	const unsigned naps = 300;
	uint64_t deadline = clock_ns() + DEADLINE_MS * NS_PER_MS;
	struct work *work = &works[0];

	start_works();
	store_relaxed(&work->naps, naps);
	while (load_relaxed(&work->naps) == naps) {
		must(clock_ns() < deadline);
		work_add(work);
		wait_for(work->told);
	}
	while (!load_relaxed(&work->asks))
		must(clock_ns() < deadline);
	ck_assert_uint_gt(load_relaxed(&work->naps), naps - 20);
	store_relaxed(&work->naps, 0);
	stop_works();
}

START_TEST(spins_without_a_cpu)
{
	poll_max_ns = NS_PER_MS;
	for_both(has_no_cpu);
}
END_TEST

/* --- Completions --- */

struct step {
	struct io_completion completion;
	unsigned number;
	int result;
	unsigned times;
	struct iovec iov;
	char byte;
};

#define STEPS 2000

static struct step steps[STEPS];
static unsigned steps_done; /* the thread's */
static int steps_told;
static bool in_turn;

static void step_done(struct io_completion *completion, int result)
{
	struct step *step = container_of(completion, struct step, completion);

	step->result = result;
	step->times++;
	in_turn &= step->number == steps_done;
	if (++steps_done == STEPS)
		post(steps_told);
}

static void reset_steps(void)
{
	steps_done = 0;
	in_turn = true;
	steps_told = semaphore();
	for (unsigned i = 0; i < STEPS; i++)
		steps[i] = (struct step){ .completion.done = step_done, .number = i };
}

static void complete_inline(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < STEPS; i++)
		io_thread_complete(thread, &steps[i].completion, (int)i);
}

static void inline_steps(void)
{
	for (unsigned round = 0; round < 3; round++) {
		reset_steps();
		on_thread(thread, complete_inline, NULL);
		wait_for(steps_told);
		on_thread(thread, nothing, NULL);
		ck_assert(in_turn);
		for (unsigned i = 0; i < STEPS; i++) {
			ck_assert_int_eq(steps[i].result, (int)i);
			ck_assert_uint_eq(steps[i].times, 1);
		}
		close(steps_told);
	}
}

START_TEST(completions_without_a_ring)
{
	for_both(inline_steps);
}
END_TEST

static void no_entry(void *opaque)
{
	ck_assert_ptr_null(io_thread_sqe(opaque));
}

START_TEST(poll_kind_has_no_entries)
{
	begin(false);
	on_thread(thread, no_entry, thread);
	io_thread_destroy(thread);
}
END_TEST

/* More reads at once than either ring holds; none can complete yet. */
static int pair[2];
static unsigned given;

static void queue_read(void *opaque)
{
	struct step *step = opaque;
	struct io_uring_sqe *sqe = io_thread_sqe(thread);

	must(sqe);
	step->iov = (struct iovec){ &step->byte, 1 };
	io_uring_prep_readv(sqe, pair[0], &step->iov, 1, 0);
	io_uring_sqe_set_data(sqe, &step->completion);
}

static void queue_reads(void *opaque)
{
	unsigned *from = opaque;

	for (; *from < STEPS; (*from)++)
		queue_read(&steps[*from]);
}

START_TEST(more_in_flight_than_the_ring_holds)
{
	char bytes[STEPS];

	begin(true);
	reset_steps();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	given = 0;
	on_thread(thread, queue_reads, &given);
	ck_assert_uint_eq(given, STEPS);
	/* All complete at once: more than the completion ring holds. */
	memset(bytes, 7, sizeof(bytes));
	ck_assert_int_eq(write(pair[1], bytes, STEPS), STEPS);
	wait_for(steps_told);
	on_thread(thread, nothing, NULL);
	for (unsigned i = 0; i < STEPS; i++) {
		ck_assert_uint_eq(steps[i].times, 1);
		ck_assert_int_eq(steps[i].result, 1);
		ck_assert_int_eq(steps[i].byte, 7);
	}
	io_thread_destroy(thread);
	close(pair[0]);
	close(pair[1]);
	close(steps_told);
}
END_TEST

/* Reads wait for what we write: the thread sleeps, and spins after some of that. */
static void read_done(struct io_completion *completion, int result)
{
	(void)completion;
	must(result == 1);
	io_thread_want_flush(thread, &works[0].queue);
}

START_TEST(spins_for_disks)
{
	struct step step = { .completion.done = read_done };

	poll_max_ns = 20 * NS_PER_S;
	begin(true);
	start_works();
	ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
	for (unsigned i = 0; i < 100; i++) {
		on_thread(thread, queue_read, &step);
		poll(NULL, 0, 1);
		ck_assert_int_eq(write(pair[1], "x", 1), 1);
		wait_for(works[0].told);
	}
	stop_works();
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* --- Kernels that know less --- */

static unsigned unknown_flags;

/* This comes before liburing's. */
int io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
			       struct io_uring_params *params)
{
	int (*init)(unsigned, struct io_uring *, struct io_uring_params *) =
		dlsym(RTLD_NEXT, "io_uring_queue_init_params");

	int ret = params->flags & unknown_flags ? -EINVAL : init(entries, ring, params);

	ring_flags = ret ? NULL : ring->sq.kflags;
	return ret;
}

/* One step down at a time, and -v says how far. */
START_TEST(older_kernels)
{
	static const struct {
		unsigned unknown;
		const char *said;
	} kernels[] = {
		{ 0, "" },
		{ IORING_SETUP_DEFER_TASKRUN,
		  "vmm: io-test: this kernel's io_uring is as of Linux 5.19\n" },
		{ IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
		  "vmm: io-test: this kernel's io_uring is as of Linux 5.18\n" },
		{ ~(unsigned)IORING_SETUP_CQSIZE,
		  "vmm: io-test: this kernel's io_uring is as of Linux 5.13\n" },
	};

	log_set_verbose(true);
	for (unsigned i = 0; i < array_size(kernels); i++) {
		struct step step = { .completion.done = read_done };
		char *said;

		unknown_flags = kernels[i].unknown;
		files_capture();
		begin(true);
		start_works();
		said = files_captured();
		ck_assert_str_eq(said, kernels[i].said);
		free(said);
		ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
		for (unsigned round = 0; round < 100; round++) {
			work_add(&works[1]);
			wait_for(works[1].told);
			on_thread(thread, queue_read, &step);
			ck_assert_int_eq(write(pair[1], "x", 1), 1);
			wait_for(works[0].told);
		}
		stop_works();
		close(pair[0]);
		close(pair[1]);
	}
}
END_TEST

/* Nobody reads what is said: the thread does not wait for that. */
START_TEST(full_stderr)
{
	static const unsigned unknown[] = { IORING_SETUP_DEFER_TASKRUN, ~0U };
	int ends[2], kept = dup(STDERR_FILENO);
	char bytes[4096] = { 0 };

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(ends[1], bytes, sizeof(bytes)) > 0)
		;
	ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
	log_set_verbose(true);
	dup2(ends[1], STDERR_FILENO);
	for (unsigned i = 0; i < array_size(unknown); i++) {
		unknown_flags = unknown[i];
		begin(true);
		on_thread(thread, nothing, NULL);
		io_thread_destroy(thread);
	}
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* --- Files --- */

struct put {
	struct step step;
	int fd;
	unsigned flags; /* of the entry */
};

static void put_byte(void *opaque)
{
	struct put *put = opaque;
	struct io_uring_sqe *sqe = io_thread_sqe(thread);

	io_uring_prep_write(sqe, put->fd, &put->step.byte, 1, 0);
	io_thread_use_file(thread, sqe, put->fd);
	io_uring_sqe_set_data(sqe, &put->step.completion);
	put->flags = sqe->flags;
}

static void put_done(struct io_completion *completion, int result)
{
	container_of(completion, struct step, completion)->result = result;
	post(steps_told);
}

static char get_byte(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte = 0; /* at the end of the file, too */

	ck_assert_int_eq(poll(&pfd, 1, DEADLINE_MS), 1);
	ck_assert_int_ge(read(fd, &byte, 1), 0);
	return byte;
}

/* A file that joined the table stays in it, and open, until it is replaced or the thread ends. */
START_TEST(files_of_the_ring)
{
	int ends[2], other[2];
	struct put put = { .step = { .completion.done = put_done, .byte = 'a' } };

	begin(true);
	steps_told = semaphore();
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(other, O_CLOEXEC), 0);
	put.fd = ends[1];
	for (unsigned i = 0; i < 3; i++) {
		on_thread(thread, put_byte, &put);
		wait_for(steps_told);
		ck_assert_int_eq(put.step.result, 1);
		ck_assert_uint_eq(put.flags, IOSQE_FIXED_FILE);
		ck_assert_int_eq(get_byte(ends[0]), 'a');
	}
	/* The number becomes another file; the old one has no writer left. */
	on_thread_replace_file(thread, put.fd, other[1]);
	ck_assert_int_eq(get_byte(ends[0]), 0);
	on_thread(thread, put_byte, &put);
	wait_for(steps_told);
	ck_assert_int_eq(get_byte(other[0]), 'a');
	io_thread_destroy(thread);
	close(put.fd);
	ck_assert_int_eq(get_byte(other[0]), 0);
	close(ends[0]);
	close(other[0]);
	close(steps_told);
}
END_TEST

/* What the table has no place for goes without it. */
START_TEST(file_beyond_the_table)
{
	struct rlimit limit;
	struct put put = { .step = { .completion.done = put_done, .byte = 'a' } };
	int ends[2];

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	begin(true);
	steps_told = semaphore();
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	put.fd = fcntl(ends[1], F_DUPFD_CLOEXEC, 3000);
	ck_assert_int_ge(put.fd, 3000);
	on_thread(thread, put_byte, &put);
	wait_for(steps_told);
	ck_assert_uint_eq(put.flags, 0);
	ck_assert_int_eq(get_byte(ends[0]), 'a');
	io_thread_destroy(thread);
	close(ends[0]);
	close(ends[1]);
	close(put.fd);
	close(steps_told);
}
END_TEST

/* --- Memory --- */

#define GIB (1ULL << 30)

static int register_result; /* 1: as the kernel likes */
static unsigned pieces;

/* This comes before liburing's. */
int io_uring_register_buffers(struct io_uring *ring, const struct iovec *iov, unsigned count)
{
	int (*real)(struct io_uring *, const struct iovec *, unsigned) =
		dlsym(RTLD_NEXT, "io_uring_register_buffers");

	pieces = count;
	for (unsigned i = 0; i < count; i++)
		must(iov[i].iov_len && iov[i].iov_len <= GIB);
	return register_result <= 0 ? register_result : real(ring, iov, count);
}

/* What io_thread_wait_for_memory() returned; *@said is to be freed. */
static int begin_with_memory(void *memory, size_t len, bool uring, char **said)
{
	const struct io_thread_config config = {
		.name = "io-test", .queues = 1, .use_uring = uring, .memory = { memory, len },
	};
	int ret;

	files_capture();
	ck_assert_int_eq(io_thread_create(&thread, &config), 0);
	ret = io_thread_wait_for_memory(thread);
	*said = files_captured();
	return ret;
}

/* The piece that a request of these bytes takes its memory from; -1: none. */
static int piece_of(const uint8_t *at, unsigned len, bool write)
{
	unsigned fixed = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	unsigned plain = write ? IORING_OP_WRITE : IORING_OP_READ;
	struct io_uring_sqe sqe;

	io_uring_prep_rw((int)plain, &sqe, 0, at, len, 0);
	io_thread_use_buffer(thread, &sqe);
	ck_assert_uint_eq(sqe.addr, (uintptr_t)at);
	ck_assert_uint_eq(sqe.len, len);
	if (sqe.opcode == fixed)
		return sqe.buf_index;
	ck_assert_uint_eq(sqe.opcode, plain);
	ck_assert_uint_eq(sqe.buf_index, 0);
	return -1;
}

START_TEST(pieces_of_memory)
{
	uint8_t *const memory = (uint8_t *)(64 * GIB);
	const uint64_t len = 2 * GIB + 4096;
	const struct {
		uint64_t at;
		unsigned len;
		int piece;
	} table[] = {
		{ 0, 1, 0 }, { 4096, 1 << 20, 0 }, { 0, GIB, 0 }, { GIB - 512, 512, 0 },
		{ GIB - 512, 513, -1 }, { GIB - 512, 1 << 20, -1 }, { GIB, 512, 1 },
		{ GIB, GIB, 1 }, { GIB, GIB + 1, -1 }, { 2 * GIB, 4096, 2 },
		{ 2 * GIB + 4095, 1, 2 }, { 2 * GIB, 4097, -1 }, { 2 * GIB + 4096, 1, -1 },
		{ 2 * GIB + 4095, UINT32_MAX, -1 }, { -1ULL, 1, -1 }, { -512ULL, 1024, -1 },
		{ 3 * GIB, 512, -1 }, { -64 * GIB, 512, -1 },
	};
	char *said;

	register_result = 0;
	ck_assert_int_eq(begin_with_memory(memory, len, true, &said), 0);
	ck_assert_str_eq(said, "");
	free(said);
	ck_assert_uint_eq(pieces, 3);
	for (unsigned i = 0; i < array_size(table); i++)
		for (unsigned write = 0; write < 2; write++)
			ck_assert_int_eq(piece_of(memory + table[i].at, table[i].len, write),
					 table[i].piece);
	io_thread_destroy(thread);
}
END_TEST

/* Whoever asked for it hears why it was refused, and requests do without it. */
START_TEST(memory_refused)
{
	static const struct {
		int result;
		bool uring;
		int error;
		const char *why;
	} table[] = {
		{ -ENOMEM, true, -ENOMEM, "Cannot allocate memory (see RLIMIT_MEMLOCK)" },
		{ -EFAULT, true, -EFAULT, "Bad address" },
		{ 0, false, -ENOSYS, "Function not implemented" },
	};
	char *said, expected[256];

	for (unsigned i = 0; i < array_size(table); i++) {
		register_result = table[i].result;
		ck_assert_int_eq(begin_with_memory(steps, 3 << 20, table[i].uring, &said),
				 table[i].error);
		snprintf(expected, sizeof(expected),
			 "vmm: io-test: fixed-buffers=on: cannot pin 3 MiB of guest memory for "
			 "io_uring: %s\n", table[i].why);
		ck_assert_str_eq(said, expected);
		free(said);
		ck_assert_int_eq(piece_of((uint8_t *)steps, 512, false), -1);
		io_thread_destroy(thread);
	}
}
END_TEST

/* The kernel refuses what is beyond the limit of one who has one. */
START_TEST(memory_beyond_the_limit)
{
	const struct rlimit limit = { 64 << 10, 64 << 10 };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	const size_t len = 1 << 20;
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int status;

	ck_assert_ptr_ne(memory, MAP_FAILED);
	register_result = 1;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char *said;

		must(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
		must(syscall(SYS_capget, &header, data) == 0);
		data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
		must(syscall(SYS_capset, &header, data) == 0);
		must(begin_with_memory(memory, len, true, &said) == -ENOMEM);
		must(strstr(said, "(see RLIMIT_MEMLOCK)"));
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	munmap(memory, len);
}
END_TEST

/* --- Life --- */

static void read_cpus(void *opaque)
{
	pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t), opaque);
}

START_TEST(thread_stays_on_its_cpus)
{
	cpu_set_t one, now;
	const struct io_thread_config config = { .name = "io-test", .cpus = &one };

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (io_thread_create(&thread, &config))
			continue;
		on_thread(thread, read_cpus, &now);
		ck_assert(CPU_EQUAL(&one, &now));
		io_thread_destroy(thread);
	}
	CPU_ZERO(&one);
	ck_assert_int_eq(io_thread_create(&thread, &config), -EINVAL);
}
END_TEST

static void read_name(void *opaque)
{
	pthread_getname_np(pthread_self(), opaque, 16);
}

START_TEST(thread_has_a_name)
{
	const struct io_thread_config config = { .name = "a-name-of-many-letters", .queues = 1 };
	char name[16];

	begin(true);
	on_thread(thread, read_name, name);
	ck_assert_str_eq(name, "io-test");
	io_thread_destroy(thread);
	/* A long one is cut at what the kernel takes. */
	ck_assert_int_eq(io_thread_create(&thread, &config), 0);
	on_thread(thread, read_name, name);
	ck_assert_str_eq(name, "a-name-of-many-");
	io_thread_destroy(thread);
}
END_TEST

START_TEST(many_lives)
{
	unsigned fds = 0, threads = 0;

	for (unsigned i = 0; i < 300; i++) {
		/* The first may make what stays, such as a sanitizer's own thread. */
		if (i == 1) {
			fds = leaks_fds();
			threads = leaks_threads();
		}
		begin(i % 2);
		if (i % 3 == 0)
			on_thread(thread, nothing, NULL);
		io_thread_destroy(thread);
	}
	ck_assert_uint_eq(leaks_fds(), fds);
	ck_assert_uint_eq(leaks_threads(), threads);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_thread");

	unit_tcase(suite, "orders", each_order_once_in_turn, orders_on_the_thread);
	unit_tcase(suite, "queues", doorbells, doorbell_at_once, no_work_is_lost, rounds,
		   no_rings_while_busy, work_that_is_not_there, idle_thread_sleeps);
	unit_tcase(suite, "polling", without_polling, with_polling, flag_that_stays,
		   spins_without_a_cpu, spins_for_disks);
	unit_tcase(suite, "completions", completions_without_a_ring, poll_kind_has_no_entries,
		   more_in_flight_than_the_ring_holds);
	unit_tcase(suite, "kernels", older_kernels, full_stderr);
	unit_tcase(suite, "files", files_of_the_ring, file_beyond_the_table);
	unit_tcase(suite, "memory", pieces_of_memory, memory_refused, memory_beyond_the_limit);
	unit_tcase(suite, "life", thread_stays_on_its_cpus, thread_has_a_name, many_lives);
	return unit_run(suite);
}
