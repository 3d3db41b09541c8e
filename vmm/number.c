// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/number.h"

#include "hw/base/clock.h"

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
