// SPDX-License-Identifier: BSD-2-Clause
/* The figures of a trace, and how they are printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/blk.h"
#include "hw/pci_host.h"
#include "tests/unit/trace-text.h"
#include "tests/unit/unit.h"
#include "vmm/options.h"
#include "vmm/trace/groups.h"
#include "vmm/trace/report_print.h"
#include "vmm/x86/layout.h"

/* What a VM can have is no damage of its recording. */
_Static_assert(TRACE_DISKS >= (PCI_HOST_SLOTS - 1) * PCI_HOST_FUNCTIONS +
	       LAYOUT_VIRTIO_MMIO_SLOTS, "disks");
_Static_assert(TRACE_QUEUES >= BLK_QUEUES_MAX, "queues");
_Static_assert(TRACE_VCPUS >= OPTIONS_CPUS_MAX, "vCPUs");

static struct trace trace;
static struct trace_groups groups;

static void setup(void)
{
	text_begin();
	text_sleep(0);
}

static void teardown(void)
{
	trace_groups_free(&groups);
	trace_free(&trace);
}

static const struct trace_group *only_group(void)
{
	ck_assert_uint_eq(groups.count, 1);
	return &groups.group[0];
}

/* Requests whose disk takes 1, 2, ... @count us, and all else always the same. */
static void write_ramp(unsigned count)
{
	uint64_t at = 1000;

	for (unsigned i = 0; i < count; i++) {
		text_pop(at, 0, 0, i);
		text_submit(at += 10, 0, 0, i, 1);
		text_complete(at += 1000 * (i + 1), 0, 0, i);
		text_push(at += 20, 0, 0, i);
		text_publish(at += 30, 0, 0, 1, 0);
		at += 100;
	}
}

