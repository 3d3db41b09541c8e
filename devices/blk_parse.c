// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk_parse.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <string.h>

#include "devices/disk.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "virtio/feature.h"

#define LEGACY_FLUSH_OUT 5

/* Parts of a chain, in order. */
struct parts {
	struct iovec *iov;
	unsigned count;
};

/* Take @len bytes, which are there, off the first part. */
static inline void take_from_first(struct parts *parts, void *to, size_t len)
{
	struct iovec *iov = parts->iov;

	copy_once(to, iov->iov_base, len);
	iov->iov_base = (uint8_t *)iov->iov_base + len;
	iov->iov_len -= len;
	if (iov->iov_len == 0) {
		parts->iov++;
		parts->count--;
	}
}

/* Take @len bytes, which are there, off the front. */
static void take_front(struct parts *parts, void *to, size_t len)
{
	for (uint8_t *out = to; len;) {
		size_t n = min(len, parts->iov->iov_len);

		take_from_first(parts, out, n);
		out += n;
		len -= n;
	}
}

/* Take the last byte, which is there. */
static uint8_t *take_last_byte(struct parts *parts)
{
	struct iovec *iov = &parts->iov[parts->count - 1];
	uint8_t *byte = (uint8_t *)iov->iov_base + --iov->iov_len;

	if (iov->iov_len == 0)
		parts->count--;
	return byte;
}

static size_t put_front(const struct parts *parts, const void *from, size_t len)
{
	size_t put = 0;

	for (unsigned i = 0; i < parts->count && put < len; i++) {
		size_t n = min(len - put, parts->iov[i].iov_len);

		memcpy(parts->iov[i].iov_base, (const uint8_t *)from + put, n);
		put += n;
	}
	return put;
}

static void finish(struct blk_command *command, uint8_t result)
{
	command->action = BLK_DONE;
	command->result = result;
}

/* Is this a transfer of whole sectors inside the disk? */
static bool in_range(const struct blk_limits *limits, uint64_t sector, uint64_t len)
{
	return len % DISK_SECTOR == 0 && sector <= limits->sectors &&
		len / DISK_SECTOR <= limits->sectors - sector;
}

static void parse_transfer(struct blk_command *command, enum blk_action action,
			   const struct blk_limits *limits, uint64_t sector,
			   const struct parts *data, uint64_t len)
{
	if (!in_range(limits, sector, len) || (action == BLK_WRITE && limits->read_only)) {
		finish(command, VIRTIO_BLK_S_IOERR);
	} else if (len == 0) {
		finish(command, VIRTIO_BLK_S_OK);
	} else {
		command->action = action;
		command->offset = sector * DISK_SECTOR;
		command->len = len;
		command->iov = data->iov;
		command->iov_count = data->count;
	}
}

static void get_id(struct blk_command *command, const struct blk_limits *limits,
		   const struct parts *data)
{
	char id[VIRTIO_BLK_ID_BYTES] = { 0 };

	memcpy(id, limits->serial, strnlen(limits->serial, sizeof(id)));
	command->written = (uint32_t)put_front(data, id, sizeof(id));
	finish(command, VIRTIO_BLK_S_OK);
}

