// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/boot_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"

/* A pipe takes as much at once or says that it has no room (PIPE_BUF). */
#define TEXT_MAX 4096
#define WHO_MAX 128

static const char *const step_names[BOOT_STEPS] = {
	[BOOT_OPTIONS] = "options parsed",
	[BOOT_FILES] = "files opened",
	[BOOT_MEMORY] = "memory ready",
	[BOOT_KVM] = "KVM ready",
	[BOOT_BOARD] = "board ready",
	[BOOT_KERNEL] = "kernel loaded",
	[BOOT_FIRST_RUN] = "first KVM_RUN",
	[BOOT_FIRST_EXIT] = "first exit to user space",
	[BOOT_FIRST_BYTE] = "first serial byte",
	[BOOT_DRIVER_OK] = "virtio-blk DRIVER_OK",
	[BOOT_FIRST_READ] = "first read completed",
	[BOOT_INIT] = "init",
};

void boot_report_init(struct boot_report *report, uint64_t start)
{
	uint64_t since = clock_ns() - start, cpu;
	struct timespec used;

	/*
	 * No clock tells when a process was exec'd.  But it seldom waits before it
	 * runs, and a new one's CPU time counts from the fork.
	 */
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	cpu = (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
	*report = (struct boot_report){
		.start = start,
		.cpu_before = cpu - min(cpu, since),
	};
}

void boot_report_reached(struct boot_report *report, enum boot_step step, const char *who)
{
	const char *nobody = NULL;

	if (report && !load_relaxed(&report->step[step].who) &&
	    __atomic_compare_exchange_n(&report->step[step].who, &nobody, who, false,
					__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		store_release(&report->step[step].at, clock_ns());
}

/* --- What the guest writes --- */

static size_t read_console(void *opaque, uint8_t *buf, size_t len)
{
	const struct boot_report *report = opaque;

	return report->console.ops->read(report->console.opaque, buf, len);
}

static size_t write_console(void *opaque, const uint8_t *buf, size_t len)
{
	struct boot_report *report = opaque;

	boot_report_reached(report, BOOT_FIRST_BYTE, "");
	return report->console.ops->write(report->console.opaque, buf, len);
}

struct byte_stream boot_report_console(struct boot_report *report,
				       const struct byte_stream *console)
{
	static const struct byte_stream_ops ops = { read_console, write_console };

	if (!report)
		return *console;
	report->console = *console;
	return (struct byte_stream){ &ops, report };
}

static size_t write_debug(void *opaque, const uint8_t *buf, size_t len)
{
	struct boot_report *report = opaque;

	if (*buf == BOOT_REPORT_MARK) {
		boot_report_reached(report, BOOT_INIT, "");
		if (log_allowed(&report->messages))
			boot_report_print(report);
	}
	return len;
}

struct byte_stream boot_report_debug_stream(struct boot_report *report)
{
	static const struct byte_stream_ops ops = { .write = write_debug };

	return (struct byte_stream){ &ops, report };
}

/* --- The text --- */

struct text {
	char *at, *end;
};

__attribute__((format(printf, 2, 3)))
static void add(struct text *text, const char *fmt, ...)
{
	size_t room = (size_t)(text->end - text->at);
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text->at, room, fmt, args);
	va_end(args);
	text->at += min((size_t)max(len, 0), room - 1);
}

static double ms(uint64_t ns)
{
	return (double)ns / NS_PER_MS;
}

/* The steps that were reached, by their time: how many? */
static unsigned sort_steps(const uint64_t at[BOOT_STEPS], enum boot_step step[BOOT_STEPS])
{
	unsigned count = 0, to;

	for (enum boot_step i = BOOT_OPTIONS; i < BOOT_STEPS; i++) {
		if (!at[i])
			continue;
		for (to = count++; to && at[step[to - 1]] > at[i]; to--)
			step[to] = step[to - 1];
		step[to] = i;
	}
	return count;
}

static void add_steps(struct text *text, const struct boot_report *report)
{
	enum boot_step step[BOOT_STEPS];
	uint64_t at[BOOT_STEPS], before = report->start;
	unsigned count;

	/* Each is read once: threads go on. */
	for (unsigned i = 0; i < BOOT_STEPS; i++)
		at[i] = load_acquire(&report->step[i].at);
	count = sort_steps(at, step);
	for (unsigned i = 0; i < count; i++) {
		const char *who = load_relaxed(&report->step[step[i]].who);

		add(text, "  %-26s%12.3f%12.3f%s%.*s\n", step_names[step[i]],
		    ms(at[step[i]] - before), ms(at[step[i]] - report->start), *who ? "  " : "",
		    WHO_MAX, who);
		before = at[step[i]];
	}
	for (unsigned i = BOOT_OPTIONS; i < BOOT_STEPS; i++)
		if (!at[i])
			add(text, "  %-26s%24s\n", step_names[i], "not reached");
}

void boot_report_format(const struct boot_report *report, char *text, size_t size)
{
	struct text to = { text, text + size };

	add(&to, "vmm: boot report, in ms%17s%12s\n", "step", "since start");
	add(&to, "  %-26s%12.3f\n", "exec, loader (CPU time)", ms(report->cpu_before));
	add_steps(&to, report);
	/* Paths may hold anything; a terminal must not obey them. */
	for (char *c = text; *c; c++)
		if (((unsigned char)*c < ' ' && *c != '\n') || *c == 0x7f)
			*c = '?';
}

void boot_report_print(struct boot_report *report)
{
	char text[TEXT_MAX];

	if (!report || __atomic_exchange_n(&report->printed, true, __ATOMIC_RELAXED))
		return;
	boot_report_format(report, text, sizeof(text));
	log_text(text, strlen(text));
}
