// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/number.h"

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
