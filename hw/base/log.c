// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/log.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"

static bool log_verbose;

void log_set_verbose(bool verbose)
{
	log_verbose = verbose;
}

bool log_is_verbose(void)
{
	return log_verbose;
}

/* Is it a control character, also one of the second set, U+0080 to U+009F in UTF-8? */
static bool is_control(const char *text, size_t at)
{
	unsigned char c = (unsigned char)text[at];

	return c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0 && at && text[at - 1] == '\xc2');
}

/* All but @kept. */
static void disarm(char *text, size_t len, char kept)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] != kept && is_control(text, i))
			text[i] = '?';
}

void log_disarm(char *text)
{
	disarm(text, strlen(text), '\0');
}

__attribute__((format(printf, 2, 0)))
static void log_line(const char *kind, const char *fmt, va_list args)
{
	char line[1024];

	vsnprintf(line, sizeof(line), fmt, args);
	log_disarm(line);
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
	/*
	 * Periods are numbered from 1, so that zeroed memory is an old one.  Both
	 * numbers change in one step: threads that meet in a new period share it.
	 */
	uint64_t now = (clock_ns() / LOG_LIMIT_PERIOD_NS + 1) * (LOG_LIMIT_BURST + 1);
	uint64_t before = load_relaxed(&limit->state), after;

	do {
		after = max(before, now) + 1;
		if (after % (LOG_LIMIT_BURST + 1) == 0)
			return false;
	} while (!__atomic_compare_exchange_n(&limit->state, &before, after, false,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return stderr_takes_a_line();
}

void log_text(char *text, size_t len)
{
	disarm(text, len, '\n');
	while (len && stderr_takes_a_line()) {
		size_t part = min(len, (size_t)PIPE_BUF);
		const char *end = memrchr(text, '\n', part);
		ssize_t written;

		/* As many lines at once as nothing of others' gets into. */
		written = write(STDERR_FILENO, text, end ? (size_t)(end + 1 - text) : part);
		if (written < 0)
			return;
		text += written;
		len -= (size_t)written;
	}
}
