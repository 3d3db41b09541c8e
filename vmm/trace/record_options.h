/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Strings are borrowed from argv. */
struct record_options {
	const char *target; /* PID or name */
	const char *file;
	const char *buffer;   /* as perf's -m takes it */
	uint64_t duration_ns; /* 0: until a signal */
	bool verbose;
	bool help; /* then nothing else was checked */
};

/* argv[0]: "record".  0; or -EINVAL, having said why on stderr. */
int record_options_parse(struct record_options *options, int argc, char **argv);

/*
 * The buffer for each of @cpus by default: 32 MiB, which half a second of the
 * busiest disk fills, and 256 MiB for all of them together, down to 1 MiB.
 */
const char *record_options_buffer(long cpus);

/* Print the help on stdout. */
void record_options_help(void);
