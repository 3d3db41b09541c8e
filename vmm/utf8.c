// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/utf8.h"

unsigned utf8_len(const char *string)
{
	const unsigned char *text = (const unsigned char *)string;
	unsigned len = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF show in the second. */
	unsigned char low = *text == 0xe0 ? 0xa0 : *text == 0xf0 ? 0x90 : 0x80;
	unsigned char high = *text == 0xed ? 0x9f : *text == 0xf4 ? 0x8f : 0xbf;

	if (*text < 0x80)
		return 1;
	/* No byte after a wrong one is looked at: it may have been the terminating NUL. */
	if (*text < 0xc2 || *text > 0xf4 || text[1] < low || text[1] > high)
		return 0;
	for (unsigned i = 2; i < len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return len;
}
