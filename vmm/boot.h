/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest boots: a kernel, its command line, and an initrd or the
 * initramfs that vmm composes where a stock kernel needs one.
 *
 * Functions that return an error have printed it.
 */
#pragma once

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
};

/* Open and check all that @options name, which must outlive @boot.  0 or -errno. */
int boot_open(struct boot *boot, const struct options *options);
void boot_close(struct boot *boot);

/* Find a place in @mem for everything, or say that there is too little of it. */
int boot_place(struct boot *boot, const struct guest_memory *mem);

/*
 * Write it all into guest RAM, which reads as zeros so far, and say how the
 * first vCPU starts.  0 or -errno.
 */
int boot_load(const struct boot *boot, const struct guest_memory *mem, struct kernel_entry *entry);
