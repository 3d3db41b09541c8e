// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/on-thread.h"

#include <check.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
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

/* --- Files --- */

/* The thread's own, if some file is in its table. */
static _Thread_local struct io_uring *ring_here;

/* This comes before liburing's. */
int io_uring_register_files_update(struct io_uring *ring, unsigned slot, const int *fds,
				   unsigned count)
{
	int (*real)(struct io_uring *, unsigned, const int *, unsigned) =
		dlsym(RTLD_NEXT, "io_uring_register_files_update");

	ring_here = ring;
	return real(ring, slot, fds, count);
}

static void renew_file(void *opaque)
{
	const int *fd = opaque;

	if (ring_here)
		io_uring_register_files_update(ring_here, (unsigned)*fd, fd, 1);
}

void on_thread_renew_file(struct io_thread *thread, int fd)
{
	on_thread(thread, renew_file, &fd);
}

void on_thread_replace_file(struct io_thread *thread, int fd, int other)
{
	ck_assert_int_eq(dup3(other, fd, O_CLOEXEC), fd);
	close(other);
	on_thread_renew_file(thread, fd);
}
