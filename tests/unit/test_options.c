// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/util.h"
#include "tests/unit/files.h"
#include "tests/unit/unit.h"

#define ARGS_MAX 64
#define MIB (1ULL << 20)

static struct options_host large; /* has all that anyone may want */

/* Parse @line, split at blanks, as the arguments of "run". */
static int parse(struct options *options, const char *line)
{
	static char verb[] = "run", copy[512]; /* the options point into it */
	char *argv[ARGS_MAX] = { verb }, *rest = copy;
	int argc = 1;

	ck_assert_uint_lt(strlen(line), sizeof(copy));
	strcpy(copy, line);
	while (rest && *rest) {
		ck_assert_int_lt(argc, ARGS_MAX - 1);
		argv[argc++] = strsep(&rest, " ");
	}
	return options_parse(options, argc, argv);
}

static struct options good(const char *line)
{
	struct options options;

	ck_assert_msg(parse(&options, line) == 0, "'%s' refused", line);
	return options;
}

START_TEST(defaults)
{
	struct options options = good("-k bz");

	ck_assert_str_eq(options.kernel, "bz");
	ck_assert_ptr_null(options.initrd);
	ck_assert_ptr_null(options.modules);
	ck_assert_ptr_null(options.cmdline);
	ck_assert_ptr_null(options.params);
	ck_assert_uint_eq(options.disk_count, 0);
	ck_assert_uint_eq(options.cpus, 1);
	ck_assert_uint_eq(options.memory, 512 * MIB);
	ck_assert_ptr_null(options.name);
	ck_assert_int_eq(options.doorbell, DOORBELL_MODE_IOEVENTFD);
	ck_assert_uint_eq(options.io_threads, 1);
	ck_assert_uint_eq(options.io_warn_s, 30);
	ck_assert_uint_eq(options.io_cpu_count, 0);
	ck_assert(!options.boot_report);
	ck_assert(!options.verbose);
	ck_assert(!options.help);
	options_free(&options);
}
END_TEST

START_TEST(long_forms)
{
	struct options options =
		good("--kernel bz --initrd=rd --modules m --cmdline=c --name n --verbose "
		     "--doorbell exit --cpus 254 --memory=2G --io-threads 64 --io-cpus=0-1 "
		     "--io-warn=0 --boot-report");

	ck_assert_str_eq(options.kernel, "bz");
	ck_assert_str_eq(options.initrd, "rd");
	ck_assert_str_eq(options.modules, "m");
	ck_assert_str_eq(options.cmdline, "c");
	ck_assert_str_eq(options.name, "n");
	ck_assert_int_eq(options.doorbell, DOORBELL_MODE_EXIT);
	ck_assert_uint_eq(options.cpus, 254);
	ck_assert_uint_eq(options.memory, 2048 * MIB);
	ck_assert_uint_eq(options.io_threads, 64);
	ck_assert_uint_eq(options.io_warn_s, 0);
	ck_assert_uint_eq(options.io_cpu_count, 2);
	ck_assert(options.boot_report);
	ck_assert(options.verbose);
	options_free(&options);
}
END_TEST

START_TEST(short_forms)
{
	struct options options = good("-vkbz -i rd -c2 -m 64 -nx --doorbell=ioeventfd");

	ck_assert_str_eq(options.kernel, "bz");
	ck_assert_str_eq(options.initrd, "rd");
	ck_assert_uint_eq(options.cpus, 2);
	ck_assert_uint_eq(options.memory, 64 * MIB);
	ck_assert_str_eq(options.name, "x");
	ck_assert_int_eq(options.doorbell, DOORBELL_MODE_IOEVENTFD);
	ck_assert(options.verbose);
	options_free(&options);
}
END_TEST

START_TEST(params_are_joined_disks_are_kept_in_order)
{
	struct options options = good("-p a=1 -d x -k bz --params b -d y,ro -p c --disk z");

	ck_assert_str_eq(options.params, "a=1 b c");
	ck_assert_uint_eq(options.disk_count, 3);
	ck_assert_str_eq(options.disk[0].disk.path, "x");
	ck_assert_str_eq(options.disk[1].disk.path, "y");
	ck_assert(options.disk[1].disk.read_only);
	ck_assert_str_eq(options.disk[2].disk.path, "z");
	ck_assert(!options.disk[2].disk.read_only);
	options_free(&options);
}
END_TEST

