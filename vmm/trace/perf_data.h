/* SPDX-License-Identifier: BSD-2-Clause */
/* What is in a file that perf record wrote, as far as its records tell without their meaning. */
#pragma once

#include <stdint.h>

struct perf_data_counts {
	uint64_t events; /* hits of probes and tracepoints */
	uint64_t lost;   /* records that found no room: at least so many */
};

/* Count them.  0; -EINVAL if @path is no such file, or is cut short; or another -errno. */
int perf_data_count(const char *path, struct perf_data_counts *counts);
