// SPDX-License-Identifier: BSD-2-Clause
#include "guest/init/init.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void say_args(const char *fmt, va_list args)
{
	char line[1024] = "init: ";
	size_t len = strlen(line);

	vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	strcat(line, "\n");
	/* Where there is no console nobody can be told. */
	(void)!write(STDERR_FILENO, line, strlen(line));
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_args(fmt, args);
	va_end(args);
}

void die(const char *fmt, ...)
{
	char devices[512];
	va_list args;

	va_start(args, fmt);
	say_args(fmt, args);
	va_end(args);
	block_list(devices, sizeof(devices));
	if (*devices)
		say("block devices: %s", devices);
	tcdrain(STDERR_FILENO);
	_exit(1);
}
