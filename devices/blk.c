// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/blk_parse.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"

#define DATA_SEGMENTS_MAX (VIRTQUEUE_CHAIN_MAX - 2) /* header and status take one each */

struct blk_request {
	struct disk_request disk; /* first: the I/O of this request */
	struct blk_queue *queue;
	struct blk_request *next_free;
	struct virtqueue_chain chain;
	struct blk_command command;
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	unsigned next_segment;
	bool sync_after; /* a flush follows the last segment */
};

/* A queue; all but the orders belongs to the I/O thread from start to stop. */
struct blk_queue {
	struct io_queue io;
	struct io_order start, stop;
	struct blk *blk;
	unsigned index;
	bool running, stopping;
	uint64_t features;  /* those accepted */
	bool starved;       /* chains may be left in the ring for want of a request */
	unsigned in_flight;

	/* As many requests as the queue is long. */
	struct blk_request *requests;
	struct blk_request *free;
	unsigned fresh; /* how many were ever used: the others cost no memory */
};

struct blk {
	struct virtio_device virtio;
	struct disk *disk;
	struct io_thread *thread;
	char serial[BLK_SERIAL_LEN + 1];
	bool discard;
	enum blk_cache cache;
	bool writeback;  /* atomic: writes may wait for a flush; device lock to write */
	bool unmap_lost; /* atomic: the driver was told that nothing is deallocated */
	struct blk_queue *queue; /* virtio.queue_count of them */
};

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

static struct virtqueue *ring_of(struct blk_queue *queue)
{
	return &queue->blk->virtio.queue[queue->index].ring;
}

/* --- The queue, on its I/O thread --- */

static struct blk_request *take_free(struct blk_queue *queue)
{
	struct blk_request *request = queue->free;

	if (request) {
		queue->free = request->next_free;
	} else if (queue->fresh < ring_of(queue)->size) {
		request = &queue->requests[queue->fresh++];
		request->queue = queue;
	}
	return request;
}

static void put_free(struct blk_queue *queue, struct blk_request *request)
{
	request->next_free = queue->free;
	queue->free = request;
}

/* Report a request to the driver; @data bytes stand before its status byte. */
static void complete(struct blk_request *request, uint8_t result, uint64_t data)
{
	struct blk_queue *queue = request->queue;

	*request->command.status = result;
	virtqueue_push(ring_of(queue), &request->chain,
		       blk_used_len(request->chain.writable_len, data));
	put_free(queue, request);
	io_thread_want_flush(&queue->io);
}

/* The guest learns no more than IOERR; here is why. */
static void report_failure(const struct blk_request *request, int result)
{
	static const char *const verb[] = {
		[DISK_READ] = "read",
		[DISK_WRITE] = "write",
		[DISK_WRITE_STABLE] = "write",
		[DISK_FLUSH] = "flush",
		[DISK_DISCARD] = "discard",
		[DISK_ZERO] = "write zeroes to",
		[DISK_ZERO_UNMAP] = "write zeroes to",
	};
	struct virtio_device *dev = &request->queue->blk->virtio;
	const struct blk_command *command = &request->command;
	char range[64] = "";

	if (request->disk.op != DISK_FLUSH)
		snprintf(range, sizeof(range), " %" PRIu64 " bytes at %" PRIu64, command->len,
			 command->offset);
	log_limited(&dev->messages, "%s: cannot %s%s: %s", dev->name, verb[request->disk.op], range,
		    strerror(-result));
}

static void disk_done(struct disk_request *disk, int result);

/* Start what the command says, as @op. */
static void start_disk(struct blk_request *request, enum disk_op op)
{
	struct blk_queue *queue = request->queue;
	const struct blk_command *command = &request->command;

	request->disk = (struct disk_request){
		.op = op,
		.offset = command->offset,
		.len = command->len,
		.iov = command->iov,
		.iov_count = command->iov_count,
		.cancel = &queue->stopping,
		.done = disk_done,
	};
	queue->in_flight++;
	disk_queue(queue->blk->disk, queue->blk->thread, &request->disk);
}

static bool is_range(const struct blk_request *request)
{
	return request->command.action == BLK_DISCARD ||
		request->command.action == BLK_WRITE_ZEROES;
}

