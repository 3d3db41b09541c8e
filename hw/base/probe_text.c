// SPDX-License-Identifier: BSD-2-Clause
/* Apart from the probes themselves, which tests have of their own. */
#include "hw/base/probe.h"

#include <stddef.h>

#define TEXT(name, meaning, ...) { #name, #__VA_ARGS__, meaning },
const struct probe_text probe_texts[] = {
	PROBE_TABLE(TEXT)
	{ NULL, NULL, NULL },
};
