/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux module tree, the folder lib/modules/VERSION as depmod(8) leaves it:
 * which modules to load, and in which order, to have a given one.
 *
 * As modprobe(8) does, it reads modules.dep, modules.softdep, modules.alias and
 * modules.builtin.  In all names '-' equals '_'.  The files may hold anything:
 * what makes no sense is skipped, and sizes and depths have limits.
 *
 * A tree is read-only once open, and any thread may use it.  Every error has its
 * message printed but -ENOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Find the module tree of Linux @version, a release name without a slash: in
 * @folder unless that is NULL (it holds lib/modules/VERSION, or is lib/modules,
 * or is the tree itself), then in lib/modules and usr/lib/modules beside the
 * file @kernel and in each folder above it.  The last of those is the host's
 * own.  A tree has modules.dep or, where depmod was not run yet, kernel/.
 *
 * Returns 0 with the tree's absolute path in *@path, or NULL in it if there is
 * none, and the places looked at in *@looked, one a line.  The caller frees
 * both, also after an error: -errno, if @folder or @kernel is not there.
 */
int modules_find(const char *folder, const char *kernel, const char *version, char **path,
		 char **looked);

struct modules;

/*
 * Open the tree at @path.  0, or -errno; the message says so if depmod has to be
 * run first.
 */
int modules_open(const char *path, const char *version, struct modules **modules);
void modules_close(struct modules *modules);

/*
 * Open a file of the tree for reading: file_open_regular() (vmm/file.h) in the
 * tree's folder.
 */
int modules_open_file(const struct modules *modules, const char *file, uint64_t *size);

bool modules_is_builtin(const struct modules *modules, const char *name);

/* Files to load, in that order, relative to the tree's path. */
struct modules_list {
	const char **file; /* each belongs to the tree */
	size_t count;
	unsigned lookups; /* names looked up so far, which is bounded */
};

/*
 * Append to @list what must be loaded to have @name, a module or an alias of
 * some: dependencies and pre-softdeps of all depths first, then the module.
 * Left out is what is built in, in the list already, or not in the tree: then
 * the list does not grow.
 *
 * The list starts zeroed.  0, -ENOMEM, or -ELOOP and -E2BIG if there are more
 * modules than any real kernel has in a chain or list.
 */
int modules_add(const struct modules *modules, const char *name, struct modules_list *list);
void modules_list_free(struct modules_list *list);
