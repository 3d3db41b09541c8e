// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"
#include "vmm/json.h"
#include "vmm/trace/guest_read.h"

#define BEGIN (1000 * (uint64_t)NS_PER_S)
#define END (BEGIN + 5 * (uint64_t)NS_PER_S)
#define DISKS 3
#define VCPUS 2
#define REQUESTS 3000

static char *folder;
static struct trace trace;
static struct trace_guest guest;
static struct trace_disk disks[DISKS];
static struct trace_thread threads[VCPUS + 1];
static struct trace_request requests[REQUESTS];
static struct trace_clock pairs[3];

/* The guest's record, as it grows. */
static char *text;
static size_t text_size;
static FILE *record;
static bool by_trace_cmd;

/* The host's TSC runs at 2.5 GHz. */
static uint64_t host_tsc(uint64_t ns)
{
	return 777000000000 + (uint64_t)((int64_t)(ns - BEGIN) * 5 / 2);
}

static void setup(void)
{
	folder = files_folder();
	memset(requests, 0, sizeof(requests));
	trace = (struct trace){
		.begin = BEGIN, .end = END,
		.request = requests,
		.disk = disks, .disk_count = DISKS,
		.thread = threads, .thread_count = VCPUS + 1, .thread_of_vcpu = { 2, 3 },
		.clock = pairs, .clock_count = 2,
	};
	threads[0] = (struct trace_thread){ .tid = 10, .vcpu = TRACE_NO_VCPU };
	threads[1] = (struct trace_thread){ .tid = 11, .vcpu = 0, .tsc_known = true,
					    .tsc_offset = -(uint64_t)700000000000 };
	threads[2] = (struct trace_thread){ .tid = 12, .vcpu = 1, .tsc_known = true,
					    .tsc_offset = 5000000000000 };
	pairs[0] = (struct trace_clock){ host_tsc(BEGIN), BEGIN, 250 };
	pairs[1] = (struct trace_clock){ host_tsc(END), END, 500 };
	record = open_memstream(&text, &text_size);
	by_trace_cmd = false;
}

static void teardown(void)
{
	free(text);
	files_remove(folder);
}

/* A request of the VMM's, with every stamp between the guest's two. */
static struct trace_request *vmm_request(unsigned disk, unsigned op, uint64_t sector, uint32_t len,
					 uint64_t pop, uint64_t push)
{
	struct trace_request *request = &trace.request[trace.request_count++];

	*request = (struct trace_request){
		.disk = (uint16_t)disk, .op = (uint8_t)op, .sector = sector, .len = len,
		.bell_tid = 11, .doorbell = TRACE_OWN, .interrupt = TRACE_OWN,
	};
	for (unsigned i = TRACE_EXIT; i <= TRACE_POP; i++)
		request->t[i] = pop - 100 * (TRACE_POP - i);
	for (unsigned i = TRACE_SUBMIT; i <= TRACE_COMPLETE; i++)
		request->t[i] = pop + 10 * (i - TRACE_POP);
	for (unsigned i = TRACE_PUSH; i <= TRACE_ENTRY; i++)
		request->t[i] = push + 100 * (i - TRACE_PUSH);
	return request;
}

static void guest_line(const char *event, unsigned cpu, uint64_t ns, unsigned minor,
		       const char *letters, uint64_t sector, uint32_t len)
{
	uint64_t time = host_tsc(ns) + threads[1 + cpu].tsc_offset;

	fprintf(record, by_trace_cmd ? "  fio-7  [%03u] %6" PRIu64 ": block_rq_%s:       " :
		"  fio-7   [%03u] d.h1. %6" PRIu64 ": block_rq_%s: ", cpu, time, event);
	fprintf(record, "254,%u %s ", minor, letters);
	if (!strcmp(event, "issue"))
		fprintf(record, "%u ", len);
	fprintf(record, "() %" PRIu64 " + %u [fio]\n", sector, len / 512);
}

