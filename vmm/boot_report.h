/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What "vmm run --boot-report" prints: when the VM reached each step on its way
 * from the command line to the guest's init.
 *
 * Of a step only the first time counts, on whichever thread it comes.  Where
 * nobody asked for a report, there is none (NULL): then no clock is read, and
 * nothing stands in the way of the guest's accesses.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/base/log.h"
#include "hw/byte_stream.h"

/* What a guest writes to the debug port as its init begins; Firecracker's boot timer takes it. */
#define BOOT_REPORT_MARK 123

enum boot_step {
	BOOT_NO_STEP, /* taken, and not printed */
	BOOT_OPTIONS,
	BOOT_FILES,
	BOOT_MEMORY,
	BOOT_KVM,
	BOOT_BOARD,
	BOOT_KERNEL,
	BOOT_FIRST_RUN,
	BOOT_FIRST_EXIT,
	BOOT_FIRST_BYTE,
	BOOT_DRIVER_OK,
	BOOT_FIRST_READ,
	BOOT_INIT,
	BOOT_STEPS
};

struct boot_report {
	uint64_t start;      /* clock_ns() */
	uint64_t cpu_before; /* ns of CPU time that the process had used by then */
	struct {
		const char *who; /* atomic; NULL: not reached */
		uint64_t at;     /* atomic; clock_ns(); 0: not yet */
	} step[BOOT_STEPS];
	bool printed; /* atomic */
	struct log_limit messages;
	struct byte_stream console; /* the serial port's other end */
};

/* @start: clock_ns() when vmm began. */
void boot_report_init(struct boot_report *report, uint64_t start);

/*
 * @step is reached, if it was not before; by @who, which is printed and outlives
 * the report, and may be "".  Any thread.  @report may be NULL.
 */
void boot_report_reached(struct boot_report *report, enum boot_step step, const char *who);

/*
 * The stream whose first written byte is BOOT_FIRST_BYTE and goes on to @console, as
 * do all others; @console itself if @report is NULL.
 */
struct byte_stream boot_report_console(struct boot_report *report,
				       const struct byte_stream *console);

/*
 * The debug port's stream: BOOT_REPORT_MARK is BOOT_INIT.  Then the report is printed
 * at once, unless stderr's reader would keep the vCPU waiting.
 */
struct byte_stream boot_report_debug_stream(struct boot_report *report);

/*
 * The report as text: steps in the order in which they were reached, each with the
 * milliseconds since the one before it and since the start; then the others.
 */
void boot_report_format(const struct boot_report *report, char *text, size_t size);

/*
 * Print it on stderr, if it was not before; but nothing waits for its reader (log_text()).
 * Any thread.  @report may be NULL.
 */
void boot_report_print(struct boot_report *report);
