/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Read the decimal number that @text starts with, and point @end at what
 * follows it.  False where there is no digit, or more than 64 bits: unlike
 * strtoull(), which takes blanks, signs and "0x" too.
 */
bool number_parse(const char *text, uint64_t *value, const char **end);

/*
 * Read seconds such as 5 or 0.5, with at most nine digits behind the point, as
 * nanoseconds.  False where @text is anything else, or more than a century.
 */
bool number_parse_seconds(const char *text, uint64_t *ns);

/* As "512 bytes", "12.3 GiB" or "123 GiB". */
#define NUMBER_BYTES_LEN 32
const char *number_format_bytes(char text[NUMBER_BYTES_LEN], uint64_t bytes);
