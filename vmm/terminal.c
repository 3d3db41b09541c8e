// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/exit_status.h"

#define RING_SIZE 65536
#define READ_SIZE 4096
#define FLUSH_MS 1000
#define ESCAPE 1 /* Ctrl-A */

struct ring {
	uint8_t data[RING_SIZE];
	size_t head;
	size_t len;
};

/* One direction.  The ring is guarded by the terminal's lock, the rest is the loop's. */
struct side {
	struct loop_watch watch; /* the descriptor that we use */
	int given_fd;            /* the one that we were given, maybe the same */
	int given_flags;         /* to be put back; -1: not changed */
	bool watched;
	bool ended; /* end of input; nobody reads the output (lock) */
	struct ring ring;
};

struct terminal {
	struct loop *loop;
	struct uart *uart;
	void (*input_ready)(struct uart *uart);
	void (*output_ready)(struct uart *uart);

	pthread_mutex_t lock;
	struct side in, out;
	bool in_paused;   /* no room for input; lock */
	bool out_stalled; /* the stream's write() was short; lock */
	uint64_t written; /* bytes of output so far; lock */

	/* The loop's thread only. */
	struct loop_watch kick;  /* eventfd: output came, or room for input */
	struct loop_watch timer; /* runs in the background */
	bool started;
	bool is_tty; /* @in is */
	bool background;
	bool escaped; /* the last byte was ESCAPE */
	bool raw;
	bool have_saved;
	struct termios saved; /* the mode before ours */
};

/* Put in what fits; returns how many bytes that is. */
static size_t ring_put(struct ring *ring, const uint8_t *buf, size_t len)
{
	size_t tail = (ring->head + ring->len) % RING_SIZE;
	size_t first;

	len = min(len, RING_SIZE - ring->len);
	first = min(len, RING_SIZE - tail);
	memcpy(ring->data + tail, buf, first);
	memcpy(ring->data, buf + first, len - first);
	ring->len += len;
	return len;
}

/* The bytes from the head on that lie in one piece. */
static size_t ring_peek(const struct ring *ring, const uint8_t **data)
{
	*data = ring->data + ring->head;
	return min(ring->len, RING_SIZE - ring->head);
}

static void ring_drop(struct ring *ring, size_t len)
{
	ring->head = (ring->head + len) % RING_SIZE;
	ring->len -= len;
}

static void kick(struct terminal *t)
{
	eventfd_write(t->kick.fd, 1);
}

static size_t stream_read(void *opaque, uint8_t *buf, size_t len)
{
	struct terminal *t = opaque;
	struct ring *ring = &t->in.ring;
	const uint8_t *data;
	bool resume;

	pthread_mutex_lock(&t->lock);
	len = min(len, ring_peek(ring, &data));
	memcpy(buf, data, len);
	ring_drop(ring, len);
	resume = t->in_paused && ring->len <= RING_SIZE / 2;
	if (resume)
		t->in_paused = false;
	pthread_mutex_unlock(&t->lock);
	if (resume)
		kick(t);
	return len;
}

