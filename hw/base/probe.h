/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Places in the program where perf, bpftrace and others may look on while it
 * runs: USDT probes of provider "vmm".  hw/base/probe_table.h has them all.
 *
 * Nobody looks: each costs one test of a counter in memory, and nothing of its
 * arguments is evaluated.  Somebody does: the kernel has raised the counter, and
 * stops the thread for a moment at a nop in probe.c.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hw/base/probe_table.h"

/* m(a), m(b), ... for up to ten arguments. */
#define PROBE_EACH_1(m, a) m(a)
#define PROBE_EACH_2(m, a, ...) m(a), PROBE_EACH_1(m, __VA_ARGS__)
#define PROBE_EACH_3(m, a, ...) m(a), PROBE_EACH_2(m, __VA_ARGS__)
#define PROBE_EACH_4(m, a, ...) m(a), PROBE_EACH_3(m, __VA_ARGS__)
#define PROBE_EACH_5(m, a, ...) m(a), PROBE_EACH_4(m, __VA_ARGS__)
#define PROBE_EACH_6(m, a, ...) m(a), PROBE_EACH_5(m, __VA_ARGS__)
#define PROBE_EACH_7(m, a, ...) m(a), PROBE_EACH_6(m, __VA_ARGS__)
#define PROBE_EACH_8(m, a, ...) m(a), PROBE_EACH_7(m, __VA_ARGS__)
#define PROBE_EACH_9(m, a, ...) m(a), PROBE_EACH_8(m, __VA_ARGS__)
#define PROBE_EACH_10(m, a, ...) m(a), PROBE_EACH_9(m, __VA_ARGS__)
#define PROBE_PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, picked, ...) picked
#define PROBE_EACH(m, ...)                                                               \
	PROBE_PICK(__VA_ARGS__, PROBE_EACH_10, PROBE_EACH_9, PROBE_EACH_8, PROBE_EACH_7, \
		   PROBE_EACH_6, PROBE_EACH_5, PROBE_EACH_4, PROBE_EACH_3, PROBE_EACH_2, \
		   PROBE_EACH_1, )(m, __VA_ARGS__)

/* Beside the way that is taken: a function that is called only while somebody looks. */
#define PROBE_COLD __attribute__((cold, noinline))

#define PROBE_PARAMETER(name) int64_t name

/* Hidden, or position-independent code would look up where the counter is. */
#define PROBE_DECLARE(name, meaning, ...)                                                    \
	extern unsigned short vmm_##name##_semaphore __attribute__((visibility("hidden"))); \
	PROBE_COLD void probe_##name(PROBE_EACH(PROBE_PARAMETER, __VA_ARGS__));
PROBE_TABLE(PROBE_DECLARE)
#undef PROBE_DECLARE

/*
 * Does anybody look at probe @name?  For what is worth reading only then.  A plain read,
 * for only the kernel writes, and an atomic one takes an instruction more at each place.
 */
#ifdef VMM_WITHOUT_PROBES
#define probe_wanted(name) false
#else
#define probe_wanted(name) __builtin_expect(vmm_##name##_semaphore != 0, 0)
#endif

/* Fire it; the arguments are evaluated only if somebody looks. */
#define probe(name, ...)                                  \
	do {                                              \
		if (probe_wanted(name))                   \
			probe_##name(__VA_ARGS__);        \
	} while (0)

/* The table as text; ends with a NULL name. */
struct probe_text {
	const char *name, *arguments, *meaning;
};
extern const struct probe_text probe_texts[];
