// SPDX-License-Identifier: BSD-2-Clause
#include "guest/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/module.h>; kernels since 5.17 know it. */
#define MODULE_INIT_COMPRESSED_FILE 4

#define LIST "/vmm/modules"

/* Is @word "MODULE.PARAMETER..." for the module in @file?  '-' equals '_'. */
static const char *parameter_of(const char *word, const char *file)
{
	for (; *word && *word != '.'; word++, file++) {
		if (*word != *file && !(strchr("-_", *word) && strchr("-_", *file)))
			return NULL;
	}
	return *word == '.' && *file == '.' ? word + 1 : NULL;
}

static const char *parameters(const char *file, const struct options *options)
{
	static char text[OPTIONS_SIZE];

	*text = '\0';
	for (char *const *word = options->word; *word; word++) {
		const char *parameter = parameter_of(*word, file);

		if (!parameter)
			continue;
		/* Room is for all: each is longer as a word of the command line. */
		strcat(text, parameter);
		strcat(text, " ");
	}
	return text;
}

static const char *reason(bool compressed, int error)
{
	if (compressed && (error == EINVAL || error == EOPNOTSUPP))
		return "this kernel cannot load compressed modules, or not these "
		       "(it takes Linux 5.17 with CONFIG_MODULE_DECOMPRESS)";
	if (error == ENOENT)
		return "it needs what no loaded module has (unknown symbol)";
	return strerror(error);
}

static bool load(const char *file, const struct options *options)
{
	const char *end = strrchr(file, '.');
	bool compressed = end && strcmp(end, ".ko");
	char path[512];
	int fd, error;

	snprintf(path, sizeof(path), "/vmm/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		say("cannot open %s: %s", path, strerror(errno));
		return false;
	}
	error = syscall(SYS_finit_module, fd, parameters(file, options),
			compressed ? MODULE_INIT_COMPRESSED_FILE : 0)
			? errno
			: 0;
	close(fd);
	/* ENODEV: crc32c_intel, say, on a CPU without it. */
	if (!error || error == EEXIST || error == ENODEV)
		return true;
	say("cannot load %s: %s", file, reason(compressed, error));
	return false;
}

bool modules_load(const char *target, const struct options *options)
{
	size_t len = strlen(target);
	char line[512];
	FILE *list = fopen(LIST, "re");
	bool ok = true;

	if (!list)
		die("cannot open " LIST ": %s", strerror(errno));
	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, target, len) && line[len] == ' ')
			ok &= load(line + len + 1, options);
	}
	fclose(list);
	return ok;
}
