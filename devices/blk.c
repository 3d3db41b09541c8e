// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
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
};

/* A queue; all but the orders belongs to the I/O thread from start to stop. */
struct blk_queue {
	struct io_queue io;
	struct io_order start, stop;
	struct blk *blk;
	unsigned index;
	bool running, stopping;
	bool stable_writes; /* the driver cannot flush (section 5.2.6.2) */
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
	struct blk_queue queue;
};

static const struct virtio_feature blk_features[] = {
	{ VIRTIO_BLK_F_SEG_MAX, "SEG_MAX", "always", "5.2.3" },
	{ VIRTIO_BLK_F_RO, "RO", "with readonly", "5.2.3" },
	{ VIRTIO_BLK_F_BLK_SIZE, "BLK_SIZE", "always", "5.2.3" },
	{ VIRTIO_BLK_F_FLUSH, "FLUSH", "always", "5.2.3" },
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
	virtqueue_push(ring_of(queue), request->chain.head,
		       blk_used_len(request->chain.writable_len, data));
	put_free(queue, request);
	io_thread_want_flush(&queue->io);
}

/* The guest learns no more than IOERR; here is why. */
static void report_failure(const struct blk_request *request, int result)
{
	static const char *const verb[] = {
		[BLK_READ] = "read",
		[BLK_WRITE] = "write",
		[BLK_FLUSH] = "flush",
	};
	struct virtio_device *dev = &request->queue->blk->virtio;
	const struct blk_command *command = &request->command;

	log_limited(&dev->messages, "%s: cannot %s %" PRIu64 " bytes at %" PRIu64 ": %s", dev->name,
		    verb[command->action], command->len, command->offset, strerror(-result));
}

static void disk_done(struct disk_request *disk, int result)
{
	struct blk_request *request = container_of(disk, struct blk_request, disk);
	bool data_in = request->command.action == BLK_READ && result == 0;

	if (result && result != -ECANCELED)
		report_failure(request, result);
	request->queue->in_flight--;
	complete(request, result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK,
		 data_in ? request->command.len : 0);
}

static void start_io(struct blk_request *request)
{
	struct blk_queue *queue = request->queue;
	const struct blk_command *command = &request->command;
	struct disk_request *disk = &request->disk;

	*disk = (struct disk_request){
		.offset = command->offset,
		.len = command->len,
		.iov = command->iov,
		.iov_count = command->iov_count,
		.cancel = &queue->stopping,
		.done = disk_done,
	};
	if (command->action == BLK_READ)
		disk->op = DISK_READ;
	else if (command->action == BLK_FLUSH)
		disk->op = DISK_FLUSH;
	else
		disk->op = queue->stable_writes ? DISK_WRITE_STABLE : DISK_WRITE;
	queue->in_flight++;
	disk_queue(queue->blk->disk, queue->blk->thread, disk);
}

static void execute(struct blk_request *request)
{
	struct blk_queue *queue = request->queue;
	struct blk *blk = queue->blk;
	const struct blk_limits limits = {
		.sectors = load_relaxed(&blk->disk->sectors),
		.read_only = blk->disk->read_only,
		.serial = blk->serial,
	};

	blk_parse(&request->command, &request->chain, &limits);
	switch (request->command.action) {
	case BLK_NO_STATUS:
		/* Given back unanswered: a driver must not wait for it forever. */
		virtqueue_push(ring_of(queue), request->chain.head, 0);
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
 * the ring.  One call pops no more than the queue is long, so that a driver
 * that never stops adding cannot keep other queues waiting.
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

	(void)index;
	blk->queue.stable_writes = !(dev->accepted & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
	io_thread_order(blk->thread, &blk->queue.start);
}

static void queue_stop(struct virtio_device *dev, unsigned index)
{
	struct blk *blk = from_virtio(dev);

	(void)index;
	io_thread_order(blk->thread, &blk->queue.stop);
}

/* A request without INDIRECT takes a descriptor for each of its parts. */
static uint32_t data_segments(const struct virtio_device *dev)
{
	return dev->queue_size_max > 2 ? min(dev->queue_size_max - 2, DATA_SEGMENTS_MAX) : 1;
}

static void config_read(struct virtio_device *dev, void *to)
{
	const struct virtio_blk_config config = {
		.capacity = load_relaxed(&from_virtio(dev)->disk->sectors),
		.seg_max = data_segments(dev),
		.blk_size = DISK_SECTOR,
	};

	memcpy(to, &config, dev->config_len);
}

static void config_write(struct virtio_device *dev, unsigned offset, uint64_t value,
			 unsigned len)
{
	/* No field is the driver's to write without CONFIG_WCE. */
	(void)dev;
	(void)offset;
	(void)value;
	(void)len;
}

static bool features_ok(struct virtio_device *dev, uint64_t features)
{
	(void)dev;
	(void)features;
	return true;
}

static const struct virtio_device_ops blk_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.features_ok = features_ok,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

static uint64_t offered_features(const struct disk *disk)
{
	return VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_F_RING_RESET) |
		VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
		VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
		(disk->read_only ? VIRTIO_BIT(VIRTIO_BLK_F_RO) : 0);
}

static int init_queue(struct blk *blk)
{
	struct blk_queue *queue = &blk->queue;

	queue->blk = blk;
	queue->start.run = start_on_thread;
	queue->stop.run = stop_on_thread;
	queue->io = (struct io_queue){
		.doorbell = blk->virtio.queue[0].doorbell,
		.rung = queue_rung,
		.flush = queue_flush,
	};
	queue->requests = calloc(blk->virtio.queue_size_max, sizeof(*queue->requests));
	return queue->requests ? 0 : -ENOMEM;
}

int blk_create(struct blk **result, const char *name, const struct blk_config *config,
	       struct disk *disk, struct io_thread *thread, const struct guest_memory *mem)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	int ret;

	if (!blk)
		return -ENOMEM;
	blk->disk = disk;
	blk->thread = thread;
	memcpy(blk->serial, config->serial, sizeof(blk->serial));
	blk->virtio = (struct virtio_device){
		.name = name,
		.id = VIRTIO_ID_BLOCK,
		.offered = offered_features(disk),
		/* The longest layout that some driver expects, zeros where unused. */
		.config_len = offsetof(struct virtio_blk_config, unused1) + 3,
		.queue_count = 1,
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
	ret = init_queue(blk);
	if (ret) {
		blk_destroy(blk);
		return ret;
	}
	*result = blk;
	return 0;
}

void blk_destroy(struct blk *blk)
{
	free(blk->queue.requests);
	virtio_device_destroy(&blk->virtio);
	free(blk);
}

struct virtio_device *blk_virtio(struct blk *blk)
{
	return &blk->virtio;
}
