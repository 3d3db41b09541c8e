// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk_private.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "devices/blk_parse.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"

#define DATA_SEGMENTS_MAX (VIRTQUEUE_CHAIN_MAX - 2) /* header and status take one each */

const struct virtio_feature blk_features[] = {
	{ VIRTIO_BLK_F_SIZE_MAX, "SIZE_MAX", "always", "5.2.3" },
	{ VIRTIO_BLK_F_SEG_MAX, "SEG_MAX", "always", "5.2.3" },
	{ VIRTIO_BLK_F_RO, "RO", "with readonly", "5.2.3" },
	{ VIRTIO_BLK_F_BLK_SIZE, "BLK_SIZE", "always", "5.2.3" },
	{ VIRTIO_BLK_F_FLUSH, "FLUSH", "unless cache=unsafe", "5.2.3" },
	{ VIRTIO_BLK_F_TOPOLOGY, "TOPOLOGY", "always", "5.2.3" },
	{ VIRTIO_BLK_F_CONFIG_WCE, "CONFIG_WCE", "unless cache=unsafe", "5.2.3" },
	{ VIRTIO_BLK_F_MQ, "MQ", "with more than one queue", "5.2.3" },
	{ VIRTIO_BLK_F_DISCARD, "DISCARD", "unless readonly or discard=off", "5.2.3" },
	{ VIRTIO_BLK_F_WRITE_ZEROES, "WRITE_ZEROES", "unless readonly", "5.2.3" },
	{ 0, NULL, NULL, NULL },
};

static struct blk *from_virtio(struct virtio_device *dev)
{
	return container_of(dev, struct blk, virtio);
}

static void queue_start(struct virtio_device *dev, unsigned index)
{
	struct blk *blk = from_virtio(dev);

	if (blk->observer.queue_starts)
		blk->observer.queue_starts(blk->observer.opaque);
	blk->queue[index].features = dev->accepted;
	io_thread_order(blk->queue[index].thread, &blk->queue[index].start);
}

static void queue_stop(struct virtio_device *dev, unsigned index)
{
	struct blk *blk = from_virtio(dev);

	io_thread_order(blk->queue[index].thread, &blk->queue[index].stop);
}

/* A request without INDIRECT takes a descriptor for each of its parts. */
static uint32_t data_segments(const struct virtio_device *dev)
{
	return dev->queue_size_max > 2 ? min(dev->queue_size_max - 2, DATA_SEGMENTS_MAX) : 1;
}

static void config_read(struct virtio_device *dev, void *to)
{
	const struct blk *blk = from_virtio(dev);
	const struct disk_geometry *geometry = &blk->disk->geometry;
	uint32_t block = geometry->logical;
	struct virtio_blk_config config = {
		.wce = blk->cache != BLK_CACHE_UNSAFE && load_relaxed(&blk->writeback),
		.capacity = load_relaxed(&blk->disk->sectors),
		/* As many as there may be of these fit in the used length. */
		.size_max = DISK_STEP_MAX,
		.seg_max = data_segments(dev),
		.blk_size = block,
		.physical_block_exp = (uint8_t)__builtin_ctz(geometry->physical / block),
		.alignment_offset = (uint8_t)min(geometry->alignment / block, 255u),
		.min_io_size = (uint16_t)min(geometry->io_min / block, 65535u),
		.opt_io_size = geometry->io_opt / block,
	};

	if (dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_MQ))
		config.num_queues = dev->queue_count;
	if (dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD)) {
		config.max_discard_sectors = BLK_SEGMENT_SECTORS_MAX;
		config.max_discard_seg = BLK_SEGMENTS_MAX;
		config.discard_sector_alignment = geometry->physical / DISK_SECTOR;
	}
	if (dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES)) {
		config.max_write_zeroes_sectors = BLK_SEGMENT_SECTORS_MAX;
		config.max_write_zeroes_seg = BLK_SEGMENTS_MAX;
		config.write_zeroes_may_unmap = blk->discard && disk_may_unmap(blk->disk);
	}
	memcpy(to, &config, dev->config_len);
}

/* Before a legacy driver's features count it may write the field already (section 5.2.5.3). */
static bool may_write_wce(const struct virtio_device *dev)
{
	uint64_t features = dev->legacy && !dev->live ? dev->offered : dev->accepted;

	return features & VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);
}

static void config_write(struct virtio_device *dev, unsigned offset, uint64_t value,
			 unsigned len)
{
	const unsigned wce = offsetof(struct virtio_blk_config, wce);

	/* The one field that is the driver's to write; any value but 0 is 1. */
	if (!may_write_wce(dev) || offset > wce || wce - offset >= len)
		return;
	store_release(&from_virtio(dev)->writeback, (value >> (8 * (wce - offset))) & 0xff);
}