static enum disk_op segment_op(const struct blk_request *request, uint32_t flags)
{
	if (request->command.action == BLK_DISCARD)
		return DISK_DISCARD;
	return (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) && request->queue->blk->discard ?
		DISK_ZERO_UNMAP : DISK_ZERO;
}

/* Start the next part of a discard or write zeroes; false: all is done. */
static bool start_next(struct blk_request *request)
{
	struct blk_command *command = &request->command;

	while (request->next_segment < command->segment_count) {
		const struct virtio_blk_discard_write_zeroes *segment =
			&command->segment[request->next_segment++];

		if (!segment->num_sectors)
			continue;
		command->offset = segment->sector * DISK_SECTOR;
		command->len = (uint64_t)segment->num_sectors * DISK_SECTOR;
		start_disk(request, segment_op(request, segment->flags));
		return true;
	}
	if (!request->sync_after)
		return false;
	request->sync_after = false;
	command->len = 0;
	start_disk(request, DISK_FLUSH);
	return true;
}

/* write_zeroes_may_unmap turned out to be false (section 5.2.6.2). */
static void check_unmap(struct blk *blk)
{
	if (blk->discard && !disk_may_unmap(blk->disk) &&
	    !__atomic_exchange_n(&blk->unmap_lost, true, __ATOMIC_RELAXED))
		virtio_notify_config(&blk->virtio);
}

static void disk_done(struct disk_request *disk, int result)
{
	struct blk_request *request = container_of(disk, struct blk_request, disk);
	struct blk_queue *queue = request->queue;
	bool data_in = request->command.action == BLK_READ && result == 0;

	queue->in_flight--;
	if (is_range(request)) {
		check_unmap(queue->blk);
		if (result == 0 && queue->stopping)
			result = -ECANCELED;
		else if (result == 0 && start_next(request))
			return;
	}
	if (result && result != -ECANCELED)
		report_failure(request, result);
	complete(request, result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK,
		 data_in ? request->command.len : 0);
}

static void start_io(struct blk_request *request)
{
	/* A write that the driver gave us while this was 0 finds 0 here (section 5.2.6.2). */
	bool stable = !load_acquire(&request->queue->blk->writeback);

	switch (request->command.action) {
	case BLK_READ:
		start_disk(request, DISK_READ);
		break;
	case BLK_FLUSH:
		start_disk(request, DISK_FLUSH);
		break;
	case BLK_WRITE:
		start_disk(request, stable ? DISK_WRITE_STABLE : DISK_WRITE);
		break;
	default:
		request->next_segment = 0;
		request->sync_after = stable && request->command.action == BLK_WRITE_ZEROES;
		if (!start_next(request))
			complete(request, VIRTIO_BLK_S_OK, 0);
	}
}

static void execute(struct blk_request *request)
{
	struct blk_queue *queue = request->queue;
	struct blk *blk = queue->blk;
	const struct blk_limits limits = {
		.sectors = load_relaxed(&blk->disk->sectors),
		.read_only = blk->disk->read_only,
		.serial = blk->serial,
		.features = queue->features,
	};

	blk_parse(&request->command, &request->chain, &limits);
	switch (request->command.action) {
	case BLK_NO_STATUS:
		/* Given back unanswered: a driver must not wait for it forever. */
		virtqueue_push(ring_of(queue), &request->chain, 0);
		put_free(queue, request);
		io_thread_want_flush(&queue->io);
		break;
	case BLK_DONE:
		complete(request, request->command.result, request->command.written);
		break;
	default:
		start_io(request);
	}
}

/*
 * Pop until the ring is empty or every request is taken; then chains stay in
 * the ring.  One call pops no more than the queue is long, and one chain once
 * the thread's round is spent, so that a driver that never stops adding, or
 * that asks for much at once, cannot keep other queues waiting.
 */
static void queue_serve(struct blk_queue *queue)
{
	struct virtqueue *ring = ring_of(queue);
	struct virtio_device *dev = &queue->blk->virtio;

	for (unsigned budget = ring->size; budget; budget--) {
		struct blk_request *request = take_free(queue);
		int ret;

		if (!request) {
			queue->starved = true;
			return;
		}
		request->chain.iov = request->iov;
		ret = virtqueue_pop(ring, &request->chain);
		if (ret > 0) {
			execute(request);
			if (io_thread_is_spent(queue->blk->thread))
				break;
			continue;
		}
		put_free(queue, request);
		if (ret < 0)
			virtio_device_broken(dev, ring->why);
		else if (virtqueue_rearm(ring))
			continue;
		return;
	}
	io_thread_ring_again(queue->blk->thread, &queue->io);
}