START_TEST(last_one_counts)
{
	struct options options = good("-k a -c 2 -k b -c 3");

	ck_assert_str_eq(options.kernel, "b");
	ck_assert_uint_eq(options.cpus, 3);
	options_free(&options);
}
END_TEST

static const char *const bare[] = { "bz", "bz -c 1", "-c 1 bz", "-c 1 -- bz" };

START_TEST(bare_argument_is_the_kernel)
{
	struct options options = good(bare[_i]);

	ck_assert_str_eq(options.kernel, "bz");
	options_free(&options);
}
END_TEST

static const char *const help[] = { "--help", "-h", "-c 1 --help --nonsense", "-d x -h -c 0" };

START_TEST(help_ends_the_parsing)
{
	struct options options = good(help[_i]);

	ck_assert(options.help);
	options_free(&options);
}
END_TEST

static const struct {
	const char *text;
	uint64_t mib;
} sizes[] = {
	{ "32", 32 },           { "32M", 32 },        { "512m", 512 },
	{ "1G", 1024 },         { "3g", 3072 },       { "1T", 1 << 20 },
	{ "16t", 16ULL << 20 }, { "0000064", 64 },    { "17592186044415M", 17592186044415 },
};

START_TEST(memory_sizes)
{
	char line[64];
	struct options options;

	snprintf(line, sizeof(line), "-k bz -m %s", sizes[_i].text);
	options = good(line);
	ck_assert_uint_eq(options.memory, sizes[_i].mib * MIB);
	options_free(&options);
}
END_TEST

#define CPUS_REASON \
	"at most 254, since the I/O APIC addresses CPUs by 8 bits and 255 means all of them"
#define NOT_A_LIST "not a list of CPUs like 1 or 0,2-3"
#define NOT_A_SIZE "not a size like 512, 512M, 2G or 1T"

static const struct {
	const char *line, *said;
} bad[] = {
	{ "", "no kernel given" },
	{ "-c 1", "no kernel given" },
	{ "a b", "unexpected argument 'b' after 'a'" },
	{ "a -- b", "unexpected argument 'b' after 'a'" },
	{ "-k a b", "unexpected argument 'b': the kernel is 'a'" },
	{ "b -k a", "unexpected argument 'b': the kernel is 'a'" },
	{ "-k a --nonsense", "unknown option '--nonsense'" },
	{ "-k a --nonsense=1", "unknown option '--nonsense=1'" },
	{ "-k a --m 64", "unknown option '--m'" },
	{ "-k a -z", "unknown option '-z'" },
	{ "-k a -vz", "unknown option '-z'" },
	{ "-k", "option '-k' needs a value" },
	{ "-k a --initrd", "option '--initrd' needs a value" },
	{ "-k a --boot-report=1", "option '--boot-report' takes no value" },
	{ "-k a --verbose=1", "option '--verbose' takes no value" },
	{ "-k a -c 0", "--cpus 0: at least 1 is needed" },
	{ "-k a -c 255", "--cpus 255: " CPUS_REASON },
	{ "-k a -c 4294967297", "--cpus 4294967297: " CPUS_REASON },
	{ "-k a -c 18446744073709551616", "--cpus '18446744073709551616': not a number" },
	{ "-k a -c -1", "--cpus '-1': not a number" },
	{ "-k a -c 2x", "--cpus '2x': not a number" },
	{ "-k a --cpus=", "--cpus '': not a number" },
	{ "-k a --io-warn 1s", "--io-warn '1s': not a number of seconds" },
	{ "-k a --io-warn -1", "--io-warn '-1': not a number of seconds" },
	{ "-k a --io-warn 86401", "--io-warn 86401: at most 86400 (a day)" },
	{ "-k a --io-threads 0", "--io-threads 0: at least 1 is needed" },
	{ "-k a --io-threads 65", "--io-threads 65: at most 64" },
	{ "-k a --io-threads two", "--io-threads 'two': not a number" },
	{ "-k a --io-cpus=", "--io-cpus '': " NOT_A_LIST },
	{ "-k a --io-cpus a", "--io-cpus 'a': " NOT_A_LIST },
	{ "-k a --io-cpus 1,", "--io-cpus '1,': " NOT_A_LIST },
	{ "-k a --io-cpus ,1", "--io-cpus ',1': " NOT_A_LIST },
	{ "-k a --io-cpus 1-", "--io-cpus '1-': " NOT_A_LIST },
	{ "-k a --io-cpus 3-2", "--io-cpus '3-2': " NOT_A_LIST },
	{ "-k a --io-cpus 1-2-3", "--io-cpus '1-2-3': " NOT_A_LIST },
	{ "-k a --io-cpus 1;2", "--io-cpus '1;2': " NOT_A_LIST },
	{ "-k a --io-cpus 0-2147483648", "--io-cpus '0-2147483648': " NOT_A_LIST },
	{ "-k a --io-cpus 0-18446744073709551616",
	  "--io-cpus '0-18446744073709551616': " NOT_A_LIST },
	{ "-k a -m 0", "--memory 0: at least 32M is needed" },
	{ "-k a -m 31", "--memory 31: at least 32M is needed" },
	{ "-k a -m 0G", "--memory 0G: at least 32M is needed" },
	{ "-k a --memory=", "--memory '': " NOT_A_SIZE },
	{ "-k a -m G", "--memory 'G': " NOT_A_SIZE },
	{ "-k a -m -512", "--memory '-512': " NOT_A_SIZE },
	{ "-k a -m 512K", "--memory '512K': " NOT_A_SIZE },
	{ "-k a -m 512MB", "--memory '512MB': " NOT_A_SIZE },
	{ "-k a -m 1.5G", "--memory '1.5G': " NOT_A_SIZE },
	{ "-k a -m 17592186044416", "--memory '17592186044416': " NOT_A_SIZE },
	{ "-k a -m 16777216T", "--memory '16777216T': " NOT_A_SIZE },
	{ "-k a --doorbell=irq", "--doorbell 'irq': neither exit nor ioeventfd" },
	{ "-k a -d x -p p -d ,", "disk ',': no path" },
};

