/* SPDX-License-Identifier: BSD-2-Clause */
/* "vmm trace report": where each request of a recording spent its time. */
#pragma once

/* argv[0]: "report".  Returns an exit status, having said on stderr why it is no success. */
int trace_report_main(int argc, char **argv);

/* Print the help on stdout. */
void trace_report_help(void);
