// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/print.h"

#include <stdbool.h>

#include "guest/kit/x86.h"

enum {
	UART_BASE = 0x3f8,
	UART_DATA = UART_BASE,
	UART_IER = UART_BASE + 1,
	UART_FCR = UART_BASE + 2,
	UART_LCR = UART_BASE + 3,
	UART_MCR = UART_BASE + 4,
	UART_LSR = UART_BASE + 5,

	UART_FCR_ENABLE_AND_CLEAR = 0x07,
	UART_LCR_8N1 = 0x03,
	UART_MCR_DTR_RTS = 0x03,
	UART_LSR_THR_EMPTY = 0x20,
	UART_LSR_ALL_SENT = 0x40,

	UART_FIFO_SIZE = 16,
};

void print_init(void)
{
	outb(UART_IER, 0);
	outb(UART_LCR, UART_LCR_8N1);
	outb(UART_FCR, UART_FCR_ENABLE_AND_CLEAR);
	outb(UART_MCR, UART_MCR_DTR_RTS);
}

/*
 * An empty FIFO takes 16 bytes at once: one status read for all of them, since each access
 * is an exit.
 */
static void uart_write(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (i % UART_FIFO_SIZE == 0)
			while (!(inb(UART_LSR) & UART_LSR_THR_EMPTY))
				cpu_relax();
		outb(UART_DATA, (uint8_t)text[i]);
	}
}

void print_flush(void)
{
	while (!(inb(UART_LSR) & UART_LSR_ALL_SENT))
		cpu_relax();
}

struct text {
	char *buffer;
	size_t size, used;
};

static void text_add(struct text *text, char c)
{
	if (text->used + 1 < text->size)
		text->buffer[text->used++] = c;
}

static void text_add_number(struct text *text, uint64_t value, unsigned base, unsigned width)
{
	char digits[20];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (; width > count; width--)
		text_add(text, '0');
	while (count)
		text_add(text, digits[--count]);
}

static void text_add_string(struct text *text, const char *string)
{
	while (*string)
		text_add(text, *string++);
}

static const char *text_add_argument(struct text *text, const char *format, va_list *arguments)
{
	unsigned width = 0;
	bool is_long = false;
	uint64_t value;

	for (; *format >= '0' && *format <= '9'; format++)
		width = width * 10 + (unsigned)(*format - '0');
	for (; *format == 'l'; format++)
		is_long = true;
	switch (*format) {
	case 's':
		text_add_string(text, va_arg(*arguments, const char *));
		break;
	case 'c':
		text_add(text, (char)va_arg(*arguments, int));
		break;
	case 'd':
		value = (uint64_t)(is_long ? va_arg(*arguments, long) : va_arg(*arguments, int));
		if ((int64_t)value < 0) {
			text_add(text, '-');
			value = -value;
		}
		text_add_number(text, value, 10, width);
		break;
	case 'u':
	case 'x':
		value = is_long ? va_arg(*arguments, unsigned long)
				: va_arg(*arguments, unsigned int);
		text_add_number(text, value, *format == 'x' ? 16 : 10, width);
		break;
	default:
		text_add(text, *format);
	}
	return *format ? format + 1 : format;
}

void format_text(char *buffer, size_t size, const char *format, va_list arguments)
{
	struct text text = { .buffer = buffer, .size = size };
	va_list copy;

	va_copy(copy, arguments);
	while (*format) {
		if (*format == '%')
			format = text_add_argument(&text, format + 1, &copy);
		else
			text_add(&text, *format++);
	}
	va_end(copy);
	buffer[text.used] = '\0';
}

void print(const char *format, ...)
{
	char line[256];
	va_list arguments;

	va_start(arguments, format);
	format_text(line, sizeof(line), format, arguments);
	va_end(arguments);
	uart_write(line, strlen(line));
}

void *memcpy(void *to, const void *from, size_t length)
{
	void *start = to;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
	return start;
}

void *memmove(void *to, const void *from, size_t length)
{
	if ((uintptr_t)to - (uintptr_t)from >= length)
		return memcpy(to, from, length);
	for (volatile uint8_t *byte = to; length--;)
		byte[length] = ((const uint8_t *)from)[length];
	return to;
}

/*
 * By quadwords where it can: where CPL 0 is emulated, each step of a string instruction
 * costs.
 */
void *memset(void *to, int value, size_t length)
{
	uint64_t pattern = (uint8_t)value * 0x0101010101010101u;
	uint64_t words = length / 8, bytes = length % 8;
	void *at = to;

	asm volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(pattern) : "memory");
	asm volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(pattern) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
	const uint8_t *x = a, *y = b;

	for (; length >= 8 && *(const uint64_t *)x == *(const uint64_t *)y; length -= 8)
		x += 8, y += 8;
	for (; length; length--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *text)
{
	const volatile char *end = text;

	while (*end)
		end++;
	return (size_t)(end - text);
}
