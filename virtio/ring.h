/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the virtqueue: what its two kinds of ring share, and what each does
 * for the verbs of virtio/virtqueue.h.  Private to virtqueue.c, split.c and
 * packed.c.
 */
#pragma once

#include <linux/virtio_ring.h>

#include "hw/base/fence.h"
#include "virtio/virtqueue.h"

/* --- Shared --- */

/*
 * ring_refuse: a start that cannot be, -EINVAL.  ring_broken: the driver broke a
 * rule, -EBADMSG.  Both keep @why, a constant.
 */
int ring_refuse(struct virtqueue *vq, const char *why);
int ring_broken(struct virtqueue *vq, const char *why);

/* The area of @len bytes at @gpa, or NULL: not aligned, or not guest RAM. */
void *ring_area(const struct virtqueue *vq, uint64_t gpa, uint64_t align, uint64_t len);

/* Append a part; the caller has checked that there is room.  0 or -EBADMSG. */
static inline int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t addr,
			    uint32_t len, bool writable)
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

/* *@table: the indirect table of @len bytes at @addr.  0 or -EBADMSG. */
int chain_table(struct virtqueue *vq, uint64_t addr, uint32_t len, const void **table);

_Static_assert(sizeof(struct vring_packed_desc) == sizeof(struct vring_desc),
	       "tables of both kinds are measured alike");

/*
 * Copy the descriptor at @index, 16 bytes in both kinds, once: a table may change
 * at any time, and an indirect one need not be aligned.
 */
static inline void table_load(void *desc, const void *table, uint64_t index)
{
	const size_t len = sizeof(struct vring_desc);

	copy_once(desc, (const uint8_t *)table + index * len, len);
}

/*
 * --- Each kind ---
 *
 * The caller counts chains (popped, pushed, published), holds what is early,
 * sets armed, and clears @chain for pop.  Publish is called only after a push.
 */

int split_start(struct virtqueue *vq, const struct virtqueue_config *config);
int split_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void split_push(struct virtqueue *vq, const struct virtqueue_used *used);
bool split_publish(struct virtqueue *vq);
bool split_has_work(const struct virtqueue *vq);
bool split_rearm(struct virtqueue *vq);
/* Set the pointers of @rest. */
void split_rest(const struct virtqueue *vq, struct virtqueue_rest *rest);
bool split_is_owed(const struct virtqueue_rest *rest, bool certainly);

int packed_start(struct virtqueue *vq, const struct virtqueue_config *config);
int packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void packed_push(struct virtqueue *vq, const struct virtqueue_used *used);
bool packed_publish(struct virtqueue *vq);
bool packed_has_work(const struct virtqueue *vq);
bool packed_rearm(struct virtqueue *vq);
/* Set the pointers and positions of @rest. */
void packed_rest(const struct virtqueue *vq, struct virtqueue_rest *rest);
bool packed_is_owed(const struct virtqueue_rest *rest);

#define PACKED_AVAIL (1U << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1U << VRING_PACKED_DESC_F_USED)

/* Do the flags of a descriptor show it, on the lap of @wrap_counter (section 2.8.1)? */
static inline bool packed_is_available(uint16_t flags, bool wrap_counter)
{
	return !!(flags & PACKED_AVAIL) == wrap_counter && !!(flags & PACKED_USED) != wrap_counter;
}
