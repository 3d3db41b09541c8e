// SPDX-License-Identifier: BSD-2-Clause
/* The command line: verbs, and what each of them returns. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "devices/blk.h"
#include "hw/base/log.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"
#include "virtio/feature.h"
#include "vmm/exit_status.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/trace/trace_verb.h"

struct verb {
	const char *name;
	const char *arg;
	const char *help;
	int (*run)(int argc, char **argv); /* argv[0]: the verb; the exit status */
	void (*print_help)(void);          /* NULL: the table says it all */
};

static int run_help(int argc, char **argv);

/* What the host does not tell is as much as there can be. */
static struct options_host ask_host(void)
{
	struct options_host host = { .memory = UINT64_MAX };
	struct sysinfo info;

	if (sysinfo(&info) == 0)
		host.memory = (uint64_t)info.totalram * info.mem_unit;
	if (sched_getaffinity(0, sizeof(host.cpus), &host.cpus))
		memset(&host.cpus, 0xff, sizeof(host.cpus));
	return host;
}

/* Has the verb, which takes none, an argument?  Then say so. */
static bool has_argument(int argc, char **argv)
{
	if (argc > 1)
		log_error("%s takes no argument; see 'vmm help'", argv[0]);
	return argc > 1;
}

static int run_vm(int argc, char **argv)
{
	struct options options;
	struct options_host host;
	uint64_t start = clock_ns();
	int ret, status = STATUS_ERROR;

	ret = options_parse(&options, argc, argv);
	if (ret == -EINVAL) {
		log_error("see 'vmm help run'");
		return STATUS_USAGE;
	}
	if (ret)
		return STATUS_ERROR;

	host = ask_host();
	if (options.help) {
		options_help();
		status = STATUS_OK;
	} else if (!options_check(&options, &host)) {
		log_set_verbose(options.verbose);
		if (options.name)
			prctl(PR_SET_NAME, options.name);
		status = machine_run(&options, start);
	}
	options_free(&options);
	return status;
}

static int run_version(int argc, char **argv)
{
	if (has_argument(argc, argv))
		return STATUS_USAGE;
	puts("vmm " VMM_VERSION);
	return STATUS_OK;
}

static void print_features(const struct virtio_feature *table)
{
	for (; table->name; table++)
		printf("%3u  %-17s  %-30s  %s\n", table->bit, table->name, table->when,
		       table->section);
}

static int run_features(int argc, char **argv)
{
	if (has_argument(argc, argv))
		return STATUS_USAGE;
	printf("%3s  %-17s  %-30s  %s\n", "bit", "feature", "offered", "virtio 1.4");
	print_features(blk_features);
	print_features(virtio_features);
	return STATUS_OK;
}

static int run_probes(int argc, char **argv)
{
	if (has_argument(argc, argv))
		return STATUS_USAGE;
	for (const struct probe_text *text = probe_texts; text->name; text++)
		printf("%s(%s)\n    %s\n", text->name, text->arguments, text->meaning);
	return STATUS_OK;
}

static const struct verb verbs[] = {
	{ "run", "[OPTION]... FILE", "run a virtual machine whose kernel is FILE", run_vm,
	  options_help },
	{ "trace", "record|report ...", "tell where disk requests spend their time",
	  trace_verb_main, trace_verb_help },
	{ "help", "[COMMAND]", "print help, on a command where one is named", run_help, NULL },
	{ "features", "", "print the virtio features that disks offer", run_features, NULL },
	{ "probes", "", "print the probes that perf can look at", run_probes, NULL },
	{ "version", "", "print the version", run_version, NULL },
};

static const struct verb *verb_find(const char *name)
{
	/* What people type by habit. */
	if (!strcmp(name, "-h") || !strcmp(name, "--help"))
		name = "help";
	if (!strcmp(name, "--version"))
		name = "version";
	for (unsigned i = 0; i < array_size(verbs); i++)
		if (!strcmp(name, verbs[i].name))
			return &verbs[i];
	log_error("unknown command '%s'", name);
	log_error("see 'vmm help'");
	return NULL;
}

static int run_help(int argc, char **argv)
{
	const struct verb *verb = NULL;

	if (argc > 1) {
		verb = verb_find(argv[1]);
		if (!verb)
			return STATUS_USAGE;
	}
	if (verb && verb->print_help) {
		verb->print_help();
	} else if (verb) {
		printf("Usage: vmm %s%s%s\n\n%s\n", verb->name, *verb->arg ? " " : "", verb->arg,
		       verb->help);
	} else {
		puts("Usage: vmm COMMAND [ARGUMENT]...\n");
		for (unsigned i = 0; i < array_size(verbs); i++)
			printf("  %-8s %-17s %s\n", verbs[i].name, verbs[i].arg, verbs[i].help);
		puts("\nFor example: vmm run --kernel bzImage --disk img.raw");
	}
	return STATUS_OK;
}

/*
 * Have descriptors 0 to 2 open, or a file of ours would get one of these
 * numbers and the guest's output or our messages would be written into it.
 */
static void open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	int status;

	open_standard_fds();
	if (argc < 2) {
		log_error("no command given");
		log_error("see 'vmm help'");
		return STATUS_USAGE;
	}
	verb = verb_find(argv[1]);
	if (!verb)
		return STATUS_USAGE;
	status = verb->run(argc - 1, argv + 1);
	if (fflush(stdout) && status == STATUS_OK) {
		log_error("stdout: %s", strerror(errno));
		status = STATUS_ERROR;
	}
	return status;
}
