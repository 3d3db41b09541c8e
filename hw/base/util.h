/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * What two threads write at once stands on lines of its own: else each write takes
 * the line away from the other.
 */
#define CACHE_LINE 64
#define on_cache_lines __attribute__((aligned(CACHE_LINE)))

#define array_size(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define min(a, b)                       \
	({                              \
		__auto_type min_a = (a); \
		__auto_type min_b = (b); \
		min_a < min_b ? min_a : min_b; \
	})

#define max(a, b)                       \
	({                              \
		__auto_type max_a = (a); \
		__auto_type max_b = (b); \
		max_a > max_b ? max_a : max_b; \
	})

/* For qsort(). */
static inline int compare_numbers(uint64_t left, uint64_t right)
{
	return (left > right) - (left < right);
}

/* The value whose low @len bytes (0 to 8) are ones. */
static inline uint64_t bytes_mask(unsigned len)
{
	return len >= 8 ? ~0ULL : (1ULL << (8 * len)) - 1;
}

static inline bool is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

/* The number of the highest bit that is set; of 0: 0. */
static inline unsigned log2_floor(uint64_t value)
{
	return 63 - (unsigned)__builtin_clzll(value | 1);
}

/* @align is a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

/* Like calloc(), on cache lines that nothing else stands on; the product must fit. */
static inline void *calloc_lines(size_t count, size_t size)
{
	size_t len = align_up(count * size, CACHE_LINE);
	void *lines = aligned_alloc(CACHE_LINE, len);

	return lines ? memset(lines, 0, len) : NULL;
}
