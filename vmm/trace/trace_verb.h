/* SPDX-License-Identifier: BSD-2-Clause */
/* The verb "trace": record what a running VM does to its disks, and report on it. */
#pragma once

/* argv[0]: "trace".  Returns an exit status, having said on stderr why it is no success. */
int trace_verb_main(int argc, char **argv);

/* Print the help for "trace", with both of its commands, on stdout. */
void trace_verb_help(void);