START_TEST(errors)
{
	char expected[256], *said;
	struct options options;
	int ret;

	files_capture();
	ret = parse(&options, bad[_i].line);
	said = files_captured();
	snprintf(expected, sizeof(expected), "vmm: %s\n", bad[_i].said);
	ck_assert_str_eq(said, expected);
	ck_assert_int_eq(ret, -EINVAL);
	free(said);
}
END_TEST

START_TEST(host_memory)
{
	struct options options = good("-k a -m 100");
	struct options_host host = large;
	char *said;

	host.memory = 100 * MIB;
	ck_assert_int_eq(options_check(&options, &host), 0);
	host.memory--;
	files_capture();
	ck_assert_int_eq(options_check(&options, &host), -EINVAL);
	said = files_captured();
	ck_assert_str_eq(said, "vmm: --memory 100M: the host has only 99M (MemTotal)\n");
	free(said);
	options_free(&options);
}
END_TEST

static const struct {
	const char *text;
	unsigned count, cpu[4];
} cpu_lists[] = {
	{ "1", 1, { 1 } }, { "3,1", 2, { 3, 1 } }, { "1023,0-1,7", 4, { 1023, 0, 1, 7 } },
	{ "5-5,5", 2, { 5, 5 } }, { "0-3 --io-cpus 9", 1, { 9 } },
};

/* The first that cannot be there is said, however many follow it. */
static const struct {
	const char *line;
	unsigned cpu;
} cpus_above[] = {
	{ "-k k --io-cpus 1024", 1024 }, { "-k k --io-cpus 0-9999", 1024 },
	{ "-k k --io-cpus 2147483646-2147483647", 2147483646 },
};

START_TEST(io_cpus_above)
{
	struct options options = good(cpus_above[_i].line);
	char expected[80], *said;

	files_capture();
	ck_assert_int_eq(options_check(&options, &large), -EINVAL);
	said = files_captured();
	snprintf(expected, sizeof(expected),
		 "vmm: --io-cpus: CPU %u is not there, or not for this process\n",
		 cpus_above[_i].cpu);
	ck_assert_str_eq(said, expected);
	free(said);
	options_free(&options);
}
END_TEST