START_TEST(percentiles_are_exact)
{
	const struct trace_summary *disk;

	write_ramp(1000);
	text_load(&trace);
	ck_assert_int_eq(trace_groups_make(&groups, &trace, -1, 3), 0);
	disk = &only_group()->layer[TRACE_LAYER_DISK];
	ck_assert_uint_eq(disk->count, 1000);
	ck_assert_uint_eq(disk->min, 1000);
	ck_assert_uint_eq(disk->p50, 500000);
	ck_assert_uint_eq(disk->p90, 900000);
	ck_assert_uint_eq(disk->p99, 990000);
	ck_assert_uint_eq(disk->p999, 999000);
	ck_assert_uint_eq(disk->max, 1000000);
	ck_assert_uint_eq(disk->total, 1000ULL * 1000 * 1001 / 2);
	ck_assert_uint_eq(only_group()->layer[TRACE_LAYER_SUBMIT].total, 1000 * 10);
	ck_assert_uint_eq(only_group()->layer[TRACE_LAYER_PUBLISH].max, 50);
	ck_assert_uint_eq(only_group()->whole.p50, 500060);
	ck_assert_uint_eq(only_group()->whole.total, trace_layers_total(only_group()));
	ck_assert_uint_eq(only_group()->bytes, 1000 * 4096);
	/* The slowest first. */
	ck_assert_uint_eq(groups.slowest_count, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(trace.request[groups.slowest[i]].seq, 999 - i);
}
END_TEST

START_TEST(one_request)
{
	write_ramp(1);
	text_load(&trace);
	ck_assert_int_eq(trace_groups_make(&groups, &trace, -1, 10), 0);
	ck_assert_uint_eq(only_group()->whole.p50, 1060);
	ck_assert_uint_eq(only_group()->whole.p999, 1060);
	ck_assert_uint_eq(groups.slowest_count, 1);
}
END_TEST

/* A delay in one stage appears in that layer, in no other, and in the whole. */
START_TEST(delay_appears_where_it_was)
{
	static const enum trace_layer layer_of_stage[] = {
		TRACE_LAYER_SUBMIT, TRACE_LAYER_SUBMIT, TRACE_LAYER_DISK, TRACE_LAYER_PUBLISH,
		TRACE_LAYER_PUBLISH,
	};
	const uint64_t delay = 12345678;

	for (unsigned stage = 0; stage < 5; stage++) {
		uint64_t at = 1000, expected[TRACE_LAYERS] = { 0 };

		text_begin();
		text_sleep(0);
		for (unsigned i = 0; i < 5; i++)
			expected[layer_of_stage[i]] += 100 + (i == stage ? delay : 0);
		text_pop(at, 0, 0, 0);
		text_submit(at += 100 + (stage == 0 ? delay : 0), 0, 0, 0, 0);
		text_enter(at += 100 + (stage == 1 ? delay : 0));
		text_complete(at += 100 + (stage == 2 ? delay : 0), 0, 0, 0);
		text_push(at += 100 + (stage == 3 ? delay : 0), 0, 0, 0);
		text_publish(at += 100 + (stage == 4 ? delay : 0), 0, 0, 1, 0);
		text_load(&trace);
		ck_assert_int_eq(trace_groups_make(&groups, &trace, -1, 1), 0);
		for (unsigned i = 0; i < TRACE_LAYERS; i++)
			ck_assert_uint_eq(only_group()->layer[i].total, expected[i]);
		ck_assert_uint_eq(only_group()->whole.max, 500 + delay);
		teardown();
	}
}
END_TEST

/* Between the guest and the first that the host shows; whatever that is. */
START_TEST(layers_with_the_guest)
{
	struct trace_request request = {
		.t = { [TRACE_ISSUE] = 100, [TRACE_DOORBELL] = 110, [TRACE_POP] = 130,
		       [TRACE_PUSH] = 170, [TRACE_PUBLISH] = 180, [TRACE_DONE] = 250 },
	};
	uint64_t ns[TRACE_LAYERS];

	ck_assert_uint_eq(trace_layers(&request, ns),
			  1u << TRACE_LAYER_ISSUE | 1u << TRACE_LAYER_POP |
			  1u << TRACE_LAYER_PUBLISH | 1u << TRACE_LAYER_DONE);
	ck_assert_uint_eq(ns[TRACE_LAYER_ISSUE], 10);
	ck_assert_uint_eq(ns[TRACE_LAYER_POP], 20);
	ck_assert_uint_eq(ns[TRACE_LAYER_PUBLISH], 50);
	ck_assert_uint_eq(ns[TRACE_LAYER_DONE], 70);
	ck_assert_uint_eq(trace_whole(&request), 150);
	request.t[TRACE_DOORBELL] = 0;
	trace_layers(&request, ns);
	ck_assert_uint_eq(ns[TRACE_LAYER_ISSUE], 30);
	ck_assert_uint_eq(ns[TRACE_LAYER_POP], 0);
	request.t[TRACE_EXIT] = 105;
	request.t[TRACE_DOORBELL] = 110;
	trace_layers(&request, ns);
	ck_assert_uint_eq(ns[TRACE_LAYER_ISSUE], 5);
	ck_assert_uint_eq(ns[TRACE_LAYER_EXIT], 5);
}
END_TEST

static void write_other(uint64_t ns, unsigned disk, uint64_t seq, unsigned op, unsigned status)
{
	text_event(TEXT_IO, ns, "sdt_vmm:pop: (1) arg1=%u arg2=0 arg3=%u arg4=0 arg5=%u arg6=0 "
		   "arg7=512 arg8=4096 arg9=0", disk, (unsigned)seq, op);
	text_event(TEXT_IO, ns + 10, "sdt_vmm:push: (1) arg1=%u arg2=0 arg3=%u arg4=0 arg5=%u "
		   "arg6=1", disk, (unsigned)seq, status);
	text_publish(ns + 20, disk, 0, 1, 0);
}

START_TEST(groups_are_by_disk_and_operation)
{
	static const struct {
		unsigned disk, op, status, count;
	} expected[] = {
		{ 0, 1, 0, 2 }, { 0, 4, 1, 1 }, { 1, 0, 0, 1 }, { 1, 1, 0, 3 }, { 1, 255, 2, 1 },
	};
	uint64_t at = 1000, seq[2] = { 0 };

	for (int i = 4; i >= 0; i--)
		for (unsigned n = 0; n < expected[i].count; n++)
			write_other(at += 100, expected[i].disk, seq[expected[i].disk]++,
				    expected[i].op, expected[i].status);
	text_load(&trace);
	ck_assert_int_eq(trace_groups_make(&groups, &trace, -1, 0), 0);
	ck_assert_uint_eq(groups.count, 5);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(groups.group[i].disk, expected[i].disk);
		ck_assert_uint_eq(groups.group[i].op, expected[i].op);
		ck_assert_uint_eq(groups.group[i].whole.count, expected[i].count);
		ck_assert_uint_eq(groups.group[i].errors,
				  expected[i].status ? expected[i].count : 0);
	}
	trace_groups_free(&groups);
	ck_assert_int_eq(trace_groups_make(&groups, &trace, 1, 100), 0);
	ck_assert_uint_eq(groups.count, 3);
	ck_assert_uint_eq(groups.slowest_count, 5);
	trace_groups_free(&groups);
	ck_assert_int_eq(trace_groups_make(&groups, &trace, 2, 100), 0);
	ck_assert_uint_eq(groups.count, 0);
}
END_TEST

START_TEST(times_have_three_figures)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} expected[] = {
		{ 0, "0ns" }, { 7, "7ns" }, { 999, "999ns" }, { 1000, "1us" }, { 1500, "1.5us" },
		{ 9994, "9.99us" }, { 9996, "10us" }, { 99949, "99.9us" }, { 99960, "100us" },
		{ 999499, "999us" }, { 999500, "1ms" }, { 45600000, "45.6ms" },
		{ 1234567890, "1.23s" }, { 999600000, "1s" }, { 3600000000000, "3600s" },
	};

	for (unsigned i = 0; i < sizeof(expected) / sizeof(*expected); i++)
		ck_assert_str_eq(trace_time(expected[i].ns).text, expected[i].text);
	ck_assert_str_eq(trace_time(UINT64_MAX).text, "18446744074s");
}
END_TEST

