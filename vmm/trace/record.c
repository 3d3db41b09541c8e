// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/record.h"

#include <stdio.h>

#include "hw/base/log.h"
#include "vmm/exit_status.h"

void trace_record_help(void)
{
	puts("Usage: vmm trace record [-o FILE] [-d SECONDS] [-v] PID|NAME");
}

int trace_record_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	log_error("trace record: not there yet");
	return STATUS_ERROR;
}
