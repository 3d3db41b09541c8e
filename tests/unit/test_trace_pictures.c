// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/pictures.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "vmm/number.h"

#define BEGIN 1000000000000ULL

static struct trace_request requests[4];
static struct trace_span spans[4];
static struct trace_thread thread = { .tid = 100, .vcpu = TRACE_NO_VCPU, .name = "io0" };
static struct trace trace;

/* In each of four seconds a request, on disk 0 and 1 by turns, and a span as long. */
static void setup(void)
{
	trace = (struct trace){
		.begin = BEGIN,
		.end = BEGIN + 4000000000,
		.request = requests,
		.request_count = 4,
		.span = spans,
		.span_count = 4,
		.thread = &thread,
		.thread_count = 1,
	};
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = BEGIN + i * 1000000000ULL;

		requests[i] = (struct trace_request){ .disk = i % 2, .seq = i };
		requests[i].t[TRACE_POP] = at + 500000000;
		requests[i].t[TRACE_PUBLISH] = at + 2500000000;
		spans[i] = (struct trace_span){ .begin = at, .end = at + 1000000000 };
	}
}

START_TEST(whole)
{
	struct trace_pictures pictures = { .disk = -1 };

	/* What the guest tells may lie outside of the recording. */
	requests[0].t[TRACE_ISSUE] = BEGIN - 5;
	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), 0);
	ck_assert_uint_eq(trace.request_count, 4);
	ck_assert_uint_eq(trace.span_count, 4);
}
END_TEST

START_TEST(one_disk)
{
	struct trace_pictures pictures = { .disk = 1 };

	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), 0);
	ck_assert_uint_eq(trace.request_count, 2);
	ck_assert_uint_eq(trace.request[0].seq, 1);
	ck_assert_uint_eq(trace.request[1].seq, 3);
	ck_assert_uint_eq(trace.span_count, 4);
}
END_TEST

/* Requests by their begin, spans as far as they lie in it. */
START_TEST(some_time)
{
	struct trace_pictures pictures = { .disk = -1, .from = 1500000000, .to = 2500000000 };

	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), 0);
	ck_assert_uint_eq(trace.begin, BEGIN + 1500000000);
	ck_assert_uint_eq(trace.end, BEGIN + 2500000000);
	ck_assert_uint_eq(trace.request_count, 1);
	ck_assert_uint_eq(trace.request[0].seq, 1);
	ck_assert_uint_eq(trace.span_count, 2);
	ck_assert_uint_eq(trace.span[0].begin, BEGIN + 1500000000);
	ck_assert_uint_eq(trace.span[0].end, BEGIN + 2000000000);
	ck_assert_uint_eq(trace.span[1].begin, BEGIN + 2000000000);
	ck_assert_uint_eq(trace.span[1].end, BEGIN + 2500000000);
}
END_TEST

START_TEST(time_beyond_the_end)
{
	struct trace_pictures pictures = { .disk = -1, .from = UINT64_MAX - 1, .to = UINT64_MAX };

	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), 0);
	ck_assert_uint_eq(trace.begin, trace.end);
	ck_assert_uint_eq(trace.request_count, 0);
	ck_assert_uint_eq(trace.span_count, 0);
}
END_TEST

START_TEST(both_files)
{
	char folder[] = "/tmp/vmm-pictures-XXXXXX", chrome[64], svg[64], start[16];
	struct trace_pictures pictures = { .chrome = chrome, .svg = svg, .disk = -1 };
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(chrome, sizeof(chrome), "%s/chrome", folder);
	snprintf(svg, sizeof(svg), "%s/svg", folder);
	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), 0);
	file = fopen(chrome, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(start, sizeof(start), file));
	ck_assert_str_eq(start, "{\n");
	fclose(file);
	file = fopen(svg, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(start, sizeof(start), file));
	ck_assert_str_eq(start, "<svg xmlns=\"htt");
	fclose(file);
	unlink(chrome);
	unlink(svg);
	rmdir(folder);
}
END_TEST

START_TEST(files_that_cannot_be)
{
	struct trace_pictures pictures = { .svg = "/proc/none/svg", .disk = -1 };

	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), -ENOENT);
	pictures.svg = "/dev/full";
	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), -ENOSPC);
	pictures.chrome = "/dev/full";
	ck_assert_int_eq(trace_pictures_write(&trace, &pictures), -ENOSPC);
}
END_TEST

START_TEST(seconds)
{
	static const char *const wrong[] = {
		"", ".5", "-1", "1,5", "1s", " 1", "1.0000000001", "4294967296",
	};
	uint64_t ns;

	ck_assert(number_parse_seconds("0", &ns) && ns == 0);
	ck_assert(number_parse_seconds("5", &ns) && ns == 5000000000);
	ck_assert(number_parse_seconds("0.5", &ns) && ns == 500000000);
	ck_assert(number_parse_seconds("1.000000001", &ns) && ns == 1000000001);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		ck_assert_msg(!number_parse_seconds(wrong[i], &ns), "'%s'", wrong[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_pictures");

	unit_tcase_with(suite, "part", setup, NULL,
			whole, one_disk, some_time, time_beyond_the_end, both_files,
			files_that_cannot_be);
	unit_tcase(suite, "options", seconds);
	return unit_run(suite);
}
