/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the virtqueue: what its two kinds of ring share, and what each does
 * for the verbs of virtio/virtqueue.h.  Private to virtqueue.c, split.c and
 * packed.c.
 */
#pragma once

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
int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t addr, uint32_t len,
	      bool writable);

/* *@table: the indirect table of @len bytes at @addr.  0 or -EBADMSG. */
int chain_table(struct virtqueue *vq, uint64_t addr, uint32_t len, const void **table);

/*
 * Copy the descriptor at @index, 16 bytes in both kinds, once: a table may change
 * at any time, and an indirect one need not be aligned.
 */
void table_load(void *desc, const void *table, uint64_t index);

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

int packed_start(struct virtqueue *vq, const struct virtqueue_config *config);
int packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void packed_push(struct virtqueue *vq, const struct virtqueue_used *used);
bool packed_publish(struct virtqueue *vq);
bool packed_has_work(const struct virtqueue *vq);
bool packed_rearm(struct virtqueue *vq);
