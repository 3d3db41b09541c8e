// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtqueue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

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

int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t addr, uint32_t len,
	      bool writable)
{
	struct iovec *iov = &chain->iov[chain->readable + chain->writable];

	if (!writable && chain->writable_len)
		return ring_broken(vq, "readable descriptor after a writable one");
	if (len == 0)
		return 0;
	iov->iov_base = guest_memory_ptr(vq->mem, addr, len);
	iov->iov_len = len;
	if (!iov->iov_base)
		chain->bad = true;
	if (writable) {
		chain->writable++;
		chain->writable_len += len;
	} else {
		chain->readable++;
		chain->readable_len += len;
	}
	return 0;
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
		    struct virtqueue_turn *turns)
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
		vq->turns = turns;
		memset(turns, 0, config->size * sizeof(*turns));
	}
	return vq->is_packed ? packed_start(vq, config) : split_start(vq, config);
}

static uint16_t turn_after(const struct virtqueue *vq, uint16_t turn)
{
	return turn + 1 < vq->size ? turn + 1 : 0;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	int ret;

	*chain = (struct virtqueue_chain){ .iov = chain->iov };
	ret = vq->is_packed ? packed_pop(vq, chain) : split_pop(vq, chain);
	if (ret <= 0)
		return ret;
	if (vq->turns) {
		/* Else the same chain is there twice: each takes a descriptor. */
		if ((uint16_t)(vq->popped - vq->pushed) == vq->size)
			return ring_broken(vq, "more chains in flight than the queue is long");
		chain->turn = vq->last_turn;
		vq->last_turn = turn_after(vq, vq->last_turn);
	}
	vq->popped++;
	return 1;
}

static void give_back(struct virtqueue *vq, const struct virtqueue_turn *turn)
{
	if (vq->is_packed)
		packed_push(vq, turn);
	else
		split_push(vq, turn);
	vq->pushed++;
}

void virtqueue_push(struct virtqueue *vq, const struct virtqueue_chain *chain, uint32_t written)
{
	const struct virtqueue_turn turn = {
		.id = chain->id,
		.slots = chain->slots,
		.written = written,
		.pushed = true,
	};
	struct virtqueue_turn *next;

	if (!vq->turns) {
		give_back(vq, &turn);
		return;
	}
	vq->turns[chain->turn] = turn;
	while ((next = &vq->turns[vq->next_turn])->pushed) {
		next->pushed = false;
		give_back(vq, next);
		vq->next_turn = turn_after(vq, vq->next_turn);
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

bool virtqueue_rearm(struct virtqueue *vq)
{
	bool more = vq->is_packed ? packed_rearm(vq) : split_rearm(vq);

	vq->armed = true;
	return more;
}
