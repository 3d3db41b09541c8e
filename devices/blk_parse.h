/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a virtio-blk request asks for (virtio 1.4, section 5.2.6).  All checks
 * of what the driver wrote are here and nowhere else.
 *
 * Header, data and status are ranges of bytes, not descriptors: the driver may
 * cut a request wherever it likes (section 2.7.4.1).
 */
#pragma once

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/blk_stats.h"
#include "virtio/virtqueue.h"

/* Of a discard or write zeroes request: segments, and 512-byte sectors in each. */
#define BLK_SEGMENTS_MAX 32
#define BLK_SEGMENT_SECTORS_MAX (1u << 22)

#define BLK_TYPE_UNREAD 255 /* what no driver asks for */

enum blk_action {
	BLK_DONE,    /* nothing to do but report result and written */
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,
	BLK_DISCARD,      /* segments, each checked */
	BLK_WRITE_ZEROES, /* the same */
	BLK_NO_STATUS, /* there is no byte to report in: give the chain back */
};

/* No longer than need be: it is cleared for each request. */
struct blk_command {
	uint32_t type;      /* as the driver put it: VIRTIO_BLK_T_*, or BLK_TYPE_UNREAD */
	enum blk_action action;
	uint64_t sector;    /* likewise as the driver put it */
	uint8_t *status;    /* where the result goes; the last writable byte */
	uint8_t op;         /* enum blk_op */
	uint8_t result;     /* BLK_DONE: VIRTIO_BLK_S_* */
	uint32_t written;   /* BLK_DONE: bytes written before the status */
	uint64_t offset;    /* in bytes */
	uint64_t len;
	struct iovec *iov;  /* the data; part of the chain's */
	unsigned iov_count;
	unsigned segment_count;
	/* Of a discard or write zeroes; the caller provides BLK_SEGMENTS_MAX of them. */
	struct virtio_blk_discard_write_zeroes *segment;
};

/* What a request is judged by. */
struct blk_limits {
	uint64_t sectors;   /* of 512 bytes */
	bool read_only;
	const char *serial; /* VIRTIO_BLK_ID_BYTES at most */
	uint64_t features;  /* those accepted */
};

/*
 * Parse @chain, whose iov[] is changed to leave the data only.  All of @command
 * but segment is written.  GET_ID, which needs no disk, is carried out.  Of
 * segments, all are checked before any is done.
 */
void blk_parse(struct blk_command *command, const struct virtqueue_chain *chain,
	       const struct blk_limits *limits);

/*
 * The used length of a request (section 2.7.8): the bytes written from the
 * start of its writable part, which is @writable_len long and ends in the
 * status byte, when @data bytes stand before that byte.
 */
uint32_t blk_used_len(uint64_t writable_len, uint64_t data);
