// SPDX-License-Identifier: BSD-2-Clause
/* The split ring (virtio 1.4, section 2.7). */
#include "virtio/ring.h"

#include <linux/virtio_ring.h>

#include "hw/base/fence.h"

int split_start(struct virtqueue *vq, const struct virtqueue_config *config)
{
	struct split_ring *ring = &vq->split;
	uint64_t size = config->size;

	if (size & (size - 1))
		return ring_refuse(vq, "queue size is not a power of two");
	/* The event words are there even if EVENT_IDX is off (section 2.7). */
	*ring = (struct split_ring){
		.desc = ring_area(vq, config->desc, VRING_DESC_ALIGN_SIZE, 16 * size),
		.avail = ring_area(vq, config->driver, VRING_AVAIL_ALIGN_SIZE, 6 + 2 * size),
		.used = ring_area(vq, config->device, VRING_USED_ALIGN_SIZE, 6 + 8 * size),
	};
	if (!ring->desc)
		return ring_refuse(vq, "descriptor table is not aligned guest RAM");
	if (!ring->avail)
		return ring_refuse(vq, "available ring is not aligned guest RAM");
	if (!ring->used)
		return ring_refuse(vq, "used ring is not aligned guest RAM");
	return 0;
}

static uint16_t ring_slot(const struct virtqueue *vq, uint16_t position)
{
	return position & (vq->size - 1);
}

/* Each ring ends in one event word, written by the other side. */
static uint16_t *used_event(const struct virtqueue *vq)
{
	return &vq->split.avail->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
	return (uint16_t *)&vq->split.used->ring[vq->size];
}

/* --- Pop --- */

/* A table of descriptors being walked: the ring's own, or an indirect one. */
struct walk {
	const void *table;
	uint64_t entries;
	bool is_indirect;
};

static int enter_indirect(struct virtqueue *vq, struct walk *walk, const struct vring_desc *desc)
{
	if (walk->is_indirect)
		return ring_broken(vq, "indirect descriptor inside an indirect table");
	if (desc->flags & VRING_DESC_F_NEXT)
		return ring_broken(vq, "indirect descriptor with a next one");
	walk->entries = desc->len / sizeof(*desc);
	walk->is_indirect = true;
	return chain_table(vq, desc->addr, desc->len, &walk->table);
}

static int chain_walk(struct virtqueue *vq, struct virtqueue_chain *chain, unsigned index)
{
	struct walk walk = { .table = vq->split.desc, .entries = vq->size };
	struct vring_desc desc;
	int ret;

	/* One more step than parts, for the descriptor that points to a table. */
	for (unsigned steps = 0; steps <= VIRTQUEUE_CHAIN_MAX; steps++) {
		if (index >= walk.entries)
			return ring_broken(vq, "descriptor index is beyond the table");
		table_load(&desc, walk.table, index);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			ret = enter_indirect(vq, &walk, &desc);
			index = 0;
		} else {
			if (chain->readable + chain->writable == VIRTQUEUE_CHAIN_MAX)
				break;
			ret = chain_add(vq, chain, desc.addr, desc.len,
					desc.flags & VRING_DESC_F_WRITE);
			if (ret == 0 && !(desc.flags & VRING_DESC_F_NEXT))
				return 1;
			index = desc.next;
		}
		if (ret)
			return ret;
	}
	return ring_broken(vq, "chain is longer than any request needs");
}

/* Are there entries that were not popped?  0, 1 or -EBADMSG. */
static int available(struct virtqueue *vq)
{
	if (vq->split.avail_seen == vq->popped) {
		/* Pairs with the driver's barrier before it moves the index. */
		vq->split.avail_seen = load_acquire(&vq->split.avail->idx);
		if ((uint16_t)(vq->split.avail_seen - vq->popped) > vq->size)
			return ring_broken(vq, "available index moved by more than the queue size");
	}
	return vq->split.avail_seen != vq->popped;
}

/* Tell a driver without EVENT_IDX that its queue is being looked at anyway. */
static void disarm(struct virtqueue *vq)
{
	if (vq->armed && !vq->event_idx)
		store_relaxed(&vq->split.used->flags, VRING_USED_F_NO_NOTIFY);
	vq->armed = false;
}

int split_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	int ret = available(vq);

	if (ret <= 0)
		return ret;
	disarm(vq);
	chain->id = load_relaxed(&vq->split.avail->ring[ring_slot(vq, vq->popped)]);
	if (chain->id >= vq->size)
		return ring_broken(vq, "head in the available ring is beyond the queue");
	return chain_walk(vq, chain, chain->id);
}

/* --- Push, publish, rearm --- */

void split_push(struct virtqueue *vq, const struct virtqueue_used *used)
{
	struct vring_used_elem *elem = &vq->split.used->ring[ring_slot(vq, vq->pushed)];

	store_relaxed(&elem->id, used->id);
	store_relaxed(&elem->len, used->len);
}

bool split_publish(struct virtqueue *vq)
{
	uint16_t before = vq->published;

	/* Data, status and elements are seen before the index that shows them. */
	store_release(&vq->split.used->idx, vq->pushed);

	/*
	 * The index is stored before the driver's event suppression is loaded.
	 * The driver stores that, has its barrier, and loads the index once more:
	 * so either it sees the index or this sees what it asks for.
	 */
	fence_full();
	if (!vq->event_idx)
		return !(load_relaxed(&vq->split.avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(load_relaxed(used_event(vq)), vq->pushed, before);
}

bool split_has_work(const struct virtqueue *vq)
{
	return vq->split.avail_seen != vq->popped ||
		load_relaxed(&vq->split.avail->idx) != vq->popped;
}

bool split_rearm(struct virtqueue *vq)
{
	if (vq->event_idx)
		store_relaxed(avail_event(vq), vq->popped);
	else if (!vq->armed)
		store_relaxed(&vq->split.used->flags, 0);

	/*
	 * The event suppression is stored before the index is loaded.  The driver
	 * stores the index, has its barrier, and loads the event suppression: so
	 * either it rings or this sees its entry.
	 */
	fence_full();
	return load_relaxed(&vq->split.avail->idx) != vq->popped;
}

/* --- At rest --- */

void split_rest(const struct virtqueue *vq, struct virtqueue_rest *rest)
{
	rest->next = &vq->split.avail->idx;
	rest->wish = vq->event_idx ? used_event(vq) : &vq->split.avail->flags;
}

bool split_is_owed(const struct virtqueue_rest *rest, bool certainly)
{
	uint16_t wish = load_relaxed(rest->wish), since = rest->pushed - wish;

	if (!rest->event_idx)
		return rest->pushed && !(wish & VRING_AVAIL_F_NO_INTERRUPT);
	/* Had it taken all that a ring holds and more, it would have asked again, or polls. */
	return since > 0 && since <= rest->size && (wish || !certainly);
}
