/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads a newc cpio archive in memory, for the tests of what writes them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct newc_entry {
	const char *name;
	const uint8_t *data;
	uint32_t ino, mode, nlink, size, major, minor;
};

/*
 * Takes the entry at *@offset and moves *@offset behind it; fails the test where
 * anything breaks the format.  False at the trailer, which must be the last.
 */
bool newc_next(const uint8_t *archive, size_t len, size_t *offset, struct newc_entry *entry);

/* The entry called @name; fails the test if there is not exactly one. */
struct newc_entry newc_find(const uint8_t *archive, size_t len, const char *name);
