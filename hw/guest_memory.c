// SPDX-License-Identifier: BSD-2-Clause
#include "hw/guest_memory.h"

#include <errno.h>
#include <string.h>

/* The index of the first region that ends above @gpa. */
static unsigned region_above(const struct guest_memory *mem, uint64_t gpa)
{
	unsigned i;

	for (i = 0; i < mem->count; i++)
		if (gpa < mem->region[i].gpa + mem->region[i].len)
			break;
	return i;
}

/* Join region @i to the one before it where they touch on both sides. */
static void merge_with_previous(struct guest_memory *mem, unsigned i)
{
	struct guest_region *prev, *this;

	if (i == 0 || i >= mem->count)
		return;
	prev = &mem->region[i - 1];
	this = &mem->region[i];
	if (prev->gpa + prev->len != this->gpa || prev->host + prev->len != this->host)
		return;
	prev->len += this->len;
	mem->count--;
	memmove(this, this + 1, (mem->count - i) * sizeof(*this));
}

int guest_memory_add(struct guest_memory *mem, uint64_t gpa, uint64_t len, void *host)
{
	struct guest_region *at;
	unsigned i;

	/* The last byte of the address space is left out, so no end wraps. */
	if (len == 0 || len > UINT64_MAX - gpa)
		return -EINVAL;
	if (mem->count == GUEST_MEMORY_REGIONS)
		return -ENOSPC;
	i = region_above(mem, gpa);
	at = &mem->region[i];
	if (i < mem->count && gpa + len > at->gpa)
		return -EEXIST;

	memmove(at + 1, at, (mem->count - i) * sizeof(*at));
	*at = (struct guest_region){ .gpa = gpa, .len = len, .host = host };
	mem->count++;
	merge_with_previous(mem, i + 1);
	merge_with_previous(mem, i);
	return 0;
}

void *guest_memory_ptr(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->region[i];
		uint64_t offset = gpa - r->gpa; /* wraps below the region */

		if (offset < r->len)
			return len <= r->len - offset ? r->host + offset : NULL;
	}
	return NULL;
}
