// SPDX-License-Identifier: BSD-2-Clause
/* The packed ring (virtio 1.4, section 2.8). */
#include "virtio/ring.h"

#include <linux/virtio_ring.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

#define AVAIL PACKED_AVAIL
#define USED PACKED_USED
#define EVENT_ALIGN 4
#define EVENT_LEN 4

int packed_start(struct virtqueue *vq, const struct virtqueue_config *config)
{
	struct packed_ring *ring = &vq->packed;

	*ring = (struct packed_ring){
		.desc = ring_area(vq, config->desc, VRING_DESC_ALIGN_SIZE,
				  sizeof(*ring->desc) * config->size),
		.driver_event = ring_area(vq, config->driver, EVENT_ALIGN, EVENT_LEN),
		.device_event = ring_area(vq, config->device, EVENT_ALIGN, EVENT_LEN),
		/* Both counters begin with 1 (section 2.8.1). */
		.next_avail.wrap_counter = true,
		.next_used.wrap_counter = true,
	};
	if (!ring->desc)
		return ring_refuse(vq, "descriptor ring is not aligned guest RAM");
	if (!ring->driver_event)
		return ring_refuse(vq, "driver event suppression is not aligned guest RAM");
	if (!ring->device_event)
		return ring_refuse(vq, "device event suppression is not aligned guest RAM");
	return 0;
}

/* @count descriptors on from @at, no more than the ring has. */
static struct packed_position position_after(const struct virtqueue *vq,
					     struct packed_position at, unsigned count)
{
	unsigned index = at.index + count;
	bool over = index >= vq->size;

	return (struct packed_position){
		.index = (uint16_t)(over ? index - vq->size : index),
		.wrap_counter = at.wrap_counter != over,
	};
}

/* Offset and wrap counter are the low half, flags the high one (section 2.8.10). */
static void write_device_event(struct virtqueue *vq, struct packed_position at, uint32_t flags)
{
	uint32_t wrap = (uint32_t)at.wrap_counter << VRING_PACKED_EVENT_F_WRAP_CTR;

	store_relaxed(vq->packed.device_event, at.index | wrap | flags << 16);
}

/* --- Pop --- */

bool packed_has_work(const struct virtqueue *vq)
{
	const struct packed_position *at = &vq->packed.next_avail;
	/* Pairs with the driver's barrier before it writes the flags. */
	uint16_t flags = load_acquire(&vq->packed.desc[at->index].flags);

	return packed_is_available(flags, at->wrap_counter);
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
		struct vring_packed_desc desc;

		table_load(&desc, table, i);
		ret = chain_add(vq, chain, desc.addr, desc.len, desc.flags & VRING_DESC_F_WRITE);
	}
	return ret;
}

