// SPDX-License-Identifier: BSD-2-Clause
/* What "vmm trace record" does around perf, with a perf of our own where it takes one. */
#include "vmm/trace/record_command.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"
#include "vmm/trace/perf.h"
#include "vmm/trace/perf_data.h"
#include "vmm/trace/record_options.h"

static char *folder;

static void setup(void)
{
	folder = files_folder();
}

static void teardown(void)
{
	files_remove(folder);
}

/* --- Options. */

static int parse(struct record_options *options, const char *line)
{
	static char verb[] = "record", copy[256];
	char *argv[16] = { verb }, *rest = copy;
	int argc = 1;

	strcpy(copy, line);
	while (rest && *rest)
		argv[argc++] = strsep(&rest, " ");
	return record_options_parse(options, argc, argv);
}

START_TEST(option_forms)
{
	struct record_options options;

	ck_assert_int_eq(parse(&options, "web"), 0);
	ck_assert_str_eq(options.target, "web");
	ck_assert_str_eq(options.file, "vmm-trace.data");
	ck_assert_str_eq(options.buffer,
			 record_options_buffer(sysconf(_SC_NPROCESSORS_ONLN)));
	ck_assert_uint_eq(options.duration_ns, 0);
	ck_assert(!options.verbose && !options.help);

	ck_assert_int_eq(parse(&options, "-v -o a 12 -d 5 -m 64K"), 0);
	ck_assert_str_eq(options.target, "12");
	ck_assert_str_eq(options.file, "a");
	ck_assert_str_eq(options.buffer, "64K");
	ck_assert_uint_eq(options.duration_ns, 5 * NS_PER_S);
	ck_assert(options.verbose);

	ck_assert_int_eq(parse(&options, "--output=a --duration 1 --buffer 1M --verbose -- -x"), 0);
	ck_assert_str_eq(options.target, "-x");
	ck_assert_int_eq(parse(&options, "--help --nonsense"), 0);
	ck_assert(options.help);
}
END_TEST

START_TEST(buffers)
{
	ck_assert_str_eq(record_options_buffer(-1), "32M");
	ck_assert_str_eq(record_options_buffer(8), "32M");
	ck_assert_str_eq(record_options_buffer(9), "16M");
	ck_assert_str_eq(record_options_buffer(64), "4M");
	ck_assert_str_eq(record_options_buffer(256), "1M");
	ck_assert_str_eq(record_options_buffer(4096), "1M");
}
END_TEST

static const struct {
	const char *text;
	uint64_t ns; /* 0: refused */
} durations[] = {
	{ "1", NS_PER_S },
	{ "0.5", NS_PER_S / 2 },
	{ "2.000000001", 2 * NS_PER_S + 1 },
	{ "0.05", NS_PER_S / 20 },
	{ "7.", 7 * NS_PER_S },
	{ "4294967295", 4294967295 * NS_PER_S },
	{ "4294967296", 0 },
	{ "18446744073709551616", 0 },
	{ "0", 0 },
	{ "0.0", 0 },
	{ ".5", 0 },
	{ "-1", 0 },
	{ "1s", 0 },
	{ "1.0000000001", 0 },
	{ "1.5.5", 0 },
	{ "x", 0 },
};

START_TEST(seconds)
{
	struct record_options options;
	char line[64], expected[128] = "";
	char *said;
	int ret;

	snprintf(line, sizeof(line), "-d %s web", durations[_i].text);
	if (!durations[_i].ns)
		snprintf(expected, sizeof(expected),
			 "vmm: --duration '%s': not seconds like 5 or 0.5\n", durations[_i].text);
	files_capture();
	ret = parse(&options, line);
	said = files_captured();
	ck_assert_str_eq(said, expected);
	ck_assert_int_eq(ret, durations[_i].ns ? 0 : -EINVAL);
	if (!ret)
		ck_assert_uint_eq(options.duration_ns, durations[_i].ns);
	free(said);
}
END_TEST

static const struct {
	const char *line, *said;
} bad[] = {
	{ "", "no VM given: its PID, or its --name" },
	{ "-v", "no VM given: its PID, or its --name" },
	{ "web 5", "unexpected argument '5' after 'web'" },
	{ "web -o", "option '-o' needs a value" },
	{ "web --output", "option '--output' needs a value" },
	{ "-x web", "unknown option '-x'" },
	{ "--nonsense web", "unknown option '--nonsense'" },
	{ "-vx web", "unknown option '-x'" },
	{ "-xv web", "unknown option '-x'" },
	{ "--verbose=1 web", "option '--verbose' takes no value" },
	{ "-m 8 web", "--buffer '8': not a size like 512K or 8M" },
	{ "-m 0M web", "--buffer '0M': not a size like 512K or 8M" },
	{ "-m 8T web", "--buffer '8T': not a size like 512K or 8M" },
	{ "-m 8MB web", "--buffer '8MB': not a size like 512K or 8M" },
	{ "-m M web", "--buffer 'M': not a size like 512K or 8M" },
	{ "-o - web", "--output -: a recording needs a file" },
};

