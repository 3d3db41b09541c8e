// SPDX-License-Identifier: BSD-2-Clause
/*
 * The terminal between pipes, files and pseudo-terminals on one side and a
 * stand-in for the UART on the other.  The test's thread is the guest and the
 * user; the loop runs on a thread of its own.
 */
#include "vmm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"
#include "vmm/loop.h"

#define DEADLINE_S 30
#define BUFFER 65536 /* the terminal's, each way */
#define BIG (1 << 20)

struct uart {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct byte_stream stream;
	bool hold; /* take no input */
	unsigned output_ready;
	size_t in_len;
	uint8_t in[BIG];
};

static struct loop loop;
static struct terminal *terminal;
static struct uart uart;
static pthread_t loop_thread;
static uint8_t big[BIG];

/* --- The UART --- */

static void take_input(struct uart *u)
{
	size_t len;

	pthread_mutex_lock(&u->lock);
	do {
		len = u->hold ? 0 : u->stream.ops->read(u->stream.opaque, u->in + u->in_len,
							min((size_t)16, BIG - u->in_len));
		u->in_len += len;
	} while (len);
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

static void note_output_ready(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	u->output_ready++;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

/* Wait until *@value, a field of the UART, is at least @least. */
#define uart_wait(value, least)                                                    \
	do {                                                                       \
		struct timespec end;                                               \
		int late = 0;                                                      \
		clock_gettime(CLOCK_REALTIME, &end);                               \
		end.tv_sec += DEADLINE_S;                                          \
		pthread_mutex_lock(&uart.lock);                                    \
		while (uart.value < (least) && !late)                              \
			late = pthread_cond_timedwait(&uart.changed, &uart.lock, &end); \
		pthread_mutex_unlock(&uart.lock);                                  \
		ck_assert_msg(!late, "no " #value " in time");                     \
	} while (0)

static void ck_input(const void *expected, size_t len)
{
	bool same;

	uart_wait(in_len, len);
	pthread_mutex_lock(&uart.lock);
	same = uart.in_len == len && !memcmp(uart.in, expected, len);
	pthread_mutex_unlock(&uart.lock);
	ck_assert(same);
}

static size_t guest_write(const void *data, size_t len)
{
	return uart.stream.ops->write(uart.stream.opaque, data, len);
}

/* Write all of @len, waiting as a UART does where the buffer is full. */
static void guest_write_all(const uint8_t *data, size_t len)
{
	unsigned ready;
	size_t put;

	while (len) {
		pthread_mutex_lock(&uart.lock);
		ready = uart.output_ready;
		pthread_mutex_unlock(&uart.lock);
		put = guest_write(data, len);
		data += put;
		len -= put;
		if (len)
			uart_wait(output_ready, ready + 1);
	}
}

/* --- Start and end --- */

static void *run(void *opaque)
{
	return (void *)(intptr_t)loop_run(opaque);
}

static void create(int in, int out)
{
	ck_assert_int_eq(loop_init(&loop), 0);
	ck_assert_int_eq(terminal_create(&terminal, &loop, in, out), 0);
	uart.stream = terminal_stream(terminal);
	terminal_connect(terminal, &uart, take_input, note_output_ready);
}

static void start(int in, int out)
{
	create(in, out);
	terminal_start(terminal);
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run, &loop), 0);
}

/* Returns the status of the loop, which somebody ends. */
static int join(void)
{
	void *status;

	ck_assert_int_eq(pthread_join(loop_thread, &status), 0);
	return (int)(intptr_t)status;
}

static void finish(void)
{
	loop_stop(&loop, 77);
	ck_assert_int_eq(join(), 77);
	terminal_flush(terminal);
	terminal_destroy(terminal);
	loop_destroy(&loop);
}

static int null_fd(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void setup(void)
{
	pthread_mutex_init(&uart.lock, NULL);
	pthread_cond_init(&uart.changed, NULL);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (uint8_t)(i * 31 + i / 251) | 2; /* never Ctrl-A */
}

static void read_all(int fd, const uint8_t *expected, size_t len)
{
	static uint8_t buf[BIG];
	size_t got = 0;
	ssize_t n;

	while (got < len) {
		n = read(fd, buf + got, len - got);
		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	ck_assert(!memcmp(buf, expected, len));
}

static void write_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;
	ssize_t n;

	for (; len; at += n, len -= (size_t)n) {
		n = write(fd, at, len);
		ck_assert_int_gt(n, 0);
	}
}

static uint64_t loop_cpu_ns(void)
{
	struct timespec used;
	clockid_t clock;

	ck_assert_int_eq(pthread_getcpuclockid(loop_thread, &clock), 0);
	clock_gettime(clock, &used);
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* Over a tenth of a second, of which a spinning loop spends what it gets. */
static void ck_loop_sleeps(void)
{
	struct timespec tenth = { .tv_nsec = 100000000 };
	uint64_t start_ns = loop_cpu_ns();

	nanosleep(&tenth, NULL);
	ck_assert_uint_lt(loop_cpu_ns() - start_ns, 10000000);
}

/* --- Output --- */

START_TEST(output_reaches_a_pipe)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	start(null_fd(), fd[1]);
	ck_assert_uint_eq(guest_write("hello", 5), 5);
	read_all(fd[0], (const uint8_t *)"hello", 5);
	ck_assert_int_eq(fcntl(fd[1], F_GETFL), O_WRONLY);
	finish();
}
END_TEST

START_TEST(stalled_reader_stalls_the_uart_only)
{
	size_t put = 0, n;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
	start(null_fd(), fd[1]);
	while ((n = guest_write(big + put, 1000)) == 1000)
		put += n;
	put += n;
	ck_assert_uint_ge(put, BUFFER);
	ck_assert_uint_le(put, BUFFER + 4096);
	ck_loop_sleeps();
	/* Now the reader goes on, and so does the UART. */
	read_all(fd[0], big, put / 4 * 3);
	uart_wait(output_ready, 1);
	ck_assert_uint_eq(guest_write(big + put, 1000), 1000);
	read_all(fd[0], big + put / 4 * 3, put + 1000 - put / 4 * 3);
	finish();
}
END_TEST

START_TEST(stalled_reader_does_not_delay_signals)
{
	uint64_t begin;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
	start(null_fd(), fd[1]);
	while (guest_write(big, 1000) == 1000)
		;
	kill(getpid(), SIGTERM);
	ck_assert_int_eq(join(), 128 + SIGTERM);
	begin = clock_ns();
	terminal_flush(terminal);
	/* It gave the reader a second. */
	ck_assert_uint_ge(clock_ns() - begin, 1000000000);
	ck_assert_uint_le(clock_ns() - begin, 20000000000);
	terminal_destroy(terminal);
	loop_destroy(&loop);
}
END_TEST

static void *slow_reader(void *opaque)
{
	read_all(*(int *)opaque, big, 4096 + BUFFER);
	return NULL;
}

static void *big_reader(void *opaque)
{
	read_all(*(int *)opaque, big, BIG);
	return NULL;
}

/* Through a pipe of one page, so that the buffer wraps at all places. */
START_TEST(much_output_comes_in_order)
{
	pthread_t reader;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
	start(null_fd(), fd[1]);
	ck_assert_int_eq(pthread_create(&reader, NULL, big_reader, &fd[0]), 0);
	guest_write_all(big, BIG);
	pthread_join(reader, NULL);
	finish();
}
END_TEST

START_TEST(the_rest_is_flushed)
{
	pthread_t reader;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
	create(null_fd(), fd[1]);
	/* A page into the pipe, the rest into the buffer. */
	ck_assert_uint_eq(guest_write(big, BIG), 4096 + BUFFER);
	ck_assert_int_eq(pthread_create(&reader, NULL, slow_reader, &fd[0]), 0);
	terminal_flush(terminal);
	pthread_join(reader, NULL);
	ck_assert_uint_eq(uart.output_ready, 1);
	terminal_destroy(terminal);
	loop_destroy(&loop);
}
END_TEST

START_TEST(a_gone_reader_is_told_once)
{
	size_t total = 0, n;
	char *said;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	files_capture();
	start(null_fd(), fd[1]);
	close(fd[0]);
	while (total < 4 * BUFFER) {
		n = guest_write(big, 1000);
		total += n;
		if (n < 1000)
			uart_wait(output_ready, 1);
	}
	finish();
	said = files_captured();
	ck_assert_str_eq(said, "vmm: warning: stdout: Broken pipe; the guest's output is "
			       "dropped from here on\n");
	free(said);
}
END_TEST

START_TEST(output_is_appended_to_a_file)
{
	char template[] = "/tmp/vmm-unit-XXXXXX";
	int fd = mkostemp(template, O_CLOEXEC);

	unlink(template);
	ck_assert_int_eq(write(fd, "first ", 6), 6);
	start(null_fd(), fd);
	guest_write_all(big, BIG);
	finish();
	ck_assert_int_eq(lseek(fd, 6, SEEK_SET), 6);
	read_all(fd, big, BIG);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(output_to_null)
{
	start(null_fd(), null_fd());
	guest_write_all(big, BIG);
	finish();
}
END_TEST

START_TEST(full_device_drops_output)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	char *said;

	files_capture();
	start(null_fd(), fd);
	guest_write_all(big, BIG);
	finish();
	said = files_captured();
	ck_assert_str_eq(said, "vmm: warning: stdout: No space left on device; the guest's output "
			       "is dropped from here on\n");
	free(said);
}
END_TEST

START_TEST(a_socket_gets_its_mode_back)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	/* One description for both directions, as under inetd. */
	start(fd[0], dup(fd[0]));
	ck_assert_uint_eq(guest_write("out", 3), 3);
	read_all(fd[1], (const uint8_t *)"out", 3);
	write_all(fd[1], "in", 2);
	ck_input("in", 2);
	finish();
	ck_assert_int_eq(fcntl(fd[0], F_GETFL), O_RDWR);
}
END_TEST

/* --- Input that is no terminal --- */

START_TEST(pipe_input_is_taken_as_it_is)
{
	static const char text[] = "\0\r\n\x03\x1a";
	int in[2], out[2];

	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	start(in[0], out[1]);
	write_all(in[1], text, sizeof(text));
	close(in[1]);
	ck_input(text, sizeof(text));
	ck_loop_sleeps();
	/* Its end is not ours. */
	ck_assert_uint_eq(guest_write("on", 2), 2);
	read_all(out[0], (const uint8_t *)"on", 2);
	finish();
}
END_TEST

static void *pipe_writer(void *opaque)
{
	write_all(*(int *)opaque, big, BIG);
	close(*(int *)opaque);
	return NULL;
}

START_TEST(pipe_input_waits_for_the_guest)
{
	pthread_t writer;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	uart.hold = true;
	start(fd[0], null_fd());
	ck_assert_int_eq(pthread_create(&writer, NULL, pipe_writer, &fd[1]), 0);
	pthread_mutex_lock(&uart.lock);
	uart.hold = false;
	pthread_mutex_unlock(&uart.lock);
	take_input(&uart);
	ck_input(big, BIG);
	pthread_join(writer, NULL);
	finish();
}
END_TEST

/* All that can be read without the guest is the buffer and the pipe. */
START_TEST(pipe_input_is_bounded)
{
	size_t sent = 0;
	int fd[2], bytes;
	ssize_t n;

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(fcntl(fd[1], F_SETPIPE_SZ, 4096), 4096);
	uart.hold = true;
	create(fd[0], null_fd());
	terminal_start(terminal);
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run, &loop), 0);
	while (sent < BUFFER + 4096) {
		n = write(fd[1], big + sent, BUFFER + 4096 - sent);
		ck_assert_int_gt(n, 0);
		sent += (size_t)n;
	}
	/* Nothing reads the last 4096: the pipe is full now and remains so. */
	ck_assert_int_eq(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(write(fd[1], "x", 1), -1);
	ck_assert_int_eq(ioctl(fd[1], FIONREAD, &bytes), 0);
	ck_assert_int_eq(bytes, 4096);
	ck_loop_sleeps();
	pthread_mutex_lock(&uart.lock);
	uart.hold = false;
	pthread_mutex_unlock(&uart.lock);
	take_input(&uart);
	ck_input(big, BUFFER + 4096);
	finish();
}
END_TEST

