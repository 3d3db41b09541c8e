// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/boot_report.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"

#define THREADS 4

static struct boot_report report;
static char text[4096];

/* The report of a VM that began at 1 s. */
static void begin(void)
{
	report = (struct boot_report){ .start = NS_PER_S, .cpu_before = 600 * NS_PER_US };
}

/* @step was reached @us after the start. */
static void reached_at(enum boot_step step, uint64_t us, const char *who)
{
	report.step[step].who = who;
	report.step[step].at = NS_PER_S + us * NS_PER_US;
}

static const char *format(void)
{
	boot_report_format(&report, text, sizeof(text));
	return text;
}

START_TEST(nothing_reached)
{
	begin();
	ck_assert_str_eq(format(),
		"vmm: boot report, in ms             step since start\n"
		"  exec, loader (CPU time)          0.600\n"
		"  options parsed                         not reached\n"
		"  files opened                           not reached\n"
		"  memory ready                           not reached\n"
		"  KVM ready                              not reached\n"
		"  board ready                            not reached\n"
		"  kernel loaded                          not reached\n"
		"  first KVM_RUN                          not reached\n"
		"  first exit to user space               not reached\n"
		"  first serial byte                      not reached\n"
		"  virtio-blk DRIVER_OK                   not reached\n"
		"  first read completed                   not reached\n"
		"  init                                   not reached\n");
}
END_TEST

/* By time, whatever order they have in the table; what is missing comes last. */
START_TEST(in_the_order_of_time)
{
	begin();
	reached_at(BOOT_OPTIONS, 100, "");
	reached_at(BOOT_FILES, 1100, "");
	reached_at(BOOT_MEMORY, 1150, "");
	reached_at(BOOT_KVM, 3000, "");
	reached_at(BOOT_BOARD, 3500, "");
	reached_at(BOOT_KERNEL, 5000, "");
	reached_at(BOOT_FIRST_RUN, 5001, "");
	reached_at(BOOT_FIRST_EXIT, 5001, "");
	reached_at(BOOT_INIT, 1234567, "");
	reached_at(BOOT_FIRST_BYTE, 1200000, "");
	reached_at(BOOT_DRIVER_OK, 1100000, "disk 'a\033b'");
	ck_assert_str_eq(format(),
		"vmm: boot report, in ms             step since start\n"
		"  exec, loader (CPU time)          0.600\n"
		"  options parsed                   0.100       0.100\n"
		"  files opened                     1.000       1.100\n"
		"  memory ready                     0.050       1.150\n"
		"  KVM ready                        1.850       3.000\n"
		"  board ready                      0.500       3.500\n"
		"  kernel loaded                    1.500       5.000\n"
		"  first KVM_RUN                    0.001       5.001\n"
		"  first exit to user space         0.000       5.001\n"
		"  virtio-blk DRIVER_OK          1094.999    1100.000  disk 'a?b'\n"
		"  first serial byte              100.000    1200.000\n"
		"  init                            34.567    1234.567\n"
		"  first read completed                   not reached\n");
}
END_TEST

/* Names as long as paths may be; a buffer that is too short. */
START_TEST(text_is_bounded)
{
	static char name[5000];
	size_t len;

	begin();
	memset(name, 'x', sizeof(name) - 1);
	reached_at(BOOT_DRIVER_OK, 1, name);
	reached_at(BOOT_FIRST_READ, 2, name);
	len = strlen(format());
	ck_assert_uint_lt(len, 2000);
	ck_assert_ptr_nonnull(strstr(text, "\n  init  "));
	memset(text, 'y', sizeof(text));
	for (size_t size = 1; size < len; size++) {
		boot_report_format(&report, text, size);
		ck_assert_uint_eq(strlen(text), size - 1);
		ck_assert_int_eq(text[size], 'y');
	}
}
END_TEST

START_TEST(first_time_counts)
{
	uint64_t start = clock_ns(), at;

	boot_report_init(&report, start);
	ck_assert_uint_gt(report.cpu_before, 0);
	boot_report_reached(&report, BOOT_DRIVER_OK, "first");
	at = report.step[BOOT_DRIVER_OK].at;
	ck_assert_uint_ge(at, start);
	ck_assert_uint_le(at, clock_ns());
	poll(NULL, 0, 2);
	boot_report_reached(&report, BOOT_DRIVER_OK, "second");
	ck_assert_uint_eq(report.step[BOOT_DRIVER_OK].at, at);
	ck_assert_str_eq(report.step[BOOT_DRIVER_OK].who, "first");
	/* Nobody asked. */
	boot_report_reached(NULL, BOOT_DRIVER_OK, "third");
	boot_report_print(NULL);
}
END_TEST

static unsigned ready; /* atomic */

static void *reach_all(void *opaque)
{
	__atomic_fetch_add(&ready, 1, __ATOMIC_RELAXED);
	while (load_relaxed(&ready) < THREADS)
		;
	for (enum boot_step i = BOOT_OPTIONS; i < BOOT_STEPS; i++)
		boot_report_reached(&report, i, "");
	boot_report_print(&report);
	return opaque;
}

