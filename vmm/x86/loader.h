/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between kernel.c, which knows about files and places, and the two formats of
 * a kernel.  Nobody else includes this.
 */
#pragma once

#include <stdint.h>

#include "hw/base/log.h"
#include "vmm/x86/kernel.h"

struct guest_memory;

/* Print what is wrong with the kernel; the value is @ret. */
#define kernel_error(k, ret, fmt, ...)                                                             \
	(log_error("kernel '%s': " fmt, (k)->path, ##__VA_ARGS__), (ret))

/* What a parser returns, in silence, for a file that is not of its format. */
#define KERNEL_OTHER_FORMAT 1

/*
 * Parse the headers of an open file into @k.  0, KERNEL_OTHER_FORMAT, or
 * -errno with the message printed.
 */
int bzimage_parse(struct kernel *k);
int pvh_parse(struct kernel *k);

/* Write what the kernel reads first, and say how it starts. */
int bzimage_prepare(const struct kernel *k, const struct guest_memory *mem,
		    const struct kernel_boot *boot, struct kernel_entry *entry);
int pvh_prepare(const struct kernel *k, const struct guest_memory *mem,
		const struct kernel_boot *boot, struct kernel_entry *entry);

/* Exactly @len bytes of the file; anything less is an error, and printed. */
int kernel_read(const struct kernel *k, uint64_t offset, void *buf, uint64_t len);

/* Copy into guest RAM; where there is none is an error, and printed. */
int kernel_put(const struct kernel *k, const struct guest_memory *mem, uint64_t gpa,
	       const void *data, uint64_t len);
