// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/initramfs.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/cpio.h"
#include "vmm/modules.h"

/* guest_init.S */
extern const uint8_t guest_init_start[], guest_init_end[];

/* What init loads modules for.  A file system has its module's name. */
static const char *const targets[] = { "disk", "ext4", "xfs", "btrfs", "squashfs" };

enum { DISK, EXT4, TARGETS = array_size(targets) };

struct module_file {
	const char *path; /* in the tree */
	uint64_t size;
	int fd;
};

struct initramfs {
	char *tree;
	struct modules *modules;
	struct modules_list list[TARGETS];
	struct module_file *file; /* each module of the lists once */
	size_t files;
	char *index; /* text of /vmm/modules */
	size_t index_size;
	size_t size; /* of the archive */
};

static void warn_no_modules(const struct initramfs_request *request, char *looked)
{
	char *place;

	log_warn("no initrd, and no modules of kernel '%s' (Linux %s); looked for them in",
		 request->kernel, request->version);
	while ((place = strsep(&looked, "\n"))) {
		if (*place)
			log_warn("  %s", place);
	}
	log_warn("booting without; the guest has a disk only if virtio_blk is built in");
}

static int list_disk_module(struct initramfs *plan, const char *kernel, const char *name)
{
	size_t before = plan->list[DISK].count;
	int ret = modules_add(plan->modules, name, &plan->list[DISK]);

	if (!ret && plan->list[DISK].count == before && !modules_is_builtin(plan->modules, name))
		log_warn("kernel '%s' has no %s, neither built in nor in '%s'", kernel, name,
			 plan->tree);
	return ret;
}

/* The value of the last word @key=VALUE in @cmdline, up to a blank; or NULL. */
static const char *find_option(const char *cmdline, const char *key)
{
	const char *word = cmdline + strspn(cmdline, " ");
	const char *value = NULL;

	while (*word) {
		if (!strncmp(word, key, strlen(key)))
			value = word + strlen(key);
		word += strcspn(word, " ");
		word += strspn(word, " ");
	}
	return value;
}

/* Is @type, which a blank may end, served by the driver of @target? */
static bool is_fstype(const char *type, const char *target)
{
	size_t len = strcspn(type, " ");

	/* The ext4 driver is that of its predecessors. */
	if (len == 4 && (!memcmp(type, "ext2", 4) || !memcmp(type, "ext3", 4)))
		type = "ext4";
	return len == strlen(target) && !memcmp(type, target, len);
}

/* The root's file system is the one that rootfstype= names, or any of ours. */
static int list_modules(struct initramfs *plan, const struct initramfs_request *request)
{
	const char *fstype = find_option(request->cmdline, "rootfstype=");
	int ret = 0;

	for (size_t i = 0; !ret && request->transports[i]; i++)
		ret = list_disk_module(plan, request->kernel, request->transports[i]);
	if (!ret)
		ret = list_disk_module(plan, request->kernel, "virtio_blk");
	for (size_t i = EXT4; !ret && i < TARGETS; i++) {
		if (!fstype || is_fstype(fstype, targets[i]))
			ret = modules_add(plan->modules, targets[i], &plan->list[i]);
	}
	return ret;
}

/*
 * Can the kernel not mount its root by itself?  If it has the disk's drivers
 * built in that depends on the root's file system, which vmm does not look at:
 * unless rootfstype= names it, it is taken to be ext4.
 */
