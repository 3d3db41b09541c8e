// SPDX-License-Identifier: BSD-2-Clause
/* Which process a word means, over a /proc of our own. */
#include "vmm/trace/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"

static char *proc;

static void setup(void)
{
	proc = files_folder();
}

static void teardown(void)
{
	files_remove(proc);
}

static const char *process_path(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%d/%s", pid, name);
	return files_path(proc, path) + strlen(proc) + 1;
}

/* Process @pid of @uid runs @exe with the arguments @line, split at blanks. */
static void process_of(uid_t uid, pid_t pid, const char *exe, const char *line)
{
	char words[256];
	size_t len = strlen(line) + 1;

	memcpy(words, line, len);
	for (char *c = words; *c; c++)
		if (*c == ' ')
			*c = '\0';
	files_write(proc, process_path(pid, "cmdline"), words, len);
	ck_assert_int_eq(symlink(exe, files_path(proc, process_path(pid, "exe"))), 0);
	/* A program of theirs that is for others what it is for us. */
	snprintf(words, sizeof(words), "Name:\tvmm\nUid:\t%u\t%u\n", uid, getuid());
	files_text(proc, process_path(pid, "status"), words);
}

static void process(pid_t pid, const char *exe, const char *line)
{
	process_of(getuid(), pid, exe, line);
}

/* The PID that @word finds; what is said besides is @expected. */
static pid_t find(const char *word, int expected_ret, const char *expected)
{
	struct trace_target target;
	pid_t pid;
	char *said;
	int ret;

	files_capture();
	ret = trace_target_find(proc, word, &target);
	said = files_captured();
	ck_assert_str_eq(said, expected);
	ck_assert_int_eq(ret, expected_ret);
	free(said);
	pid = target.pid;
	trace_target_free(&target);
	return pid;
}

static void find_none(const char *word)
{
	char expected[128];

	snprintf(expected, sizeof(expected), "vmm: no VM is called '%s'; none%s runs\n", word,
		 geteuid() ? " of yours" : "");
	find(word, -ESRCH, expected);
}

/* Each is a vmm of its own; what it is called. */
static const struct {
	const char *line, *name;
} lines[] = {
	{ "vmm run bz -n web", "web" },
	{ "vmm run -nweb bz", "web" },
	{ "./vmm run --name web -k bz", "web" },
	{ "vmm run --name=web bz", "web" },
	{ "vmm run --na web bz", "web" },
	{ "vmm run -vn web bz", "web" },
	{ "vmm run bz -n mail -n web", "web" },
	{ "vmm run bz -n a-name-longer-than-comm", "a-name-longer-than-comm" },
	{ "vmm run bz -p -n -n web", "web" },                /* the first -n belongs to -p */
	{ "vmm run --from-tomorrow=1 -Z bz -n web", "web" }, /* another build */
	{ "vmm run bz --from-tomorrow 1 -n web", "web" },
};

START_TEST(names)
{
	process(100, "/usr/bin/vmm", lines[_i].line);
	ck_assert_int_eq(find(lines[_i].name, 0, ""), 100);
}
END_TEST

/* No VM, though "web" stands there. */
static const struct {
	const char *exe, *line;
} others[] = {
	{ "/usr/bin/docker", "docker run -n web" },
	{ "/usr/bin/vmm", "vmm trace record -n web" },
	{ "/usr/bin/vmm", "vmm -n web" },
	{ "/usr/bin/vmm", "" },
	{ "/usr/bin/bash", "vmm run -n web" },
};

START_TEST(no_vm)
{
	process(100, others[_i].exe, others[_i].line);
	find_none("web");
}
END_TEST

START_TEST(what_is_not_its_name)
{
	process(100, "/usr/bin/vmm", "vmm run bz -p -n -d web");
	find("web", -ESRCH, "vmm: no VM is called 'web'\nvmm: running: PID 100\n");
	process(101, "/usr/bin/vmm", "vmm run bz -n web2");
	process(102, "/usr/bin/vmm", "vmm run bz -- -n web");
	files_write(proc, "version", "", 0); /* nor is it a process */
	find("web", -ESRCH, "vmm: no VM is called 'web'\n"
			    "vmm: running: PID 100, 'web2' (PID 101), PID 102\n");
}
END_TEST

START_TEST(a_name_is_taken_twice)
{
	process(100, "/usr/bin/vmm", "vmm run bz -n web");
	process(101, "/opt/vmm-old (deleted)", "vmm run bz -n web");
	find("web", -EINVAL, "vmm: 2 VMs are called 'web': say which by its PID\n"
			     "vmm: running: 'web' (PID 100), 'web' (PID 101)\n");
	ck_assert_int_eq(find("101", 0, ""), 101);
}
END_TEST

#define OTHER 1000001
#define CALLER 1000002 /* of sudo */

START_TEST(another_user_takes_the_name)
{
	struct trace_target target;

	unsetenv("SUDO_UID");
	process_of(OTHER, 100, "/tmp/vmm", "vmm run bz -n web");
	process_of(CALLER, 101, "/usr/bin/vmm", "vmm run bz -n web");
	find("web", -EINVAL, "vmm: 2 VMs are called 'web': say which by its PID\n"
			     "vmm: running: 'web' (PID 100 of user 1000001), "
			     "'web' (PID 101 of user 1000002)\n");
	setenv("SUDO_UID", "1000002", 1);
	ck_assert_int_eq(find("web", 0, ""), 101);
	process_of(OTHER, 102, "/tmp/vmm", "vmm run bz -n web");
	ck_assert_int_eq(find("web", 0, ""), 101);
	process(103, "/usr/bin/vmm", "vmm run bz -n web");
	find("web", -EINVAL, "vmm: 2 VMs are called 'web': say which by its PID\n"
			     "vmm: running: 'web' (PID 100 of user 1000001), 'web' (PID 101), "
			     "'web' (PID 102 of user 1000001), 'web' (PID 103)\n");
	unsetenv("SUDO_UID");
	ck_assert_int_eq(find("web", 0, ""), 103);
	/* One is looked at where it is the only one, and is said to be theirs. */
	process_of(OTHER, 104, "/tmp/vmm", "vmm run bz -n mail");
	ck_assert_int_eq(trace_target_find(proc, "mail", &target), 0);
	ck_assert_int_eq(target.pid, 104);
	ck_assert_str_eq(target.whose, " of user 1000001");
	trace_target_free(&target);
}
END_TEST

