// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/newc.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 110

static uint32_t field(const uint8_t *header, unsigned index)
{
	char text[9] = "", *end;
	uint32_t value;

	memcpy(text, header + 6 + 8 * index, 8);
	ck_assert_uint_eq(strspn(text, "0123456789ABCDEFabcdef"), 8);
	value = strtoul(text, &end, 16);
	ck_assert_ptr_eq(end, text + 8);
	return value;
}

/* Steps over the zeros that end a part of an entry. */
static size_t padded(const uint8_t *archive, size_t len, size_t offset)
{
	for (; offset % 4; offset++) {
		ck_assert_uint_lt(offset, len);
		ck_assert_uint_eq(archive[offset], 0);
	}
	ck_assert_uint_le(offset, len);
	return offset;
}

bool newc_next(const uint8_t *archive, size_t len, size_t *offset, struct newc_entry *entry)
{
	const uint8_t *header = archive + *offset;
	size_t at = *offset + HEADER;
	uint32_t name_size;

	ck_assert_uint_le(at, len);
	ck_assert_mem_eq(header, "070701", 6);
	entry->ino = field(header, 0);
	entry->mode = field(header, 1);
	ck_assert_uint_eq(field(header, 2), 0);
	ck_assert_uint_eq(field(header, 3), 0);
	entry->nlink = field(header, 4);
	ck_assert_uint_eq(field(header, 5), 0);
	entry->size = field(header, 6);
	entry->major = field(header, 9);
	entry->minor = field(header, 10);
	name_size = field(header, 11);
	ck_assert_uint_eq(field(header, 12), 0);

	ck_assert_uint_ge(name_size, 2);
	ck_assert_uint_le(name_size, len - at);
	entry->name = (const char *)archive + at;
	ck_assert_uint_eq(strnlen(entry->name, name_size), name_size - 1);
	at = padded(archive, len, at + name_size);
	entry->data = archive + at;
	ck_assert_uint_le(entry->size, len - at);
	*offset = padded(archive, len, at + entry->size);

	if (strcmp(entry->name, "TRAILER!!!"))
		return true;
	ck_assert_uint_eq(*offset, len);
	return false;
}

struct newc_entry newc_find(const uint8_t *archive, size_t len, const char *name)
{
	struct newc_entry entry, found = { 0 };
	size_t offset = 0;

	while (newc_next(archive, len, &offset, &entry)) {
		if (strcmp(entry.name, name))
			continue;
		ck_assert_msg(!found.name, "'%s' is there twice", name);
		found = entry;
	}
	ck_assert_msg(found.name, "'%s' is not in the archive", name);
	return found;
}
