/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text output on the 16550 at 0x3f8, and the few string functions that the kit and its
 * compiler need.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Sets the UART to 8N1 with its FIFO on and its interrupts off. Call before any print. */
void print_init(void);

/*
 * Prints a formatted line part. Knows %s, %c, %d, %u, %x, a zero-padded width and the `l`
 * modifier.
 */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Returns when all that was printed has left the UART: call it before power-off. */
void print_flush(void);

/*
 * Formats as print() into a buffer of `size` bytes; cuts what does not fit, always ends
 * with a NUL.
 */
void format_text(char *buffer, size_t size, const char *format, va_list arguments);

/* The compiler calls these four by itself, so they have their standard meaning. */
void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

size_t strlen(const char *text);
