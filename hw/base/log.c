// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"

static bool log_verbose;

void log_set_verbose(bool verbose)
{
	log_verbose = verbose;
}

bool log_is_verbose(void)
{
	return log_verbose;
}

__attribute__((format(printf, 2, 0)))
static void log_line(const char *kind, const char *fmt, va_list args)
{
	char line[1024];

	/* Names may come from a hostile file; a terminal must not obey them. */
	vsnprintf(line, sizeof(line), fmt, args);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	/* One write for the whole line, so that threads do not mix theirs. */
	fprintf(stderr, "vmm: %s%s\n", kind, line);
}

void log_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line("", fmt, args);
	va_end(args);
}

void log_warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line("warning: ", fmt, args);
	va_end(args);
}

void log_info(const char *fmt, ...)
{
	va_list args;

	if (!log_verbose)
		return;
	va_start(args, fmt);
	log_line("", fmt, args);
	va_end(args);
}

/*
 * A full pipe would make whoever prints wait, and with it the disks or the
 * end of the VM.  A pipe with room takes a whole line.
 */
static bool stderr_takes_a_line(void)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT);
}

bool log_allowed(struct log_limit *limit)
{
	/* Periods are numbered from 1, so that zeroed memory is an old one. */
	uint64_t now = clock_ns() / LOG_LIMIT_PERIOD_NS + 1;
	uint32_t used;

	if (__atomic_exchange_n(&limit->period, now, __ATOMIC_RELAXED) != now)
		store_relaxed(&limit->used, 0);
	used = load_relaxed(&limit->used);
	if (used >= LOG_LIMIT_BURST)
		return false;
	used = __atomic_fetch_add(&limit->used, 1, __ATOMIC_RELAXED);
	return used < LOG_LIMIT_BURST && stderr_takes_a_line();
}
