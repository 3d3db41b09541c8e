// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/test.h"

#include "guest/kit/acpi.h"
#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"

static char options[4096];
static char context[128];
static void *test_exit[5];
static bool test_running;

static const struct test *const tables[] = {
	pci_tests,     capability_tests, device_tests, msix_tests,   intx_tests,
	blk_tests,     framing_tests,    ring_tests,   packed_tests, queue_tests,
	mq_tests,      range_tests,      cache_tests,  resize_tests, mmio_tests,
	legacy_tests,  hang_tests,
};

/* Cuts the command line into NUL-terminated words, ended by an empty one. */
void test_options(const char *command_line)
{
	size_t used = 0;

	if (strlen(command_line) > sizeof(options) - 2)
		test_give_up("the options are too long");
	for (; *command_line; command_line++) {
		if (*command_line != ' ')
			options[used++] = *command_line;
		else if (used && options[used - 1])
			options[used++] = '\0';
	}
}

const char *option(const char *name, const char *otherwise)
{
	size_t length = strlen(name);

	for (const char *word = options; *word; word += strlen(word) + 1)
		if (!memcmp(word, name, length) && word[length] == '=')
			return word + length + 1;
	return otherwise;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *digit = option(name, NULL);
	uint64_t value = 0;

	if (!digit)
		return otherwise;
	if (digit[0] != '0' || digit[1] != 'x') {
		for (; *digit >= '0' && *digit <= '9'; digit++)
			value = value * 10 + (unsigned)(*digit - '0');
		return value;
	}
	for (digit += 2; *digit; digit++)
		value = value << 4 | ((unsigned)*digit - (*digit < 'a' ? '0' : 'a' - 10));
	return value;
}

/* Calls `match` with each comma-separated word of `list` until it says yes. */
static bool list_any(const char *list,
		     bool (*match)(const char *word, size_t length, const char *with),
		     const char *with)
{
	while (*list) {
		size_t length = 0;

		while (list[length] && list[length] != ',')
			length++;
		if (match(list, length, with))
			return true;
		list += length + (list[length] == ',');
	}
	return false;
}

static bool word_equals(const char *word, size_t length, const char *with)
{
	return strlen(with) == length && !memcmp(word, with, length);
}

static bool word_begins(const char *word, size_t length, const char *with)
{
	return strlen(with) >= length && !memcmp(word, with, length);
}

bool list_has(const char *list, const char *word)
{
	return list_any(list, word_equals, word);
}

void test_context(const char *format, ...)
{
	va_list arguments;

	context[0] = '\0';
	if (!format)
		return;
	va_start(arguments, format);
	format_text(context, sizeof(context), format, arguments);
	va_end(arguments);
}

static void print_failure(const char *file, int line, const char *what)
{
	print("# %s:%d: %s%s%s\n", file, line, context, context[0] ? ": " : "", what);
}

void test_give_up(const char *why)
{
	print("Bail out! %s\n", why);
	acpi_power_off();
}

static _Noreturn void test_leave(void)
{
	if (!test_running)
		test_give_up("a check failed outside of a test");
	__builtin_longjmp(test_exit, 1);
}

void test_fail(const char *file, int line, const char *what)
{
	print_failure(file, line, what);
	test_leave();
}

void test_compare(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	print_failure(file, line, what);
	print("#   got %lu (0x%lx), want %lu (0x%lx)\n", got, got, want, want);
	test_leave();
}

static bool ring_is_packed(void)
{
	return list_has(option("ring", "split"), "packed");
}

static unsigned provided(void)
{
	const char *views = option("views", "cf8,ecam");
	unsigned what = list_has(option("disk", "rw"), "ro") ? NEEDS_READ_ONLY : NEEDS_WRITABLE;

	if (option_number("disks", 1) >= 2)
		what |= NEEDS_TWO_DISKS;
	if (list_has(views, "cf8") && list_has(views, "ecam"))
		what |= NEEDS_BOTH_VIEWS;
	if (list_has(option("intx", "on"), "on"))
		what |= NEEDS_INTX;
	if (option_number("queues", 1) >= 2)
		what |= NEEDS_TWO_QUEUES;
	what |= list_has(option("in-order", "off"), "on") ? NEEDS_IN_ORDER : NEEDS_ANY_ORDER;
	what |= ring_is_packed() ? NEEDS_PACKED : NEEDS_SPLIT;
	what |= list_has(option("notification-data", "off"), "on") ? NEEDS_NOTIFICATION_DATA
								   : NEEDS_PLAIN_NOTIFICATION;
	what |= list_has(option("cache", "writeback"), "unsafe") ? NEEDS_NO_FLUSH : NEEDS_FLUSH;
	if (list_has(option("resize", "off"), "on"))
		what |= NEEDS_RESIZE;
	if (list_has(option("watch", "off"), "on"))
		what |= NEEDS_WATCH;
	if (list_has(option("durable", "off"), "on"))
		what |= NEEDS_DURABLE;
	if (option("mmio", NULL))
		what |= NEEDS_MMIO;
	if (list_has(option("mmio-data", "off"), "on"))
		what |= NEEDS_MMIO_DATA;
	if (list_has(option("transitional", "off"), "on"))
		what |= NEEDS_TRANSITIONAL;
	return what;
}

/*
 * A test that the options rule out is not run and not counted; so is one that nobody
 * selected.
 */
static bool test_selected(const struct test *test)
{
	const char *wanted = option("tests", "");

	if (test->needs & ~provided())
		return false;
	return !*wanted || list_any(wanted, word_begins, test->name);
}

static bool test_run(const struct test *test, struct blk *disk)
{
	heap_reset();
	test_context(NULL);
	if (__builtin_setjmp(test_exit)) {
		test_running = false;
		return false;
	}
	test_running = true;
	blk_quiesce(disk);
	irq_forget();
	test->run(disk);
	blk_quiesce(disk);
	test_context("after the test");
	CHECK_EQUAL(irq_stray_vector(), 0);
	test_running = false;
	return true;
}

/* Its rows without those of the ring that is not in use. */
static void print_name(const struct test *test)
{
	const char *other = ring_is_packed() ? "SPLIT-" : "PACKED-", *row = test->rows;
	bool first = true;

	print("%s [", test->name);
	while (*row) {
		bool shown = memcmp(row, other, strlen(other)) != 0;

		if (shown && !first)
			print(" ");
		for (; *row && *row != ' '; row++)
			if (shown)
				print("%c", *row);
		row += *row == ' ';
		first &= !shown;
	}
	print("]\n");
}

/* The name comes first, too, for a runner whose monitor does not survive the test. */
static void run_and_print(const struct test *test, unsigned number, struct blk *disk)
{
	bool passed;

	print("# running %u - ", number);
	print_name(test);
	passed = test_run(test, disk);
	print("%sok %u - ", passed ? "" : "not ", number);
	print_name(test);
}

void test_run_all(struct blk *disk)
{
	const unsigned from = (unsigned)option_number("from", 1);
	unsigned count = 0, number = 0;

	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct test *test = tables[i]; test->name; test++)
			count += test_selected(test);
	print("TAP version 13\n1..%u\n", count);
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct test *test = tables[i]; test->name; test++)
			if (test_selected(test) && ++number >= from)
				run_and_print(test, number, disk);
}
