/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters that one thread keeps as it works, and others read at any time, with
 * load_relaxed() or stronger.
 */
#pragma once

#include <stdint.h>

/* make ACCOUNTING=no leaves out all accounting, to measure what it costs. */
#ifndef ACCOUNTING
#define ACCOUNTING 1
#endif

/*
 * Only the counter's own thread adds, so this need not be atomic but for the store:
 * one instruction, of which compilers make three if asked for it in C.  Additions
 * are seen in the order of the program.
 */
static inline void counter_add(uint64_t *counter, uint64_t by)
{
	if (ACCOUNTING)
		__asm__ volatile("addq %1, %0" : "+m"(*counter) : "er"(by) : "cc");
}