/* Issued by one CPU and completed on another. */
static void guest_request(unsigned minor, const char *letters, uint64_t sector, uint32_t len,
			  uint64_t issue, uint64_t done)
{
	guest_line("issue", (unsigned)(sector / 8) % VCPUS, issue, minor, letters, sector, len);
	guest_line("complete", (unsigned)(issue / 64) % VCPUS, done, minor, letters, sector, len);
}

/* The same request on both sides: its guest's part lasts 1 us longer at either end. */
static struct trace_request *both(unsigned disk, unsigned op, const char *letters, uint64_t sector,
				  uint32_t len, uint64_t pop, uint64_t push)
{
	guest_request(16 * disk, letters, sector, len, pop - 1000, push + 2000);
	return vmm_request(disk, op, sector, len, pop, push);
}

static int load(void)
{
	fclose(record);
	files_write(folder, "trace", text, text_size);
	return trace_guest_load(&trace, files_path(folder, "trace"), &guest);
}

static void check_refused(const char *why)
{
	char *said;

	files_capture();
	ck_assert_int_eq(load(), -ENODATA);
	said = files_captured();
	ck_assert_msg(strstr(said, why), "it said: %s", said);
	free(said);
	ck_assert_ptr_null(trace.guest);
}

static const struct trace_guest_device *device(unsigned minor)
{
	for (unsigned i = 0; i < guest.device_count; i++)
		if (guest.device[i].major == 254 && guest.device[i].minor == minor)
			return &guest.device[i];
	ck_abort_msg("no device 254,%u", minor);
}

/* --- Lines. --- */

static void check_line(const char *line, unsigned kind, uint64_t time, unsigned cpu, unsigned op,
		       uint64_t sector, uint32_t len)
{
	struct guest_event event;

	ck_assert_msg(guest_line_parse(line, &event) == GUEST_LINE_EVENT, "%s", line);
	ck_assert_uint_eq(event.kind, kind);
	ck_assert_uint_eq(event.time, time);
	ck_assert_uint_eq(event.cpu, cpu);
	ck_assert_uint_eq(event.device, 254u << GUEST_MINOR_BITS | 16);
	ck_assert_uint_eq(event.key.op, op);
	ck_assert_uint_eq(event.key.sector, sector);
	ck_assert_uint_eq(event.key.len, len);
}

START_TEST(lines_of_both_programs)
{
	/* Linux 6.1, cat trace. */
	check_line("             fio-109     [001] .....  12124392608: block_rq_issue: "
		   "254,16 RM 1024 () 173912 + 2 [init]\n",
		   GUEST_ISSUE, 12124392608, 1, VIRTIO_BLK_T_IN, 173912, 1024);
	check_line("          <idle>-0       [000] d.h1.  12136807398: block_rq_complete: "
		   "254,16 WS () 173912 + 2 [0]\n",
		   GUEST_COMPLETE, 12136807398, 0, VIRTIO_BLK_T_OUT, 173912, 1024);
	/* trace-cmd 3.1 report. */
	check_line("       trace-cmd-135   [000] 17526358916: block_rq_complete:    "
		   "254,16 RM () 74008 + 8 [0]\n",
		   GUEST_COMPLETE, 17526358916, 0, VIRTIO_BLK_T_IN, 74008, 4096);
	/* And what later kernels add. */
	check_line("             fio-109   [011] 12136807398: block_rq_requeue:      "
		   "254,16 FF 0 () 0 + 0 [init]\n",
		   GUEST_REQUEUE, 12136807398, 11, VIRTIO_BLK_T_FLUSH, 0, 0);
	check_line("  kworker/0:1H-9   [000] d..2. 5: block_rq_issue: "
		   "254,16 FWFS 4096 () 8 + 8 none,0,0 [kworker/0:1H]\n",
		   GUEST_ISSUE, 5, 0, VIRTIO_BLK_T_OUT, 8, 4096);
}
END_TEST

