// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtqueue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "hw/base/fence.h"
#include "virtio/feature.h"
#include "virtio/ring.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "rings are little-endian, and so must be the host");

/* --- What both kinds of ring share --- */

int ring_refuse(struct virtqueue *vq, const char *why)
{
	vq->why = why;
	return -EINVAL;
}

int ring_broken(struct virtqueue *vq, const char *why)
{
	vq->why = why;
	return -EBADMSG;
}

void *ring_area(const struct virtqueue *vq, uint64_t gpa, uint64_t align, uint64_t len)
{
	return gpa % align ? NULL : guest_memory_ptr(vq->mem, gpa, len);
}

int chain_table(struct virtqueue *vq, uint64_t addr, uint32_t len, const void **table)
{
	if (!vq->indirect)
		return ring_broken(vq, "indirect descriptor was not negotiated");
	if (len == 0 || len % sizeof(struct vring_desc))
		return ring_broken(vq, "indirect table has a bad length");
	*table = guest_memory_ptr(vq->mem, addr, len);
	return *table ? 0 : ring_broken(vq, "indirect table is not guest RAM");
}

/* --- Verbs --- */

int virtqueue_start(struct virtqueue *vq, const struct virtqueue_config *config,
		    const struct guest_memory *mem, uint64_t features,
		    struct virtqueue_used *held)
{
	*vq = (struct virtqueue){
		.mem = mem,
		.size = config->size,
		.event_idx = features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		.indirect = features & VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.is_packed = features & VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		.armed = true,
	};
	if (config->size == 0 || config->size > VIRTQUEUE_SIZE_MAX)
		return ring_refuse(vq, "queue size is 0 or above 32768");
	if (features & VIRTIO_BIT(VIRTIO_F_IN_ORDER)) {
		vq->held = held;
		memset(held, 0, config->size * sizeof(*held));
	}
	return vq->is_packed ? packed_start(vq, config) : split_start(vq, config);
}

static uint16_t held_after(const struct virtqueue *vq, uint16_t at)
{
	return at + 1 < vq->size ? at + 1 : 0;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	int ret;

	*chain = (struct virtqueue_chain){ .iov = chain->iov };
	ret = vq->is_packed ? packed_pop(vq, chain) : split_pop(vq, chain);
	if (ret <= 0)
		return ret;
	if (vq->held) {
		/* Else the same chain is there twice: each takes a descriptor. */
		if ((uint16_t)(vq->popped - vq->pushed) == vq->size)
			return ring_broken(vq, "more chains in flight than the queue is long");
		chain->held = vq->held_tail;
		vq->held_tail = held_after(vq, vq->held_tail);
	}
	vq->popped++;
	return 1;
}

static void give_back(struct virtqueue *vq, const struct virtqueue_used *used)
{
	if (vq->is_packed)
		packed_push(vq, used);
	else
		split_push(vq, used);
	vq->pushed++;
}

void virtqueue_push(struct virtqueue *vq, const struct virtqueue_chain *chain, uint32_t written)
{
	const struct virtqueue_used used = {
		.id = chain->id,
		.descs = chain->descs,
		.len = written,
		.done = true,
	};
	struct virtqueue_used *next;

	if (!vq->held) {
		give_back(vq, &used);
		return;
	}
	vq->held[chain->held] = used;
	while ((next = &vq->held[vq->held_head])->done) {
		next->done = false;
		give_back(vq, next);
		vq->held_head = held_after(vq, vq->held_head);
	}
}

bool virtqueue_publish(struct virtqueue *vq)
{
	bool wanted;

	if (vq->published == vq->pushed)
		return false;
	wanted = vq->is_packed ? packed_publish(vq) : split_publish(vq);
	vq->published = vq->pushed;
	return wanted;
}

bool virtqueue_has_work(const struct virtqueue *vq)
{
	return vq->is_packed ? packed_has_work(vq) : split_has_work(vq);
}

bool virtqueue_rearm(struct virtqueue *vq)
{
	bool more = vq->is_packed ? packed_rearm(vq) : split_rearm(vq);

	vq->armed = true;
	return more;
}

/* --- A queue at rest --- */

struct virtqueue_rest virtqueue_rest(const struct virtqueue *vq)
{
	struct virtqueue_rest rest = {
		.size = vq->size,
		.popped = vq->popped,
		.pushed = vq->pushed,
		.is_packed = vq->is_packed,
		.event_idx = vq->event_idx,
	};

	if (vq->is_packed)
		packed_rest(vq, &rest);
	else
		split_rest(vq, &rest);
	return rest;
}

bool virtqueue_rest_has_work(const struct virtqueue_rest *rest, uint16_t *seen)
{
	*seen = load_relaxed(rest->next);
	return rest->is_packed ? packed_is_available(*seen, rest->popped_wrap) :
		*seen != rest->popped;
}

bool virtqueue_rest_is_owed(const struct virtqueue_rest *rest, bool certainly)
{
	return rest->is_packed ? packed_is_owed(rest) : split_is_owed(rest, certainly);
}
