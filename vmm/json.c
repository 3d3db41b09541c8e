// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/*
 * How many bytes at @text are one character beyond ASCII, 0: it is none (RFC 3629,
 * section 4).  The terminating NUL ends it in time.
 */
static unsigned utf8_len(const unsigned char *text)
{
	unsigned len = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF show in the second. */
	unsigned char low = *text == 0xe0 ? 0xa0 : *text == 0xf0 ? 0x90 : 0x80;
	unsigned char high = *text == 0xed ? 0x9f : *text == 0xf4 ? 0x8f : 0xbf;

	if (*text < 0xc2 || *text > 0xf4 || text[1] < low || text[1] > high)
		return 0;
	for (unsigned i = 2; i < len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static void write_text(FILE *file, const char *string)
{
	const unsigned char *text = (const unsigned char *)string;
	unsigned len;

	putc('"', file);
	for (; *text; text += len) {
		len = *text < 0x80 ? 1 : utf8_len(text);
		if (*text == '"' || *text == '\\')
			fprintf(file, "\\%c", *text);
		else if (*text < 0x20 || *text == 0x7f)
			fprintf(file, "\\u%04x", *text);
		else if (len)
			fwrite(text, 1, len, file);
		else
			fputs("\\ufffd", file);
		len += !len;
	}
	putc('"', file);
}

static void new_line(const struct json *json)
{
	putc('\n', json->file);
	for (unsigned i = 0; i < json->depth; i++)
		putc('\t', json->file);
}

/* What stands before each value. */
static void begin(struct json *json, const char *key)
{
	if (json->more)
		putc(',', json->file);
	json->more = true;
	if (json->depth && json->depth <= json->lines)
		new_line(json);
	if (key) {
		write_text(json->file, key);
		putc(':', json->file);
	}
}

static void open_nest(struct json *json, const char *key, char bracket, bool is_array)
{
	begin(json, key);
	putc(bracket, json->file);
	json->is_array = json->is_array << 1 | is_array;
	json->depth++;
	json->more = false;
}

void json_object(struct json *json, const char *key)
{
	open_nest(json, key, '{', false);
}

void json_array(struct json *json, const char *key)
{
	open_nest(json, key, '[', true);
}

void json_end(struct json *json)
{
	bool has_lines = json->more && json->depth <= json->lines;

	json->depth--;
	if (has_lines)
		new_line(json);
	putc(json->is_array & 1 ? ']' : '}', json->file);
	json->is_array >>= 1;
	json->more = json->depth;
	if (!json->depth)
		putc('\n', json->file);
}

void json_string(struct json *json, const char *key, const char *text)
{
	begin(json, key);
	write_text(json->file, text);
}

void json_unsigned(struct json *json, const char *key, uint64_t value)
{
	begin(json, key);
	fprintf(json->file, "%" PRIu64, value);
}

void json_signed(struct json *json, const char *key, int64_t value)
{
	begin(json, key);
	fprintf(json->file, "%" PRId64, value);
}

void json_double(struct json *json, const char *key, double value)
{
	char text[32];

	if (!isfinite(value)) {
		json_null(json, key);
		return;
	}
	/* Most numbers need no more than 15 digits; 17 are always enough. */
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) < value || strtod(text, NULL) > value)
		snprintf(text, sizeof(text), "%.17g", value);
	begin(json, key);
	fputs(text, json->file);
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin(json, key);
	fputs(value ? "true" : "false", json->file);
}

void json_null(struct json *json, const char *key)
{
	begin(json, key);
	fputs("null", json->file);
}
