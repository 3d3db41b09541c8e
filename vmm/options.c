// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/disk_spec.h"
#include "vmm/number.h"
#include "vmm/x86/layout.h"

struct option_entry {
	char letter; /* 0: none */
	const char *name;
	const char *arg; /* NULL: takes none */
	const char *help;
	/* 0; or -EINVAL or -ENOMEM, having said why. */
	int (*set)(struct options *options, const char *value);
};

static int set_kernel(struct options *options, const char *value)
{
	options->kernel = value;
	return 0;
}

static int set_initrd(struct options *options, const char *value)
{
	options->initrd = value;
	return 0;
}

static int set_modules(struct options *options, const char *value)
{
	options->modules = value;
	return 0;
}

static int set_cmdline(struct options *options, const char *value)
{
	options->cmdline = value;
	return 0;
}

static int add_params(struct options *options, const char *value)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", options->params ? options->params : "",
		     options->params ? " " : "", value) < 0) {
		log_error("out of memory");
		return -ENOMEM;
	}
	free(options->params);
	options->params = joined;
	return 0;
}

static int add_disk(struct options *options, const char *value)
{
	struct blk_config *disk;
	int ret;

	disk = reallocarray(options->disk, options->disk_count + 1, sizeof(*disk));
	if (!disk) {
		log_error("out of memory");
		return -ENOMEM;
	}
	options->disk = disk;
	ret = disk_spec_parse(value, &disk[options->disk_count]);
	if (!ret)
		options->disk_count++;
	return ret;
}

/* *@count: from 1 to @most, for the reason that follows in @why. */
static int set_count(unsigned *count, const char *option, const char *value, unsigned most,
		     const char *why)
{
	const char *end;
	uint64_t number;

	if (!number_parse(value, &number, &end) || *end) {
		log_error("%s '%s': not a number", option, value);
		return -EINVAL;
	}
	if (number == 0) {
		log_error("%s 0: at least 1 is needed", option);
		return -EINVAL;
	}
	if (number > most) {
		log_error("%s %" PRIu64 ": at most %u%s", option, number, most, why);
		return -EINVAL;
	}
	*count = (unsigned)number;
	return 0;
}

static int set_cpus(struct options *options, const char *value)
{
	return set_count(&options->cpus, "--cpus", value, OPTIONS_CPUS_MAX,
			 ", since the I/O APIC addresses CPUs by 8 bits and 255 means all of them");
}

/* How far the unit @text shifts a number: 20 for MiB, 30, 40; 0: not a unit. */
static unsigned unit_shift(const char *text)
{
	static const char units[] = "MGT";
	const char *unit;

	if (!*text)
		return 20;
	unit = strchr(units, toupper((unsigned char)*text));
	return unit && !text[1] ? 20 + 10 * (unsigned)(unit - units) : 0;
}

static int set_memory(struct options *options, const char *value)
{
	unsigned shift = 0;
	uint64_t size;
	const char *end;

	if (number_parse(value, &size, &end))
		shift = unit_shift(end);
	if (!shift || size > UINT64_MAX >> shift) {
		log_error("--memory '%s': not a size like 512, 512M, 2G or 1T", value);
		return -EINVAL;
	}
	if (size << shift < OPTIONS_MEMORY_MIN) {
		log_error("--memory %s: at least %lluM is needed", value, OPTIONS_MEMORY_MIN >> 20);
		return -EINVAL;
	}
	options->memory = size << shift;
	return 0;
}

static int set_name(struct options *options, const char *value)
{
	options->name = value;
	return 0;
}

static int set_doorbell(struct options *options, const char *value)
{
	bool exits = !strcmp(value, "exit");

	options->doorbell = exits ? DOORBELL_MODE_EXIT : DOORBELL_MODE_IOEVENTFD;
	if (exits || !strcmp(value, "ioeventfd"))
		return 0;
	log_error("--doorbell '%s': neither exit nor ioeventfd", value);
	return -EINVAL;
}

