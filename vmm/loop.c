// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/exit_status.h"

static void end_on_signal(void *opaque, int signo)
{
	loop_stop(opaque, STATUS_SIGNAL + signo);
}

static void ignore_signal(void *opaque, int signo)
{
	(void)opaque;
	(void)signo;
}

static void read_signal(void *opaque, uint32_t events)
{
	struct loop *loop = opaque;
	struct signalfd_siginfo info;
	struct loop_signal *signal;

	(void)events;
	if (read(loop->signals.fd, &info, sizeof(info)) != sizeof(info))
		return;
	signal = &loop->signal[info.ssi_signo];
	signal->caught(signal->opaque, (int)info.ssi_signo);
}

/* Nothing to do: loop_run() looks at the status. */
static void woken(void *opaque, uint32_t events)
{
	(void)opaque;
	(void)events;
}

void loop_on_signal(struct loop *loop, int signo, void (*caught)(void *opaque, int signo),
		    void *opaque)
{
	loop->signal[signo] = (struct loop_signal){ caught, opaque };
	sigaddset(&loop->caught, signo);
	sigprocmask(SIG_BLOCK, &loop->caught, NULL);
	/* With a valid descriptor it changes that one and cannot fail. */
	signalfd(loop->signals.fd, &loop->caught, 0);
}

static void catch_signals(struct loop *loop)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGQUIT };
	struct sigaction hup;

	/* Writing to nobody, or beyond RLIMIT_FSIZE, is an error like others. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (unsigned i = 0; i < array_size(ends); i++)
		loop_on_signal(loop, ends[i], end_on_signal, loop);
	/* Ignored signals reach a signalfd all the same, once they are blocked. */
	sigaction(SIGHUP, NULL, &hup);
	if (hup.sa_handler != SIG_IGN)
		loop_on_signal(loop, SIGHUP, end_on_signal, loop);
	loop_on_signal(loop, SIGUSR1, ignore_signal, loop);
	loop_on_signal(loop, SIGUSR2, ignore_signal, loop);
}

void loop_destroy(struct loop *loop)
{
	close(loop->epoll_fd);
	close(loop->stop.fd);
	close(loop->signals.fd);
}

int loop_init(struct loop *loop)
{
	int ret;

	*loop = (struct loop){
		.status = -1,
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.stop = {
			.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			.ready = woken,
			.opaque = loop,
		},
	};
	sigemptyset(&loop->caught);
	loop->signals = (struct loop_watch){
		.fd = signalfd(-1, &loop->caught, SFD_CLOEXEC | SFD_NONBLOCK),
		.ready = read_signal,
		.opaque = loop,
	};
	if (loop->epoll_fd < 0 || loop->stop.fd < 0 || loop->signals.fd < 0)
		ret = -errno;
	else
		ret = loop_add(loop, &loop->stop, EPOLLIN);
	if (ret == 0)
		ret = loop_add(loop, &loop->signals, EPOLLIN);
	if (ret) {
		log_error("cannot make the main loop: %s", strerror(-ret));
		loop_destroy(loop);
		return ret;
	}
	catch_signals(loop);
	return 0;
}

int loop_add(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) ? -errno : 0;
}

void loop_remove(struct loop *loop, struct loop_watch *watch)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

int loop_run(struct loop *loop)
{
	struct epoll_event event;
	struct loop_watch *watch;
	int status;

	while ((status = load_acquire(&loop->status)) < 0) {
		/*
		 * One event at a time: ready() may remove, and free, a watch
		 * whose event would stand later in the same batch.
		 */
		if (epoll_wait(loop->epoll_fd, &event, 1, -1) != 1)
			continue; /* EINTR: the process was stopped and goes on */
		watch = event.data.ptr;
		watch->ready(watch->opaque, event.events);
	}
	return status;
}

void loop_stop(struct loop *loop, int status)
{
	int running = -1;

	if (__atomic_compare_exchange_n(&loop->status, &running, status, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED))
		eventfd_write(loop->stop.fd, 1);
}