/* What makes a segment fail, or VIRTIO_BLK_S_OK. */
static uint8_t judge_segment(const struct virtio_blk_discard_write_zeroes *segment,
			     const struct blk_limits *limits, bool discard)
{
	/* Unmap is for write zeroes; the others have no meaning yet (section 5.2.6.2). */
	uint32_t allowed = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	if (segment->flags & ~allowed)
		return VIRTIO_BLK_S_UNSUPP;
	if (segment->num_sectors > BLK_SEGMENT_SECTORS_MAX ||
	    !in_range(limits, segment->sector, (uint64_t)segment->num_sectors * DISK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static void parse_segments(struct blk_command *command, uint32_t type,
			   const struct blk_limits *limits, struct parts *data, uint64_t len)
{
	bool discard = type == VIRTIO_BLK_T_DISCARD;
	unsigned feature = discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
	uint64_t count = len / sizeof(*command->segment);
	uint8_t result = VIRTIO_BLK_S_OK;

	if (!(limits->features & VIRTIO_BIT(feature)))
		result = VIRTIO_BLK_S_UNSUPP;
	else if (limits->read_only || len % sizeof(*command->segment) || count == 0 ||
		 count > BLK_SEGMENTS_MAX)
		result = VIRTIO_BLK_S_IOERR;
	else
		take_front(data, command->segment, len);
	for (unsigned i = 0; i < count && result == VIRTIO_BLK_S_OK; i++)
		result = judge_segment(&command->segment[i], limits, discard);
	if (result != VIRTIO_BLK_S_OK) {
		finish(command, result);
		return;
	}
	command->action = discard ? BLK_DISCARD : BLK_WRITE_ZEROES;
	command->segment_count = (unsigned)count;
}

/* A legacy driver may use another name for it (section 5.2.6.3). */
static bool may_flush(const struct blk_limits *limits, uint32_t type)
{
	bool legacy = !(limits->features & VIRTIO_BIT(VIRTIO_F_VERSION_1));

	return (type == VIRTIO_BLK_T_FLUSH || legacy) &&
		(limits->features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
}

void blk_parse(struct blk_command *command, const struct virtqueue_chain *chain,
	       const struct blk_limits *limits)
{
	struct parts readable = { chain->iov, chain->readable };
	struct parts writable = { chain->iov + chain->readable, chain->writable };
	struct virtio_blk_outhdr header;

	*command = (struct blk_command){
		.type = BLK_TYPE_UNREAD,
		.action = BLK_NO_STATUS,
		.segment = command->segment,
	};
	if (!chain->writable || !writable.iov[writable.count - 1].iov_base)
		return;
	command->status = take_last_byte(&writable);
	/* A part outside RAM fails all of it; so does what 32 bits cannot report. */
	if (chain->bad || chain->readable_len < sizeof(header) ||
	    chain->readable_len > UINT32_MAX || chain->writable_len > UINT32_MAX) {
		finish(command, VIRTIO_BLK_S_IOERR);
		return;
	}
	/* It is seldom cut, and then its length is known here. */
	if (readable.iov->iov_len >= sizeof(header))
		take_from_first(&readable, &header, sizeof(header));
	else
		take_front(&readable, &header, sizeof(header));
	command->type = header.type;
	command->sector = header.sector;

	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		command->op = BLK_OP_READ;
		parse_transfer(command, BLK_READ, limits, header.sector, &writable,
			       chain->writable_len - 1);
		break;
	case VIRTIO_BLK_T_OUT:
		command->op = BLK_OP_WRITE;
		parse_transfer(command, BLK_WRITE, limits, header.sector, &readable,
			       chain->readable_len - sizeof(header));
		break;
	case VIRTIO_BLK_T_FLUSH:
	case LEGACY_FLUSH_OUT:
		command->op = BLK_OP_FLUSH;
		if (may_flush(limits, header.type))
			command->action = BLK_FLUSH;
		else
			finish(command, VIRTIO_BLK_S_UNSUPP);
		break;
	case VIRTIO_BLK_T_GET_ID:
		command->op = BLK_OP_GET_ID;
		get_id(command, limits, &writable);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		command->op = header.type == VIRTIO_BLK_T_DISCARD ? BLK_OP_DISCARD :
			BLK_OP_WRITE_ZEROES;
		parse_segments(command, header.type, limits, &readable,
			       chain->readable_len - sizeof(header));
		break;
	default:
		finish(command, VIRTIO_BLK_S_UNSUPP);
	}
}

uint32_t blk_used_len(uint64_t writable_len, uint64_t data)
{
	/* The status byte counts only if no gap is before it. */
	return (uint32_t)(data + 1 == writable_len ? writable_len : data);
}
