// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/chrome.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"
#include "vmm/trace/layers.h"

#define BEGIN 123456789000000ULL

static struct trace_thread threads[] = {
	{ .tid = 100, .vcpu = 0, .name = "vcpu0" },
	{ .tid = 101, .vcpu = 1, .name = "vcpu1" },
	{ .tid = 200, .vcpu = TRACE_NO_VCPU, .name = "io0" },
};

static uint32_t thread_of_tid[256];

static struct trace_disk disks[] = { { "a.img", 1 }, { "\"b\\\xff\n.img", 2 } };

static struct trace_reason reasons[] = { { "hlt", 1 } };

/*
 * What a viewer shows of the trace, as tests/trace/chrome.pl prints it, which has
 * to find nothing wrong.  The caller frees it.
 */
static char *show(struct trace *trace)
{
	int fd = memfd_create("chrome", 0);
	FILE *file = fdopen(dup(fd), "w"), *out;
	char command[64], *text = NULL;
	size_t size = 0;

	trace->begin = BEGIN;
	trace->thread = threads;
	trace->thread_count = array_size(threads);
	trace->thread_of_tid = thread_of_tid;
	trace->tid_count = array_size(thread_of_tid);
	for (unsigned i = 0; i < array_size(threads); i++) {
		thread_of_tid[threads[i].tid] = i + 1;
		if (threads[i].vcpu != TRACE_NO_VCPU)
			trace->thread_of_vcpu[threads[i].vcpu] = i + 1;
	}
	trace->disk = disks;
	trace->disk_count = array_size(disks);
	trace->reason = reasons;
	trace->reason_count = array_size(reasons);
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(trace_chrome_write(trace, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	snprintf(command, sizeof(command), "tests/trace/chrome.pl /dev/fd/%d", fd);
	out = popen(command, "r");
	ck_assert_ptr_nonnull(out);
	if (getdelim(&text, &size, EOF, out) < 0) {
		free(text);
		text = strdup("");
	}
	ck_assert_msg(pclose(out) == 0, "it shows:\n%.2000s", text);
	close(fd);
	return text;
}

static void expect(struct trace *trace, const char *expected)
{
	char *text = show(trace);

	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(nothing)
{
	struct trace trace = { 0 };

	expect(&trace, "");
}
END_TEST

/* A read with all stamps, and a flush that has only what every request has. */
START_TEST(layers_and_flows)
{
	struct trace_request requests[] = {
		{ .op = 0, .seq = 7, .sector = 8, .len = 4096, .bell_tid = 101, .vcpu = 0 },
		{ .op = 4, .disk = 1, .queue = 1, .vcpu = TRACE_NO_VCPU,
		  .doorbell = TRACE_POLLED, .interrupt = TRACE_SUPPRESSED },
	};
	struct trace trace = { .request = requests, .request_count = 2 };

	for (unsigned i = 0; i < TRACE_STAMPS; i++)
		requests[0].t[i] = BEGIN + 1000 * (i + 1);
	requests[1].t[TRACE_POP] = BEGIN + 9001;
	requests[1].t[TRACE_SUBMIT] = BEGIN + 9002;
	requests[1].t[TRACE_COMPLETE] = BEGIN + 12345678901;
	requests[1].t[TRACE_PUSH] = BEGIN + 12345678901;
	requests[1].t[TRACE_PUBLISH] = BEGIN + 12345678903;
	expect(&trace,
	       "virtual machine|vcpu0 (100) doorbells, interrupts|15000|1000|"
	       "interrupt disk 0 queue 0 flow_in 0x1\n"
	       "virtual machine|vcpu1 (101) doorbells, interrupts|3000|1000|"
	       "doorbell disk 0 queue 0 flow_out 0x0\n"
	       "disk 0 queue 0 a.img|in flight: 1|1000|16000|read\n"
	       "disk 0 queue 0 a.img|in flight: 1|1000|1000|  issue\n"
	       "disk 0 queue 0 a.img|in flight: 1|2000|1000|  KVM exit\n"
	       "disk 0 queue 0 a.img|in flight: 1|3000|1000|  wake-up\n"
	       "disk 0 queue 0 a.img|in flight: 1|4000|1000|  CPU wait\n"
	       "disk 0 queue 0 a.img|in flight: 1|5000|1000|  pop\n"
	       "disk 0 queue 0 a.img|in flight: 1|6000|2000|  submit flow_in 0x0\n"
	       "disk 0 queue 0 a.img|in flight: 1|8000|1000|  disk\n"
	       "disk 0 queue 0 a.img|in flight: 1|9000|3000|  publish\n"
	       "disk 0 queue 0 a.img|in flight: 1|12000|2000|  interrupt flow_out 0x1\n"
	       "disk 0 queue 0 a.img|in flight: 1|14000|1000|  inject\n"
	       "disk 0 queue 0 a.img|in flight: 1|15000|1000|  entry\n"
	       "disk 0 queue 0 a.img|in flight: 1|16000|1000|  guest\n"
	       "disk 1 queue 1 \"b\\\ufffd?.img|in flight: 1|9001|12345669902|flush\n"
	       "disk 1 queue 1 \"b\\\ufffd?.img|in flight: 1|9001|1|  submit\n"
	       "disk 1 queue 1 \"b\\\ufffd?.img|in flight: 1|9002|12345669899|  disk\n"
	       "disk 1 queue 1 \"b\\\ufffd?.img|in flight: 1|12345678901|2|  publish\n");
}
END_TEST

static struct trace_request plain(uint64_t pop, uint64_t publish)
{
	struct trace_request request = {
		.vcpu = TRACE_NO_VCPU,
		.doorbell = TRACE_COALESCED,
		.interrupt = TRACE_COALESCED,
	};

	request.t[TRACE_POP] = BEGIN + pop;
	request.t[TRACE_PUBLISH] = BEGIN + publish;
	return request;
}

/* One track more for each request that overlaps, none for one that touches. */
START_TEST(overlapping_requests)
{
	struct trace_request requests[] = {
		plain(10, 20), plain(15, 30), plain(16, 17), plain(20, 25), plain(20, 21),
	};
	struct trace trace = { .request = requests, .request_count = array_size(requests) };

	/* The fourth rang while the first was still in flight. */
	requests[3].t[TRACE_DOORBELL] = BEGIN + 12;
	expect(&trace,
	       "disk 0 queue 0 a.img|in flight: 1|10|10|read\n"
	       "disk 0 queue 0 a.img|in flight: 1|10|10|  publish\n"
	       "disk 0 queue 0 a.img|in flight: 2|12|13|read\n"
	       "disk 0 queue 0 a.img|in flight: 2|12|8|  pop\n"
	       "disk 0 queue 0 a.img|in flight: 2|20|5|  publish\n"
	       "disk 0 queue 0 a.img|in flight: 3|15|15|read\n"
	       "disk 0 queue 0 a.img|in flight: 3|15|15|  publish\n"
	       "disk 0 queue 0 a.img|in flight: 4|16|1|read\n"
	       "disk 0 queue 0 a.img|in flight: 4|16|1|  publish\n"
	       "disk 0 queue 0 a.img|in flight: 1|20|1|read\n"
	       "disk 0 queue 0 a.img|in flight: 1|20|1|  publish\n");
}
END_TEST

/* A track for each kind, and none where there is nothing; time 0 is the very first's. */
START_TEST(spans_of_threads)
{
	struct trace_span spans[] = {
		/* It cannot go on when the next one begins. */
		{ BEGIN - 5, BEGIN + 10, 0, TRACE_SPAN_RUNNING, 0 },
		{ BEGIN + 9, BEGIN + 11, 0, TRACE_SPAN_RUNNING, 0 },
		{ BEGIN + 6, BEGIN + 10, 0, TRACE_SPAN_EXIT, 0 },
		{ BEGIN + 20, BEGIN + 21, 0, TRACE_SPAN_EXIT, 99 },
		{ BEGIN + 1, BEGIN + 3, 2, TRACE_SPAN_RUNNING, 0 },
		{ BEGIN + 1, BEGIN + 2, 2, TRACE_SPAN_BATCH, 0 },
		{ BEGIN + 2, BEGIN + 4, 2, TRACE_SPAN_POLL, 0 },
		{ BEGIN + 5, BEGIN + 7, 2, TRACE_SPAN_POLL, 1 },
	};
	struct trace trace = { .span = spans, .span_count = array_size(spans) };

	expect(&trace, "virtual machine|vcpu0 (100) on CPU|0|14|running\n"
		       "virtual machine|vcpu0 (100) on CPU|14|2|running\n"
		       "virtual machine|vcpu0 (100) out of the guest|11|4|hlt\n"
		       "virtual machine|vcpu0 (100) out of the guest|25|1|exit\n"
		       "virtual machine|io0 (200) on CPU|6|2|running\n"
		       "virtual machine|io0 (200) batches|6|1|batch\n"
		       "virtual machine|io0 (200) polls|7|2|miss\n"
		       "virtual machine|io0 (200) polls|10|2|hit\n");
}
END_TEST

/* One vCPU cannot do two things at once, whatever a recording says. */
START_TEST(marks_do_not_overlap)
{
	struct trace_request requests[] = { plain(100, 200), plain(101, 201), plain(400, 500) };
	struct trace trace = { .request = requests, .request_count = 3 };

	for (unsigned i = 0; i < 2; i++) {
		requests[i].doorbell = TRACE_OWN;
		requests[i].bell_tid = 100;
		requests[i].t[TRACE_DOORBELL] = BEGIN + 10 + i;
		requests[i].t[TRACE_WAKING] = BEGIN + 50 + i;
		requests[i].interrupt = TRACE_OWN;
		requests[i].t[TRACE_INTERRUPT] = BEGIN + 300 + i;
	}
	/* Delivered at once, and nobody knows to whom. */
	requests[0].vcpu = 0;
	requests[0].t[TRACE_ACCEPT] = BEGIN + 310;
	requests[1].t[TRACE_ACCEPT] = BEGIN + 310;
	/* In the same ns in which it was sent. */
	requests[2].vcpu = 0;
	requests[2].interrupt = TRACE_OWN;
	requests[2].t[TRACE_INTERRUPT] = requests[2].t[TRACE_ROUTED] = BEGIN + 600;
	requests[2].t[TRACE_ACCEPT] = BEGIN + 610;
	expect(&trace,
	       "virtual machine|vcpu0 (100) doorbells, interrupts|10|1|"
	       "doorbell disk 0 queue 0 flow_out 0x0\n"
	       "virtual machine|vcpu0 (100) doorbells, interrupts|11|40|"
	       "doorbell disk 0 queue 0 flow_out 0x2\n"
	       "virtual machine|vcpu0 (100) doorbells, interrupts|310|0|"
	       "interrupt disk 0 queue 0 flow_in 0x1\n"
	       "disk 0 queue 0 a.img|in flight: 1|10|300|read\n"
	       "disk 0 queue 0 a.img|in flight: 1|10|40|  wake-up\n"
	       "disk 0 queue 0 a.img|in flight: 1|50|50|  pop\n"
	       "disk 0 queue 0 a.img|in flight: 1|100|200|  publish flow_in 0x0\n"
	       "disk 0 queue 0 a.img|in flight: 1|300|10|  interrupt flow_out 0x1\n"
	       "disk 0 queue 0 a.img|in flight: 2|11|299|read\n"
	       "disk 0 queue 0 a.img|in flight: 2|11|40|  wake-up\n"
	       "disk 0 queue 0 a.img|in flight: 2|51|50|  pop\n"
	       "disk 0 queue 0 a.img|in flight: 2|101|200|  publish flow_in 0x2\n"
	       "disk 0 queue 0 a.img|in flight: 2|301|9|  interrupt\n"
	       "disk 0 queue 0 a.img|in flight: 1|400|210|read\n"
	       "disk 0 queue 0 a.img|in flight: 1|400|200|  publish\n"
	       "disk 0 queue 0 a.img|in flight: 1|600|10|  interrupt\n");
}
END_TEST

static uint64_t random_below(uint64_t limit)
{
	return (uint64_t)random() % limit;
}

/* Every nanosecond survives the viewers' floating point: nothing overlaps by one. */
START_TEST(many_requests)
{
	enum { COUNT = 5000 };
	static struct trace_request requests[COUNT];
	struct trace trace = { .request = requests, .request_count = COUNT };
	size_t lines = 0, expected = 0;
	uint64_t pop = BEGIN, ns[TRACE_LAYERS];
	char *text;

	srandom(1);
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t at = pop += random_below(20000);

		requests[i] = plain(0, 0);
		requests[i].seq = i;
		for (unsigned stamp = TRACE_POP; stamp < TRACE_STAMPS; stamp++) {
			at += random_below(4) ? random_below(5000) : 0;
			if (stamp == TRACE_POP || stamp == TRACE_PUBLISH || random_below(4))
				requests[i].t[stamp] = at;
		}
		trace_layers(&requests[i], ns);
		expected++;
		for (unsigned layer = 0; layer < TRACE_LAYERS; layer++)
			expected += ns[layer] > 0;
	}
	text = show(&trace);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	ck_assert_uint_eq(lines, expected);
	free(text);
}
END_TEST

/* All under way at once: a search of all tracks for each would take minutes. */
START_TEST(many_requests_at_once)
{
	enum { COUNT = 300000 };
	static struct trace_request requests[COUNT];
	struct trace trace = { .request = requests, .request_count = COUNT };
	FILE *file = fopen("/dev/null", "w");

	for (unsigned i = 0; i < COUNT; i++) {
		requests[i] = plain(0, 0);
		requests[i].t[TRACE_POP] = BEGIN + i;
		requests[i].t[TRACE_PUBLISH] = BEGIN + 2 * COUNT;
	}
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(trace_chrome_write(&trace, file), 0);
	fclose(file);
}
END_TEST

START_TEST(full_disk)
{
	struct trace trace = { 0 };
	FILE *file = fopen("/dev/full", "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(trace_chrome_write(&trace, file), -ENOSPC);
	fclose(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_chrome");

	unit_tcase(suite, "tracks", nothing, layers_and_flows, overlapping_requests,
		   spans_of_threads, marks_do_not_overlap, many_requests,
		   many_requests_at_once);
	unit_tcase(suite, "errors", full_disk);
	return unit_run(suite);
}
