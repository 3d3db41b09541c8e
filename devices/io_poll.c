// SPDX-License-Identifier: BSD-2-Clause
#include "devices/io_poll.h"

#include "hw/base/util.h"

/* About what a sleep and a wake-up cost: a shorter wait is not worth one. */
#define LEAST_NS 4000

void io_poll_slept(struct io_poll *poll, uint64_t waited, uint64_t longest)
{
	uint64_t ns = poll->ns;

	if (waited > longest)
		ns = ns > LEAST_NS ? ns / 2 : 0;
	else
		ns = max(2 * ns, (uint64_t)LEAST_NS);
	poll->ns = min(ns, longest);
}
