/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The init that vmm gives to a stock kernel (vmm/initramfs.h describes the
 * archive it comes in).  It runs once, as process 1 with one thread: loads the
 * modules for the disks, waits for the root device, loads the modules of that
 * device's file system, mounts it, and becomes the init found there.
 *
 * It shares no code or types with vmm, whose `struct options` is another.
 *
 * Any failure ends the process with its reason on the console; process 1 gone
 * is a kernel panic, which is how vmm learns of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define printf_like(f) __attribute__((format(printf, f, (f) + 1)))

/* --- console.c --- */

/* Print one line, "init: ...", on the console. */
void say(const char *fmt, ...) printf_like(1);

/*
 * As say(), then list the block devices and end.  The console has got it all
 * before the panic, which under panic=-1 resets the machine at once.
 */
_Noreturn void die(const char *fmt, ...) printf_like(1);

/* --- mark.c --- */

/* Tell vmm, where it wants to know (--boot-report), that the real init is next. */
void mark(void);

/* --- options.c --- */

#define OPTIONS_SIZE 4096 /* no architecture takes a longer command line */

/* What the kernel command line asks of init, where the kernel itself would. */
struct options {
	const char *root;   /* root=, or /dev/vda */
	const char *fstype; /* rootfstype=, or NULL: look at the superblock */
	const char *flags;  /* rootflags=, or NULL */
	const char *init;   /* init=, or NULL */
	bool writable;      /* rw; ro unless said */
	bool wait;          /* rootwait: for ever */
	bool quiet;
	char *word[OPTIONS_SIZE / 2 + 1]; /* all of it, quotes kept; ends with NULL */
};

/* Read /proc/cmdline. */
void options_read(struct options *options);

/* --- modules.c --- */

/*
 * Load the modules listed for @target, "disk" or a file system, with the
 * parameters that the command line has for them (MODULE.PARAMETER=VALUE).
 * Failures are printed.  True if there were none; a module that finds no
 * hardware, or is loaded already, counts as no failure.
 */
bool modules_load(const char *target, const struct options *options);

/* --- block.c --- */

#define BLOCK_NAME_SIZE 64

/*
 * Is the device that root= means there?  Its path is put into @dev.  @spec is
 * /dev/NAME, PARTUUID=, UUID= or LABEL=.
 */
bool block_find(const char *spec, char dev[BLOCK_NAME_SIZE]);

/* The file system on @dev by its superblock; NULL if it is none that we know. */
const char *block_fstype(const char *dev);

/* "vda 64 MiB, vda1 63 MiB", "none", or "" if sysfs is not mounted. */
void block_list(char *text, size_t size);