static void features_accepted(struct virtio_device *dev)
{
	struct blk *blk = from_virtio(dev);
	bool can_flush = dev->accepted & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
	/* This driver's first mode; without FLUSH, write-through (sections 5.2.5.2, 5.2.6.2). */
	bool writeback = blk->cache == BLK_CACHE_UNSAFE ||
		(blk->cache == BLK_CACHE_WRITEBACK && can_flush);

	/* Of a legacy driver that knows the field it is the driver's own (section 5.2.5.3). */
	if (dev->legacy && (dev->accepted & VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE)))
		return;
	/* The field shows it from now on (section 5.2.5). */
	if (__atomic_exchange_n(&blk->writeback, writeback, __ATOMIC_ACQ_REL) != writeback)
		store_release(&dev->config_changed, true);
}

static const struct virtio_device_ops blk_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.features_accepted = features_accepted,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

static uint64_t offered_features(const struct disk *disk, const struct blk_config *config)
{
	uint64_t features;

	if (disk->read_only)
		features = VIRTIO_BIT(VIRTIO_BLK_F_RO);
	else
		features = VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
			(config->discard ? VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) : 0);
	if (config->queues > 1)
		features |= VIRTIO_BIT(VIRTIO_BLK_F_MQ);
	/* What could not keep the promise of a flush does not offer one (section 5.2.6.2). */
	if (config->cache != BLK_CACHE_UNSAFE)
		features |= VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	return features | VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_F_RING_RESET) |
		VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
		VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) |
		VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |
		(config->packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
		(config->in_order ? VIRTIO_BIT(VIRTIO_F_IN_ORDER) : 0) |
		(config->notification_data ? VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA) : 0);
}

static struct io_thread *deal(struct blk_threads *threads)
{
	return threads->thread[threads->next++ % threads->count];
}

static int init_queues(struct blk *blk, struct blk_threads *threads)
{
	int ret = 0;

	blk->queue = calloc_lines(blk->virtio.queue_count, sizeof(*blk->queue));
	if (!blk->queue)
		return -ENOMEM;
	for (unsigned i = 0; i < blk->virtio.queue_count && ret == 0; i++)
		ret = blk_queue_init(blk, i, deal(threads));
	return ret;
}

int blk_create(struct blk **result, const char *name, const struct blk_config *config,
	       struct disk *disk, struct blk_threads *threads, const struct guest_memory *mem)
{
	struct blk *blk;
	int ret;

	if (!config->queues)
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->disk = disk;
	blk->discard = config->discard;
	blk->cache = config->cache;
	blk->poll_max_ns = config->poll_max_us * NS_PER_US;
	blk->writeback = config->cache != BLK_CACHE_WRITETHROUGH;
	memcpy(blk->serial, config->serial, sizeof(blk->serial));
	blk->virtio = (struct virtio_device){
		.name = name,
		.number = config->number,
		.id = VIRTIO_ID_BLOCK,
		.offered = offered_features(disk, config),
		/* The longest layout that some driver expects, zeros where unused. */
		.config_len = offsetof(struct virtio_blk_config, unused1) + 3,
		.queue_count = config->queues,
		.queue_size_max = config->queue_size,
		.ops = &blk_ops,
		.mem = mem,
		.feature_names = blk_features,
	};
	ret = virtio_device_init(&blk->virtio);
	if (ret) {
		free(blk);
		return ret;
	}
	ret = init_queues(blk, threads);
	if (ret) {
		blk_destroy(blk);
		return ret;
	}
	*result = blk;
	return 0;
}

void blk_destroy(struct blk *blk)
{
	for (unsigned i = 0; blk->queue && i < blk->virtio.queue_count; i++)
		blk_queue_free(&blk->queue[i]);
	free(blk->queue);
	virtio_device_destroy(&blk->virtio);
	free(blk);
}

void blk_observe(struct blk *blk, const struct blk_observer *observer)
{
	blk->observer = *observer;
	for (unsigned i = 0; observer->has_read && i < blk->virtio.queue_count; i++)
		blk_queue_tell_read(&blk->queue[i]);
}

struct virtio_device *blk_virtio(struct blk *blk)
{
	return &blk->virtio;
}

bool blk_set_capacity(struct blk *blk, uint64_t sectors)
{
	/* Linux refuses a capacity that ends inside a block. */
	sectors -= sectors % (blk->disk->geometry.logical / DISK_SECTOR);
	if (sectors == load_relaxed(&blk->disk->sectors))
		return false;
	/* Drivers see the new size with its generation: virtio reads a copy till then. */
	store_relaxed(&blk->disk->sectors, sectors);
	virtio_notify_config(&blk->virtio);
	return true;
}