START_TEST(lines_of_every_operation)
{
	static const struct {
		const char *letters;
		unsigned op;
	} known[] = {
		{ "R", VIRTIO_BLK_T_IN }, { "RA", VIRTIO_BLK_T_IN }, { "W", VIRTIO_BLK_T_OUT },
		{ "WFS", VIRTIO_BLK_T_OUT }, { "F", VIRTIO_BLK_T_FLUSH },
		{ "FF", VIRTIO_BLK_T_FLUSH }, { "D", VIRTIO_BLK_T_DISCARD },
		{ "DS", VIRTIO_BLK_T_DISCARD }, { "N", VIRTIO_BLK_T_WRITE_ZEROES },
		{ "WZS", VIRTIO_BLK_T_WRITE_ZEROES },
	};
	struct guest_event event;
	char line[128];

	for (size_t i = 0; i < array_size(known); i++) {
		snprintf(line, sizeof(line), "x-1 [0] 7: block_rq_complete: 254,16 %s () 1 + 1 [0]",
			 known[i].letters);
		check_line(line, GUEST_COMPLETE, 7, 0, known[i].op, 1, 512);
	}
	ck_assert_int_eq(guest_line_parse("x-1 [0] 7: block_rq_complete: 254,16 DE () 1 + 1 [0]",
					  &event), GUEST_LINE_BROKEN);
}
END_TEST

/* A task may be called anything. */
START_TEST(lines_of_strange_tasks)
{
	check_line("  [5] 9: x-1 [001] ..... 7: block_rq_issue: 254,16 R 512 () 1 + 1 [a) b]",
		   GUEST_ISSUE, 7, 1, VIRTIO_BLK_T_IN, 1, 512);
	check_line("  ] [-1 [001] 7: block_rq_issue: 254,16 R 512 () 1 + 1 [(]",
		   GUEST_ISSUE, 7, 1, VIRTIO_BLK_T_IN, 1, 512);
}
END_TEST

START_TEST(lines_that_make_no_sense)
{
	static const char *const lines[] = {
		": block_rq_issue: ",
		"7: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
		"[ 7: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
		"[1 7: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
		"[0] x: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
		"[65536] 7: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
		"[0] 99999999999999999999: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
		"[0] 7: block_rq_issue: ",
		"[0] 7: block_rq_issue: 254",
		"[0] 7: block_rq_issue: 4096,16 R 512 () 1 + 1 [x]",
		"[0] 7: block_rq_issue: 254,1048576 R 512 () 1 + 1 [x]",
		"[0] 7: block_rq_issue: 254,16 ",
		"[0] 7: block_rq_issue: 254,16 R 512 (",
		"[0] 7: block_rq_issue: 254,16 R 512 () ",
		"[0] 7: block_rq_issue: 254,16 R 512 () 1 +",
		"[0] 7: block_rq_issue: 254,16 R 512 () -1 + 1 [x]",
		"[0] 7: block_rq_issue: 254,16 R 512 () 1 + 8388608 [x]",
		"[0] 7: block_rq_issue: 254,16 X 512 () 1 + 1 [x]",
	};
	struct guest_event event;

	for (size_t i = 0; i < array_size(lines); i++)
		ck_assert_msg(guest_line_parse(lines[i], &event) == GUEST_LINE_BROKEN, "%s",
			      lines[i]);
	ck_assert_int_eq(guest_line_parse("# tracer: nop\n", &event), GUEST_LINE_OTHER);
	ck_assert_int_eq(guest_line_parse("x-1 [0] 7: block_rq_insert: 254,16 R 512 () 1 + 1 [x]",
					  &event), GUEST_LINE_OTHER);
	ck_assert_int_eq(guest_line_parse("x-1 [0] 3.7: block_rq_issue: 254,16 R 512 () 1 + 1 [x]",
					  &event), GUEST_LINE_OTHER_CLOCK);
}
END_TEST

/* --- The join. --- */

/* When a request with this key was last in flight. */
static uint64_t busy[DISKS][64];

static void add_random(unsigned i, unsigned *seed)
{
	static const char *const letters[] = { "R", "WS" };
	uint64_t pop = BEGIN + 10000 + i * 10000ull + (uint64_t)rand_r(seed) % 10000;
	uint64_t push = pop + 1000 + (uint64_t)rand_r(seed) % 80000;
	unsigned disk = (unsigned)rand_r(seed) % DISKS, op = (unsigned)rand_r(seed) % 2, place;

	do
		place = (unsigned)rand_r(seed) % 64;
	while (busy[disk][place] > pop - 4000);
	busy[disk][place] = push + 4000;
	both(disk, op, letters[op], 8 * place, 4096, pop, push);
}

