/* SPDX-License-Identifier: BSD-2-Clause */
/* Temporary files and captured messages, for tests. */
#pragma once

#include <stddef.h>

/* A new folder's path without symbolic links; removed by files_remove(). */
char *files_folder(void);
void files_remove(char *folder);

/* The path @folder/@name, valid until the next call but three. */
const char *files_path(const char *folder, const char *name);

/* Writes @size bytes to @folder/@name, making the folders in between. */
void files_write(const char *folder, const char *name, const void *data, size_t size);
void files_text(const char *folder, const char *name, const char *text);

/* What the program writes to stderr from here on goes to a file ... */
void files_capture(void);
/* ... until here.  The text, to be freed. */
char *files_captured(void);
