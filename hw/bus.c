// SPDX-License-Identifier: BSD-2-Clause
#include "hw/bus.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/util.h"

void bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	pthread_rwlock_init(&bus->lock, NULL);
}

void bus_destroy(struct bus *bus)
{
	pthread_rwlock_destroy(&bus->lock);
	free(bus->region);
}

/* The index of the first region that ends above @addr. */
static unsigned region_above(const struct bus *bus, uint64_t addr)
{
	unsigned low = 0, high = bus->count;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		const struct bus_region *r = &bus->region[mid];

		if (addr <= r->base + (r->len - 1))
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static int add_locked(struct bus *bus, const struct bus_region *region)
{
	unsigned i = region_above(bus, region->base);
	struct bus_region *at;

	if (i < bus->count && bus->region[i].base <= region->base + (region->len - 1))
		return -EEXIST;
	if (bus->count == bus->room) {
		unsigned room = bus->room ? 2 * bus->room : 16;

		at = realloc(bus->region, room * sizeof(*at));
		if (!at)
			return -ENOMEM;
		bus->region = at;
		bus->room = room;
	}
	at = &bus->region[i];
	memmove(at + 1, at, (bus->count - i) * sizeof(*at));
	*at = *region;
	bus->count++;
	return 0;
}

int bus_add(struct bus *bus, const struct bus_region *region)
{
	int ret;

	if (region->len == 0 || region->len - 1 > UINT64_MAX - region->base)
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);
	ret = add_locked(bus, region);
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

void bus_remove(struct bus *bus, uint64_t base)
{
	unsigned i;

	pthread_rwlock_wrlock(&bus->lock);
	i = region_above(bus, base);
	if (i < bus->count && bus->region[i].base == base) {
		struct bus_region *at = &bus->region[i];

		bus->count--;
		memmove(at, at + 1, (bus->count - i) * sizeof(*at));
	}
	pthread_rwlock_unlock(&bus->lock);
}

/* Copies out the region that owns the whole access. */
static bool find(struct bus *bus, uint64_t addr, unsigned len, struct bus_region *found)
{
	bool owned = false;
	unsigned i;

	pthread_rwlock_rdlock(&bus->lock);
	i = region_above(bus, addr);
	if (i < bus->count) {
		*found = bus->region[i];
		owned = found->ops && addr >= found->base &&
			found->len - (addr - found->base) >= len;
	}
	pthread_rwlock_unlock(&bus->lock);
	return owned;
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned len)
{
	struct bus_region r;

	if (!find(bus, addr, len, &r))
		return bytes_mask(len);
	return r.ops->read(r.opaque, addr - r.base, len) & bytes_mask(len);
}

void bus_write(struct bus *bus, uint64_t addr, uint64_t value, unsigned len)
{
	struct bus_region r;

	if (find(bus, addr, len, &r))
		r.ops->write(r.opaque, addr - r.base, value & bytes_mask(len), len);
}