/* Its probes will tell whether it is a vmm. */
START_TEST(a_pid_is_any_process)
{
	struct trace_target target;

	process(100, "/usr/bin/my-vmm", "my-vmm run bz");
	ck_assert_int_eq(trace_target_find(proc, "100", &target), 0);
	ck_assert_int_eq(target.pid, 100);
	ck_assert_ptr_null(target.name);
	ck_assert_str_eq(target.exe, "/usr/bin/my-vmm");
	trace_target_free(&target);
	find("101", -ESRCH, "vmm: no process has PID 101\n");
	/* Above all numbers of processes: a name. */
	find_none("4294967396");
}
END_TEST

START_TEST(a_kernel_thread_has_no_program)
{
	files_text(proc, "2/cmdline", "");
	find("2", -ESRCH, "vmm: no process has PID 2\n");
}
END_TEST

START_TEST(no_proc)
{
	struct trace_target target;
	char *said;

	files_capture();
	ck_assert_int_eq(trace_target_find("/no/proc", "web", &target), -ENOENT);
	said = files_captured();
	ck_assert_str_eq(said, "vmm: /no/proc: No such file or directory\n");
	free(said);
}
END_TEST

START_TEST(threads_in_order)
{
	size_t count;
	pid_t *tids;

	files_text(proc, "100/task/103/comm", "io0");
	files_text(proc, "100/task/100/comm", "vmm");
	files_text(proc, "100/task/1001/comm", "vcpu0");
	files_text(proc, "100/task/1002/comm", "iou-wrk-103");
	files_text(proc, "100/task/1003/ended", "");
	tids = trace_target_threads(proc, 100, &count);
	ck_assert_uint_eq(count, 3);
	ck_assert_int_eq(tids[0], 100);
	ck_assert_int_eq(tids[1], 103);
	ck_assert_int_eq(tids[2], 1001);
	free(tids);
	ck_assert_ptr_null(trace_target_threads(proc, 101, &count));
	ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(signals)
{
	/* Signal 35 is bit 34. */
	files_text(proc, "1/status", "Name:\tvmm\nSigPnd:\t0000000400000000\n"
				     "SigBlk:\t0000000400000000\nSigIgn:\t0\nSigCgt:\t0\n");
	files_text(proc, "2/status", "SigBlk:\t0000000000000000\nSigIgn:\t0\n"
				     "SigCgt:\t0000000400000000\n");
	files_text(proc, "3/status", "SigPnd:\t0000000400000000\nSigBlk:\tfffffffbffffffff\n"
				     "SigCgt:\t0000000000000000\n");
	ck_assert(trace_target_takes(proc, 1, 35));
	ck_assert(trace_target_takes(proc, 2, 35));
	ck_assert(!trace_target_takes(proc, 3, 35));
	ck_assert(trace_target_takes(proc, 3, 34));
	ck_assert(!trace_target_takes(proc, 4, 35));
}
END_TEST

START_TEST(probes_in_a_program)
{
	static const char note[] = "\x7f" "ELF stapsdt\0stapsdt\0"
				   "aaaaaaaabbbbbbbbccccccccvmm\0pop\0 8@%rdi";
	const char *path = files_path(proc, "program");
	const size_t cut[] = { 1, 12, 20, 44, 48, 51 };

	files_write(proc, "program", note, sizeof(note));
	ck_assert_int_eq(trace_target_probes(path), 0);
	for (unsigned i = 0; i < array_size(cut); i++) {
		files_write(proc, "program", note, cut[i]);
		ck_assert_int_eq(trace_target_probes(path), -ENOENT);
	}
	files_write(proc, "program", note, sizeof(note));
	ck_assert_int_eq(truncate(path, TRACE_PROGRAM_MAX), 0);
	ck_assert_int_eq(trace_target_probes(path), 0);
	ck_assert_int_eq(truncate(path, TRACE_PROGRAM_MAX + 1), 0);
	ck_assert_int_eq(trace_target_probes(path), -EFBIG);
	files_text(proc, "program", "vmm pop stapsdt");
	ck_assert_int_eq(trace_target_probes(path), -ENOENT);
	ck_assert_int_eq(trace_target_probes(files_path(proc, "none")), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace_target");
	TCase *tables = tcase_create("tables");

	tcase_add_checked_fixture(tables, setup, teardown);
	tcase_add_loop_test(tables, names, 0, array_size(lines));
	tcase_add_loop_test(tables, no_vm, 0, array_size(others));
	suite_add_tcase(suite, tables);
	unit_tcase(suite, "none", no_proc);
	TCase *tcase = tcase_create("proc");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_is_not_its_name);
	tcase_add_test(tcase, a_name_is_taken_twice);
	tcase_add_test(tcase, another_user_takes_the_name);
	tcase_add_test(tcase, a_pid_is_any_process);
	tcase_add_test(tcase, a_kernel_thread_has_no_program);
	tcase_add_test(tcase, threads_in_order);
	tcase_add_test(tcase, signals);
	tcase_add_test(tcase, probes_in_a_program);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