static bool is_needed(const struct initramfs *plan, const char *cmdline)
{
	if (plan->list[DISK].count)
		return true;
	if (!find_option(cmdline, "rootfstype=") && modules_is_builtin(plan->modules, "ext4"))
		return false;
	for (size_t i = EXT4; i < TARGETS; i++) {
		if (plan->list[i].count)
			return true;
	}
	return false;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int open_file(const struct initramfs *plan, struct module_file *file, const char *path)
{
	file->path = path;
	file->fd = modules_open_file(plan->modules, path, &file->size);
	if (file->fd >= 0)
		return 0;
	log_error("module '%s/%s': cannot open: %s", plan->tree, path, strerror(-file->fd));
	return file->fd;
}

static bool has_file(const struct initramfs *plan, const char *path)
{
	for (size_t i = 0; i < plan->files; i++) {
		if (plan->file[i].path == path)
			return true;
	}
	return false;
}

static int open_files(struct initramfs *plan)
{
	size_t total = 0;
	int ret;

	for (size_t i = 0; i < TARGETS; i++)
		total += plan->list[i].count;
	plan->file = calloc(total, sizeof(*plan->file));
	if (!plan->file)
		return -ENOMEM;
	for (size_t i = 0; i < TARGETS; i++) {
		for (size_t j = 0; j < plan->list[i].count; j++) {
			if (has_file(plan, plan->list[i].file[j]))
				continue;
			ret = open_file(plan, &plan->file[plan->files++], plan->list[i].file[j]);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static int write_index(struct initramfs *plan)
{
	FILE *index = open_memstream(&plan->index, &plan->index_size);

	if (!index)
		return -errno;
	for (size_t i = 0; i < TARGETS; i++) {
		for (size_t j = 0; j < plan->list[i].count; j++)
			fprintf(index, "%s %s\n", targets[i], base_name(plan->list[i].file[j]));
	}
	return fclose(index) ? -errno : 0;
}

static int compose_base(const struct initramfs *plan, struct cpio *cpio)
{
	static const char *const folders[] = { "dev", "proc", "sys", "root", "vmm" };
	int ret = 0;

	for (size_t i = 0; !ret && i < array_size(folders); i++)
		ret = cpio_add_folder(cpio, folders[i], 0755);
	if (!ret)
		ret = cpio_add_char_device(cpio, "dev/console", 0600, 5, 1);
	if (!ret)
		ret = cpio_add_data(cpio, "init", 0755, guest_init_start,
				    guest_init_end - guest_init_start);
	if (!ret)
		ret = cpio_add_data(cpio, "vmm/modules", 0644, plan->index, plan->index_size);
	return ret;
}

static int compose(const struct initramfs *plan, struct cpio *cpio)
{
	char name[PATH_MAX];
	int ret, bad = 0;

	ret = compose_base(plan, cpio);
	for (size_t i = 0; !ret && i < plan->files; i++) {
		const struct module_file *file = &plan->file[i];

		snprintf(name, sizeof(name), "vmm/%s", base_name(file->path));
		ret = cpio_add_file(cpio, name, 0644, file->fd, file->size);
		if (!ret || ret == -ENOSPC)
			continue;
		log_error("module '%s/%s': %s", plan->tree, file->path,
			  ret == -ENODATA ? "has become shorter" : strerror(-ret));
		/* The archive stays whole all the same: see cpio_add_file(). */
		bad = ret;
		ret = 0;
	}
	if (!ret)
		ret = cpio_end(cpio);
	return ret ? ret : bad;
}

static int find_tree(struct initramfs *plan, const struct initramfs_request *request)
{
	char *looked;
	int ret;

	ret = modules_find(request->modules, request->kernel, request->version, &plan->tree,
			   &looked);
	if (!ret && !plan->tree)
		warn_no_modules(request, looked);
	free(looked);
	return ret;
}

/* Make @plan ready to be written; its size stays 0 if it is not to be. */
static int prepare(struct initramfs *plan, const struct initramfs_request *request)
{
	struct cpio count;
	int ret;

	ret = find_tree(plan, request);
	if (ret || !plan->tree)
		return ret;
	ret = modules_open(plan->tree, request->version, &plan->modules);
	if (!ret)
		ret = list_modules(plan, request);
	if (ret || !is_needed(plan, request->cmdline))
		return ret;
	ret = open_files(plan);
	if (!ret)
		ret = write_index(plan);
	if (ret)
		return ret;
	cpio_init(&count, NULL, 0);
	ret = compose(plan, &count);
	plan->size = count.len;
	return ret;
}

int initramfs_plan(const struct initramfs_request *request, struct initramfs **out)
{
	struct initramfs *plan = calloc(1, sizeof(*plan));
	int ret = plan ? prepare(plan, request) : -ENOMEM;

	*out = NULL;
	if (ret == -ENOMEM)
		log_error("out of memory");
	if (ret || !plan->size) {
		initramfs_free(plan);
		return ret;
	}
	log_info("initramfs: %zu modules of '%s', %zu bytes", plan->files, plan->tree, plan->size);
	*out = plan;
	return 0;
}

size_t initramfs_size(const struct initramfs *plan)
{
	return plan->size;
}

int initramfs_write(const struct initramfs *plan, void *dst, size_t size)
{
	struct cpio cpio;
	int ret;

	cpio_init(&cpio, dst, size);
	ret = compose(plan, &cpio);
	if (ret == -ENOSPC)
		log_error("initramfs: it has %zu bytes, and there is room for %zu", plan->size,
			  size);
	return ret;
}

void initramfs_free(struct initramfs *plan)
{
	if (!plan)
		return;
	free(plan->index);
	for (size_t i = 0; i < plan->files; i++) {
		if (plan->file[i].fd >= 0)
			close(plan->file[i].fd);
	}
	free(plan->file);
	for (size_t i = 0; i < TARGETS; i++)
		modules_list_free(&plan->list[i]);
	modules_close(plan->modules);
	free(plan->tree);
	free(plan);
}
