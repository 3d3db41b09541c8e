/* SPDX-License-Identifier: BSD-2-Clause */
/* What the process tells its parent when it ends; vmm(1), EXIT STATUS. */
#pragma once

enum exit_status {
	STATUS_OK = 0,          /* the guest powered off, or the user quit */
	STATUS_ERROR = 1,       /* the host refused something */
	STATUS_USAGE = 2,       /* the command line is wrong on any host */
	STATUS_GUEST_DIED = 3,  /* triple fault, KVM internal error */
	STATUS_GUEST_RESET = 4, /* reboot, or panic under panic=-1 */
	STATUS_SIGNAL = 128,    /* plus the signal's number */
};
