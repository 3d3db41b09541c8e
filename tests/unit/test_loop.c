// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"
#include "vmm/loop_clock.h"

#define MS 1000000

static struct loop loop;

static void setup(void)
{
	signal(SIGHUP, SIG_DFL); /* nohup(1) may have been here */
	ck_assert_int_eq(loop_init(&loop), 0);
}

static void teardown(void)
{
	loop_destroy(&loop);
}

START_TEST(first_status_counts)
{
	loop_stop(&loop, 4);
	loop_stop(&loop, 1);
	ck_assert_int_eq(loop_run(&loop), 4);
}
END_TEST

static void *stop_from_thread(void *opaque)
{
	loop_stop(opaque, 3);
	return NULL;
}

START_TEST(another_thread_stops)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_thread, &loop), 0);
	ck_assert_int_eq(loop_run(&loop), 3);
	pthread_join(thread, NULL);
}
END_TEST

static const int ends[] = { SIGHUP, SIGINT, SIGTERM, SIGQUIT };

START_TEST(signals_end_it)
{
	sigset_t set;
	int pending;

	kill(getpid(), ends[_i]);
	ck_assert_int_eq(loop_run(&loop), 128 + ends[_i]);
	/* A second one, after the end, stays pending and does not kill us. */
	kill(getpid(), ends[_i]);
	sigemptyset(&set);
	sigaddset(&set, ends[_i]);
	ck_assert_int_eq(sigwait(&set, &pending), 0);
}
END_TEST

/* Of pending signals a signalfd gives the lowest number first: TERM is last. */
START_TEST(user_signals_do_nothing_by_default)
{
	raise(SIGUSR1);
	raise(SIGUSR2);
	raise(SIGTERM);
	ck_assert_int_eq(loop_run(&loop), 128 + SIGTERM);
}
END_TEST

static void note_signal(void *opaque, int signo)
{
	*(int *)opaque = signo;
}

START_TEST(registered_signals_are_handed_over)
{
	int usr1 = 0, hup = 0;

	loop_on_signal(&loop, SIGUSR1, note_signal, &usr1);
	loop_on_signal(&loop, SIGHUP, note_signal, &hup);
	raise(SIGUSR1);
	raise(SIGHUP);
	raise(SIGTERM);
	ck_assert_int_eq(loop_run(&loop), 128 + SIGTERM);
	ck_assert_int_eq(usr1, SIGUSR1);
	ck_assert_int_eq(hup, SIGHUP);
}
END_TEST

START_TEST(nohup_is_honoured)
{
	struct loop nohup;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	ck_assert_int_eq(loop_init(&nohup), 0);
	raise(SIGHUP);
	raise(SIGTERM);
	ck_assert_int_eq(loop_run(&nohup), 128 + SIGTERM);
	loop_destroy(&nohup);
	signal(SIGHUP, SIG_DFL);
}
END_TEST

START_TEST(broken_pipes_are_errors)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	close(fd[0]);
	ck_assert_int_eq(write(fd[1], "x", 1), -1);
	ck_assert_int_eq(errno, EPIPE);
	close(fd[1]);
}
END_TEST

/* Two watches that are ready at once; the one served first removes the other. */
struct rival {
	struct loop_watch watch;
	struct rival *other;
};

static unsigned served;

static void remove_rival(void *opaque, uint32_t events)
{
	struct rival *rival = opaque;

	ck_assert_uint_eq(events, EPOLLIN);
	served++;
	loop_remove(&loop, &rival->other->watch);
	loop_remove(&loop, &rival->watch);
	close(rival->other->watch.fd);
	free(rival->other);
	raise(SIGTERM);
}

START_TEST(a_removed_watch_is_not_served)
{
	struct rival *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));

	*a = (struct rival){ { eventfd(1, EFD_CLOEXEC), remove_rival, a }, b };
	*b = (struct rival){ { eventfd(1, EFD_CLOEXEC), remove_rival, b }, a };
	served = 0;
	ck_assert_int_eq(loop_add(&loop, &a->watch, EPOLLIN), 0);
	ck_assert_int_eq(loop_add(&loop, &b->watch, EPOLLIN), 0);
	ck_assert_int_eq(loop_run(&loop), 128 + SIGTERM);
	ck_assert_uint_eq(served, 1);
	/* The first added is served first, and has freed the other. */
	close(a->watch.fd);
	free(a);
}
END_TEST

