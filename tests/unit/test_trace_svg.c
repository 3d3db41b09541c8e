// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/svg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"
#include "vmm/trace/bins.h"

#define BEGIN 5000000000000ULL
#define US 1000ULL
#define MS 1000000ULL

static struct trace_disk disks[] = { { "a.img", 1 }, { "<\"&\x01\xff\xef\xbf\xbf\u00fc.img", 1 } };

/* Popped after 1 us, then @disk ns on the disk, then 1 us to publish. */
static struct trace_request request(uint64_t begin, uint64_t disk)
{
	struct trace_request made = { 0 };

	made.t[TRACE_DOORBELL] = BEGIN + begin;
	made.t[TRACE_POP] = BEGIN + begin + US;
	made.t[TRACE_SUBMIT] = BEGIN + begin + US;
	made.t[TRACE_COMPLETE] = BEGIN + begin + US + disk;
	made.t[TRACE_PUBLISH] = BEGIN + begin + US + disk + US;
	return made;
}

static struct trace trace_of(struct trace_request *requests, size_t count)
{
	return (struct trace){
		.begin = BEGIN - MS,
		.end = BEGIN + MS,
		.request = requests,
		.request_count = count,
		.disk = disks,
		.disk_count = array_size(disks),
	};
}

/* The document, which another program could draw.  The caller frees it. */
static char *draw(const struct trace *trace)
{
	FILE *file, *convert = popen("rsvg-convert > /dev/null", "w");
	char *text;
	size_t len;

	file = open_memstream(&text, &len);
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(trace_svg_write(trace, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_ptr_nonnull(convert);
	ck_assert_uint_eq(fwrite(text, 1, len, convert), len);
	ck_assert_int_eq(pclose(convert), 0);
	return text;
}

#define check_has(text, part) ck_assert_msg(strstr(text, part), "no '%s'", part)

START_TEST(steps)
{
	static const struct {
		uint64_t range, step;
		unsigned count;
	} cases[] = {
		{ 0, 1, 1 }, { 0, 1, 168 }, { 1, 2, 1 }, { 4, 5, 1 }, { 5, 10, 1 }, { 9, 10, 1 },
		{ 10, 20, 1 }, { 5000 * MS, 50 * MS, 168 }, { 19 * US, 20 * US, 1 },
		{ UINT64_MAX, 200000000000000000, 168 },
	};

	for (unsigned i = 0; i < array_size(cases); i++) {
		uint64_t step = trace_bins_step(cases[i].range, cases[i].count);

		ck_assert_uint_eq(step, cases[i].step);
		/* So all of the range falls into @count of them. */
		ck_assert_uint_lt(cases[i].range / step, cases[i].count);
	}
}
END_TEST

START_TEST(no_request)
{
	struct trace trace = trace_of(NULL, 0);
	struct trace_bins *bins = trace_bins_make(&trace);
	char *text = draw(&trace);

	ck_assert_uint_eq(bins->count, 0);
	check_has(text, ">0 requests in 2ms<");
	check_has(text, "The recording has no whole request");
	free(bins);
	free(text);
}
END_TEST

/* A gap between two slices; sums, rows and layers of those that have requests. */
START_TEST(bins_of_known_requests)
{
	struct trace_request requests[] = {
		request(0, 6 * US), request(US, 8 * US), request(25 * US, 30 * US),
	};
	struct trace trace = trace_of(requests, array_size(requests));
	struct trace_bins *bins = trace_bins_make(&trace);
	uint64_t in_rows = 0;

	ck_assert_uint_eq(bins->begin, BEGIN);
	ck_assert_uint_eq(bins->slice_ns, 20 * US);
	ck_assert_uint_eq(bins->count, 3);
	ck_assert_uint_eq(bins->bin[0].requests, 2);
	ck_assert_uint_eq(bins->bin[1].requests, 1);
	ck_assert_uint_eq(bins->bin[2].requests, 0);
	ck_assert_uint_eq(bins->bin[0].layer[TRACE_LAYER_POP], 2 * US);
	ck_assert_uint_eq(bins->bin[0].layer[TRACE_LAYER_DISK], 14 * US);
	ck_assert_uint_eq(bins->bin[0].layer[TRACE_LAYER_PUBLISH], 2 * US);
	ck_assert_uint_eq(bins->bin[1].layer[TRACE_LAYER_DISK], 30 * US);
	/* 8 us, 10 us and 32 us: eighths of powers of two are fine enough. */
	ck_assert_uint_eq(bins->rows_per_octave, 8);
	ck_assert_uint_eq(bins->row_first, 10 * 8 + 7);
	ck_assert_uint_eq(bins->row_last, 12 * 8 + 7);
	ck_assert_uint_eq(bins->bin[0].row[0], 1);
	ck_assert_uint_eq(bins->bin[0].row[2], 1);
	ck_assert_uint_eq(bins->bin[1].row[16], 1);
	for (unsigned i = 0; i < bins->count; i++)
		for (unsigned row = 0; row < TRACE_ROWS_MAX; row++)
			in_rows += bins->bin[i].row[row];
	ck_assert_uint_eq(in_rows, 3);
	free(bins);
}
END_TEST

/* Where a row is drawn and which one a time falls into are one thing. */
START_TEST(rows_are_where_they_are_drawn)
{
	struct trace_request requests[] = { request(0, 0), request(0, 0) };
	struct trace trace = trace_of(requests, 1);

	for (uint64_t ns = 0; ns < 1ULL << HISTOGRAM_VALUE_BITS; ns += ns / 3 + 1) {
		struct trace_bins *bins;

		requests[0].t[TRACE_PUBLISH] = requests[0].t[TRACE_DOORBELL] + ns;
		bins = trace_bins_make(&trace);
		ck_assert_uint_eq(bins->row_first, (unsigned)trace_bins_position(bins, ns));
		ck_assert_uint_eq(bins->row_first, bins->row_last);
		free(bins);
	}
}
END_TEST

START_TEST(picture_of_one_request)
{
	struct trace_request requests[] = { request(0, 8 * US) };
	struct trace trace = trace_of(requests, 1);
	char *text = draw(&trace);

	check_has(text, ">1 request of a.img in 2ms</text>");
	ck_assert_ptr_null(strstr(text, "Not in the pictures"));
	check_has(text, "Mean latency by layer, for each 20us");
	/* 10 us are as high as the picture; each area covers those below it as well. */
	check_has(text, "<path class=\"l7\" d=\"M72 388H72V128.0H744V388z\">");
	check_has(text, "<path class=\"l6\" d=\"M72 388H72V154.0H744V388z\">");
	check_has(text, "<path class=\"l4\" d=\"M72 388H72V362.0H744V388z\">");
	ck_assert_ptr_null(strstr(text, "<path class=\"l5\""));
	check_has(text, ">disk</text>\n<text class=\"end\" x=\"892\" y=\"174\">8us</text>\n"
			"<text class=\"end\" x=\"948\" y=\"174\">80.0 %</text>");
	check_has(text, ">whole</text>\n<text class=\"end\" x=\"892\" y=\"210\">10us</text>\n"
			"<text class=\"end\" x=\"948\" y=\"210\">100 %</text>");
	/* One row in the middle of about four powers of two, and one count, which is the most. */
	check_has(text, "<path class=\"h7\" d=\"M72 609H744v9H72z\"/>");
	check_has(text, ">5us</text>");
	check_has(text, ">20us</text>");
	free(text);
}
END_TEST

START_TEST(names_of_disks)
{
	static struct trace_disk many[140];
	struct trace_request requests[array_size(many)];
	struct trace trace = trace_of(requests, 2);
	char *text;

	requests[0] = requests[1] = request(0, US);
	requests[1].disk = 1;
	text = draw(&trace);
	check_has(text, ">2 requests of a.img, "
			"&#60;\"&#38;\ufffd\ufffd\ufffd\u00fc.img in 2ms</text>");
	free(text);

	for (unsigned i = 0; i < array_size(many); i++) {
		requests[i] = request(0, US);
		requests[i].disk = i;
		snprintf(many[i].name, sizeof(many[i].name), "image-%u", i);
	}
	trace = trace_of(requests, array_size(many));
	trace.disk = many;
	trace.disk_count = array_size(many);
	text = draw(&trace);
	check_has(text, ">140 requests of image-0, image-1, ");
	check_has(text, ", image-9, \u2026 in 2ms</text>");
	free(text);

	trace.request = &requests[130];
	trace.request_count = 2;
	text = draw(&trace);
	check_has(text, ">2 requests of image-130, image-131 in 2ms</text>");
	free(text);
}
END_TEST

START_TEST(towers_are_cut_and_told)
{
	enum { COUNT = 100 };
	struct trace_request requests[COUNT];
	struct trace trace = trace_of(requests, COUNT);
	char *text;

	for (unsigned i = 0; i < COUNT; i++)
		requests[i] = request(i * MS, i == 50 ? 4 * MS : 98 * US);
	trace.counters.not_ended = 2;
	trace.counters.torn = 1;
	trace.counters.lost = 40;
	text = draw(&trace);
	check_has(text, ">cut off: 1, of 4ms at most<");
	/* Half more than the others are. */
	check_has(text, "V214.7");
	check_has(text, ">Not in the pictures: 3 requests of which the recording has only a part;"
			" 40 events were lost.<");
	free(text);

	requests[50] = request(50 * MS, 250 * US);
	text = draw(&trace);
	ck_assert_ptr_null(strstr(text, "cut off"));
	free(text);
}
END_TEST

/* A level of colour is so many times the one before; the deepest has the most. */
START_TEST(colours_of_counts)
{
	enum { COUNT = 1000 };
	static struct trace_request requests[COUNT];
	struct trace trace = trace_of(requests, COUNT);
	char *text;

	for (unsigned i = 0; i < COUNT; i++)
		requests[i] = request(i < 998 ? 0 : MS, i < 998 ? 8 * US : 64 * US);
	text = draw(&trace);
	check_has(text, ">256 to 998</text>");
	check_has(text, ">64 to 255</text>");
	check_has(text, ">1 to 3</text>");
	check_has(text, "<path class=\"h7\" d=\"M72 ");
	check_has(text, "<path class=\"h0\" d=\"M7");
	check_has(text, "<path class=\"h2\" d=\"\"/>");
	free(text);
}
END_TEST

/* From no time at all to centuries, in one picture of one size. */
START_TEST(extremes)
{
	struct trace_request requests[] = {
		request(0, 0), request(0, UINT64_MAX / 4), request(3, 1), request(MS, 1),
	};
	struct trace trace = trace_of(requests, array_size(requests));
	char *text;

	requests[0].t[TRACE_POP] = requests[0].t[TRACE_DOORBELL];
	requests[0].t[TRACE_SUBMIT] = 0;
	requests[0].t[TRACE_COMPLETE] = 0;
	requests[0].t[TRACE_PUBLISH] = requests[0].t[TRACE_DOORBELL];
	text = draw(&trace);
	check_has(text, ">10ns</text>");
	check_has(text, ">1s</text>");
	ck_assert_uint_lt(strlen(text), 20000);
	free(text);

	trace.request_count = 1;
	text = draw(&trace);
	check_has(text, ">whole</text>\n<text class=\"end\" x=\"892\" y=\"156\">0ns</text>");
	free(text);
}
END_TEST

START_TEST(full_disk)
{
	struct trace trace = trace_of(NULL, 0);
	FILE *file = fopen("/dev/full", "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(trace_svg_write(&trace, file), -ENOSPC);
	fclose(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_svg");

	unit_tcase(suite, "bins", steps, no_request, bins_of_known_requests,
		   rows_are_where_they_are_drawn);
	unit_tcase(suite, "pictures", picture_of_one_request, names_of_disks,
		   towers_are_cut_and_told, colours_of_counts, extremes);
	unit_tcase(suite, "errors", full_disk);
	return unit_run(suite);
}
