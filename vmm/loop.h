/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The main thread's one wait: an epoll over signals, the terminal and timers.
 * It is never on the way of a disk request.
 *
 * All functions belong to the thread that runs the loop, except loop_stop().
 */
#pragma once

#include <signal.h>
#include <stdint.h>

/* A descriptor to watch.  Belongs to the caller, who keeps it while added. */
struct loop_watch {
	int fd;
	/* @events: EPOLLIN and so on. */
	void (*ready)(void *opaque, uint32_t events);
	void *opaque;
};

struct loop_signal {
	void (*caught)(void *opaque, int signo);
	void *opaque;
};

struct loop {
	int epoll_fd;
	int status; /* atomic; negative: run on */
	struct loop_watch stop;
	struct loop_watch signals;
	sigset_t caught;
	struct loop_signal signal[_NSIG];
};

/*
 * HUP, INT, TERM and QUIT from now on end the loop with status 128 plus their
 * number (HUP does not if it was ignored, as nohup(1) wants); USR1 and USR2
 * wait for loop_on_signal() and do nothing without; PIPE is ignored.  Threads
 * inherit all this, so it comes before the first one.  Returns 0, or -errno
 * having said why on stderr.
 */
int loop_init(struct loop *loop);

/* Signals stay blocked: one that comes after the end must not change the exit status. */
void loop_destroy(struct loop *loop);

/*
 * Have watch->ready() called while one of @events (or EPOLLERR, EPOLLHUP) is
 * true: level-triggered.  Returns 0; -EPERM for what is always ready, such as
 * a regular file; or another -errno.
 */
int loop_add(struct loop *loop, struct loop_watch *watch, uint32_t events);

/* ready() is not called any more, also for what was true before. */
void loop_remove(struct loop *loop, struct loop_watch *watch);

/*
 * Have caught() called on the loop's thread for each @signo, instead of what
 * loop_init() says.  Comes before the first other thread is made.
 */
void loop_on_signal(struct loop *loop, int signo, void (*caught)(void *opaque, int signo),
		    void *opaque);

/* Serve until loop_stop(), and return its status.  Once. */
int loop_run(struct loop *loop);

/*
 * End loop_run() with @status, an exit status.  Any thread, any number of
 * times, also before loop_run(); the first status counts.
 */
void loop_stop(struct loop *loop, int status);