/* Few places, so that equal requests come again and again, on all disks. */
static void check_random(bool trace_cmd)
{
	unsigned seed = 1;

	by_trace_cmd = trace_cmd;
	memset(busy, 0, sizeof(busy));
	for (unsigned i = 0; i < REQUESTS; i++)
		add_random(i, &seed);
	ck_assert_int_eq(load(), 0);
	ck_assert_ptr_eq(trace.guest, &guest);
	ck_assert_uint_eq(guest.joined, REQUESTS);
	/* The longer reading of a pair: 500 ticks. */
	ck_assert_uint_ge(guest.error, 200);
	ck_assert_uint_le(guest.error, 205);
	for (unsigned i = 0; i < REQUESTS; i++) {
		const uint64_t *t = requests[i].t;

		ck_assert_uint_le(t[TRACE_ISSUE] + 999, t[TRACE_POP]);
		ck_assert_uint_ge(t[TRACE_ISSUE] + 1001, t[TRACE_POP]);
		ck_assert_uint_ge(t[TRACE_DONE], t[TRACE_PUSH] + 1999);
		ck_assert_uint_le(t[TRACE_DONE], t[TRACE_PUSH] + 2001);
		ck_assert_uint_eq(requests[i].doorbell, TRACE_OWN);
		ck_assert_uint_eq(requests[i].interrupt, TRACE_OWN);
	}
	for (unsigned i = 0; i < DISKS; i++) {
		ck_assert_int_eq(device(16 * i)->disk, (int)i);
		ck_assert_uint_eq(device(16 * i)->joined, device(16 * i)->requests);
	}
}

START_TEST(truth_in_tracefs)
{
	check_random(false);
}
END_TEST

START_TEST(truth_in_trace_cmd)
{
	check_random(true);
}
END_TEST

/* Two equal ones of the guest at a time; two of the VMM's within one of the guest's. */
START_TEST(equal_requests_are_left_alone)
{
	uint64_t now = BEGIN + 100000;
	struct trace_request *sure = both(0, VIRTIO_BLK_T_IN, "R", 8, 512, now, now + 5000);
	struct trace_request *other[4];

	now += 100000;
	other[0] = both(0, VIRTIO_BLK_T_IN, "R", 16, 512, now, now + 5000);
	other[1] = both(0, VIRTIO_BLK_T_IN, "R", 16, 512, now + 3000, now + 9000);
	now += 100000;
	other[2] = both(0, VIRTIO_BLK_T_IN, "R", 24, 512, now, now + 5000);
	other[3] = vmm_request(0, VIRTIO_BLK_T_IN, 24, 512, now + 1000, now + 2000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest.joined, 1);
	ck_assert_uint_eq(guest.muddled, 2);
	ck_assert_uint_eq(device(0)->ambiguous, 1);
	ck_assert_uint_ne(sure->t[TRACE_ISSUE], 0);
	for (unsigned i = 0; i < array_size(other); i++)
		ck_assert_uint_eq(other[i]->t[TRACE_ISSUE] | other[i]->t[TRACE_DONE], 0);
}
END_TEST

/* Two devices that were asked the same, as those of a mirror are. */
START_TEST(a_mirror_is_not_guessed)
{
	for (uint64_t now = BEGIN + 100000; now < BEGIN + 1000000; now += 100000) {
		both(0, VIRTIO_BLK_T_OUT, "W", now / 100000, 512, now, now + 5000);
		both(1, VIRTIO_BLK_T_OUT, "W", now / 100000, 512, now, now + 5000);
	}
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest.joined, 0);
	ck_assert_int_eq(device(0)->disk, -1);
	ck_assert_uint_eq(device(16)->absent, 9);
}
END_TEST