/* The report of a disk, or all, as one string, to be freed. */
static char *printed(void (*print)(const struct trace *, const struct trace_groups *, FILE *),
		     int disk)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(trace_groups_make(&groups, &trace, disk, 10), 0);
	print(&trace, &groups, out);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part), "no '%s' in:\n%s", part, text);
}

static void assert_width(const char *text)
{
	for (size_t len; *text; text += len + (text[len] != '\0')) {
		len = strcspn(text, "\n");
		ck_assert_msg(len <= 80, "%.*s", (int)len, text);
	}
}

START_TEST(report_in_text)
{
	char *text;

	text_ring(500, text_notify(0, 0), 0);
	text_wake_up(600, 700);
	text_see(800, 0, 0);
	text_request(1000, 0, 0, 0, 1);
	text_interrupt(7000, 0, 0, 0, 33);
	text_deliver(7010, 7020, 0, 33);
	text_request(9000, 0, 0, 1, 0);
	text_load(&trace);
	text = printed(trace_print_text, -1);
	assert_width(text);
	assert_has(text, "disk 0, read: 2 requests, 8.0 KiB\n");
	assert_has(text, "\n  wake-up            1    0.9%   100ns");
	assert_has(text, "\n  disk               2   17.4%     1us");
	assert_has(text, "\n  whole              2  100.0%  5.76us     5us  6.52us");
	assert_has(text, "sum of all layers 0.000012 s, of all wholes 0.000012 s: difference 0.00%");
	/* 5 us and 6.52 us: buckets have an eighth of 4.096 us. */
	assert_has(text, "\n   4.61us .. 5.12us          1  ######");
	assert_has(text, "\n   5.12us .. 5.63us          0  \n");
	assert_has(text, "\n   6.14us .. 6.66us          1  ######");
	assert_has(text, "  doorbells  own 1, polled 1\n");
	assert_has(text, "  interrupts own 1, suppressed 1\n");
	assert_has(text, "This host does not show:\n"
		   "  kvm_exit: the whole begins with the doorbell\n"
		   "  kvm_inj_virq: there is no inject\n"
		   "  kvm_entry: the whole ends when a local APIC has the interrupt\n");
	assert_has(text, "doorbells    1 rung");
	ck_assert_ptr_null(strstr(text, "WARNING"));
	free(text);
}
END_TEST

START_TEST(report_warns_of_losses)
{
	char *text;

	text_request(1000, 0, 0, 0, 0);
	text_pop(10000, 0, 0, 1);
	text_event(TEXT_IO, 1000000, "PERF_RECORD_LOST lost 42");
	text_raw("nonsense\n");
	text_load(&trace);
	text = printed(trace_print_text, -1);
	assert_width(text);
	assert_has(text, "WARNING: perf lost 42 events");
	assert_has(text, "Requests that were under way then are left out (1)");
	assert_has(text, "1 lines unreadable");
	free(text);
}
END_TEST

START_TEST(report_of_no_whole_request)
{
	char *text;

	text_pop(1000, 0, 0, 0);
	text_load(&trace);
	text = printed(trace_print_text, -1);
	assert_width(text);
	assert_has(text, "No request has its whole way in this recording.");
	assert_has(text, "1 not ended in it");
	free(text);
	trace_groups_free(&groups);
	text = printed(trace_print_json, -1);
	assert_has(text, "\"not_ended\":1");
	free(text);
}
END_TEST

START_TEST(report_of_a_disk_without_requests)
{
	char *text;

	write_ramp(1);
	text_load(&trace);
	text = printed(trace_print_text, 1);
	assert_has(text, "No request of that disk has its whole way in this recording.");
	free(text);
}
END_TEST

/* The largest numbers that there are change no column. */
START_TEST(report_of_large_numbers)
{
	char *text;

	text_pop(1000, TRACE_DISKS - 1, TRACE_QUEUES - 1, UINT64_MAX - 1);
	text_push(1ULL << 62, TRACE_DISKS - 1, TRACE_QUEUES - 1, UINT64_MAX - 1);
	text_publish(1ULL << 62, TRACE_DISKS - 1, TRACE_QUEUES - 1, 1, 0);
	text_load(&trace);
	text = printed(trace_print_text, -1);
	ck_assert_uint_eq(trace.request_count, 1);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_report");

	unit_tcase_with(suite, "trace_report", setup, teardown,
			percentiles_are_exact, one_request, delay_appears_where_it_was,
			layers_with_the_guest, groups_are_by_disk_and_operation,
			times_have_three_figures, report_in_text, report_warns_of_losses,
			report_of_no_whole_request, report_of_a_disk_without_requests,
			report_of_large_numbers);
	return unit_run(suite);
}
