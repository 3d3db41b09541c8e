// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/json.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

static char *text;
static size_t len;
static struct json json;

static void begin(unsigned lines)
{
	json = (struct json){ .file = open_memstream(&text, &len), .lines = lines };
	ck_assert_ptr_nonnull(json.file);
}

static void expect(const char *expected)
{
	ck_assert_int_eq(ferror(json.file), 0);
	ck_assert_int_eq(fclose(json.file), 0);
	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(values)
{
	begin(0);
	json_object(&json, NULL);
	json_string(&json, "string", "text");
	json_unsigned(&json, "most", UINT64_MAX);
	json_decimal(&json, "decimal", UINT64_MAX, 3, 70);
	json_bool(&json, "yes", true);
	json_bool(&json, "no", false);
	json_end(&json);
	expect("{\"string\":\"text\",\"most\":18446744073709551615,"
	       "\"decimal\":18446744073709551615.070,\"yes\":true,\"no\":false}\n");
}
END_TEST

START_TEST(nests)
{
	begin(0);
	json_object(&json, NULL);
	json_array(&json, "a");
	json_end(&json);
	json_array(&json, "b");
	json_object(&json, NULL);
	json_end(&json);
	json_object(&json, NULL);
	json_unsigned(&json, "c", 1);
	json_end(&json);
	json_array(&json, NULL);
	json_unsigned(&json, NULL, 2);
	json_end(&json);
	json_unsigned(&json, NULL, 3);
	json_end(&json);
	json_unsigned(&json, "d", 4);
	json_end(&json);
	expect("{\"a\":[],\"b\":[{},{\"c\":1},[2],3],\"d\":4}\n");
}
END_TEST

START_TEST(as_deep_as_it_goes)
{
	char expected[2 * JSON_DEPTH_MAX + 2] = "";

	begin(0);
	for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
		json_array(&json, NULL);
		expected[i] = '[';
		expected[JSON_DEPTH_MAX + i] = ']';
	}
	for (unsigned i = 0; i < JSON_DEPTH_MAX; i++)
		json_end(&json);
	expected[2 * JSON_DEPTH_MAX] = '\n';
	expect(expected);
}
END_TEST

START_TEST(lines)
{
	begin(2);
	json_object(&json, NULL);
	json_array(&json, "none");
	json_end(&json);
	json_array(&json, "a");
	json_object(&json, NULL);
	json_unsigned(&json, "b", 1);
	json_unsigned(&json, "c", 2);
	json_end(&json);
	json_object(&json, NULL);
	json_end(&json);
	json_end(&json);
	json_end(&json);
	expect("{\n\t\"none\":[],\n\t\"a\":[\n\t\t{\"b\":1,\"c\":2},\n\t\t{}\n\t]\n}\n");
}
END_TEST

/* Each document is one of its own. */
START_TEST(one_after_another)
{
	begin(0);
	for (unsigned i = 0; i < 2; i++) {
		json_array(&json, NULL);
		json_unsigned(&json, NULL, i);
		json_end(&json);
	}
	expect("[0]\n[1]\n");
}
END_TEST

static const struct {
	const char *in, *out;
} strings[] = {
	{ "", "" },
	{ "a\"b\\c/", "a\\\"b\\\\c/" },
	{ "\n\t\x01\x1f\x7f", "\\u000a\\u0009\\u0001\\u001f\\u007f" },
	/* The first and the last of each length stay as they are. */
	{ "\xc2\x80\xdf\xbf", "\xc2\x80\xdf\xbf" },
	{ "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
	  "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf" },
	{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
	/* A byte that begins nothing, and a character cut short, also by the end. */
	{ "\x80z", "\\ufffdz" },
	{ "\xffz", "\\ufffdz" },
	{ "\xc3z", "\\ufffdz" },
	{ "\xc3", "\\ufffd" },
	{ "\xe2\x82", "\\ufffd\\ufffd" },
	{ "\xf0\x9f\x98", "\\ufffd\\ufffd\\ufffd" },
	{ "\xe2\x82\"", "\\ufffd\\ufffd\\\"" },
	/* Overlong, a surrogate, beyond U+10FFFF. */
	{ "\xc0\x80", "\\ufffd\\ufffd" },
	{ "\xc1\xbf", "\\ufffd\\ufffd" },
	{ "\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd" },
	{ "\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd" },
	{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" },
	{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
	{ "\xf5\x80\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
};

START_TEST(characters)
{
	char expected[128];

	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
		begin(0);
		json_object(&json, NULL);
		json_string(&json, strings[i].in, strings[i].in);
		json_end(&json);
		snprintf(expected, sizeof(expected), "{\"%s\":\"%s\"}\n", strings[i].out,
			 strings[i].out);
		expect(expected);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json");

	unit_tcase(suite, "values", values, characters);
	unit_tcase(suite, "structure", nests, as_deep_as_it_goes, lines, one_after_another);
	return unit_run(suite);
}