START_TEST(threads_meet)
{
	pthread_t id[THREADS];
	char *said, *first;

	boot_report_init(&report, clock_ns());
	files_capture();
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&id[i], NULL, reach_all, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	said = files_captured();
	first = strstr(said, "vmm: boot report");
	ck_assert_ptr_eq(first, said);
	ck_assert_ptr_null(strstr(first + 1, "vmm: boot report"));
	free(said);
	/* All are there by now; each thread went from one to the next. */
	ck_assert_ptr_null(strstr(format(), "not reached"));
}
END_TEST

/* --- The guest's bytes --- */

static uint8_t console[16];
static size_t console_len;

static size_t console_read(void *opaque, uint8_t *buf, size_t len)
{
	ck_assert_ptr_eq(opaque, console);
	memset(buf, 'r', len);
	return len - 1;
}

static size_t console_write(void *opaque, const uint8_t *buf, size_t len)
{
	ck_assert_ptr_eq(opaque, console);
	memcpy(console + console_len, buf, len);
	console_len += len;
	return len - 1;
}

static const struct byte_stream_ops console_ops = { console_read, console_write };
static const struct byte_stream terminal = { &console_ops, console };

START_TEST(serial_bytes_pass)
{
	struct byte_stream stream = boot_report_console(NULL, &terminal);
	uint8_t in[3];

	ck_assert_ptr_eq(stream.ops, &console_ops);
	ck_assert_ptr_eq(stream.opaque, console);

	boot_report_init(&report, clock_ns());
	stream = boot_report_console(&report, &terminal);
	ck_assert_uint_eq(stream.ops->read(stream.opaque, in, 3), 2);
	ck_assert_uint_eq(in[1], 'r');
	ck_assert_uint_eq(report.step[BOOT_FIRST_BYTE].at, 0);
	ck_assert_uint_eq(stream.ops->write(stream.opaque, (const uint8_t *)"abc", 3), 2);
	ck_assert_uint_ne(report.step[BOOT_FIRST_BYTE].at, 0);
	ck_assert_mem_eq(console, "abc", 3);
}
END_TEST

START_TEST(mark_prints_once)
{
	struct byte_stream stream;
	uint64_t at = 0;
	char *said;

	boot_report_init(&report, clock_ns());
	stream = boot_report_debug_stream(&report);
	files_capture();
	for (unsigned byte = 0; byte < 256; byte++) {
		uint8_t out = (uint8_t)byte;

		ck_assert_uint_eq(stream.ops->write(stream.opaque, &out, 1), 1);
		ck_assert_int_eq(report.step[BOOT_INIT].at != 0, byte >= BOOT_REPORT_MARK);
		if (byte == BOOT_REPORT_MARK)
			at = report.step[BOOT_INIT].at;
	}
	stream.ops->write(stream.opaque, &(const uint8_t){ BOOT_REPORT_MARK }, 1);
	boot_report_print(&report);
	said = files_captured();
	ck_assert_uint_eq(report.step[BOOT_INIT].at, at);
	ck_assert_str_eq(said, format());
	free(said);
}
END_TEST

/* A pipe without a reader's help: the vCPU does not wait, the end of the VM prints. */
START_TEST(full_stderr_is_not_waited_for)
{
	static const char filler[4096];
	struct byte_stream stream;
	int pipe_fd[2], saved = dup(STDERR_FILENO);
	ssize_t len;

	ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
	fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK);
	while (write(pipe_fd[1], filler, sizeof(filler)) > 0)
		;
	fcntl(pipe_fd[1], F_SETFL, 0);
	boot_report_init(&report, clock_ns());
	stream = boot_report_debug_stream(&report);
	dup2(pipe_fd[1], STDERR_FILENO);
	stream.ops->write(stream.opaque, &(const uint8_t){ BOOT_REPORT_MARK }, 1);
	while (poll(&(struct pollfd){ .fd = pipe_fd[0], .events = POLLIN }, 1, 0) == 1)
		ck_assert_int_gt(read(pipe_fd[0], text, sizeof(text)), 0);
	boot_report_print(&report);
	dup2(saved, STDERR_FILENO);
	close(saved);
	len = read(pipe_fd[0], text, sizeof(text) - 1);
	ck_assert_int_gt(len, 0);
	text[len] = '\0';
	ck_assert_ptr_eq(strstr(text, "vmm: boot report"), text);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}
END_TEST

/* Nor does the end of the VM wait: a reader that stopped must not keep it. */
START_TEST(full_stderr_does_not_keep_the_end)
{
	static const char filler[4096];
	int pipe_fd[2], saved = dup(STDERR_FILENO);

	ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
	fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK);
	while (write(pipe_fd[1], filler, sizeof(filler)) > 0)
		;
	fcntl(pipe_fd[1], F_SETFL, 0);
	boot_report_init(&report, clock_ns());
	dup2(pipe_fd[1], STDERR_FILENO);
	boot_report_print(&report);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot_report");

	unit_tcase(suite, "text", nothing_reached, in_the_order_of_time, text_is_bounded);
	unit_tcase(suite, "steps", first_time_counts, threads_meet);
	unit_tcase(suite, "guest", serial_bytes_pass, mark_prints_once,
		   full_stderr_is_not_waited_for, full_stderr_does_not_keep_the_end);
	return unit_run(suite);
}
