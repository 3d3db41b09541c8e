/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel that a VM boots: a Linux bzImage, started by the 64-bit boot
 * protocol, or an ELF with a PVH note, started by the Xen x86/HVM direct boot
 * ABI.  In order:
 *
 *	kernel_open		looks at the headers only; no guest RAM needed
 *	kernel_place		chooses the addresses
 *	kernel_initrd_address	where the caller then writes an initrd
 *	kernel_load		everything into guest RAM
 *	kernel_close
 *
 * The file may hold anything and may change while it is read: every read is of
 * a range checked against the size seen at open, and a short one is an error.
 * Each function that fails has printed its one line.  All of this happens before
 * the first vCPU runs, on one thread at a time.
 */
#pragma once

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

struct guest_memory;

/*
 * What every command line starts with unless the user replaces it all:
 *
 * console=ttyS0,115200	The only console.  Without the speed Linux calls the
 *			line 9600 baud, and full-screen programs slow down to
 *			suit it.
 * panic=-1		Reset at once on a panic, which ends the VM with its own
 *			exit status; the kernel's default is to hang.
 *
 * Nothing else is needed: the ACPI tables name the reset register and deny
 * 8042 and VGA, and under KVM Linux takes kvmclock and skips the timer check
 * by itself.
 */
#define KERNEL_DEFAULT_CMDLINE "console=ttyS0,115200 panic=-1"

#define KERNEL_SEGMENTS 16

/* File bytes that go to one place; the rest of it, up to memsz, is zero. */
struct kernel_segment {
	uint64_t offset; /* in the file */
	uint64_t filesz;
	uint64_t gpa;
	uint64_t memsz;
};

enum kernel_format { KERNEL_BZIMAGE, KERNEL_PVH };

struct kernel {
	/* For everyone to read. */
	const char *path;     /* borrowed from the caller of kernel_open() */
	char version[96];     /* "6.1.0-53-cloud-amd64"; empty if not known */
	uint32_t cmdline_max; /* bytes, without the terminating zero */
	uint64_t initrd_max;  /* an initrd's last byte is at or below this */
	/*
	 * The kernel's own RAM: [start, end).  Until kernel_place(), where it
	 * wants to be, so that a guest needs at least `end` bytes.
	 */
	uint64_t start;
	uint64_t end;

	/* For the loader. */
	int fd;
	uint64_t file_size;
	enum kernel_format format;
	struct setup_header setup; /* bzImage; zero for an ELF */
	uint64_t entry;            /* PVH; for a bzImage it follows from the placement */
	unsigned segment_count;
	struct kernel_segment segment[KERNEL_SEGMENTS];
};

/* What else the kernel is told. */
struct kernel_boot {
	const char *cmdline;
	uint64_t initrd_gpa;
	uint64_t initrd_size; /* bytes; 0: no initrd */
};

/* The selectors of the 64-bit entry, in a GDT at LAYOUT_GDT. */
#define KERNEL_CS 0x10
#define KERNEL_DS 0x18
#define KERNEL_GDT_SIZE 0x20 /* bytes */

/* How the first vCPU starts. */
struct kernel_entry {
	bool long_mode; /* else 32-bit protected mode, paging off */
	uint64_t rip;
	uint64_t boot_info; /* gpa: boot_params in RSI, or start info in EBX */
};

/*
 * Open @path and read its headers.  @path must outlive @k.  On success @k
 * holds a file descriptor until kernel_close().  Returns -ENOEXEC for a file
 * that is no kernel of a known kind or is malformed or truncated, or the
 * errno of the failed call.
 */
int kernel_open(struct kernel *k, const char *path);

/* Also right after a failed kernel_open(), and twice. */
void kernel_close(struct kernel *k);

/* -E2BIG if the kernel cannot take a command line that long. */
int kernel_check_cmdline(const struct kernel *k, const char *cmdline);

/*
 * Choose the kernel's place in @mem, for [start, end).  A bzImage goes to its
 * preferred address, or above it to the lowest place that suits its alignment
 * (one loaded lower would move itself up: boot protocol, pref_address); an ELF
 * goes where it is linked.  -ENOSPC if it does not fit.
 */
int kernel_place(struct kernel *k, const struct guest_memory *mem);

/*
 * The highest page-aligned place below 4 GiB for an initrd of @size bytes that
 * the kernel allows, is RAM, above the first MiB, and clear of the kernel.
 * After kernel_place().  -ENOSPC if there is none.  @path is for the message;
 * NULL if the initrd is no file.
 */
int kernel_initrd_address(const struct kernel *k, const struct guest_memory *mem, const char *path,
			  uint64_t size, uint64_t *gpa);

/*
 * Read the kernel straight into @mem, with the command line and what the boot
 * protocol wants beside it (see layout.h), and say in @entry how to start it.
 * After kernel_place().  @mem must read as zeros wherever the caller has not
 * written, as a fresh mapping does: nothing is cleared here, so that pages
 * stay unallocated until the guest touches them.
 */
int kernel_load(const struct kernel *k, const struct guest_memory *mem,
		const struct kernel_boot *boot, struct kernel_entry *entry);
