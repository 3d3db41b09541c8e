// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/number.h"

#include <stdio.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"

bool number_parse(const char *text, uint64_t *value, const char **end)
{
	const char *at = text;

	for (*value = 0; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
			return false;
	*end = at;
	return at != text;
}

bool number_parse_seconds(const char *text, uint64_t *ns)
{
	uint64_t unit = NS_PER_S;
	const char *at;

	if (!number_parse(text, ns, &at) || *ns > UINT32_MAX)
		return false;
	*ns *= NS_PER_S;
	if (*at == '.')
		for (at++; *at >= '0' && *at <= '9' && unit > 1; at++) {
			unit /= 10;
			*ns += (uint64_t)(*at - '0') * unit;
		}
	return !*at;
}

const char *number_format_bytes(char text[NUMBER_BYTES_LEN], uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	unsigned unit = 0;

	/* What would be printed as 1024 is 1.0 of the next unit. */
	while (value >= (unit ? 1023.5 : 1024) && unit + 1 < array_size(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, NUMBER_BYTES_LEN, "%.*f %s", unit && value < 99.95 ? 1 : 0, value,
		 units[unit]);
	return text;
}
