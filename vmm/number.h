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
