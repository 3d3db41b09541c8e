// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtqueue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "virtio/feature.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "rings are little-endian, and so must be the host");

/* The area of @len bytes at @gpa, or NULL (sections 2.7, 2.7.5 to 2.7.8). */
static void *area(const struct guest_memory *mem, uint64_t gpa, uint64_t align, uint64_t len)
{
	return gpa % align ? NULL : guest_memory_ptr(mem, gpa, len);
}

static int refuse(struct virtqueue *vq, const char *why)
{
	vq->why = why;
	return -EINVAL;
}

int virtqueue_start(struct virtqueue *vq, const struct virtqueue_config *config,
		    const struct guest_memory *mem, uint64_t features)
{
	uint64_t size = config->size;

	*vq = (struct virtqueue){
		.mem = mem,
		.size = config->size,
		.event_idx = features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		.indirect = features & VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.armed = true,
	};
	if (size == 0 || size > VIRTQUEUE_SIZE_MAX || (size & (size - 1)))
		return refuse(vq, "queue size is not a power of two");
	/* The event words are there even if EVENT_IDX is off (section 2.7). */
	vq->desc = area(mem, config->desc, VRING_DESC_ALIGN_SIZE, 16 * size);
	vq->avail = area(mem, config->driver, VRING_AVAIL_ALIGN_SIZE, 6 + 2 * size);
	vq->used = area(mem, config->device, VRING_USED_ALIGN_SIZE, 6 + 8 * size);
	if (!vq->desc)
		return refuse(vq, "descriptor table is not aligned guest RAM");
	if (!vq->avail)
		return refuse(vq, "available ring is not aligned guest RAM");
	if (!vq->used)
		return refuse(vq, "used ring is not aligned guest RAM");
	return 0;
}

static uint16_t ring_slot(const struct virtqueue *vq, uint16_t position)
{
	return position & (vq->size - 1);
}

/* Each ring ends in one event word, written by the other side. */
static uint16_t *used_event(const struct virtqueue *vq)
{
	return &vq->avail->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
	return (uint16_t *)&vq->used->ring[vq->size];
}

/* --- Pop --- */

static int broken(struct virtqueue *vq, const char *why)
{
	vq->why = why;
	return -EBADMSG;
}

/* A table may change at any time, and an indirect one need not be aligned. */
static struct vring_desc desc_load(const void *table, uint64_t index)
{
	struct vring_desc desc;

	copy_once(&desc, (const uint8_t *)table + index * sizeof(desc), sizeof(desc));
	return desc;
}

static int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain,
		     const struct vring_desc *desc)
{
	struct iovec *iov = &chain->iov[chain->readable + chain->writable];

	if (!(desc->flags & VRING_DESC_F_WRITE) && chain->writable_len)
		return broken(vq, "readable descriptor after a writable one");
	if (desc->len == 0)
		return 0;
	iov->iov_base = guest_memory_ptr(vq->mem, desc->addr, desc->len);
	iov->iov_len = desc->len;
	if (!iov->iov_base)
		chain->bad = true;
	if (desc->flags & VRING_DESC_F_WRITE) {
		chain->writable++;
		chain->writable_len += desc->len;
	} else {
		chain->readable++;
		chain->readable_len += desc->len;
	}
	return 0;
}

/* A table of descriptors being walked: the ring's own, or an indirect one. */
struct walk {
	const void *table;
	uint64_t entries;
	bool is_indirect;
};

static int enter_indirect(struct virtqueue *vq, struct walk *walk, const struct vring_desc *desc)
{
	if (!vq->indirect)
		return broken(vq, "indirect descriptor was not negotiated");
	if (walk->is_indirect)
		return broken(vq, "indirect descriptor inside an indirect table");
	if (desc->flags & VRING_DESC_F_NEXT)
		return broken(vq, "indirect descriptor with a next one");
	if (desc->len == 0 || desc->len % sizeof(*desc))
		return broken(vq, "indirect table has a bad length");
	walk->table = guest_memory_ptr(vq->mem, desc->addr, desc->len);
	if (!walk->table)
		return broken(vq, "indirect table is not guest RAM");
	walk->entries = desc->len / sizeof(*desc);
	walk->is_indirect = true;
	return 0;
}