static bool may_pop(const struct blk_queue *queue)
{
	return queue->running && !queue->stopping &&
		!virtio_device_is_broken(&queue->blk->virtio);
}

static void queue_rung(struct io_queue *io)
{
	struct blk_queue *queue = container_of(io, struct blk_queue, io);

	if (may_pop(queue))
		queue_serve(queue);
}

static void queue_flush(struct io_queue *io)
{
	struct blk_queue *queue = container_of(io, struct blk_queue, io);
	struct virtio_device *dev = &queue->blk->virtio;

	if (virtqueue_publish(ring_of(queue)))
		virtio_queue_notify(dev, queue->index);
	if (queue->starved) {
		queue->starved = false;
		io_thread_ring_again(queue->blk->thread, io);
	}
	/* After this the queue is no longer ours. */
	if (queue->stopping && !queue->in_flight) {
		queue->running = false;
		virtio_queue_stopped(dev, queue->index);
	}
}

static void start_on_thread(struct io_order *order)
{
	struct blk_queue *queue = container_of(order, struct blk_queue, start);
	struct io_thread *thread = queue->blk->thread;

	queue->running = true;
	queue->stopping = false;
	queue->starved = false;
	queue->free = NULL;
	queue->fresh = 0;
	io_thread_add_queue(thread, &queue->io);
	/* The driver may have added requests before it had a doorbell to ring. */
	io_thread_ring_again(thread, &queue->io);
}

static void stop_on_thread(struct io_order *order)
{
	struct blk_queue *queue = container_of(order, struct blk_queue, stop);

	/* What completed in this round must be published first. */
	queue->stopping = true;
	io_thread_want_flush(&queue->io);
}

/* --- The device, on vCPU threads --- */

static void queue_start(struct virtio_device *dev, unsigned index)
{
	struct blk *blk = from_virtio(dev);

	blk->queue[index].features = dev->accepted;
	io_thread_order(blk->thread, &blk->queue[index].start);
}

static void queue_stop(struct virtio_device *dev, unsigned index)
{
	struct blk *blk = from_virtio(dev);

	io_thread_order(blk->thread, &blk->queue[index].stop);
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

static int init_queue(struct blk *blk, unsigned index)
{
	struct blk_queue *queue = &blk->queue[index];

	queue->blk = blk;
	queue->index = index;
	queue->start.run = start_on_thread;
	queue->stop.run = stop_on_thread;
	queue->io = (struct io_queue){
		.doorbell = blk->virtio.queue[index].doorbell,
		.rung = queue_rung,
		.flush = queue_flush,
	};
	queue->requests = calloc(blk->virtio.queue_size_max, sizeof(*queue->requests));
	return queue->requests ? 0 : -ENOMEM;
}

static int init_queues(struct blk *blk)
{
	int ret = 0;

	blk->queue = calloc(blk->virtio.queue_count, sizeof(*blk->queue));
	if (!blk->queue)
		return -ENOMEM;
	for (unsigned i = 0; i < blk->virtio.queue_count && ret == 0; i++)
		ret = init_queue(blk, i);
	return ret;
}

int blk_create(struct blk **result, const char *name, const struct blk_config *config,
	       struct disk *disk, struct io_thread *thread, const struct guest_memory *mem)
{
	struct blk *blk;
	int ret;

	if (!config->queues)
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->disk = disk;
	blk->thread = thread;
	blk->discard = config->discard;
	blk->cache = config->cache;
	blk->writeback = config->cache != BLK_CACHE_WRITETHROUGH;
	memcpy(blk->serial, config->serial, sizeof(blk->serial));
	blk->virtio = (struct virtio_device){
		.name = name,
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
	ret = init_queues(blk);
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
		free(blk->queue[i].requests);
	free(blk->queue);
	virtio_device_destroy(&blk->virtio);
	free(blk);
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