static int set_io_threads(struct options *options, const char *value)
{
	return set_count(&options->io_threads, "--io-threads", value, OPTIONS_IO_THREADS_MAX, "");
}

/* Read "1", or "2-3", which the kernel counts in ints, and point @end at what follows it. */
static bool parse_range(const char *text, uint64_t *first, uint64_t *last, const char **end)
{
	if (!number_parse(text, first, end))
		return false;
	*last = *first;
	if (**end == '-' && !number_parse(*end + 1, last, end))
		return false;
	return *first <= *last && *last <= INT_MAX;
}

static int add_io_cpus(struct options *options, unsigned first, unsigned last)
{
	unsigned count = options->io_cpu_count + last - first + 1;
	unsigned *cpu = reallocarray(options->io_cpu, count, sizeof(*cpu));

	if (!cpu) {
		log_error("out of memory");
		return -ENOMEM;
	}
	options->io_cpu = cpu;
	while (first <= last)
		cpu[options->io_cpu_count++] = first++;
	return 0;
}

static int set_io_cpus(struct options *options, const char *value)
{
	uint64_t first, last;
	int ret = 0;

	options->io_cpu_count = 0;
	for (const char *at = value; ret == 0; at++) {
		if (!parse_range(at, &first, &last, &at) || (*at && *at != ',')) {
			log_error("--io-cpus '%s': not a list of CPUs like 1 or 0,2-3", value);
			return -EINVAL;
		}
		/* None is there from CPU_SETSIZE on: the first of those is enough to say so. */
		last = min(last, max(first, (uint64_t)CPU_SETSIZE));
		ret = add_io_cpus(options, (unsigned)first, (unsigned)last);
		if (!*at)
			break;
	}
	return ret;
}

static int set_io_warn(struct options *options, const char *value)
{
	const char *end;
	uint64_t seconds;

	if (!number_parse(value, &seconds, &end) || *end) {
		log_error("--io-warn '%s': not a number of seconds", value);
		return -EINVAL;
	}
	if (seconds > OPTIONS_IO_WARN_MAX) {
		log_error("--io-warn %" PRIu64 ": at most %u (a day)", seconds, OPTIONS_IO_WARN_MAX);
		return -EINVAL;
	}
	options->io_warn_s = (unsigned)seconds;
	return 0;
}

static int set_stats(struct options *options, const char *value)
{
	options->stats = value;
	return 0;
}

static int set_boot_report(struct options *options, const char *value)
{
	(void)value;
	options->boot_report = true;
	return 0;
}

static int set_verbose(struct options *options, const char *value)
{
	(void)value;
	options->verbose = true;
	return 0;
}

static int set_help(struct options *options, const char *value)
{
	(void)value;
	options->help = true;
	return 0;
}

static const struct option_entry entries[] = {
	{ 'k', "kernel", "FILE", "kernel to boot: a bzImage, or an ELF with a PVH note",
	  set_kernel },
	{ 'i', "initrd", "FILE", "initial RAM disk (composed from modules where needed)",
	  set_initrd },
	{ 0, "modules", "DIR", "look for the kernel's modules in DIR first", set_modules },
	{ 'p', "params", "TEXT", "append TEXT to the kernel's command line; repeatable",
	  add_params },
	{ 0, "cmdline", "TEXT", "replace the default kernel command line by TEXT", set_cmdline },
	{ 'd', "disk", "SPEC", "add a disk, PATH[,KEY[=VALUE]]...; repeatable", add_disk },
	{ 'c', "cpus", "N", "number of CPUs, 1 to 254 (1)", set_cpus },
	{ 'm', "memory", "SIZE", "RAM in MiB, or with a suffix M, G or T (512M)", set_memory },
	{ 'n', "name", "NAME", "name of the process, as ps and top show it", set_name },
	{ 0, "doorbell", "MODE", "how doorbells arrive: ioeventfd or exit (ioeventfd)",
	  set_doorbell },
	{ 0, "io-threads", "N", "threads that serve the disks' queues, 1 to 64 (1)",
	  set_io_threads },
	{ 0, "io-cpus", "LIST", "pin these threads, in turn, to CPUs such as 0,2-3",
	  set_io_cpus },
	{ 0, "io-warn", "SECONDS", "warn of disk I/O that hangs so long; 0: never (30)",
	  set_io_warn },
	{ 0, "stats", "FILE", "write statistics to FILE at the end and on SIGUSR1",
	  set_stats },
	{ 0, "boot-report", NULL, "print on stderr how long each step of the boot took",
	  set_boot_report },
	{ 'v', "verbose", NULL, "say on stderr what is set up", set_verbose },
	{ 'h', "help", NULL, "print this help", set_help },
};

