// SPDX-License-Identifier: BSD-2-Clause
#include "guest/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The value of @word if it is @key=VALUE, without its quotes. */
static bool value(const char **out, char *word, const char *key)
{
	size_t len = strlen(key), end;

	if (strncmp(word, key, len) || word[len] != '=')
		return false;
	word += len + 1;
	end = strlen(word);
	if (*word == '"') {
		word++, end--;
		if (end && word[end - 1] == '"')
			word[end - 1] = '\0';
	}
	*out = word;
	return true;
}

static void take(struct options *o, char *word)
{
	if (!strcmp(word, "ro"))
		o->writable = false;
	else if (!strcmp(word, "rw"))
		o->writable = true;
	else if (!strcmp(word, "rootwait"))
		o->wait = true;
	else if (!strcmp(word, "quiet"))
		o->quiet = true;
	else if (!value(&o->root, word, "root") && !value(&o->fstype, word, "rootfstype") &&
		 !value(&o->flags, word, "rootflags"))
		value(&o->init, word, "init");
}

/* End the word at @text, in which quotes keep blanks together. */
static char *cut_word(char *text)
{
	bool quoted = false;

	for (; *text && (quoted || !strchr(" \t\n", *text)); text++)
		quoted ^= *text == '"';
	if (*text)
		*text++ = '\0';
	return text;
}

void options_read(struct options *o)
{
	static char text[OPTIONS_SIZE];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	size_t words = 0;
	char *at = text, *word;

	*o = (struct options){ .root = "/dev/vda" };
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		die("cannot read /proc/cmdline: %s", strerror(errno));
	close(fd);
	for (;;) {
		at += strspn(at, " \t\n");
		word = at;
		at = cut_word(at);
		/* What follows "--" is for the real init; the kernel passes it on. */
		if (!*word || !strcmp(word, "--"))
			return;
		o->word[words++] = word;
		take(o, word);
	}
}
