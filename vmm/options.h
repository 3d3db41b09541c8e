/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command line of "vmm run" says.  The options are one table, which
 * parses and prints --help; vmm(1) explains them.  And what parsers of other
 * verbs share with it.
 */
#pragma once

#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/blk.h"

/*
 * The I/O APIC names the destination of an interrupt by 8 bits, and 255 there
 * means all CPUs.  More would need an interrupt remapper in the guest.
 */
#define OPTIONS_CPUS_MAX 254
#define OPTIONS_MEMORY_MIN (32ULL << 20)
#define OPTIONS_MEMORY_DEFAULT (512ULL << 20)
#define OPTIONS_IO_THREADS_MAX 64
#define OPTIONS_IO_WARN_DEFAULT 30
#define OPTIONS_IO_WARN_MAX 86400u

enum doorbell_mode { DOORBELL_MODE_IOEVENTFD, DOORBELL_MODE_EXIT };

/* Strings are borrowed from argv unless said otherwise. */
struct options {
	const char *kernel;
	const char *initrd;      /* NULL: none */
	const char *modules;     /* the folder to look in first; NULL: none */
	const char *cmdline;     /* instead of the default line; NULL: the default */
	char *params;            /* appended to either; owned; NULL: none */
	struct blk_config *disk; /* owned */
	unsigned disk_count;
	unsigned cpus;    /* 1 to OPTIONS_CPUS_MAX */
	uint64_t memory;  /* bytes, whole MiB */
	const char *name; /* NULL: none */
	enum doorbell_mode doorbell;
	unsigned io_threads; /* 1 to OPTIONS_IO_THREADS_MAX */
	unsigned *io_cpu;    /* the host's CPUs for these, in order; owned */
	unsigned io_cpu_count; /* 0: they run anywhere */
	unsigned io_warn_s; /* 0: never; OPTIONS_IO_WARN_MAX at most */
	const char *stats; /* the file for statistics; NULL: none */
	bool boot_report;
	bool verbose;
	bool help; /* print the help; then nothing else was checked */
};

/*
 * Parse the arguments after the verb: argv[0] is the verb.  Returns 0; or
 * -EINVAL or -ENOMEM, having said why on stderr and leaving nothing to free.
 */
int options_parse(struct options *options, int argc, char **argv);

/*
 * The --name in such arguments, which may be those of another build and so hold
 * options that this one does not know; NULL: none.  Borrowed from @argv; says
 * nothing.
 */
const char *options_name(int argc, char **argv);

/* What this process may use of the host. */
struct options_host {
	uint64_t memory; /* bytes */
	cpu_set_t cpus;
};

/*
 * Check what can be checked cheaply against the host: that it has the memory and
 * the CPUs, that no image is given twice, by whatever names, and that there is a
 * slot for each disk on the memory-mapped transport.
 * An image that is not there is left for disk_open() to report.  Returns 0 or
 * -EINVAL, having said why.
 */
int options_check(const struct options *options, const struct options_host *host);

void options_free(struct options *options);

/* Print the help for "run" on stdout. */
void options_help(void);

/* Values of long options that have no letter begin here. */
#define OPTION_LONG 256

/*
 * getopt_long(), whose letters have ':' first, has returned @kind, '?' or ':', for
 * @longs: say why.  Returns -EINVAL.
 */
int option_error(int kind, const struct option *longs, char **argv);

/*
 * Read optarg, seconds such as 5 or 0.5, as nanoseconds, @least or more.  Returns 0;
 * or -EINVAL, having said that @option has none.
 */
int option_seconds(const char *option, uint64_t least, uint64_t *ns);

/* The only argument after the options; NULL, having said why, or @missing. */
const char *option_argument(int argc, char **argv, const char *missing);
