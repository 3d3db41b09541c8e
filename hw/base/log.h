/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages for the person who runs the program: one line each on stderr,
 * prefixed "vmm: ".  stdout belongs to the guest's serial port.
 *
 * All functions may be called from any thread; a line is written whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/base/clock.h"

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))

/*
 * Let log_info() print.  Called once, before the first thread is made: the
 * verbosity belongs to the process, as stderr does.
 */
void log_set_verbose(bool verbose);

void log_error(const char *fmt, ...) LOG_PRINTF;
void log_warn(const char *fmt, ...) LOG_PRINTF;

/* For what -v asks to see; silent otherwise. */
void log_info(const char *fmt, ...) LOG_PRINTF;

/*
 * A budget for messages that a guest can provoke: at most LOG_LIMIT_BURST
 * lines in LOG_LIMIT_PERIOD_NS, so that no guest can flood stderr.  Zeroed
 * memory is a full budget.  One for each device.
 */
struct log_limit {
	/* Atomic: the last period's number * (LOG_LIMIT_BURST + 1) + the lines it had. */
	uint64_t state;
};

#define LOG_LIMIT_BURST 5
#define LOG_LIMIT_PERIOD_NS (5 * NS_PER_S)

/* True if another line may be printed now, without waiting for its reader. */
bool log_allowed(struct log_limit *limit);

/*
 * Put '?' for what a terminal would obey: names may come from a hostile file.  All
 * messages go through this.
 */
void log_disarm(char *text);

/*
 * Print the whole lines of @text as they are.  What stderr does not take at once,
 * since nobody reads it, is left out from the begin of some line on.
 */
void log_text(char *text, size_t len);

/* Will log_info() print? */
bool log_is_verbose(void);

#define log_limited(limit, ...)                        \
	do {                                           \
		if (log_allowed(limit))                \
			log_warn(__VA_ARGS__);         \
	} while (0)

#define log_info_limited(limit, ...)                             \
	do {                                                     \
		if (log_is_verbose() && log_allowed(limit))      \
			log_info(__VA_ARGS__);                   \
	} while (0)
