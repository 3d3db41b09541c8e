/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long an I/O thread spins before it sleeps.  To sleep and be woken costs
 * some microseconds, to spin costs a CPU: the time grows while waits turn out no
 * longer than what may be spun, and falls to nothing while they are longer.
 *
 * It belongs to its thread.  Times are in nanoseconds.
 */
#pragma once

#include <stdint.h>

struct io_poll {
	uint64_t ns; /* 0: sleep at once */
};

/*
 * A wait was not over after poll->ns: it took @waited in all, where up to
 * @longest may be spun.
 */
void io_poll_slept(struct io_poll *poll, uint64_t waited, uint64_t longest);