START_TEST(bad_options)
{
	struct record_options options;
	char expected[128], *said;

	snprintf(expected, sizeof(expected), "vmm: %s\n", bad[_i].said);
	files_capture();
	ck_assert_int_eq(parse(&options, bad[_i].line), -EINVAL);
	said = files_captured();
	ck_assert_str_eq(said, expected);
	free(said);
}
END_TEST

/* --- perf's command lines. */

START_TEST(filters_of_threads)
{
	const pid_t one[] = { 7 }, all[] = { 100, 101, 102, 104, 200, 201 };
	char *filter = record_threads_filter(one, 1);

	ck_assert_str_eq(filter, "pid==7");
	free(filter);
	filter = record_threads_filter(all, array_size(all));
	ck_assert_str_eq(filter, "(pid>=100&&pid<=102)||pid==104||(pid>=200&&pid<=201)");
	free(filter);
}
END_TEST

START_TEST(typed_words)
{
	struct perf_command command = { 0 };
	char *text;

	perf_add(&command, "perf");
	perf_add(&command, "a b");
	perf_add(&command, "%s", "it's");
	perf_add(&command, "%s", "");
	perf_add(&command, "x:*");
	perf_add(&command, "/a/b.c-%d", 5);
	perf_hide_rest(&command);
	perf_add(&command, "hidden");
	ck_assert_int_eq(command.error, 0);
	text = perf_text(&command);
	ck_assert_str_eq(text, "perf 'a b' 'it'\\''s' '' 'x:*' /a/b.c-5");
	ck_assert_str_eq(command.argv[6], "hidden");
	ck_assert_ptr_null(command.argv[7]);
	free(text);
	perf_free(&command);
}
END_TEST

static void event(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "events/%s/id", name);
	files_text(folder, path, "1\n");
}

/* Only events that are there are recorded; the others are named. */
START_TEST(record_line)
{
	const pid_t threads[] = { 41, 42, 45 };
	const struct record_plan plan = {
		.tracefs = folder,
		.file = "a b.data",
		.buffer = "8M",
		.thread = threads,
		.thread_count = array_size(threads),
		.ids_are_global = true,
		.control = 5,
		.ack = 6,
	};
	struct record_plan elsewhere = plan;
	struct perf_command command = { 0 };
	char *text, *said;

	event("kvm/kvm_mmio");
	event("kvm/kvm_msi_set_irq");
	event("sched/sched_waking");
	log_set_verbose(true);
	files_capture();
	record_command(&command, &plan);
	said = files_captured();
	log_set_verbose(false);
	ck_assert_ptr_nonnull(strstr(said, "vmm: this kernel has no event kvm:kvm_pio\n"));
	ck_assert_ptr_nonnull(strstr(said, "vmm: this kernel has no event kvm:kvm_inj_virq\n"));
	ck_assert_ptr_null(strstr(said, "kvm_mmio"));
	free(said);

	text = perf_text(&command);
	ck_assert_str_eq(text, "perf record -k CLOCK_MONOTONIC -B -N --no-bpf-event -m 8M "
			       "-o 'a b.data' -t 41,42,45 --inherit -e 'sdt_vmm:*' -e kvm:kvm_mmio "
			       "--filter 'type==2&&(gpa<0xFEC00000||gpa>=0x100000000)' "
			       "-e kvm:kvm_msi_set_irq --switch-events -e sched:sched_waking "
			       "--filter '(pid>=41&&pid<=42)||pid==45'");
	ck_assert_str_eq(command.argv[command.count - 1], "fd:5,6");
	ck_assert_int_eq(command.error, 0);
	free(text);
	perf_free(&command);

	elsewhere.ids_are_global = false;
	record_command(&command, &elsewhere);
	text = perf_text(&command);
	ck_assert_ptr_null(strstr(text, "sched"));
	ck_assert_ptr_nonnull(strstr(text, "-e kvm:kvm_msi_set_irq --switch-events"));
	free(text);
	perf_free(&command);
}
END_TEST

/* --- Running perf: a script of ours stands in for it. */

static void fake_perf(const char *script)
{
	char text[512];

	snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", script);
	files_text(folder, "perf", text);
	ck_assert_int_eq(chmod(files_path(folder, "perf"), 0755), 0);
	setenv("PATH", folder, true);
}

