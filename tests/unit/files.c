// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/files.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int stderr_saved = -1, stderr_file = -1;

char *files_folder(void)
{
	char template[] = "/tmp/vmm-unit-XXXXXX";
	char *folder;

	ck_assert_ptr_nonnull(mkdtemp(template));
	folder = realpath(template, NULL);
	ck_assert_ptr_nonnull(folder);
	return folder;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void files_remove(char *folder)
{
	ck_assert_int_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(folder);
}

const char *files_path(const char *folder, const char *name)
{
	static char path[4][PATH_MAX];
	static unsigned turn;
	char *out = path[turn++ % 4];

	ck_assert_int_lt(snprintf(out, PATH_MAX, "%s/%s", folder, name), PATH_MAX);
	return out;
}

void files_write(const char *folder, const char *name, const void *data, size_t size)
{
	char path[PATH_MAX], *slash;
	int fd;

	strcpy(path, files_path(folder, name));
	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_msg(fd >= 0, "cannot create '%s'", path);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
}

void files_text(const char *folder, const char *name, const char *text)
{
	files_write(folder, name, text, strlen(text));
}

void files_capture(void)
{
	char template[] = "/tmp/vmm-unit-XXXXXX";

	fflush(stderr);
	stderr_file = mkostemp(template, O_CLOEXEC);
	ck_assert_int_ge(stderr_file, 0);
	unlink(template);
	stderr_saved = dup(STDERR_FILENO);
	dup2(stderr_file, STDERR_FILENO);
}

char *files_captured(void)
{
	off_t size;
	char *text;

	fflush(stderr);
	dup2(stderr_saved, STDERR_FILENO);
	close(stderr_saved);
	size = lseek(stderr_file, 0, SEEK_END);
	text = calloc(1, size + 1);
	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(pread(stderr_file, text, size, 0), size);
	close(stderr_file);
	return text;
}
