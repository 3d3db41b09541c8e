// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/report.h"

#include <stdio.h>

#include "hw/base/log.h"
#include "vmm/exit_status.h"

void trace_report_help(void)
{
	puts("Usage: vmm trace report FILE");
}

int trace_report_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	log_error("trace report: not there yet");
	return STATUS_ERROR;
}
