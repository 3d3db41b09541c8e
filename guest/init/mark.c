// SPDX-License-Identifier: BSD-2-Clause
#include "guest/init/init.h"

#ifdef __x86_64__
#include <sys/io.h>

/* hw/debug_port.h, vmm/boot_report.h */
#define DEBUG_PORT 0xE9
#define MARK 123

void mark(void)
{
	/* A kernel without X86_IOPL_IOPERM, or one that is locked down, has none. */
	if (ioperm(DEBUG_PORT, 1, 1))
		return;
	if (inb(DEBUG_PORT) == DEBUG_PORT)
		outb(MARK, DEBUG_PORT);
	/* It would outlive exec. */
	ioperm(DEBUG_PORT, 1, 0);
}
#else
void mark(void)
{
}
#endif
