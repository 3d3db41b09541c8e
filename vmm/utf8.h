/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How many bytes at @text, a string, are its first character; 0: they are no UTF-8
 * (RFC 3629, section 4).  The terminating NUL is a character of one byte.
 */
unsigned utf8_len(const char *text);
