// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/on-thread.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/util.h"

#define DEADLINE_MS 50000 /* a CPU to which it is pinned may be busy */

struct call {
	struct io_order order;
	void (*function)(void *opaque);
	void *opaque;
	int done;
};

static void run_call(struct io_order *order)
{
	struct call *call = container_of(order, struct call, order);
	int done = call->done;

	call->function(call->opaque);
	eventfd_write(done, 1);
}

void on_thread(struct io_thread *thread, void (*function)(void *opaque), void *opaque)
{
	struct call call = {
		.order.run = run_call, .function = function, .opaque = opaque,
		.done = eventfd(0, EFD_CLOEXEC),
	};
	struct pollfd pfd = { .fd = call.done, .events = POLLIN };
	eventfd_t count;

	ck_assert_int_ge(call.done, 0);
	io_thread_order(thread, &call.order);
	ck_assert_msg(poll(&pfd, 1, DEADLINE_MS) == 1, "the thread takes no orders");
	eventfd_read(call.done, &count);
	close(call.done);
}

struct replace {
	struct io_thread *thread;
	int fd, other;
};

static void replace_file(void *opaque)
{
	const struct replace *replace = opaque;

	io_thread_forget_file(replace->thread, replace->fd);
	ck_assert_int_eq(dup3(replace->other, replace->fd, O_CLOEXEC), replace->fd);
	close(replace->other);
}

void on_thread_replace_file(struct io_thread *thread, int fd, int other)
{
	struct replace replace = { thread, fd, other };

	on_thread(thread, replace_file, &replace);
}
