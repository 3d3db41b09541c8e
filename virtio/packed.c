// SPDX-License-Identifier: BSD-2-Clause
/* The packed ring (virtio 1.4, section 2.8). */
#include "virtio/ring.h"

#include <linux/virtio_ring.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

#define AVAIL (1U << VRING_PACKED_DESC_F_AVAIL)
#define USED (1U << VRING_PACKED_DESC_F_USED)
#define EVENT_ALIGN 4
#define EVENT_LEN 4

_Static_assert(sizeof(struct vring_packed_desc) == sizeof(struct vring_desc),
	       "tables of both kinds are measured alike");

int packed_start(struct virtqueue *vq, const struct virtqueue_config *config)
{
	struct packed_ring *ring = &vq->packed;

	*ring = (struct packed_ring){
		.desc = ring_area(vq, config->desc, VRING_DESC_ALIGN_SIZE,
				  sizeof(*ring->desc) * config->size),
		.driver_event = ring_area(vq, config->driver, EVENT_ALIGN, EVENT_LEN),
		.device_event = ring_area(vq, config->device, EVENT_ALIGN, EVENT_LEN),
		/* Both counters begin with 1 (section 2.8.1). */
		.fetch.wrap = true,
		.use.wrap = true,
	};
	if (!ring->desc)
		return ring_refuse(vq, "descriptor ring is not aligned guest RAM");
	if (!ring->driver_event)
		return ring_refuse(vq, "driver event suppression is not aligned guest RAM");
	if (!ring->device_event)
		return ring_refuse(vq, "device event suppression is not aligned guest RAM");
	return 0;
}

/* @slots on from @place, no more than the ring has. */
static struct packed_place place_after(const struct virtqueue *vq, struct packed_place place,
				       unsigned slots)
{
	unsigned slot = place.slot + slots;
	bool over = slot >= vq->size;

	return (struct packed_place){
		.slot = (uint16_t)(over ? slot - vq->size : slot),
		.wrap = place.wrap != over,
	};
}

/* The device's wish: offset and wrap counter in the low half, flags in the high one. */
static void ask(struct virtqueue *vq, struct packed_place at, uint32_t flags)
{
	uint32_t wrap = (uint32_t)at.wrap << VRING_PACKED_EVENT_F_WRAP_CTR;

	store_relaxed(vq->packed.device_event, at.slot | wrap | flags << 16);
}

/* --- Pop --- */

static bool available(const struct virtqueue *vq)
{
	const struct packed_place *at = &vq->packed.fetch;
	/* Pairs with the driver's barrier before it writes the flags. */
	uint16_t flags = load_acquire(&vq->packed.desc[at->slot].flags);

	return !!(flags & AVAIL) == at->wrap && !!(flags & USED) != at->wrap;
}

/* The ring may change at any time, and an indirect table need not be aligned. */
static struct vring_packed_desc desc_load(const void *table, unsigned index)
{
	struct vring_packed_desc desc;

	copy_once(&desc, (const uint8_t *)table + index * sizeof(desc), sizeof(desc));
	return desc;
}

/* Entries stand in their order; of their flags only WRITE counts (section 2.8.7). */
static int add_table(struct virtqueue *vq, struct virtqueue_chain *chain,
		     const struct vring_packed_desc *pointer)
{
	unsigned count = pointer->len / sizeof(*pointer);
	const void *table;
	int ret = chain_table(vq, pointer->addr, pointer->len, &table);

	if (ret == 0 && count > VIRTQUEUE_CHAIN_MAX)
		return ring_broken(vq, "indirect table is longer than any request needs");
	for (unsigned i = 0; i < count && ret == 0; i++) {
		struct vring_packed_desc desc = desc_load(table, i);

		ret = chain_add(vq, chain, desc.addr, desc.len, desc.flags & VRING_DESC_F_WRITE);
	}
	return ret;
}

