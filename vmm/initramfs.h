/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The initramfs for a stock kernel that is run without an initrd.  Distribution
 * kernels have virtio_blk as a module; this archive brings the modules for the
 * disks and for the usual file systems, and an init (guest/init) which loads
 * those that the root disk needs and goes on to the disk's own init.
 *
 *   /init           guest/init, embedded in vmm
 *   /vmm/modules    text, one line a module, in the order of loading:
 *                   "disk FILE", "ext4 FILE", "xfs FILE", ...
 *   /vmm/FILE       the modules, compressed if the tree has them so
 *   /dev/console    for the kernel, which opens it before init runs
 *   /dev /proc /sys /root
 *
 * vmm never reads the disk: which file system it holds is found in the guest.
 *
 * Plan first, while errors are still cheap; write once guest RAM exists.  One
 * thread at a time.
 */
#pragma once

#include <stddef.h>

struct initramfs;

struct initramfs_request {
	const char *kernel;  /* path of the kernel image */
	const char *version; /* its release, as struct kernel has it */
	const char *modules; /* --modules, or NULL */
	const char *cmdline; /* only rootfstype= is looked at */
	const char *const *transports; /* names of their modules in loading order, then NULL */
};

/*
 * Find and open the modules and learn the archive's size.  @request is not
 * kept; the module files stay open, so that what is written is what was found.
 *
 * Returns 0 with *@plan, or with NULL in it if the kernel is to boot without an
 * initramfs: it has the drivers built in (see initramfs.c for what counts), or
 * no modules were found, and then warnings list every place looked at.  -errno
 * with a message if modules exist but cannot be used.
 */
int initramfs_plan(const struct initramfs_request *request, struct initramfs **plan);

/* Bytes that initramfs_write() needs. */
size_t initramfs_size(const struct initramfs *plan);

/*
 * Write the archive to @dst, where @size bytes are available.  0, or -errno
 * with a message: a module could not be read, or has become shorter since.
 */
int initramfs_write(const struct initramfs *plan, void *dst, size_t size);

/* NULL is none. */
void initramfs_free(struct initramfs *plan);