START_TEST(file_input)
{
	char template[] = "/tmp/vmm-unit-XXXXXX";
	int fd = mkostemp(template, O_CLOEXEC);

	unlink(template);
	write_all(fd, big, BIG);
	lseek(fd, 0, SEEK_SET);
	start(fd, null_fd());
	ck_input(big, BIG);
	ck_loop_sleeps();
	finish();
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

/* --- Terminals --- */

static int master, slave;
static struct termios before;
static int answers[2]; /* a pipe, from a child */

static void setup_pty(void)
{
	setup();
	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	ck_assert_int_eq(tcgetattr(slave, &before), 0);
	ck_assert_int_eq(pipe(answers), 0);
}

static bool is_raw(int fd)
{
	struct termios now;

	ck_assert_int_eq(tcgetattr(fd, &now), 0);
	return !(now.c_lflag & ICANON);
}

static void ck_restored(void)
{
	struct termios now = { 0 }; /* the padding too */

	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	ck_assert(!memcmp(&now, &before, sizeof(now)));
	ck_assert_int_eq(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
}

START_TEST(raw_mode_comes_last_and_goes)
{
	struct termios now;

	create(slave, slave);
	ck_restored();
	terminal_start(terminal);
	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	ck_assert_uint_eq(now.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0);
	ck_assert_uint_eq(now.c_iflag & (ICRNL | INLCR | IGNCR | IXON | ISTRIP | BRKINT), 0);
	ck_assert_uint_eq(now.c_oflag, before.c_oflag);
	ck_assert_uint_eq(now.c_cflag, before.c_cflag);
	terminal_destroy(terminal);
	loop_destroy(&loop);
	ck_restored();
}
END_TEST

START_TEST(raw_mode_goes_on_a_signal)
{
	start(slave, slave);
	kill(getpid(), SIGINT);
	ck_assert_int_eq(join(), 128 + SIGINT);
	terminal_flush(terminal);
	terminal_destroy(terminal);
	loop_destroy(&loop);
	ck_restored();
}
END_TEST

START_TEST(error_before_the_start_changes_nothing)
{
	create(slave, slave);
	terminal_destroy(terminal);
	loop_destroy(&loop);
	ck_restored();
}
END_TEST

START_TEST(bytes_both_ways)
{
	start(slave, slave);
	write_all(master, "a\r\x03\x1a\x11\x13\x04", 7);
	ck_input("a\r\x03\x1a\x11\x13\x04", 7);
	ck_assert_uint_eq(guest_write("login: ", 7), 7);
	read_all(master, (const uint8_t *)"login: ", 7);
	finish();
	ck_restored();
}
END_TEST

static const struct {
	const char *typed[3], *passed;
} keys[] = {
	{ { "a\x01\x01" "b" }, "a\x01" "b" },
	{ { "\x01\x01\x01\x01" "c" }, "\x01\x01" "c" },
	{ { "\x01zq" }, "q" },
	{ { "\x01Xq" }, "q" },
	{ { "\x01", "\x01", "!" }, "\x01!" },
	{ { "a\x01", "y", "b" }, "ab" },
};

START_TEST(escape_keys)
{
	start(slave, slave);
	for (unsigned i = 0; i < array_size(keys[_i].typed) && keys[_i].typed[i]; i++)
		write_all(master, keys[_i].typed[i], strlen(keys[_i].typed[i]));
	ck_input(keys[_i].passed, strlen(keys[_i].passed));
	finish();
}
END_TEST

START_TEST(help_key)
{
	char *said;

	files_capture();
	start(slave, slave);
	write_all(master, "\x01h.", 3);
	ck_input(".", 1);
	finish();
	said = files_captured();
	ck_assert_str_eq(said, "vmm: Ctrl-A x: quit; Ctrl-A Ctrl-A: send one Ctrl-A; "
			       "Ctrl-A h: this help\n");
	free(said);
}
END_TEST

START_TEST(quit_key)
{
	start(slave, slave);
	write_all(master, "\x01", 1);
	write_all(master, "x", 1);
	ck_assert_int_eq(join(), 0);
	terminal_flush(terminal);
	terminal_destroy(terminal);
	loop_destroy(&loop);
	ck_restored();
}
END_TEST

START_TEST(quit_key_works_from_a_pipe)
{
	int in[2];

	ck_assert_int_eq(pipe(in), 0);
	start(in[0], null_fd());
	write_all(in[1], "\x01x", 2);
	ck_assert_int_eq(join(), 0);
	terminal_destroy(terminal);
	loop_destroy(&loop);
}
END_TEST

/* Neither a guest that takes nothing nor a reader that reads nothing. */
START_TEST(quit_key_always_works)
{
	uart.hold = true;
	start(slave, slave);
	while (guest_write(big, 1000) == 1000)
		;
	memset(big, 'k', 2 * BUFFER);
	write_all(master, big, 2 * BUFFER);
	write_all(master, "\x01x", 2);
	ck_assert_int_eq(join(), 0);
	terminal_destroy(terminal);
	loop_destroy(&loop);
	ck_restored();
}
END_TEST

START_TEST(a_hung_up_terminal_is_the_end_of_input)
{
	int out[2];

	ck_assert_int_eq(pipe(out), 0);
	start(slave, out[1]);
	write_all(master, "a", 1);
	ck_input("a", 1);
	close(master);
	ck_loop_sleeps();
	ck_assert_uint_eq(guest_write("on", 2), 2);
	read_all(out[0], (const uint8_t *)"on", 2);
	finish();
}
END_TEST

/* --- Job control, in processes of their own --- */

static void answer(void *opaque, int signo)
{
	(void)opaque, (void)signo;
	write_all(answers[1], "", 1);
}

/* A child that does not outlive this process, were it to fail. */
static pid_t fork_child(void)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

/* What a vmm does with its terminal, from start to end; never returns. */
static void be_vmm(void)
{
	int status;

	create(slave, slave);
	loop_on_signal(&loop, SIGUSR1, answer, NULL);
	terminal_start(terminal);
	answer(NULL, 0);
	status = loop_run(&loop);
	terminal_destroy(terminal);
	_exit(status);
}

static void wait_answer(void)
{
	char byte;

	ck_assert_int_eq(read(answers[0], &byte, 1), 1);
}

/* Return when the child has served everything that came before this. */
static void wait_served(pid_t child)
{
	/* Twice: it may have been on its way to the wait. */
	for (unsigned i = 0; i < 2; i++) {
		kill(child, SIGUSR1);
		wait_answer();
	}
}

/* Wait until the child has changed its state. */
static int wait_child(pid_t child, int flags)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, flags), child);
	return status;
}

