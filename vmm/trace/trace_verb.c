// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/trace_verb.h"

#include <stdio.h>
#include <string.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/exit_status.h"
#include "vmm/trace/record.h"
#include "vmm/trace/record_options.h"
#include "vmm/trace/report.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0]: its name */
	void (*print_help)(void);
} commands[] = {
	{ "record", trace_record_main, record_options_help },
	{ "report", trace_report_main, trace_report_help },
};

void trace_verb_help(void)
{
	for (unsigned i = 0; i < array_size(commands); i++) {
		if (i)
			putchar('\n');
		commands[i].print_help();
	}
}

static int usage(const char *word)
{
	if (word)
		log_error("unknown command 'trace %s'", word);
	else
		log_error("trace needs a command: record or report");
	log_error("see 'vmm help trace'");
	return STATUS_USAGE;
}

int trace_verb_main(int argc, char **argv)
{
	if (argc < 2)
		return usage(NULL);
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		trace_verb_help();
		return STATUS_OK;
	}
	for (unsigned i = 0; i < array_size(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return usage(argv[1]);
}
