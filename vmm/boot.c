// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "vmm/file.h"

static const char *const transport_modules[] = {
	[BLK_TRANSPORT_PCI] = "virtio_pci",
	[BLK_TRANSPORT_PCI_TRANSITIONAL] = "virtio_pci",
	[BLK_TRANSPORT_MMIO] = "virtio_mmio",
};

/*
 * The default line names the first disk as root, for kernels that find it by
 * themselves; a root= in the user's parameters comes later, and so counts.
 */
static int compose_cmdline(struct boot *boot, const struct options *options)
{
	const char *base = options->cmdline ? options->cmdline : KERNEL_DEFAULT_CMDLINE;
	const char *root = "";
	int len;

	if (!options->cmdline && options->disk_count)
		root = options->disk[0].disk.read_only ? " root=/dev/vda ro" : " root=/dev/vda rw";
	len = asprintf(&boot->cmdline, "%s%s%s%s", base, root, options->params ? " " : "",
		       options->params ? options->params : "");
	if (len < 0) {
		boot->cmdline = NULL;
		log_error("out of memory");
		return -ENOMEM;
	}
	log_info("kernel command line: %s", boot->cmdline);
	return kernel_check_cmdline(&boot->kernel, boot->cmdline);
}

static int open_initrd(struct boot *boot, const struct options *options)
{
	boot->initrd = options->initrd;
	boot->initrd_fd = file_open_regular(AT_FDCWD, boot->initrd, &boot->initrd_size);
	if (boot->initrd_fd < 0) {
		log_error("initrd '%s': cannot open: %s", boot->initrd, strerror(-boot->initrd_fd));
		return boot->initrd_fd;
	}
	if (boot->initrd_size == 0) {
		log_error("initrd '%s': it is empty", boot->initrd);
		return -EINVAL;
	}
	return 0;
}

/*
 * Each transport's module once, in the order of the first disks on them: Linux
 * names disks as it finds them, so that the first one becomes the root's vda.
 */
static void list_transports(const struct options *options, const char **list)
{
	for (unsigned i = 0; i < options->disk_count; i++) {
		const char *name = transport_modules[options->disk[i].transport];
		const char **at = list;

		while (*at && strcmp(*at, name))
			at++;
		*at = name;
	}
}

static int plan_initramfs(struct boot *boot, const struct options *options)
{
	const char *transports[array_size(transport_modules) + 1] = { NULL };
	const struct initramfs_request request = {
		.kernel = options->kernel,
		.version = boot->kernel.version,
		.modules = options->modules,
		.cmdline = boot->cmdline,
		.transports = transports,
	};
	int ret;

	/* Without a disk there is nothing to load modules for. */
	if (!boot->kernel.version[0] || !options->disk_count)
		return 0;
	list_transports(options, transports);
	ret = initramfs_plan(&request, &boot->initramfs);
	if (ret == 0 && boot->initramfs)
		boot->initrd_size = initramfs_size(boot->initramfs);
	return ret;
}

int boot_open(struct boot *boot, const struct options *options)
{
	int ret;

	*boot = (struct boot){ .initrd_fd = -1 };
	ret = kernel_open(&boot->kernel, options->kernel);
	if (ret == 0)
		ret = compose_cmdline(boot, options);
	if (ret == 0)
		ret = options->initrd ? open_initrd(boot, options) : plan_initramfs(boot, options);
	if (ret)
		boot_close(boot);
	return ret;
}

void boot_close(struct boot *boot)
{
	initramfs_free(boot->initramfs);
	if (boot->initrd_fd >= 0)
		close(boot->initrd_fd);
	free(boot->cmdline);
	kernel_close(&boot->kernel);
}

int boot_place(struct boot *boot, const struct guest_memory *mem)
{
	int ret = kernel_place(&boot->kernel, mem);

	if (ret == 0 && boot->initrd_size)
		ret = kernel_initrd_address(&boot->kernel, mem, boot->initrd, boot->initrd_size,
					    &boot->initrd_gpa);
	return ret;
}

static int read_initrd(const struct boot *boot, uint8_t *to)
{
	int ret = file_read_at(boot->initrd_fd, to, boot->initrd_size, 0);

	if (ret)
		log_error("initrd '%s': cannot read it: %s", boot->initrd,
			  ret == -ENODATA ? "it became shorter" : strerror(-ret));
	return ret;
}

static void *loader_main(void *opaque)
{
	struct boot *boot = opaque;
	const struct kernel_boot info = {
		.cmdline = boot->cmdline,
		.initrd_gpa = boot->initrd_gpa,
		.initrd_size = boot->initrd_size,
	};

	pthread_setname_np(pthread_self(), "loader");
	boot->load_result = kernel_load(&boot->kernel, boot->mem, &info, &boot->entry);
	return NULL;
}

int boot_load_begin(struct boot *boot, const struct guest_memory *mem)
{
	int ret;

	boot->mem = mem;
	ret = pthread_create(&boot->loader, NULL, loader_main, boot);
	if (ret)
		log_error("cannot start a thread that loads the kernel: %s", strerror(ret));
	boot->loading = ret == 0;
	return -ret;
}

void boot_load_wait(struct boot *boot)
{
	if (boot->loading)
		pthread_join(boot->loader, NULL);
	boot->loading = false;
}

int boot_load_end(struct boot *boot, struct kernel_entry *entry)
{
	uint8_t *initrd = guest_memory_ptr(boot->mem, boot->initrd_gpa, boot->initrd_size);
	int ret = 0;

	if (boot->initramfs)
		ret = initramfs_write(boot->initramfs, initrd, boot->initrd_size);
	else if (boot->initrd_size)
		ret = read_initrd(boot, initrd);
	boot_load_wait(boot);
	*entry = boot->entry;
	return ret ? ret : boot->load_result;
}
