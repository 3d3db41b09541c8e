/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a recording of probes needs besides, to be understood by itself: who wants
 * it sends METADATA_SIGNAL, at the begin, at the end and now and then in between,
 * and finds it among the other probes (hw/base/probe_table.h).  Any thread; nothing
 * is done unless somebody looks.
 */
#pragma once

#include <signal.h>

/* The one before it is the vCPUs' own. */
#define METADATA_SIGNAL (SIGRTMIN + 1)

/* Fire the probe that tells of TSC and CLOCK_MONOTONIC at one time. */
void metadata_clock(void);

/* That of disk @number, whose image is at @path. */
void metadata_disk(unsigned number, unsigned queues, const char *path);