/* The guest's names tell nothing, and not all it has are disks of ours. */
START_TEST(devices_are_learnt)
{
	for (uint64_t now = BEGIN + 100000; now < BEGIN + 1000000; now += 100000) {
		vmm_request(2, VIRTIO_BLK_T_IN, now / 100000, 512, now, now + 5000);
		guest_request(0, "R", now / 100000, 512, now - 1000, now + 7000);
		vmm_request(0, VIRTIO_BLK_T_IN, now / 100000, 1024, now, now + 5000);
		guest_request(32, "R", now / 100000, 1024, now - 1000, now + 7000);
		guest_request(48, "R", now / 100000 + 5000, 1024, now - 1000, now + 7000);
	}
	/* By chance this one fits once. */
	guest_request(48, "R", (BEGIN + 100000) / 100000, 512, BEGIN + 98000, BEGIN + 107000);
	ck_assert_int_eq(load(), 0);
	ck_assert_int_eq(device(0)->disk, 2);
	ck_assert_int_eq(device(32)->disk, 0);
	ck_assert_int_eq(device(48)->disk, -1);
	ck_assert_uint_eq(device(48)->requests, 10);
	ck_assert_uint_eq(guest.joined, 18);
}
END_TEST

/* A device with something of two disks is neither. */
START_TEST(half_a_disk_is_none)
{
	for (unsigned i = 1; i <= 9; i++) {
		uint64_t now = BEGIN + i * 100000;

		vmm_request(i % 2, VIRTIO_BLK_T_IN, i, 512, now, now + 5000);
		guest_request(0, "R", i, 512, now - 1000, now + 7000);
	}
	ck_assert_int_eq(load(), 0);
	ck_assert_int_eq(device(0)->disk, -1);
	ck_assert_uint_eq(guest.joined, 0);
}
END_TEST

/* Requests of which one side has only a part, or none. */
START_TEST(partial_requests_are_left_alone)
{
	uint64_t now = BEGIN + 100000;

	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, now, now + 5000);
	guest_line("issue", 0, now, 0, "R", 16, 512);
	guest_line("complete", 0, now + 100000, 0, "R", 24, 512);
	vmm_request(0, VIRTIO_BLK_T_IN, 16, 512, now, now + 5000);
	vmm_request(0, VIRTIO_BLK_T_IN, 24, 512, now, now + 5000);
	guest_request(0, "R", 32, 512, now, now + 5000);
	/* Longer, another operation, too late, and too early. */
	both(0, VIRTIO_BLK_T_IN, "R", 40, 512, now, now + 5000)->len = 1024;
	both(0, VIRTIO_BLK_T_IN, "W", 48, 512, now, now + 5000);
	guest_request(0, "R", 56, 512, now, now + 5000);
	vmm_request(0, VIRTIO_BLK_T_IN, 56, 512, now + 1000, now + 6000);
	guest_request(0, "R", 64, 512, now, now + 5000);
	vmm_request(0, VIRTIO_BLK_T_IN, 64, 512, now - 1000, now + 4000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest.joined, 1);
	ck_assert_uint_eq(device(0)->absent, 5);
}
END_TEST

/* Popped and pushed within the recording, issued before it or done after it. */
START_TEST(requests_at_the_ends)
{
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 500, BEGIN + 5000);
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, END - 5000, END - 500);
	/* These are in no recording. */
	guest_request(0, "R", 16, 512, BEGIN - 500, BEGIN + 500);
	guest_request(0, "R", 16, 512, END - 500, END + 500);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest.joined, 2);
	ck_assert_uint_eq(device(0)->requests, 2);
	ck_assert_uint_eq(device(0)->absent, 0);
}
END_TEST

/* The driver had no room at first; only then it was issued. */
START_TEST(requeued_requests_begin_again)
{
	uint64_t now = BEGIN + 100000;
	struct trace_request *request;

	guest_line("issue", 0, now, 0, "R", 8, 512);
	guest_line("requeue", 0, now + 1000, 0, "R", 8, 512);
	request = both(0, VIRTIO_BLK_T_IN, "R", 8, 512, now + 50000, now + 60000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest.joined, 1);
	ck_assert_uint_ge(request->t[TRACE_ISSUE], now + 48000);
}
END_TEST

