// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/report.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "hw/base/log.h"
#include "vmm/exit_status.h"
#include "vmm/number.h"
#include "vmm/options.h"
#include "vmm/trace/guest.h"
#include "vmm/trace/pictures.h"
#include "vmm/trace/report_print.h"

#define DEFAULT_SLOWEST 10
#define SLOWEST_MAX 1000000

struct report_options {
	const char *file;
	const char *guest; /* NULL: none */
	struct trace_pictures pictures;
	bool is_text; /* the file is what perf script printed */
	bool json;
	unsigned slowest;
	bool help;
};

enum { JSON = OPTION_LONG, CHROME, SVG, GUEST, FROM, TO, DISK, SLOWEST, PERF_SCRIPT };

static const struct option longs[] = {
	{ "json", no_argument, NULL, JSON },
	{ "chrome", required_argument, NULL, CHROME },
	{ "svg", required_argument, NULL, SVG },
	{ "guest", required_argument, NULL, GUEST },
	{ "from", required_argument, NULL, FROM },
	{ "to", required_argument, NULL, TO },
	{ "disk", required_argument, NULL, DISK },
	{ "slowest", required_argument, NULL, SLOWEST },
	{ "perf-script", no_argument, NULL, PERF_SCRIPT },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

void trace_report_help(void)
{
	puts("Usage: vmm trace report [OPTION]... FILE\n\n"
	     "Say where the requests that 'vmm trace record' has in FILE spent their time.\n\n"
	     "      --json           print it as JSON (Documentation/trace.schema.json)\n"
	     "      --chrome FILE    write all of it for Perfetto and chrome://tracing\n"
	     "      --svg FILE       draw the layers and the latencies over time\n"
	     "      --from SECONDS   let these files begin there in the recording ...\n"
	     "      --to SECONDS     ... and end there\n"
	     "      --guest FILE     join what the guest recorded of its block layer\n"
	     "      --disk N         only of disk N, from 0 in the order of --disk\n"
	     "      --slowest N      list so many single requests (10)\n"
	     "      --perf-script    FILE is what perf script printed; -: on stdin\n"
	     "  -h, --help           print this help");
}

static int set_number(const char *option, unsigned *number, unsigned most)
{
	const char *end;
	uint64_t value;

	if (!number_parse(optarg, &value, &end) || *end || value > most) {
		log_error("%s '%s': not a number from 0 to %u", option, optarg, most);
		return -EINVAL;
	}
	*number = (unsigned)value;
	return 0;
}

static int set(struct report_options *options, int letter, char **argv)
{
	unsigned disk;
	int ret;

	switch (letter) {
	case JSON:
		options->json = true;
		return 0;
	case CHROME:
		options->pictures.chrome = optarg;
		return 0;
	case SVG:
		options->pictures.svg = optarg;
		return 0;
	case GUEST:
		options->guest = optarg;
		return 0;
	case FROM:
		return option_seconds("--from", 0, &options->pictures.from);
	case TO:
		return option_seconds("--to", 1, &options->pictures.to);
	case DISK:
		ret = set_number("--disk", &disk, UINT16_MAX);
		if (ret == 0)
			options->pictures.disk = (int)disk;
		return ret;
	case SLOWEST:
		return set_number("--slowest", &options->slowest, SLOWEST_MAX);
	case PERF_SCRIPT:
		options->is_text = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	default:
		return option_error(letter, longs, argv);
	}
}

static int parse(struct report_options *options, int argc, char **argv)
{
	int letter, ret = 0;

	*options = (struct report_options){ .pictures.disk = -1, .slowest = DEFAULT_SLOWEST };
	optind = 0; /* start anew */
	while (!ret && !options->help &&
	       (letter = getopt_long(argc, argv, ":h", longs, NULL)) >= 0)
		ret = set(options, letter, argv);
	if (ret || options->help)
		return ret;
	if (options->pictures.to && options->pictures.from >= options->pictures.to) {
		log_error("--from is not before --to");
		return -EINVAL;
	}
	options->file = option_argument(argc, argv, "no recording given: a FILE that "
						    "'vmm trace record' made");
	return options->file ? 0 : -EINVAL;
}

static int load(struct trace *trace, const struct report_options *options)
{
	FILE *text;
	int ret;

	if (!options->is_text)
		return trace_load(trace, options->file);
	if (!strcmp(options->file, "-"))
		return trace_load_text(trace, stdin, "stdin");
	text = fopen(options->file, "re");
	if (!text) {
		ret = -errno;
		log_error("%s: cannot open: %s", options->file, strerror(errno));
		return ret;
	}
	ret = trace_load_text(trace, text, options->file);
	fclose(text);
	return ret;
}

static int print(const struct trace *trace, const struct report_options *options,
		 const struct trace_guest *guest)
{
	struct trace_groups groups;
	int ret = trace_groups_make(&groups, trace, options->pictures.disk,
				    options->slowest);

	if (ret) {
		log_error("%s: %s", options->file, strerror(-ret));
		return ret;
	}
	if (options->json) {
		trace_print_json(trace, &groups, stdout);
	} else {
		trace_print_text(trace, &groups, stdout);
		if (guest)
			trace_guest_print(guest, trace, stdout);
	}
	trace_groups_free(&groups);
	return 0;
}

static int report(const struct report_options *options)
{
	struct trace_guest guest;
	struct trace trace;
	int ret = load(&trace, options);

	if (ret)
		return ret;
	if (options->guest)
		ret = trace_guest_load(&trace, options->guest, &guest);
	if (ret == 0)
		ret = print(&trace, options, options->guest ? &guest : NULL);
	/* The last, for it may take some of the trace away. */
	if (ret == 0)
		ret = trace_pictures_write(&trace, &options->pictures);
	trace_free(&trace);
	return ret;
}

int trace_report_main(int argc, char **argv)
{
	struct report_options options;

	if (parse(&options, argc, argv)) {
		log_error("see 'vmm help trace'");
		return STATUS_USAGE;
	}
	if (options.help) {
		trace_report_help();
		return STATUS_OK;
	}
	return report(&options) ? STATUS_ERROR : STATUS_OK;
}
