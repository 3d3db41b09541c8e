// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/probe.h"

#ifndef VMM_WITHOUT_PROBES
#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC
#include <sys/sdt.h> /* systemtap-sdt-dev */

/*
 * One function a probe: so each has one location, which perf shows under its own
 * name, and its arguments are in registers or on the stack, where perf reads them
 * (it drops constants).
 */
#define DEFINE(name, meaning, ...)                                                        \
	unsigned short vmm_##name##_semaphore __attribute__((section(".probes")));        \
	void probe_##name(PROBE_EACH(PROBE_PARAMETER, __VA_ARGS__))                       \
	{                                                                                 \
		STAP_PROBEV(vmm, name, __VA_ARGS__);                                      \
	}
PROBE_TABLE(DEFINE)
#endif
