/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A heap that is emptied before each test, and mappings for what lies above the boot page
 * tables.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_SIZE = 4096 };

/* boot.S maps everything below this one to one. */
#define BOOT_MAP_END (4ull << 30)

/*
 * Zeroed memory, aligned to `align` (a power of two). Never NULL: a full heap fails the
 * test.
 */
void *heap_alloc(size_t size, size_t align);

/*
 * The same as it is found, for so much that it is better cleared at CPL 3 (user.h); and how
 * much there is left.
 */
void *heap_take(size_t size, size_t align);
size_t heap_left(void);

/* The heap ends at physical `end`, if that is more than the 8 MiB that every machine has for it. */
void heap_grow(uint64_t end);

/* Forgets all allocations. */
void heap_reset(void);

/*
 * Makes physical [address, address + size) reachable at the same virtual address. Below 4
 * GiB it always is.
 */
void memory_map(uint64_t address, uint64_t size);

/*
 * Fills memory with a byte that no driver or device would put there; true while all of it is
 * still there.
 */
void memory_paint(void *memory, size_t size);
bool memory_is_painted(const void *memory, size_t size);
