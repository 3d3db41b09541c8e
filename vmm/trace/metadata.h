/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Having a VM tell what a report needs besides its requests: the probes clock,
 * vcpu_tsc and disk, which it fires for METADATA_SIGNAL (vmm/metadata.h).
 */
#pragma once

#include <sys/types.h>

/* Send the signal to the process that @pid_fd is.  Returns 0 or -errno; says nothing. */
int trace_metadata_ask(int pid_fd);

/*
 * The same to the process @pid, which @pid_fd is, and wait until it has fired.  Its
 * probes are in @tracefs.  Returns 0; -ESRCH: it has ended; -ETIMEDOUT: it has not
 * answered; or another -errno.  Says nothing.
 */
int trace_metadata_fire(const char *tracefs, pid_t pid, int pid_fd);