/* One list, bounded by its NEXT flags: those of AVAIL and USED count in its first only. */
static int add_list(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	struct packed_ring *ring = &vq->packed;
	struct packed_position at;
	struct vring_packed_desc desc;
	int ret;

	do {
		if (ring->in_flight + chain->descs == vq->size)
			return ring_broken(vq, "more descriptors in flight than the ring has");
		if (chain->descs == VIRTQUEUE_CHAIN_MAX)
			return ring_broken(vq, "list is longer than any request needs");
		at = position_after(vq, ring->next_avail, chain->descs);
		table_load(&desc, ring->desc, at.index);
		chain->descs++;
		if (!(desc.flags & VRING_DESC_F_INDIRECT))
			ret = chain_add(vq, chain, desc.addr, desc.len,
					desc.flags & VRING_DESC_F_WRITE);
		else if (chain->descs > 1 || (desc.flags & VRING_DESC_F_NEXT))
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

	if (!packed_has_work(vq))
		return 0;
	/*
	 * Also with EVENT_IDX: the old offset and wrap counter come round again
	 * after two laps, and the driver would kick for nothing.
	 */
	if (vq->armed)
		write_device_event(vq, ring->next_avail, VRING_PACKED_EVENT_FLAG_DISABLE);
	vq->armed = false;
	ret = add_list(vq, chain);
	if (ret)
		return ret;
	ring->next_avail = position_after(vq, ring->next_avail, chain->descs);
	ring->in_flight += chain->descs;
	return 1;
}

/* --- Push, publish, rearm --- */

void packed_push(struct virtqueue *vq, const struct virtqueue_used *used)
{
	struct packed_ring *ring = &vq->packed;
	struct vring_packed_desc *desc = &ring->desc[ring->next_used.index];
	uint16_t flags = (ring->next_used.wrap_counter ? AVAIL | USED : 0) |
		(used->len ? VRING_DESC_F_WRITE : 0);

	store_relaxed(&desc->id, used->id);
	store_relaxed(&desc->len, used->len);
	/* The driver goes from one to the next: the first of a batch hides the others. */
	if (vq->pushed == vq->published) {
		ring->batch = ring->next_used;
		ring->batch_flags = flags;
	} else {
		/* Data, status, id and length are seen before the flags. */
		store_release(&desc->flags, flags);
	}
	ring->next_used = position_after(vq, ring->next_used, used->descs);
	ring->in_flight -= used->descs;
}

/* How far it is from @from to @to: a position comes again after two laps. */
static unsigned distance(unsigned size, struct packed_position from, struct packed_position to)
{
	unsigned laps = 2u * size;
	unsigned lap = from.wrap_counter != to.wrap_counter ? size : 0;

	return (lap + to.index + laps - from.index) % laps;
}

/* Where the driver wishes for an interrupt, by its event suppression @word. */
static struct packed_position event_position(uint32_t word)
{
	return (struct packed_position){
		.index = word & ((1U << VRING_PACKED_EVENT_F_WRAP_CTR) - 1),
		.wrap_counter = word >> VRING_PACKED_EVENT_F_WRAP_CTR & 1,
	};
}

bool packed_publish(struct virtqueue *vq)
{
	struct packed_ring *ring = &vq->packed;
	struct packed_position event;
	uint32_t word;

	/* Data, status and all of the batch are seen before these flags. */
	store_release(&ring->desc[ring->batch.index].flags, ring->batch_flags);

	/*
	 * The flags are stored before the driver's event suppression is loaded.
	 * The driver stores that, has its barrier, and loads the flags once more:
	 * so either it sees them or this sees what it asks for.
	 */
	fence_full();
	word = load_relaxed(ring->driver_event);
	event = event_position(word);
	switch (word >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		/* Outside the ring: interrupt, since none could hang the driver. */
		if (!vq->event_idx || event.index >= vq->size)
			return true;
		return distance(vq->size, ring->batch, event) <
			distance(vq->size, ring->batch, ring->next_used);
	default: /* enabled, or reserved: the same */
		return true;
	}
}

bool packed_rearm(struct virtqueue *vq)
{
	if (vq->event_idx)
		write_device_event(vq, vq->packed.next_avail, VRING_PACKED_EVENT_FLAG_DESC);
	else if (!vq->armed)
		write_device_event(vq, vq->packed.next_avail, VRING_PACKED_EVENT_FLAG_ENABLE);

	/*
	 * The event suppression is stored before the flags are loaded.  The driver
	 * stores the flags, has its barrier, and loads the event suppression: so
	 * either it rings or this sees its list.
	 */
	fence_full();
	return packed_has_work(vq);
}

/* --- At rest --- */

void packed_rest(const struct virtqueue *vq, struct virtqueue_rest *rest)
{
	const struct packed_ring *ring = &vq->packed;

	rest->next = &ring->desc[ring->next_avail.index].flags;
	rest->wish = (const uint16_t *)ring->driver_event;
	rest->popped = ring->next_avail.index;
	rest->popped_wrap = ring->next_avail.wrap_counter;
	rest->pushed = ring->next_used.index;
	rest->pushed_wrap = ring->next_used.wrap_counter;
}

bool packed_is_owed(const struct virtqueue_rest *rest)
{
	uint32_t word = load_relaxed((const uint32_t *)(const void *)rest->wish);
	const struct packed_position pushed = { rest->pushed, rest->pushed_wrap },
				     event = event_position(word);
	unsigned since;

	switch (word >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		if (!rest->event_idx || event.index >= rest->size)
			return true;
		since = distance(rest->size, event, pushed);
		return since > 0 && since <= rest->size;
	default:
		return true;
	}
}
