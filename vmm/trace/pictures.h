/* SPDX-License-Identifier: BSD-2-Clause */
/* The files that "vmm trace report" draws, beside what it prints. */
#pragma once

#include "vmm/trace/trace.h"

/* Which, and of what part of the recording. */
struct trace_pictures {
	const char *chrome, *svg; /* files; NULL: none */
	int disk;                 /* negative: all */
	uint64_t from, to;        /* ns since the recording's begin; to 0: its end */
};

/*
 * Write the files.  The trace keeps only what they show: the requests that began in
 * that time, and what of the spans lies in it.  0, or -errno, having said why.
 */
int trace_pictures_write(struct trace *trace, const struct trace_pictures *pictures);