/* The child sends no event when it has set the mode, so look again and again. */
static void wait_raw(void)
{
	uint64_t end = clock_ns() + DEADLINE_S * 1000000000ULL;
	struct timespec pause = { .tv_nsec = 5000000 };

	while (!is_raw(slave)) {
		ck_assert_msg(clock_ns() < end, "still not raw");
		nanosleep(&pause, NULL);
	}
}

START_TEST(stop_and_continue)
{
	int signo = _i ? SIGSTOP : SIGTSTP, status;
	pid_t child = fork_child();

	if (!child)
		be_vmm();
	wait_answer();
	ck_assert(is_raw(slave));
	kill(child, signo);
	status = wait_child(child, WUNTRACED);
	ck_assert(WIFSTOPPED(status));
	/* A shell sets its own mode anyhow; after SIGTSTP we have been polite. */
	if (signo == SIGTSTP)
		ck_restored();
	else
		ck_assert_int_eq(tcsetattr(slave, TCSANOW, &before), 0);
	kill(child, SIGCONT);
	wait_raw();
	write_all(master, "\x01x", 2);
	status = wait_child(child, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_restored();
}
END_TEST

/* A new session with the terminal as its own, as a shell has. */
static void be_shell(void)
{
	sigset_t set;

	ck_assert_int_gt(setsid(), 0);
	ck_assert_int_eq(ioctl(slave, TIOCSCTTY, 0), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTTOU);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static pid_t start_job(void)
{
	pid_t job = fork_child();

	if (!job) {
		setpgid(0, 0);
		be_vmm();
	}
	wait_answer();
	return job;
}

static int shell_background_then_foreground(void)
{
	struct pollfd typed = { .fd = slave, .events = POLLIN };
	pid_t job;
	int status;

	be_shell();
	/* A job in the background must not touch the mode, nor stop. */
	job = start_job();
	ck_assert(!is_raw(slave));
	tcsetpgrp(slave, job);
	wait_raw();
	/* Put into the background, it must not be stopped by what is typed. */
	tcsetattr(slave, TCSANOW, &before);
	tcsetpgrp(slave, getpgrp());
	write_all(master, "typed to the shell\n", 19);
	poll(&typed, 1, -1);
	wait_served(job);
	ck_assert(!is_raw(slave));
	ck_assert_int_eq(waitpid(job, &status, WUNTRACED | WNOHANG), 0);
	tcsetpgrp(slave, job);
	wait_raw();
	write_all(master, "\x01x", 2);
	status = wait_child(job, WUNTRACED);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

START_TEST(background_and_foreground)
{
	pid_t shell = fork_child();
	int status;

	if (!shell)
		_exit(shell_background_then_foreground());
	status = wait_child(shell, 0);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
	ck_restored();
}
END_TEST

/* Nobody brings this one to the foreground. */
static int shell_background(void)
{
	struct pollfd typed = { .fd = slave, .events = POLLIN };
	pid_t job;
	int status;

	be_shell();
	job = start_job();
	write_all(master, "typed to the shell\n", 19);
	poll(&typed, 1, -1);
	wait_served(job);
	kill(job, SIGTERM);
	status = wait_child(job, WUNTRACED);
	ck_assert(!is_raw(slave));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

START_TEST(background_is_left_alone)
{
	pid_t shell = fork_child();
	int status;

	if (!shell)
		_exit(shell_background());
	status = wait_child(shell, 0);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGTERM, "status %#x",
		      status);
	ck_restored();
}
END_TEST

static TCase *group(Suite *suite, const char *name, void (*prepare)(void))
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, prepare, NULL);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

int main(void)
{
	Suite *suite = suite_create("terminal");
	TCase *tcase = group(suite, "output", setup);

	tcase_add_test(tcase, output_reaches_a_pipe);
	tcase_add_test(tcase, stalled_reader_stalls_the_uart_only);
	tcase_add_test(tcase, stalled_reader_does_not_delay_signals);
	tcase_add_test(tcase, much_output_comes_in_order);
	tcase_add_test(tcase, the_rest_is_flushed);
	tcase_add_test(tcase, a_gone_reader_is_told_once);
	tcase_add_test(tcase, output_is_appended_to_a_file);
	tcase_add_test(tcase, output_to_null);
	tcase_add_test(tcase, full_device_drops_output);
	tcase_add_test(tcase, a_socket_gets_its_mode_back);

	tcase = group(suite, "input", setup);
	tcase_add_test(tcase, pipe_input_is_taken_as_it_is);
	tcase_add_test(tcase, quit_key_works_from_a_pipe);
	tcase_add_test(tcase, pipe_input_waits_for_the_guest);
	tcase_add_test(tcase, pipe_input_is_bounded);
	tcase_add_test(tcase, file_input);

	tcase = group(suite, "tty", setup_pty);
	tcase_add_test(tcase, raw_mode_comes_last_and_goes);
	tcase_add_test(tcase, raw_mode_goes_on_a_signal);
	tcase_add_test(tcase, error_before_the_start_changes_nothing);
	tcase_add_test(tcase, bytes_both_ways);
	tcase_add_loop_test(tcase, escape_keys, 0, array_size(keys));
	tcase_add_test(tcase, help_key);
	tcase_add_test(tcase, quit_key);
	tcase_add_test(tcase, quit_key_always_works);
	tcase_add_test(tcase, a_hung_up_terminal_is_the_end_of_input);

	tcase = group(suite, "jobs", setup_pty);
	tcase_add_loop_test(tcase, stop_and_continue, 0, 2);
	tcase_add_test(tcase, background_and_foreground);
	tcase_add_test(tcase, background_is_left_alone);
	return unit_run(suite);
}
