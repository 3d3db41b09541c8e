// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/json.h"

#include <ctype.h>
#include <inttypes.h>

#include "vmm/utf8.h"

static void write_text(FILE *file, const char *text)
{
	unsigned len;

	putc('"', file);
	for (; *text; text += len) {
		len = utf8_len(text);
		if (*text == '"' || *text == '\\')
			fprintf(file, "\\%c", *text);
		else if (iscntrl((unsigned char)*text))
			fprintf(file, "\\u%04x", *text);
		else if (len == 1)
			putc(*text, file); /* nearly all; fwrite(3) takes five times as long */
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

void json_decimal(struct json *json, const char *key, uint64_t whole, unsigned digits,
		  unsigned fraction)
{
	begin(json, key);
	fprintf(json->file, "%" PRIu64 ".%0*u", whole, (int)digits, fraction);
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin(json, key);
	fputs(value ? "true" : "false", json->file);
}