static bool would_block(ssize_t moved)
{
	return moved < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Nobody reads any more.  With the lock. */
static void drop_output(struct terminal *t)
{
	log_warn("stdout: %s; the guest's output is dropped from here on", strerror(errno));
	t->out.ended = true;
	ring_drop(&t->out.ring, t->out.ring.len);
}

/*
 * What can be written at once is: waking the loop for it would cost the vCPU
 * more.  The rest waits for the loop in the ring.
 */
static size_t stream_write(void *opaque, const uint8_t *buf, size_t len)
{
	struct terminal *t = opaque;
	ssize_t moved = 0;
	size_t put = len;

	pthread_mutex_lock(&t->lock);
	if (!t->out.ended && !t->out.ring.len) {
		moved = write(t->out.watch.fd, buf, len);
		if (moved < 0 && !would_block(moved))
			drop_output(t);
		moved = moved < 0 ? 0 : moved;
		t->written += (uint64_t)moved;
		if ((size_t)moved < len && !t->out.ended)
			kick(t);
	}
	if (!t->out.ended) {
		put = (size_t)moved + ring_put(&t->out.ring, buf + moved, len - (size_t)moved);
		t->out_stalled = put < len;
	}
	pthread_mutex_unlock(&t->lock);
	return put;
}

static const struct byte_stream_ops stream_ops = {
	.read = stream_read,
	.write = stream_write,
};

/*
 * Watch a side, or not.  What epoll refuses (-EPERM: files, /dev/null) is
 * always ready, and is tried again in the loop's next round.  Not watching is
 * by removal, since epoll always reports EPOLLHUP and EPOLLERR.
 */
static void side_watch(struct terminal *t, struct side *side, uint32_t events, bool want)
{
	if (want == side->watched)
		return;
	if (!want) {
		loop_remove(t->loop, &side->watch);
		side->watched = false;
		return;
	}
	side->watched = !loop_add(t->loop, &side->watch, events);
	if (!side->watched)
		kick(t);
}

/* Write what can be written at once.  Returns how many bytes wait after that. */
static size_t write_output(struct terminal *t)
{
	struct ring *ring = &t->out.ring;
	const uint8_t *data;
	ssize_t moved = 0;
	size_t left;
	bool ready;

	pthread_mutex_lock(&t->lock);
	left = ring_peek(ring, &data);
	pthread_mutex_unlock(&t->lock);
	/* Without the lock: write() of the stream only adds behind these. */
	if (left)
		moved = write(t->out.watch.fd, data, left);

	pthread_mutex_lock(&t->lock);
	if (moved < 0 && !would_block(moved))
		drop_output(t);
	moved = moved < 0 ? 0 : moved;
	t->written += (uint64_t)moved;
	ring_drop(ring, (size_t)moved);
	left = ring->len;
	ready = t->out_stalled && left <= RING_SIZE / 2;
	if (ready)
		t->out_stalled = false;
	pthread_mutex_unlock(&t->lock);
	if (ready)
		t->output_ready(t->uart);
	return left;
}

static void output_work(void *opaque, uint32_t events)
{
	struct terminal *t = opaque;

	(void)events;
	side_watch(t, &t->out, EPOLLOUT, write_output(t) > 0);
}

static void obey_escape(struct terminal *t, uint8_t key)
{
	if (key == 'x')
		loop_stop(t->loop, STATUS_OK);
	/* An answer to the user, on stderr, since stdout is the guest's. */
	if (key == 'h')
		log_error("Ctrl-A x: quit; Ctrl-A Ctrl-A: send one Ctrl-A; Ctrl-A h: this help");
}

/* Take the escapes out of what was typed.  Returns how many bytes are left. */
static size_t filter_escapes(struct terminal *t, uint8_t *buf, size_t len)
{
	size_t to = 0;

	for (size_t from = 0; from < len; from++) {
		if (!t->escaped && buf[from] == ESCAPE) {
			t->escaped = true;
			continue;
		}
		if (t->escaped && buf[from] != ESCAPE)
			obey_escape(t, buf[from]);
		else
			buf[to++] = buf[from];
		t->escaped = false;
	}
	return to;
}

/* True where tcsetattr() and read() are not ours to do. */
static bool in_background(struct terminal *t)
{
	pid_t foreground = tcgetpgrp(t->in.watch.fd);

	/* -1: not our controlling terminal, so no job control. */
	return foreground >= 0 && foreground != getpgrp();
}

static void raw_mode_enter(struct terminal *t)
{
	struct termios raw;

	if (!t->have_saved && tcgetattr(t->in.watch.fd, &t->saved))
		return;
	t->have_saved = true;
	raw = t->saved;
	/* OPOST stays, so that our own lines on stderr look right. */
	raw.c_iflag &= ~(tcflag_t)(BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	/* TCSANOW: the others wait for output, that is, for the reader. */
	t->raw = !tcsetattr(t->in.watch.fd, TCSANOW, &raw);
}

static void raw_mode_leave(struct terminal *t)
{
	if (t->raw)
		tcsetattr(t->in.watch.fd, TCSANOW, &t->saved);
	t->raw = false;
}

/* Take the input into use, or wait until the process is in the foreground. */
static void resume_input(struct terminal *t)
{
	struct itimerspec second = { { 1, 0 }, { 1, 0 } }, never = { 0 };

	t->background = t->is_tty && in_background(t);
	timerfd_settime(t->timer.fd, 0, t->background ? &second : &never, NULL);
	if (t->background)
		t->raw = false; /* the mode is the shell's business now */
	else if (t->is_tty)
		raw_mode_enter(t);
	side_watch(t, &t->in, EPOLLIN, !t->background && !t->in.ended);
}

/* How much to read; for 0, stream_read() will say when there is room. */
static size_t input_room(struct terminal *t)
{
	size_t room;

	if (t->is_tty)
		return READ_SIZE;
	pthread_mutex_lock(&t->lock);
	room = min((size_t)READ_SIZE, RING_SIZE - t->in.ring.len);
	t->in_paused = room == 0;
	pthread_mutex_unlock(&t->lock);
	return room;
}

static void input_work(void *opaque, uint32_t events)
{
	struct terminal *t = opaque;
	size_t room = input_room(t);
	uint8_t buf[READ_SIZE];
	ssize_t len = -1;

	(void)events;
	errno = EAGAIN;
	if (room)
		len = read(t->in.watch.fd, buf, room);
	if (len < 0 && errno == EIO && in_background(t)) {
		resume_input(t);
		return;
	}
	if (len > 0) {
		len = (ssize_t)filter_escapes(t, buf, (size_t)len);
		pthread_mutex_lock(&t->lock);
		ring_put(&t->in.ring, buf, (size_t)len);
		pthread_mutex_unlock(&t->lock);
		t->input_ready(t->uart);
	} else if (!would_block(len)) {
		t->in.ended = true;
	}
	side_watch(t, &t->in, EPOLLIN, room && !t->in.ended);
}

static void kicked(void *opaque, uint32_t events)
{
	struct terminal *t = opaque;
	eventfd_t count;

	eventfd_read(t->kick.fd, &count);
	output_work(t, events);
	if (t->started && !t->in.watched && !t->in.ended && !t->background)
		input_work(t, events);
}

static void timer_ready(void *opaque, uint32_t events)
{
	struct terminal *t = opaque;
	uint64_t count;

	(void)events;
	if (read(t->timer.fd, &count, sizeof(count)) == sizeof(count))
		resume_input(t);
}

/* Ctrl-Z goes to the guest; this one comes from kill(1). */
static void stop_asked(void *opaque, int signo)
{
	(void)signo;
	raw_mode_leave(opaque);
	raise(SIGSTOP);
}

static void continued(void *opaque, int signo)
{
	struct terminal *t = opaque;

	(void)signo;
	if (t->started)
		resume_input(t);
}

/*
 * Descriptors are shared with whoever started us, and so is O_NONBLOCK.
 * Terminals and pipes can be opened anew, which gives us a mode of our own.  A
 * pseudo-terminal's master cannot: opening it makes another pair.
 */
static int open_anew(int fd, int access)
{
	char path[32];
	struct stat st;
	unsigned pty;

	if (fstat(fd, &st))
		return -1;
	if (!S_ISFIFO(st.st_mode) && (!isatty(fd) || !ioctl(fd, TIOCGPTN, &pty)))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void side_open(struct side *side, int fd, int access)
{
	int flags;

	side->given_fd = fd;
	side->given_flags = -1;
	side->watch.fd = open_anew(fd, access);
	if (side->watch.fd >= 0)
		return;
	side->watch.fd = fd;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !(flags & O_NONBLOCK) && !fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		side->given_flags = flags;
}

static void side_close(struct terminal *t, struct side *side)
{
	side_watch(t, side, 0, false);
	if (side->watch.fd != side->given_fd)
		close(side->watch.fd);
	if (side->given_flags >= 0)
		fcntl(side->given_fd, F_SETFL, side->given_flags);
}

/* The terminal's stop signals would stop the whole VM at an input or a mode change. */
static void catch_signals(struct terminal *t)
{
	sigset_t job_control;

	if (!t->is_tty)
		return;
	sigemptyset(&job_control);
	sigaddset(&job_control, SIGTTIN);
	sigaddset(&job_control, SIGTTOU);
	sigprocmask(SIG_BLOCK, &job_control, NULL);
	loop_on_signal(t->loop, SIGTSTP, stop_asked, t);
	loop_on_signal(t->loop, SIGCONT, continued, t);
}

int terminal_create(struct terminal **terminal, struct loop *loop, int in, int out)
{
	struct terminal *t = calloc(1, sizeof(*t));
	int ret;

	if (!t) {
		log_error("out of memory");
		return -ENOMEM;
	}
	t->loop = loop;
	t->is_tty = isatty(in);
	pthread_mutex_init(&t->lock, NULL);
	t->in.watch = (struct loop_watch){ -1, input_work, t };
	t->out.watch = (struct loop_watch){ -1, output_work, t };
	t->kick = (struct loop_watch){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.ready = kicked,
		.opaque = t,
	};
	t->timer = (struct loop_watch){
		.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
		.ready = timer_ready,
		.opaque = t,
	};
	if (t->kick.fd < 0 || t->timer.fd < 0)
		ret = -errno;
	else
		ret = loop_add(loop, &t->kick, EPOLLIN);
	if (ret == 0)
		ret = loop_add(loop, &t->timer, EPOLLIN);
	side_open(&t->in, in, O_RDONLY);
	side_open(&t->out, out, O_WRONLY);
	if (ret) {
		log_error("terminal: %s", strerror(-ret));
		terminal_destroy(t);
		return ret;
	}
	catch_signals(t);
	*terminal = t;
	return 0;
}

struct byte_stream terminal_stream(struct terminal *t)
{
	return (struct byte_stream){ &stream_ops, t };
}

void terminal_connect(struct terminal *t, struct uart *uart, void (*input_ready)(struct uart *uart),
		      void (*output_ready)(struct uart *uart))
{
	t->uart = uart;
	t->input_ready = input_ready;
	t->output_ready = output_ready;
}

void terminal_start(struct terminal *t)
{
	t->started = true;
	resume_input(t);
}

void terminal_flush(struct terminal *t)
{
	struct pollfd out = { .fd = t->out.watch.fd, .events = POLLOUT };
	uint64_t written, since = clock_ns();

	for (written = t->written; write_output(t); written = t->written) {
		if (t->written != written)
			since = clock_ns();
		else if (clock_ns() - since >= FLUSH_MS * NS_PER_MS)
			break;
		poll(&out, 1, FLUSH_MS);
	}
}

void terminal_destroy(struct terminal *t)
{
	raw_mode_leave(t);
	loop_remove(t->loop, &t->timer);
	loop_remove(t->loop, &t->kick);
	side_close(t, &t->out);
	side_close(t, &t->in);
	close(t->timer.fd);
	close(t->kick.fd);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
