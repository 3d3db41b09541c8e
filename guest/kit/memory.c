// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/memory.h"

#include "guest/kit/print.h"
#include "guest/kit/test.h"

enum {
	HEAP_SIZE = 8 << 20, /* until heap_grow() */
	TABLE_ENTRIES = 512,
	TABLE_COUNT = 32,
	PTE_ALL = 0x7, /* present, writable, the user's */
	PTE_LARGE = 0x80,
	PAINT = 0xa5,
};

#define LARGE_PAGE (2ull << 20)
#define PTE_ADDRESS 0x000ffffffffff000ull

extern uint64_t boot_pml4[TABLE_ENTRIES];

/* From the end of the image (link.ld) on. */
extern uint8_t heap[];
static size_t heap_size = HEAP_SIZE, heap_used;

/* Page tables outlive the test that maps something. A BAR takes up to two. */
static uint64_t tables[TABLE_COUNT][TABLE_ENTRIES] __attribute__((aligned(PAGE_SIZE)));
static unsigned table_count;

void *heap_take(size_t size, size_t align)
{
	size_t start = (heap_used + align - 1) & ~(align - 1);

	CHECK(start <= heap_size && size <= heap_size - start);
	heap_used = start + size;
	return heap + start;
}

void *heap_alloc(size_t size, size_t align)
{
	return memset(heap_take(size, align), 0, size);
}

size_t heap_left(void)
{
	return heap_size - heap_used;
}

void heap_grow(uint64_t end)
{
	if (end > (uintptr_t)heap + heap_size)
		heap_size = end - (uintptr_t)heap;
}

void heap_reset(void)
{
	heap_used = 0;
}

static uint64_t *table_next(uint64_t *entry)
{
	if (!*entry) {
		CHECK(table_count < TABLE_COUNT);
		*entry = (uintptr_t)tables[table_count++] | PTE_ALL;
	}
	return (uint64_t *)(uintptr_t)(*entry & PTE_ADDRESS);
}

/* No TLB flush: entries only ever go from absent to present, and those are not cached. */
void memory_map(uint64_t address, uint64_t size)
{
	uint64_t page = address & ~(LARGE_PAGE - 1);

	if (page < BOOT_MAP_END)
		page = BOOT_MAP_END;
	for (; page < address + size; page += LARGE_PAGE) {
		uint64_t *pdpt = table_next(&boot_pml4[page >> 39 & 511]);
		uint64_t *directory = table_next(&pdpt[page >> 30 & 511]);

		directory[page >> 21 & 511] = page | PTE_LARGE | PTE_ALL;
	}
}

void memory_paint(void *memory, size_t size)
{
	memset(memory, PAINT, size);
}

bool memory_is_painted(const void *memory, size_t size)
{
	const uint8_t *bytes = memory;

	/* Each byte is as the one before. */
	return bytes[0] == PAINT && !memcmp(bytes, bytes + 1, size - 1);
}