static int run_perf(const char *word, const char *what, char **said)
{
	struct perf_command command = { 0 };
	int ret;

	perf_add(&command, "perf");
	perf_add(&command, "%s", word);
	files_capture();
	ret = perf_run(&command, what, NULL);
	*said = files_captured();
	ck_assert_uint_eq(command.count, 0);
	return ret;
}

static const struct {
	const char *script;
	int ret;
	const char *said;
} perfs[] = {
	{ "exit 0", 0, "" },
	{ "echo all is well; echo so far >&2", 0, "" },
	{ "exit 3", -EIO, "vmm: it failed\nvmm: perf says nothing, with status 3\n" },
	{ "echo one; echo two; echo three >&2; echo four; echo; exit 1", -EIO,
	  "vmm: it failed\nvmm: perf says: two\nvmm: perf says: three\nvmm: perf says: four\n" },
	{ "printf 'no newline'; exit 1", -EIO, "vmm: it failed\nvmm: perf says: no newline\n" },
	{ "printf '\\033[1mbold\\n'; exit 1", -EIO, "vmm: it failed\nvmm: perf says: ?[1mbold\n" },
	{ "kill -TERM $$", -EIO, "vmm: it failed\nvmm: perf was ended by signal 15\n" },
	{ "[ \"$1\" = 'a b' ] && [ ! -s /dev/stdin ]", 0, "" },
	/* A Ctrl-C in our terminal is not for it. */
	{ "read -r a b c d group rest < /proc/$$/stat; [ \"$group\" = $$ ]", 0, "" },
};

START_TEST(runs_perf)
{
	char *said;
	int ret;

	fake_perf(perfs[_i].script);
	ret = run_perf("a b", "it failed", &said);
	ck_assert_str_eq(said, perfs[_i].said);
	ck_assert_int_eq(ret, perfs[_i].ret);
	free(said);
}
END_TEST

START_TEST(all_output)
{
	struct perf_command command = { 0 };
	char *output;

	fake_perf("echo one; echo two >&2; printf three");
	perf_add(&command, "perf");
	ck_assert_int_eq(perf_run(&command, "it failed", &output), 0);
	ck_assert_str_eq(output, "one\ntwo\nthree");
	free(output);
}
END_TEST

START_TEST(long_output)
{
	char *said;

	fake_perf("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i + 1)); done; exit 1");
	ck_assert_int_eq(run_perf("x", "it failed", &said), -EIO);
	ck_assert_str_eq(said, "vmm: it failed\nvmm: perf says: line 997\n"
			       "vmm: perf says: line 998\nvmm: perf says: line 999\n");
	free(said);
}
END_TEST

START_TEST(no_perf)
{
	char *said;

	setenv("PATH", folder, true);
	ck_assert_int_eq(run_perf("x", "it failed", &said), -ENOENT);
	ck_assert_str_eq(said, "vmm: perf is not installed: Debian has it in the package "
			       "linux-perf\n");
	free(said);
}
END_TEST

START_TEST(perf_that_does_not_end)
{
	struct perf_command command = { 0 };
	struct perf perf;
	char *said;

	fake_perf("trap '' TERM; while :; do :; done");
	perf_add(&command, "perf");
	files_capture();
	ck_assert_int_eq(perf_start(&perf, &command, NULL), 0);
	ck_assert_int_eq(perf_finish(&perf, 50, "it failed"), -EIO);
	said = files_captured();
	ck_assert_str_eq(said, "vmm: perf does not end: killed\nvmm: it failed\n"
			       "vmm: perf was ended by signal 9\n");
	free(said);
	perf_free(&command);
}
END_TEST

/* What is kept is open in perf under its number, and nothing else is. */
START_TEST(descriptors)
{
	int pipes[2], fd[2];
	struct perf_command command = { 0 };
	struct perf perf;
	char text[128] = "";

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	for (unsigned i = 0; i < 2; i++) {
		fd[i] = fcntl(pipes[1], F_DUPFD_CLOEXEC, 20); /* a shell uses lower ones */
		ck_assert_int_ge(fd[i], 20);
	}
	snprintf(text, sizeof(text), "echo kept >/proc/self/fd/%d; [ ! -e /proc/self/fd/%d ]",
		 fd[1], fd[0]);
	fake_perf(text);
	memset(text, 0, sizeof(text));
	perf_add(&command, "perf");
	ck_assert_int_eq(perf_start(&perf, &command, (const int[]){ fd[1], -1 }), 0);
	ck_assert_int_eq(perf_finish(&perf, 60000, "it failed"), 0);
	ck_assert_int_eq(read(pipes[0], text, sizeof(text) - 1), 5);
	ck_assert_str_eq(text, "kept\n");
	perf_free(&command);
}
END_TEST