START_TEST(files_are_always_ready)
{
	struct loop_watch watch = { open("/proc/self/exe", O_RDONLY | O_CLOEXEC), NULL, NULL };

	ck_assert_int_eq(loop_add(&loop, &watch, EPOLLIN), -EPERM);
	close(watch.fd);
}
END_TEST

static struct loop_clock wall;
static int64_t rang_at;

static void ring(void *opaque)
{
	struct alarm_clock *clock = opaque;

	rang_at = clock->ops->now(clock->opaque);
	loop_stop(&loop, 0);
}

START_TEST(alarm_rings_at_its_time)
{
	struct alarm_clock clock;
	int64_t when;

	ck_assert_int_eq(loop_clock_init(&wall, &loop, ring, &clock), 0);
	clock = loop_clock_get(&wall);
	when = clock.ops->now(clock.opaque) + 20 * MS;
	clock.ops->set_alarm(clock.opaque, when);
	ck_assert_int_eq(loop_run(&loop), 0);
	ck_assert_int_ge(rang_at, when);
	loop_clock_destroy(&wall);
}
END_TEST

static const int64_t past[] = { INT64_MIN, -1, 0, 1, 1000000000 };

START_TEST(past_alarms_ring_at_once)
{
	struct alarm_clock clock;

	ck_assert_int_eq(loop_clock_init(&wall, &loop, ring, &clock), 0);
	clock = loop_clock_get(&wall);
	clock.ops->set_alarm(clock.opaque, past[_i]);
	ck_assert_int_eq(loop_run(&loop), 0);
	loop_clock_destroy(&wall);
}
END_TEST

static void never_ring(void *opaque)
{
	(void)opaque;
	loop_stop(&loop, 1);
}

/* The later alarm of a second clock shows that the first had its chance. */
START_TEST(replaced_alarms_do_not_ring)
{
	struct loop_clock second;
	struct alarm_clock quiet, clock;
	int64_t now;

	ck_assert_int_eq(loop_clock_init(&wall, &loop, never_ring, NULL), 0);
	ck_assert_int_eq(loop_clock_init(&second, &loop, ring, &clock), 0);
	quiet = loop_clock_get(&wall);
	clock = loop_clock_get(&second);
	now = clock.ops->now(clock.opaque);
	quiet.ops->set_alarm(quiet.opaque, now + 5 * MS);
	quiet.ops->set_alarm(quiet.opaque, _i ? INT64_MAX : now + 3600000LL * MS);
	clock.ops->set_alarm(clock.opaque, now + 20 * MS);
	ck_assert_int_eq(loop_run(&loop), 0);
	loop_clock_destroy(&second);
	loop_clock_destroy(&wall);
}
END_TEST

START_TEST(no_descriptors_left)
{
	struct rlimit old, few;
	struct loop poor;
	int low = dup(STDIN_FILENO);
	char *said;

	close(low);
	files_capture();
	getrlimit(RLIMIT_NOFILE, &old);
	few = old;
	few.rlim_cur = (rlim_t)low; /* every descriptor from there on is refused */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_int_eq(loop_init(&poor), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	said = files_captured();
	ck_assert_str_eq(said, "vmm: cannot make the main loop: Too many open files\n");
	free(said);
}
END_TEST

static TCase *with_loop(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tcase = with_loop(suite, "stop");

	tcase_add_test(tcase, first_status_counts);
	tcase_add_test(tcase, another_thread_stops);
	tcase_add_loop_test(tcase, signals_end_it, 0, array_size(ends));
	tcase_add_test(tcase, user_signals_do_nothing_by_default);
	tcase_add_test(tcase, registered_signals_are_handed_over);
	tcase_add_test(tcase, nohup_is_honoured);
	tcase_add_test(tcase, broken_pipes_are_errors);

	tcase = with_loop(suite, "watches");
	tcase_add_test(tcase, a_removed_watch_is_not_served);
	tcase_add_test(tcase, files_are_always_ready);

	tcase = with_loop(suite, "clock");
	tcase_add_test(tcase, alarm_rings_at_its_time);
	tcase_add_loop_test(tcase, past_alarms_ring_at_once, 0, array_size(past));
	tcase_add_loop_test(tcase, replaced_alarms_do_not_ring, 0, 2);

	unit_tcase(suite, "limits", no_descriptors_left);
	return unit_run(suite);
}