static int chain_walk(struct virtqueue *vq, struct virtqueue_chain *chain, unsigned index)
{
	struct walk walk = { .table = vq->desc, .entries = vq->size };
	struct vring_desc desc;
	int ret;

	/* One more step than parts, for the descriptor that points to a table. */
	for (unsigned steps = 0; steps <= VIRTQUEUE_CHAIN_MAX; steps++) {
		if (index >= walk.entries)
			return broken(vq, "descriptor index is beyond the table");
		desc = desc_load(walk.table, index);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			ret = enter_indirect(vq, &walk, &desc);
			index = 0;
		} else {
			if (chain->readable + chain->writable == VIRTQUEUE_CHAIN_MAX)
				break;
			ret = chain_add(vq, chain, &desc);
			if (ret == 0 && !(desc.flags & VRING_DESC_F_NEXT))
				return 1;
			index = desc.next;
		}
		if (ret)
			return ret;
	}
	return broken(vq, "chain is longer than any request needs");
}

/* Are there entries that were not popped?  0, 1 or -EBADMSG. */
static int available(struct virtqueue *vq)
{
	if (vq->avail_seen == vq->popped) {
		/* Pairs with the driver's barrier before it moves the index. */
		vq->avail_seen = load_acquire(&vq->avail->idx);
		if ((uint16_t)(vq->avail_seen - vq->popped) > vq->size)
			return broken(vq, "available index moved by more than the queue size");
	}
	return vq->avail_seen != vq->popped;
}

/* Tell a driver without EVENT_IDX that its queue is being looked at anyway. */
static void disarm(struct virtqueue *vq)
{
	if (vq->armed && !vq->event_idx)
		store_relaxed(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
	vq->armed = false;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	uint16_t head;
	int ret = available(vq);

	if (ret <= 0)
		return ret;
	disarm(vq);
	head = load_relaxed(&vq->avail->ring[ring_slot(vq, vq->popped)]);
	if (head >= vq->size)
		return broken(vq, "head in the available ring is beyond the queue");
	*chain = (struct virtqueue_chain){ .head = head, .iov = chain->iov };
	ret = chain_walk(vq, chain, head);
	if (ret > 0)
		vq->popped++;
	return ret;
}

/* --- Push, publish, rearm --- */

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t written)
{
	struct vring_used_elem *elem = &vq->used->ring[ring_slot(vq, vq->pushed)];

	store_relaxed(&elem->id, head);
	store_relaxed(&elem->len, written);
	vq->pushed++;
}

bool virtqueue_publish(struct virtqueue *vq)
{
	uint16_t before = vq->published;

	if (before == vq->pushed)
		return false;
	/* Data, status and elements are seen before the index that shows them. */
	store_release(&vq->used->idx, vq->pushed);
	vq->published = vq->pushed;

	/*
	 * The index is stored before the driver's wish is loaded.  The driver
	 * stores its wish, has its barrier, and loads the index once more: so
	 * either it sees the index or this sees the wish.
	 */
	fence_full();
	if (!vq->event_idx)
		return !(load_relaxed(&vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(load_relaxed(used_event(vq)), vq->published, before);
}

bool virtqueue_rearm(struct virtqueue *vq)
{
	if (vq->event_idx)
		store_relaxed(avail_event(vq), vq->popped);
	else if (!vq->armed)
		store_relaxed(&vq->used->flags, 0);
	vq->armed = true;

	/*
	 * The wish is stored before the index is loaded.  The driver stores the
	 * index, has its barrier, and loads the wish: so either it rings or this
	 * sees its entry.
	 */
	fence_full();
	return load_relaxed(&vq->avail->idx) != vq->popped;
}