START_TEST(io_cpus)
{
	struct options_host host = large;
	struct options options;
	char line[64], expected[80], *said;

	snprintf(line, sizeof(line), "-k k --io-cpus %s", cpu_lists[_i].text);
	options = good(line);
	ck_assert_uint_eq(options.io_cpu_count, cpu_lists[_i].count);
	for (unsigned i = 0; i < options.io_cpu_count; i++)
		ck_assert_uint_eq(options.io_cpu[i], cpu_lists[_i].cpu[i]);
	ck_assert_int_eq(options_check(&options, &host), 0);
	CPU_CLR(options.io_cpu[options.io_cpu_count - 1], &host.cpus);
	files_capture();
	ck_assert_int_eq(options_check(&options, &host), -EINVAL);
	said = files_captured();
	snprintf(expected, sizeof(expected),
		 "vmm: --io-cpus: CPU %u is not there, or not for this process\n",
		 options.io_cpu[options.io_cpu_count - 1]);
	ck_assert_str_eq(said, expected);
	free(said);
	options_free(&options);
}
END_TEST

/* Links of all kinds, in a folder of their own. */
START_TEST(same_image)
{
	char *folder = files_folder(), line[512], expected[512], *said;
	static const char *const again[] = { "a", "./a", "hard", "soft" };
	struct options options;

	files_text(folder, "a", "x");
	files_text(folder, "b", "x");
	ck_assert_int_eq(link(files_path(folder, "a"), files_path(folder, "hard")), 0);
	ck_assert_int_eq(symlink("a", files_path(folder, "soft")), 0);
	for (unsigned i = 0; i < array_size(again); i++) {
		snprintf(line, sizeof(line), "-k k -d %s/a,ro -d %s/b -d %s/%s,ro", folder, folder,
			 folder, again[i]);
		options = good(line);
		files_capture();
		ck_assert_int_eq(options_check(&options, &large), -EINVAL);
		said = files_captured();
		snprintf(expected, sizeof(expected),
			 "vmm: --disk '%s/a' and --disk '%s/%s' are the same image\n", folder,
			 folder, again[i]);
		ck_assert_str_eq(said, expected);
		free(said);
		options_free(&options);
	}
	snprintf(line, sizeof(line), "-k k -d %s/a -d %s/b -d %s/none -d %s/none", folder, folder,
		 folder, folder);
	options = good(line);
	ck_assert_int_eq(options_check(&options, &large), 0);
	options_free(&options);
	files_remove(folder);
}
END_TEST

/* Of 17 disks on MMIO one too many, and those on PCI do not count. */
START_TEST(slots)
{
	char line[512] = "-k k -d p0", *said;
	struct options options;

	for (unsigned i = 0; i < 16; i++)
		sprintf(line + strlen(line), " -d m%u,transport=mmio", i);
	strcat(line, " -d p1");
	options = good(line);
	ck_assert_int_eq(options_check(&options, &large), 0);
	options_free(&options);
	strcat(line, " -d m16,transport=mmio");
	options = good(line);
	files_capture();
	ck_assert_int_eq(options_check(&options, &large), -EINVAL);
	said = files_captured();
	ck_assert_str_eq(said, "vmm: --disk 'm16': no slot for transport=mmio: all 16 are taken\n");
	free(said);
	options_free(&options);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tables = tcase_create("tables");

	large.memory = UINT64_MAX;
	memset(&large.cpus, 0xff, sizeof(large.cpus));
	unit_tcase(suite, "forms", defaults, long_forms, short_forms,
		   params_are_joined_disks_are_kept_in_order, last_one_counts);
	tcase_add_loop_test(tables, bare_argument_is_the_kernel, 0, array_size(bare));
	tcase_add_loop_test(tables, help_ends_the_parsing, 0, array_size(help));
	tcase_add_loop_test(tables, memory_sizes, 0, array_size(sizes));
	tcase_add_loop_test(tables, errors, 0, array_size(bad));
	tcase_add_loop_test(tables, io_cpus, 0, array_size(cpu_lists));
	tcase_add_loop_test(tables, io_cpus_above, 0, array_size(cpus_above));
	suite_add_tcase(suite, tables);
	unit_tcase(suite, "host", host_memory, same_image, slots);
	return unit_run(suite);
}
