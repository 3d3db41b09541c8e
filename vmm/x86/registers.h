/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Print a vCPU's registers on stderr, for a guest that died.  On the vCPU's
 * own thread, or when it does not run.
 */
void registers_print(int vcpu_fd);
