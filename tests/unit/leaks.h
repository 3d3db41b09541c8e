/* SPDX-License-Identifier: BSD-2-Clause */
/* What this process holds: to be the same before and after. */
#pragma once

unsigned leaks_fds(void);

/* The kernel's workers for io_uring are not counted: they come and go. */
unsigned leaks_threads(void);