/* The guest gave the request when the doorbell had been rung for another. */
START_TEST(foreign_doorbells_are_taken_away)
{
	uint64_t pop = BEGIN + 100000;
	struct trace_request *polled, *near, *at_pop;

	guest_request(0, "R", 8, 512, pop - 250, pop + 10000);
	polled = vmm_request(0, VIRTIO_BLK_T_IN, 8, 512, pop, pop + 5000);
	polled->t[TRACE_EXIT] = pop - 5000;
	/* Within the error of 200 ns, this is the same moment. */
	guest_request(0, "R", 16, 512, pop - 350, pop + 10000);
	near = vmm_request(0, VIRTIO_BLK_T_IN, 16, 512, pop, pop + 5000);
	guest_request(0, "R", 24, 512, pop + 100, pop + 10000);
	at_pop = vmm_request(0, VIRTIO_BLK_T_IN, 24, 512, pop, pop + 5000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_le(at_pop->t[TRACE_ISSUE], pop);
	ck_assert_uint_eq(at_pop->doorbell, TRACE_POLLED);
	ck_assert_uint_eq(polled->doorbell, TRACE_POLLED);
	ck_assert_uint_eq(polled->bell_tid, 0);
	for (unsigned i = TRACE_EXIT; i < TRACE_POP; i++)
		ck_assert_uint_eq(polled->t[i], 0);
	ck_assert_uint_lt(polled->t[TRACE_ISSUE], polled->t[TRACE_POP]);
	ck_assert_uint_eq(near->doorbell, TRACE_OWN);
	ck_assert_uint_eq(near->t[TRACE_ISSUE], near->t[TRACE_EXIT]);
}
END_TEST

/* The guest found it in the ring before its interrupt came. */
START_TEST(foreign_interrupts_are_taken_away)
{
	uint64_t pop = BEGIN + 100000;
	struct trace_request *found, *near;

	guest_request(0, "R", 8, 512, pop - 1000, pop + 5200);
	found = vmm_request(0, VIRTIO_BLK_T_IN, 8, 512, pop, pop + 5000);
	guest_request(0, "R", 16, 512, pop - 1000, pop + 5550);
	near = vmm_request(0, VIRTIO_BLK_T_IN, 16, 512, pop, pop + 5000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(found->interrupt, TRACE_COALESCED);
	for (unsigned i = TRACE_INTERRUPT; i <= TRACE_ENTRY; i++)
		ck_assert_uint_eq(found->t[i], 0);
	ck_assert_uint_ge(found->t[TRACE_DONE], found->t[TRACE_PUBLISH]);
	ck_assert_uint_eq(near->interrupt, TRACE_OWN);
	ck_assert_uint_eq(near->t[TRACE_DONE], near->t[TRACE_ENTRY]);
}
END_TEST

/* A pair between that is off the line is told as the error. */
START_TEST(the_error_is_the_residual)
{
	uint64_t middle = (BEGIN + END) / 2;

	pairs[2] = pairs[1];
	pairs[1] = (struct trace_clock){ host_tsc(middle), middle + 5000, 0 };
	trace.clock_count = 3;
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_ge(guest.error, 5200);
	ck_assert_uint_le(guest.error, 5205);
}
END_TEST

START_TEST(no_pairs_of_clocks)
{
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	trace.clock_count = 1;
	check_refused("lacks the clock's pairs");
}
END_TEST

START_TEST(no_clocks)
{
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	trace.clock_count = 0;
	trace.clock = NULL;
	check_refused("lacks the clock's pairs");
}
END_TEST

START_TEST(clocks_that_took_long)
{
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	pairs[1].tsc_error = UINT64_MAX;
	check_refused("wrong by over a second");
}
END_TEST

START_TEST(clocks_that_disagree)
{
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	pairs[2] = (struct trace_clock){ host_tsc(END), END, 500 };
	pairs[1] = (struct trace_clock){ host_tsc(BEGIN), BEGIN + 2000000000, 250 };
	trace.clock_count = 3;
	check_refused("wrong by over a second");
}
END_TEST

START_TEST(no_offset_of_the_tsc)
{
	both(0, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	threads[1].tsc_known = threads[2].tsc_known = false;
	check_refused("KVM did not tell the offset");
}
END_TEST

START_TEST(another_clock)
{
	fputs("x-1 [0] 3.7: block_rq_issue: 254,16 R 512 () 1 + 1 [x]\n", record);
	check_refused("trace_clock=x86-tsc");
}
END_TEST

START_TEST(no_events)
{
	check_refused("no events of the block layer");
}
END_TEST

/* What a guest may write instead, and still what it says of one request is found. */
START_TEST(noise_is_harmless)
{
	unsigned seed = 2;

	for (unsigned i = 0; i < 2000; i++)
		fprintf(record, "x-1 [%d] %d%d%d: block_rq_%s: %d,%d R%c %d () %d%d + %d [x]\n",
			rand_r(&seed) % 3, rand_r(&seed), rand_r(&seed), rand_r(&seed) % 100,
			rand_r(&seed) % 2 ? "issue" : "complete", rand_r(&seed) % 300,
			rand_r(&seed) % 4, rand_r(&seed) % 256, rand_r(&seed), rand_r(&seed),
			rand_r(&seed), rand_r(&seed) % 9);
	for (unsigned i = 0; i < 20000; i++)
		putc(rand_r(&seed), record);
	for (unsigned i = 0; i < 5000; i++)
		fputs("[0] 7: block_rq_issue: ", record);
	putc('\n', record);
	for (unsigned minor = 100; minor < 300; minor++)
		guest_request(minor, "R", 8, 512, BEGIN + 99000, BEGIN + 107000);
	both(0, VIRTIO_BLK_T_IN, "R", 16, 512, BEGIN + 100000, BEGIN + 105000);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(guest.device_count, TRACE_GUEST_DEVICES);
	ck_assert_uint_gt(guest.devices_ignored, 0);
	ck_assert_uint_gt(guest.broken, 0);
	ck_assert_uint_eq(guest.joined, 1);
}
END_TEST

/* Equal ones, within the error of each other: a look at all for each would take a minute. */
START_TEST(many_requests_at_once)
{
	const unsigned count = 100000;
	struct trace_request *many = calloc(count, sizeof(*many));

	ck_assert_ptr_nonnull(many);
	trace.request = many;
	pairs[0].tsc_error = host_tsc(900000000) - host_tsc(0);
	for (unsigned i = 0; i < count; i++) {
		guest_request(0, "R", 8, 512, BEGIN + 1000 + 10 * i, BEGIN + 1005 + 10 * i);
		vmm_request(0, VIRTIO_BLK_T_IN, 8, 512, BEGIN + 1001 + 10 * i, END);
	}
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(device(0)->ambiguous, count);
	ck_assert_uint_eq(guest.joined, 0);
	free(many);
}
END_TEST

START_TEST(what_came_of_it)
{
	char *printed;
	size_t size;
	FILE *out = open_memstream(&printed, &size);
	struct json json = { .file = out };

	strcpy(disks[1].name, "b.img");
	both(1, VIRTIO_BLK_T_IN, "R", 8, 512, BEGIN + 100000, BEGIN + 105000);
	guest_request(32, "R", 8, 512, BEGIN + 200000, BEGIN + 205000);
	/* Long before. */
	guest_request(48, "R", 8, 512, BEGIN - 205000, BEGIN - 200000);
	ck_assert_int_eq(load(), 0);
	ck_assert_ptr_eq(trace.guest, &guest);
	guest.error = 201;
	trace_guest_print(&guest, &trace, out);
	json_object(&json, NULL);
	trace_guest_write(&guest, &json);
	json_end(&json);
	fclose(out);
	ck_assert_str_eq(printed, "guest: joined 1 of 1 requests, whose issue and completion are "
			 "exact to 201 ns\n"
			 "  device 254,16 is disk 1 (b.img): 1 requests, 1 joined, 0 ambiguous, "
			 "0 not found\n"
			 "  device 254,32 is no disk that was recorded: 1 requests\n"
			 "{\"guest\":{\"joined\":1,\"error_ns\":201,\"muddled\":0,"
			 "\"broken_lines\":0,\"ignored_events\":0,\"devices\":["
			 "{\"major\":254,\"minor\":16,\"disk\":1,\"requests\":1,\"joined\":1,"
			 "\"ambiguous\":0,\"absent\":0},"
			 "{\"major\":254,\"minor\":32,\"requests\":1,\"joined\":0,"
			 "\"ambiguous\":0,\"absent\":1},"
			 "{\"major\":254,\"minor\":48,\"requests\":0,\"joined\":0,"
			 "\"ambiguous\":0,\"absent\":0}]}}\n");
	free(printed);
}
END_TEST

/* Begin and end of what vmm trace record and perf script made of a stock guest. */
START_TEST(recording_of_an_amd_host)
{
	FILE *file = fopen("tests/unit/data/perf-script-amd.txt", "re");

	ck_assert_msg(file, "to be run from the source tree's folder");
	fputs("       fio-272     [001] .....  27782517604: block_rq_issue: "
	      "254,16 WS 4096 () 2832 + 8 [fio]\n"
	      "       fio-272     [001] d.h1.  27797169650: block_rq_complete: "
	      "254,16 WS () 2832 + 8 [0]\n"
	      "       fio-272     [001] .....  27798508494: block_rq_issue: "
	      "254,16 WS 4096 () 15232 + 8 [fio]\n"
	      "       fio-272     [001] d.h1.  27806858912: block_rq_complete: "
	      "254,16 WS () 15232 + 8 [0]\n"
	      "       fio-272     [001] .....  27807684800: block_rq_issue: "
	      "254,16 WS 4096 () 15072 + 8 [fio]\n"
	      "       fio-272     [001] d.h1.  27810840632: block_rq_complete: "
	      "254,16 WS () 15072 + 8 [0]\n", record);
	ck_assert_int_eq(trace_load_text(&trace, file, "data"), 0);
	fclose(file);
	ck_assert_int_eq(load(), 0);
	ck_assert_uint_eq(trace.counters.broken, 0);
	ck_assert_uint_eq(guest.joined, 3);
	ck_assert_uint_eq(guest.error, 162);
	ck_assert_int_eq(device(16)->disk, 1);
	ck_assert_str_eq(trace.disk[1].name, "load.img");
	for (unsigned i = 0; i < 3; i++) {
		const struct trace_request *request = &trace.request[i];

		ck_assert_uint_eq(request->seq, 1039 + i);
		ck_assert_uint_eq(request->vcpu, 1);
		for (unsigned stamp = 1; stamp < TRACE_STAMPS; stamp++)
			ck_assert_uint_gt(request->t[stamp], request->t[stamp - 1]);
		/* Nothing is near the error. */
		ck_assert_uint_gt(request->t[TRACE_EXIT] - request->t[TRACE_ISSUE], 50000);
		ck_assert_uint_gt(request->t[TRACE_DONE] - request->t[TRACE_ENTRY], 50000);
	}
	trace_free(&trace);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_guest");

	unit_tcase(suite, "lines", lines_of_both_programs, lines_of_every_operation,
		   lines_of_strange_tasks, lines_that_make_no_sense);
	unit_tcase_with(suite, "join", setup, teardown,
			truth_in_tracefs, truth_in_trace_cmd,
			equal_requests_are_left_alone, a_mirror_is_not_guessed,
			devices_are_learnt, half_a_disk_is_none,
			partial_requests_are_left_alone, requests_at_the_ends,
			requeued_requests_begin_again, foreign_doorbells_are_taken_away,
			foreign_interrupts_are_taken_away, the_error_is_the_residual,
			no_pairs_of_clocks, no_clocks, clocks_that_took_long,
			clocks_that_disagree, no_offset_of_the_tsc, another_clock,
			no_events, noise_is_harmless, many_requests_at_once,
			what_came_of_it, recording_of_an_amd_host);
	return unit_run(suite);
}