/* getopt_long() values: letters, OPTION_LONG + index for long names. */
#define NOT_AN_OPTION 1

void options_help(void)
{
	char left[40];

	puts("Usage: vmm run [OPTION]... [--kernel] FILE\n");
	for (unsigned i = 0; i < array_size(entries); i++) {
		const struct option_entry *e = &entries[i];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", e->letter ? '-' : ' ',
			 e->letter ? e->letter : ' ', e->letter ? ", " : "  ", e->name,
			 e->arg ? " " : "", e->arg ? e->arg : "");
		printf("  %-24s %s\n", left, e->help);
	}
	puts("\nKeys of a disk's SPEC:");
	disk_spec_help();
	puts("\nCtrl-A x quits, Ctrl-A h tells the other keys.");
}

static const struct option_entry *entry_find(int value)
{
	if (value >= OPTION_LONG)
		return &entries[value - OPTION_LONG];
	for (unsigned i = 0; i < array_size(entries); i++)
		if (value && entries[i].letter == value)
			return &entries[i];
	return NULL;
}

/* The forms of the table that getopt_long() wants. */
static void fill_getopt(struct option *longs, char *letters)
{
	/* '-': hand over what is not an option too; ':': print nothing. */
	*letters++ = '-';
	*letters++ = ':';
	for (unsigned i = 0; i < array_size(entries); i++) {
		longs[i] = (struct option){ .name = entries[i].name,
					    .has_arg = !!entries[i].arg,
					    .val = OPTION_LONG + (int)i };
		if (!entries[i].letter)
			continue;
		*letters++ = entries[i].letter;
		if (entries[i].arg)
			*letters++ = ':';
	}
	*letters = '\0';
	longs[array_size(entries)] = (struct option){ 0 };
}

int option_error(int kind, const struct option *longs, char **argv)
{
	while (longs->name && longs->val != optopt)
		longs++;
	if (kind == ':')
		log_error("option '%s' needs a value", argv[optind - 1]);
	else if (longs->name)
		log_error("option '--%s' takes no value", longs->name);
	else if (optopt) /* its word may not be over, and so not be the last one */
		log_error("unknown option '-%c'", optopt);
	else
		log_error("unknown option '%s'", argv[optind - 1]);
	return -EINVAL;
}

int option_seconds(const char *option, uint64_t least, uint64_t *ns)
{
	if (number_parse_seconds(optarg, ns) && *ns >= least)
		return 0;
	log_error("%s '%s': not seconds like 5 or 0.5", option, optarg);
	return -EINVAL;
}

const char *option_argument(int argc, char **argv, const char *missing)
{
	if (optind + 1 == argc)
		return argv[optind];
	if (optind == argc)
		log_error("%s", missing);
	else
		log_error("unexpected argument '%s' after '%s'", argv[optind + 1], argv[optind]);
	return NULL;
}

static int add_bare(const char **bare, const char *value)
{
	if (*bare) {
		log_error("unexpected argument '%s' after '%s'", value, *bare);
		return -EINVAL;
	}
	*bare = value;
	return 0;
}

