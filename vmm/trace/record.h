/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "vmm trace record": have perf write down what one running VM does to its
 * disks.  The file that it leaves is perf's own, and all that a report needs.
 */
#pragma once

/* argv[0]: "record".  Returns an exit status, having said on stderr why it is no success. */
int trace_record_main(int argc, char **argv);
