/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * JSON (RFC 8259), written as it comes: nothing is kept but where we are.  What
 * goes to a buffer goes to the FILE of open_memstream(3).
 *
 *	struct json json = { .file = file, .lines = 1 };
 *
 *	json_object(&json, NULL);
 *	json_unsigned(&json, "count", 3);
 *	json_array(&json, "names");
 *	json_string(&json, NULL, "vda");
 *	json_end(&json);
 *	json_end(&json);
 *
 * gives {"count":3,"names":["vda"]}, each member on a line of its own.  A value has
 * a @key inside an object, and NULL elsewhere.  To give as many keys and ends as
 * there must be is the caller's part; errors of the file are found by ferror(3).
 * A writer belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 32

struct json {
	FILE *file;
	/* What lies so deep or less begins a line; the rest stays on that of its parent. */
	unsigned lines;

	/* The writer's. */
	unsigned depth;    /* of what is open: JSON_DEPTH_MAX at most */
	uint32_t is_array; /* what is open, a bit each */
	bool more;         /* something stands before, in what is open */
};

/* Open an object or an array; json_end() closes the one that was opened last. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end(struct json *json);

/* The bytes that are not UTF-8 become U+FFFD each. */
void json_string(struct json *json, const char *key, const char *text);
/* Whole to the last digit, which not every reader keeps beyond 2^53. */
void json_unsigned(struct json *json, const char *key, uint64_t value);
/* With so many @digits after the point, which are @fraction. */
void json_decimal(struct json *json, const char *key, uint64_t whole, unsigned digits,
		  unsigned fraction);
void json_bool(struct json *json, const char *key, bool value);
