// SPDX-License-Identifier: BSD-2-Clause
#include "devices/io_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/leaks.h"
#include "tests/unit/on-thread.h"
#include "tests/unit/unit.h"

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

struct counter {
	struct io_queue queue;
	unsigned rung, flushed; /* atomic */
	unsigned again;         /* rounds to ask for */
	int told;
};

static struct counter counters[QUEUES];

static void counter_rung(struct io_queue *queue)
{
	struct counter *counter = container_of(queue, struct counter, queue);

	__atomic_fetch_add(&counter->rung, 1, __ATOMIC_RELEASE);
	if (counter->again) {
		counter->again--;
		io_thread_ring_again(thread, queue);
	}
	/* However often it is asked for, it comes once a round. */
	io_thread_want_flush(queue);
	io_thread_want_flush(queue);
}

static void counter_flush(struct io_queue *queue)
{
	struct counter *counter = container_of(queue, struct counter, queue);

	__atomic_fetch_add(&counter->flushed, 1, __ATOMIC_RELEASE);
	post(counter->told);
}

static void add_counters(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < QUEUES; i++) {
		io_thread_add_queue(thread, &counters[i].queue);
		io_thread_add_queue(thread, &counters[i].queue); /* as it was */
	}
}

static void make_counters(void)
{
	for (unsigned i = 0; i < QUEUES; i++)
		counters[i] = (struct counter){
			.queue = {
				.doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
				.rung = counter_rung,
				.flush = counter_flush,
			},
			.told = semaphore(),
		};
}

static void start_counters(void)
{
	make_counters();
	on_thread(thread, add_counters, NULL);
}

/* The thread ends first: it would go on watching the doorbells. */
static void stop_counters(void)
{
	io_thread_destroy(thread);
	thread = NULL;
	for (unsigned i = 0; i < QUEUES; i++) {
		close(counters[i].told);
		close(counters[i].queue.doorbell);
	}
}

static void nothing(void *opaque)
{
	(void)opaque;
}

/* Each ring is followed by a round, and by none of a queue that did not ring. */
static void ring_each(void)
{
	start_counters();
	for (unsigned round = 1; round <= 500; round++)
		for (unsigned i = 0; i < QUEUES; i++) {
			post(counters[i].queue.doorbell);
			wait_for(counters[i].told);
			ck_assert_uint_ge(load_acquire(&counters[i].rung), round);
		}
	/* One signal may be seen twice, by poll's rules; not much more often. */
	for (unsigned i = 0; i < QUEUES; i++) {
		ck_assert_uint_le(load_acquire(&counters[i].rung), 1001);
		ck_assert_uint_eq(load_acquire(&counters[i].rung),
				  load_acquire(&counters[i].flushed));
	}
	stop_counters();
}

START_TEST(doorbells)
{
	for_both(ring_each);
}
END_TEST

/* It was rung before the thread looked. */
static void rung_before(void)
{
	io_thread_destroy(thread);
	for (unsigned round = 0; round < 100; round++) {
		begin(use_uring);
		make_counters();
		post(counters[0].queue.doorbell);
		on_thread(thread, add_counters, NULL);
		wait_for(counters[0].told);
		stop_counters();
	}
}

START_TEST(doorbell_at_once)
{
	for_both(rung_before);
}
END_TEST

static void ask_again(void *opaque)
{
	struct counter *counter = opaque;

	counter->again = 1000;
	io_thread_ring_again(thread, &counter->queue);
}

/* A queue that asks for round after round does not keep the others out. */
static void rounds_on_request(void)
{
	struct counter *busy = &counters[0], *other = &counters[QUEUES - 1];

	start_counters();
	on_thread(thread, ask_again, busy);
	post(other->queue.doorbell);
	wait_for(other->told);
	for (unsigned i = 0; i < 1001; i++)
		wait_for(busy->told);
	on_thread(thread, nothing, NULL);
	ck_assert_uint_eq(load_acquire(&busy->rung), 1001);
	stop_counters();
}

START_TEST(ring_again)
{
	for_both(rounds_on_request);
}
END_TEST

/* With nothing to do, the thread sleeps, even with eventfds that were rung. */
static void sleeps(void)
{
	struct timespec before, after;
	int64_t used;
	int never = semaphore();

	start_counters();
	for (unsigned i = 0; i < QUEUES; i++) {
		post(counters[i].queue.doorbell);
		wait_for(counters[i].told);
	}
	on_thread(thread, nothing, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	ck_assert(!wait_ms(never, 300));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	used = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
	ck_assert_int_lt(used, 100 * 1000 * 1000);
	close(never);
	stop_counters();
}

START_TEST(idle_thread_sleeps)
{
	for_both(sleeps);
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

static void queue_reads(void *opaque)
{
	unsigned *from = opaque;

	for (; *from < STEPS; (*from)++) {
		struct step *step = &steps[*from];
		struct io_uring_sqe *sqe = io_thread_sqe(thread);

		if (!sqe)
			break;
		step->iov = (struct iovec){ &step->byte, 1 };
		io_uring_prep_readv(sqe, pair[0], &step->iov, 1, 0);
		io_uring_sqe_set_data(sqe, &step->completion);
	}
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

static void forget(void *opaque)
{
	io_thread_forget_file(thread, *(int *)opaque);
}

static char get_byte(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte = 0; /* at the end of the file, too */

	ck_assert_int_eq(poll(&pfd, 1, DEADLINE_MS), 1);
	ck_assert_int_ge(read(fd, &byte, 1), 0);
	return byte;
}

/* A file that joined the table stays in it and open until it is forgotten. */
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
	/* To forget what is not known, or is no file, does nothing. */
	for (unsigned i = 0; i < 2; i++)
		on_thread(thread, forget, &put.fd);
	on_thread(thread, forget, &(int){ -1 });
	close(put.fd);
	ck_assert_int_eq(get_byte(other[0]), 0);
	io_thread_destroy(thread);
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
	on_thread(thread, forget, &put.fd);
	io_thread_destroy(thread);
	close(ends[0]);
	close(ends[1]);
	close(put.fd);
	close(steps_told);
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
	unit_tcase(suite, "queues", doorbells, doorbell_at_once, ring_again, idle_thread_sleeps);
	unit_tcase(suite, "completions", completions_without_a_ring, poll_kind_has_no_entries,
		   more_in_flight_than_the_ring_holds);
	unit_tcase(suite, "files", files_of_the_ring, file_beyond_the_table);
	unit_tcase(suite, "life", thread_stays_on_its_cpus, thread_has_a_name, many_lives);
	return unit_run(suite);
}