/* --- What is in the file. */

struct data_file {
	char magic[8];
	uint64_t size, attr_size, attrs[2], offset, len, rest[8];
	uint64_t record[32];
};

/* A record of @words of 8 bytes in all; returns where the next one goes. */
static unsigned add_record(struct data_file *file, unsigned at, unsigned type, unsigned words,
			   uint64_t second, uint64_t third)
{
	struct perf_event_header header = { .type = type, .size = (uint16_t)(8 * words) };

	memcpy(&file->record[at], &header, sizeof(header));
	if (words > 1)
		file->record[at + 1] = second;
	if (words > 2)
		file->record[at + 2] = third;
	file->len += 8 * words;
	return at + words;
}

static unsigned make_file(struct data_file *file)
{
	unsigned at = 0;

	*file = (struct data_file){ .magic = "PERFILE2",
				    .offset = offsetof(struct data_file, record) };
	at = add_record(file, at, PERF_RECORD_SAMPLE, 4, 0, 0);
	at = add_record(file, at, PERF_RECORD_SWITCH, 1, 0, 0);
	at = add_record(file, at, PERF_RECORD_LOST, 4, 1234, 5);
	at = add_record(file, at, PERF_RECORD_SAMPLE, 2, 0, 0);
	return add_record(file, at, PERF_RECORD_LOST, 4, 1235, 4);
}

static int count(const struct data_file *file, size_t size, struct perf_data_counts *counts)
{
	files_write(folder, "data", file, size);
	return perf_data_count(files_path(folder, "data"), counts);
}

START_TEST(counts_records)
{
	struct perf_data_counts counts;
	struct data_file file;
	unsigned at = make_file(&file);

	ck_assert_int_eq(count(&file, sizeof(file), &counts), 0);
	ck_assert_uint_eq(counts.events, 2);
	ck_assert_uint_eq(counts.lost, 9);
	/* The same, counted otherwise, with two more at the end. */
	at = add_record(&file, at, PERF_RECORD_LOST_SAMPLES, 2, 7, 0);
	add_record(&file, at, PERF_RECORD_LOST_SAMPLES, 2, 4, 0);
	ck_assert_int_eq(count(&file, sizeof(file), &counts), 0);
	ck_assert_uint_eq(counts.events, 2);
	ck_assert_uint_eq(counts.lost, 11);
}
END_TEST

START_TEST(refuses_other_files)
{
	struct perf_data_counts counts;
	struct perf_event_header *header;
	struct data_file file;

	ck_assert_int_eq(perf_data_count(files_path(folder, "none"), &counts), -ENOENT);
	make_file(&file);
	ck_assert_int_eq(count(&file, 0, &counts), -EINVAL);
	ck_assert_int_eq(count(&file, 71, &counts), -EINVAL);
	ck_assert_int_eq(count(&file, file.offset + file.len - 1, &counts), -EINVAL);
	file.magic[0] = 'Q';
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);

	make_file(&file);
	header = (void *)file.record;
	header->size = 0;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);
	header->size = 20;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);
	header->size = 8 * 4;
	header->type = PERF_RECORD_LOST;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), 0);
	header->size = 8 * 2;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);

	make_file(&file);
	file.len -= 8;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);
	file.len = UINT64_MAX & ~7ULL;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);
	file.offset = UINT64_MAX & ~7ULL;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);
	make_file(&file);
	file.offset += 4;
	ck_assert_int_eq(count(&file, sizeof(file), &counts), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_record");
	TCase *tables = tcase_create("tables"), *files = tcase_create("files");

	unit_tcase(suite, "options", option_forms, buffers, filters_of_threads, typed_words);
	tcase_add_checked_fixture(tables, setup, teardown);
	tcase_add_loop_test(tables, seconds, 0, array_size(durations));
	tcase_add_loop_test(tables, bad_options, 0, array_size(bad));
	tcase_add_loop_test(tables, runs_perf, 0, array_size(perfs));
	suite_add_tcase(suite, tables);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_add_test(files, record_line);
	tcase_add_test(files, all_output);
	tcase_add_test(files, long_output);
	tcase_add_test(files, no_perf);
	tcase_add_test(files, perf_that_does_not_end);
	tcase_add_test(files, descriptors);
	tcase_add_test(files, counts_records);
	tcase_add_test(files, refuses_other_files);
	suite_add_tcase(suite, files);
	return unit_run(suite);
}