/* Obey every option.  @bare: the argument that is none, if there is one. */
static int parse(struct options *options, int argc, char **argv, const char **bare)
{
	struct option longs[array_size(entries) + 1];
	char letters[2 * array_size(entries) + 3];
	int value, ret = 0;

	fill_getopt(longs, letters);
	optind = 0; /* start anew */
	while (!ret && !options->help) {
		value = getopt_long(argc, argv, letters, longs, NULL);
		if (value < 0)
			break;
		if (value == NOT_AN_OPTION)
			ret = add_bare(bare, optarg);
		else if (value == '?' || value == ':')
			ret = option_error(value, longs, argv);
		else
			ret = entry_find(value)->set(options, optarg);
	}
	while (!ret && !options->help && optind < argc) /* after "--" */
		ret = add_bare(bare, argv[optind++]);
	return ret;
}

int options_parse(struct options *options, int argc, char **argv)
{
	const char *bare = NULL;
	int ret;

	*options = (struct options){
		.cpus = 1,
		.io_threads = 1,
		.io_warn_s = OPTIONS_IO_WARN_DEFAULT,
		.memory = OPTIONS_MEMORY_DEFAULT,
	};
	ret = parse(options, argc, argv, &bare);
	if (!ret && !options->help && bare && options->kernel) {
		log_error("unexpected argument '%s': the kernel is '%s'", bare, options->kernel);
		ret = -EINVAL;
	}
	if (bare)
		options->kernel = bare;
	if (!ret && !options->help && !options->kernel) {
		log_error("no kernel given");
		ret = -EINVAL;
	}
	if (ret)
		options_free(options);
	return ret;
}

const char *options_name(int argc, char **argv)
{
	struct option longs[array_size(entries) + 1];
	char letters[2 * array_size(entries) + 3];
	const struct option_entry *entry;
	const char *name = NULL;
	int value;

	fill_getopt(longs, letters);
	optind = 0; /* start anew */
	while ((value = getopt_long(argc, argv, letters, longs, NULL)) >= 0) {
		entry = value == NOT_AN_OPTION ? NULL : entry_find(value);
		if (entry && entry->set == set_name)
			name = optarg;
	}
	return name;
}

static bool same_image(const struct disk_config *a, const struct disk_config *b)
{
	struct stat sa, sb;

	if (stat(a->path, &sa) || stat(b->path, &sb))
		return false;
	if (S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode))
		return sa.st_rdev == sb.st_rdev;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static int check_slots(const struct options *options)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < options->disk_count; i++)
		if (options->disk[i].transport == BLK_TRANSPORT_MMIO &&
		    taken++ == LAYOUT_VIRTIO_MMIO_SLOTS) {
			log_error("--disk '%s': no slot for transport=mmio: all %d are taken",
				  options->disk[i].disk.path, LAYOUT_VIRTIO_MMIO_SLOTS);
			return -EINVAL;
		}
	return 0;
}

static int check_io_cpus(const struct options *options, const struct options_host *host)
{
	for (unsigned i = 0; i < options->io_cpu_count; i++)
		if (options->io_cpu[i] >= CPU_SETSIZE ||
		    !CPU_ISSET(options->io_cpu[i], &host->cpus)) {
			log_error("--io-cpus: CPU %u is not there, or not for this process",
				  options->io_cpu[i]);
			return -EINVAL;
		}
	return 0;
}

int options_check(const struct options *options, const struct options_host *host)
{
	const struct blk_config *disk = options->disk;

	if (options->memory > host->memory) {
		log_error("--memory %" PRIu64 "M: the host has only %" PRIu64 "M (MemTotal)",
			  options->memory >> 20, host->memory >> 20);
		return -EINVAL;
	}
	if (check_io_cpus(options, host))
		return -EINVAL;
	for (unsigned i = 1; i < options->disk_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (same_image(&disk[j].disk, &disk[i].disk)) {
				log_error("--disk '%s' and --disk '%s' are the same image",
					  disk[j].disk.path, disk[i].disk.path);
				return -EINVAL;
			}
	return check_slots(options);
}

void options_free(struct options *options)
{
	while (options->disk_count)
		disk_spec_free(&options->disk[--options->disk_count]);
	free(options->disk);
	options->disk = NULL;
	free(options->params);
	options->params = NULL;
	free(options->io_cpu);
	options->io_cpu = NULL;
}
