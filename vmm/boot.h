/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest boots: a kernel, its command line, and an initrd or the
 * initramfs that vmm composes where a stock kernel needs one.
 *
 * Functions that return an error have printed it.
 */
#pragma once

#include <pthread.h>

#include "vmm/initramfs.h"
#include "vmm/options.h"
#include "vmm/x86/kernel.h"

struct boot {
	struct kernel kernel;
	char *cmdline;
	const char *initrd; /* the path that the user gave; NULL: none */
	int initrd_fd;      /* negative: none */
	uint64_t initrd_size;
	uint64_t initrd_gpa;         /* set by boot_place() */
	struct initramfs *initramfs; /* NULL: none */

	const struct guest_memory *mem;
	pthread_t loader; /* loads the kernel */
	bool loading;     /* that thread is to be joined, and owns these: */
	struct kernel_entry entry;
	int load_result;
};

/* Open and check all that @options name, which must outlive @boot.  0 or -errno. */
int boot_open(struct boot *boot, const struct options *options);
void boot_close(struct boot *boot);

/* Find a place in @mem for everything, or say that there is too little of it. */
int boot_place(struct boot *boot, const struct guest_memory *mem);

/*
 * Begin to load the kernel into guest RAM, which reads as zeros so far.  It
 * takes longer than all else that has to be done before the guest runs, so a
 * thread of its own does it beside that.  0 or -errno.
 */
int boot_load_begin(struct boot *boot, const struct guest_memory *mem);

/*
 * Write what else the guest finds in its RAM, and say, once the kernel is there
 * too, how the first vCPU starts.  0 or -errno.
 */
int boot_load_end(struct boot *boot, struct kernel_entry *entry);

/* Wait for that thread, if there is one. */
void boot_load_wait(struct boot *boot);
