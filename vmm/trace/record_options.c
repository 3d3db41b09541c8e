// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/record_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/number.h"
#include "vmm/options.h"

#define DEFAULT_FILE "vmm-trace.data"

static const struct option longs[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "duration", required_argument, NULL, 'd' },
	{ "buffer", required_argument, NULL, 'm' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

void record_options_help(void)
{
	puts("Usage: vmm trace record [OPTION]... PID|NAME\n\n"
	     "Have perf record what a running VM does to its disks.\n\n"
	     "  -o, --output FILE        the recording (" DEFAULT_FILE ")\n"
	     "  -d, --duration SECONDS   end after 5 or 0.5 seconds (at Ctrl-C)\n"
	     "  -m, --buffer SIZE        perf's buffer for each CPU (32M, or 256M in all)\n"
	     "  -v, --verbose            say on stderr which commands are run\n"
	     "  -h, --help               print this help");
}

/* Bytes with a unit: perf takes bare numbers for pages. */
static bool is_size(const char *text)
{
	uint64_t size;
	const char *unit;

	return number_parse(text, &size, &unit) && size && *unit && strchr("KMG", *unit) &&
	       !unit[1];
}

static int set(struct record_options *options, int letter, char **argv)
{
	switch (letter) {
	case 'o':
		options->file = optarg;
		return 0;
	case 'd':
		return option_seconds("--duration", 1, &options->duration_ns);
	case 'm':
		options->buffer = optarg;
		if (is_size(optarg))
			return 0;
		log_error("--buffer '%s': not a size like 512K or 8M", optarg);
		return -EINVAL;
	case 'v':
		options->verbose = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	default:
		return option_error(letter, longs, argv);
	}
}

const char *record_options_buffer(long cpus)
{
	static const char *const sizes[] = { "32M", "16M", "8M", "4M", "2M", "1M" };
	unsigned i = 0;

	while (i + 1 < array_size(sizes) && cpus > 8L << i)
		i++;
	return sizes[i];
}

int record_options_parse(struct record_options *options, int argc, char **argv)
{
	int letter, ret = 0;

	*options = (struct record_options){
		.file = DEFAULT_FILE,
		.buffer = record_options_buffer(sysconf(_SC_NPROCESSORS_ONLN)),
	};
	optind = 0; /* start anew */
	while (!ret && !options->help &&
	       (letter = getopt_long(argc, argv, ":o:d:m:vh", longs, NULL)) >= 0)
		ret = set(options, letter, argv);
	if (ret || options->help)
		return ret;
	options->target = option_argument(argc, argv, "no VM given: its PID, or its --name");
	if (!options->target)
		return -EINVAL;
	/* perf takes it for stdout, and a report reads the file here and there. */
	if (!strcmp(options->file, "-")) {
		log_error("--output -: a recording needs a file");
		return -EINVAL;
	}
	return 0;
}
