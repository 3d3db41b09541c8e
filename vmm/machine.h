/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine: every part that a VM has, made in one visible order and taken
 * down in reverse.
 */
#pragma once

#include <stdint.h>

struct options;

/*
 * Build the machine that @options describe, run it to its end, and return the
 * process's exit status (vmm/exit_status.h).  Blocks signals; the caller has no
 * other thread yet.  Errors have been printed.  @start: clock_ns() when vmm began.
 */
int machine_run(const struct options *options, uint64_t start);