/* One list, bounded by its NEXT flags: those of AVAIL and USED count in its first only. */
static int add_list(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	struct packed_ring *ring = &vq->packed;
	struct vring_packed_desc desc;
	int ret;

	do {
		if (ring->in_flight + chain->slots == vq->size)
			return ring_broken(vq, "more descriptors in flight than the ring has");
		if (chain->slots == VIRTQUEUE_CHAIN_MAX)
			return ring_broken(vq, "list is longer than any request needs");
		desc = desc_load(ring->desc, place_after(vq, ring->fetch, chain->slots).slot);
		chain->slots++;
		if (!(desc.flags & VRING_DESC_F_INDIRECT))
			ret = chain_add(vq, chain, desc.addr, desc.len,
					desc.flags & VRING_DESC_F_WRITE);
		else if (chain->slots > 1 || (desc.flags & VRING_DESC_F_NEXT))
			return ring_broken(vq, "indirect descriptor in a list");
		else
			ret = add_table(vq, chain, &desc);
		if (ret)
			return ret;
	} while (desc.flags & VRING_DESC_F_NEXT);
	chain->id = desc.id;
	return 0;
}

int packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	struct packed_ring *ring = &vq->packed;
	int ret;

	if (!available(vq))
		return 0;
	/* Also with EVENT_IDX: a wish that is passed would come true again two laps on. */
	if (vq->armed)
		ask(vq, ring->fetch, VRING_PACKED_EVENT_FLAG_DISABLE);
	vq->armed = false;
	ret = add_list(vq, chain);
	if (ret)
		return ret;
	ring->fetch = place_after(vq, ring->fetch, chain->slots);
	ring->in_flight += chain->slots;
	return 1;
}

/* --- Push, publish, rearm --- */

void packed_push(struct virtqueue *vq, const struct virtqueue_turn *turn)
{
	struct packed_ring *ring = &vq->packed;
	struct vring_packed_desc *desc = &ring->desc[ring->use.slot];
	uint16_t flags = (ring->use.wrap ? AVAIL | USED : 0) |
		(turn->written ? VRING_DESC_F_WRITE : 0);

	store_relaxed(&desc->id, turn->id);
	store_relaxed(&desc->len, turn->written);
	/* The driver goes from one to the next: the first of a batch hides the others. */
	if (vq->pushed == vq->published) {
		ring->batch = ring->use;
		ring->batch_flags = flags;
	} else {
		/* Data, status, id and length are seen before the flags. */
		store_release(&desc->flags, flags);
	}
	ring->use = place_after(vq, ring->use, turn->slots);
	ring->in_flight -= turn->slots;
}

/* How far it is from @from to @to, in slots: a place comes again after two laps. */
static unsigned distance(const struct virtqueue *vq, struct packed_place from,
			 struct packed_place to)
{
	unsigned laps = 2u * vq->size;
	unsigned lap = from.wrap != to.wrap ? vq->size : 0;

	return (lap + to.slot + laps - from.slot) % laps;
}

bool packed_publish(struct virtqueue *vq)
{
	struct packed_ring *ring = &vq->packed;
	struct packed_place wish;
	uint32_t event;

	/* Data, status and all of the batch are seen before these flags. */
	store_release(&ring->desc[ring->batch.slot].flags, ring->batch_flags);

	/*
	 * The flags are stored before the driver's wish is loaded.  The driver
	 * stores its wish, has its barrier, and loads the flags once more: so
	 * either it sees them or this sees the wish.
	 */
	fence_full();
	event = load_relaxed(ring->driver_event);
	wish.slot = event & (VIRTQUEUE_SIZE_MAX - 1);
	wish.wrap = event >> VRING_PACKED_EVENT_F_WRAP_CTR & 1;
	switch (event >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		/* Without sense: rather an interrupt too many. */
		if (!vq->event_idx || wish.slot >= vq->size)
			return true;
		return distance(vq, ring->batch, wish) < distance(vq, ring->batch, ring->use);
	default:
		return true;
	}
}

bool packed_rearm(struct virtqueue *vq)
{
	if (vq->event_idx)
		ask(vq, vq->packed.fetch, VRING_PACKED_EVENT_FLAG_DESC);
	else if (!vq->armed)
		ask(vq, vq->packed.fetch, VRING_PACKED_EVENT_FLAG_ENABLE);

	/*
	 * The wish is stored before the flags are loaded.  The driver stores the
	 * flags, has its barrier, and loads the wish: so either it rings or this
	 * sees its list.
	 */
	fence_full();
	return available(vq);
}
