// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/blk-rig.h"

#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"

#define POISON 0xff   /* of the status byte */
#define TABLE_LEN 64  /* entries of a slot's table */
#define PARTS_MAX 12

/* --- Transport --- */

static struct blk_rig *rig_of(struct virtio_device *dev)
{
	return container_of(dev->transport, struct blk_rig, transport);
}

static void notify_config(struct virtio_device *dev)
{
	__atomic_fetch_add(&rig_of(dev)->notices, 1, __ATOMIC_RELEASE);
}

static void queue_changed(struct virtio_device *dev, unsigned index)
{
	ck_assert_uint_lt(index, dev->queue_count);
}

static void was_reset(struct virtio_device *dev)
{
	(void)dev;
}

static const char *interrupt_held(struct virtio_device *dev, unsigned index, bool *lost)
{
	ck_assert_uint_lt(index, dev->queue_count);
	*lost = rig_of(dev)->interrupt_lost;
	return rig_of(dev)->interrupt_held;
}

static const char *doorbell_held(struct virtio_device *dev)
{
	return rig_of(dev)->doorbell_held;
}

static const struct virtio_transport_ops transport_ops = {
	.notify_config = notify_config,
	.interrupt_held = interrupt_held,
	.doorbell_held = doorbell_held,
	.queue_changed = queue_changed,
	.reset = was_reset,
};

static void raise_interrupt(struct virtio_notifier *notifier)
{
	struct blk_rig *rig = container_of(notifier, struct blk_rig, notifier);

	__atomic_fetch_add(&rig->interrupts, 1, __ATOMIC_RELEASE);
	eventfd_write(rig->interrupt, 1);
}

static struct virtio_interrupt look(const struct virtio_notifier *notifier)
{
	(void)notifier;
	return (struct virtio_interrupt){ .message.addr = RIG_MESSAGE };
}

bool rig_told(struct blk_rig *rig, int ms)
{
	struct pollfd pfd = { .fd = rig->interrupt, .events = POLLIN };
	eventfd_t count;

	return poll(&pfd, 1, ms) == 1 && eventfd_read(rig->interrupt, &count) == 0;
}

/* --- Life --- */

static void make_slots(struct blk_rig *rig)
{
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		rig->slot[i] = (struct rig_slot){
			/* Next to each other, so that parts may be joined. */
			.header = vq_ram_alloc(&rig->ram, 16 + RIG_DATA, 1),
			.status = vq_ram_alloc(&rig->ram, RIG_DATA + 1, 1),
			.table = vq_ram_alloc(&rig->ram, 16 * TABLE_LEN, 1),
		};
}

void rig_create_on(struct blk_rig *rig, const struct blk_config *config,
		   struct blk_threads *threads, uint16_t size)
{
	memset(rig, 0, sizeof(*rig));
	vq_ram_init(&rig->ram, RIG_GPA, 6 << 20);
	rig->transport.ops = &transport_ops;
	rig->notifier = (struct virtio_notifier){ raise_interrupt, look };
	rig->interrupt = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(disk_open(&rig->disk, &config->disk), 0);
	ck_assert_int_eq(blk_create(&rig->blk, "disk 'test'", config, &rig->disk, threads,
				    &rig->ram.mem), 0);
	rig->dev = blk_virtio(rig->blk);
	rig->dev->transport = &rig->transport;
	make_slots(rig);
	rig->driver = vq_driver_create(&rig->ram, size, RIG_EVENT | RIG_PACKED);
}

void rig_create(struct blk_rig *rig, const struct blk_config *config, struct io_thread *thread,
		uint16_t size)
{
	struct blk_threads one = { .thread = &thread, .count = 1 };

	rig_create_on(rig, config, &one, size);
}

void rig_stop(struct blk_rig *rig)
{
	virtio_device_shut_down(rig->dev);
}

void rig_free(struct blk_rig *rig)
{
	blk_destroy(rig->blk);
	disk_close(&rig->disk);
	close(rig->interrupt);
	vq_driver_free(rig->driver);
	vq_ram_free(&rig->ram);
}

static void enable_queue(struct blk_rig *rig)
{
	const struct virtqueue_config *config = vq_driver_config(rig->driver);
	struct virtio_queue *queue = virtio_queue_at(rig->dev, rig->queue);

	virtio_queue_set_size(rig->dev, queue, config->size);
	must(queue->config.size == config->size);
	queue->config.desc = config->desc;
	queue->config.driver = config->driver;
	queue->config.device = config->device;
	store_release(&queue->notifier, &rig->notifier);
	virtio_queue_enable(rig->dev, queue);
}

void rig_join(struct blk_rig *rig, struct blk_rig *first, unsigned queue)
{
	*rig = *first;
	rig->queue = queue;
	rig->interrupt = eventfd(0, EFD_CLOEXEC);
	make_slots(rig);
	rig->driver = vq_driver_create(&rig->ram, vq_driver_config(first->driver)->size,
				       first->features);
	first->ram.next = rig->ram.next;
	enable_queue(rig);
}

void rig_leave(struct blk_rig *rig)
{
	close(rig->interrupt);
	vq_driver_free(rig->driver);
}

void rig_prepare(struct blk_rig *rig, uint64_t features)
{
	struct virtqueue_config config = *vq_driver_config(rig->driver);
	struct virtio_device *dev = rig->dev;

	features |= VIRTIO_BIT(VIRTIO_F_VERSION_1);
	rig->features = features;
	vq_driver_free(rig->driver);
	rig->driver = vq_driver_create_at(&rig->ram, &config, features);
	must(virtio_get_status(dev) == 0);
	virtio_set_status(dev, 1);
	virtio_set_status(dev, 3);
	virtio_set_driver_features(dev, 0, (uint32_t)features);
	virtio_set_driver_features(dev, 1, (uint32_t)(features >> 32));
	virtio_set_status(dev, 0xb);
	must(virtio_get_status(dev) == 0xb);
	enable_queue(rig);
}

void rig_go(struct blk_rig *rig)
{
	virtio_set_status(rig->dev, 0xf);
	must((virtio_get_status(rig->dev) & 0xf) == 0xf);
}

void rig_reset_order(struct blk_rig *rig)
{
	virtio_set_status(rig->dev, 0);
}

void rig_reset_wait(struct blk_rig *rig)
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;

	/* Drivers poll, too. */
	while (virtio_get_status(rig->dev)) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 0);
	}
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		rig->slot[i].busy = false;
	vq_driver_reset(rig->driver);
	rig_told(rig, 0);
}

/* --- Requests --- */

/* Readable and writable bytes of a slot, cut into parts. */
struct parts {
	struct vq_part part[PARTS_MAX];
	unsigned count;
};

static void add_part(struct parts *parts, uint64_t gpa, uint32_t len, bool writable)
{
	if (len)
		parts->part[parts->count++] = (struct vq_part){ gpa, len, writable };
}

static void add_cut(struct blk_rig *rig, struct parts *parts, uint64_t gpa, uint32_t len,
		    bool writable, unsigned most)
{
	while (len && most-- > 1) {
		uint32_t limit = min(len, 1U << vq_random(&rig->random, 14));
		uint32_t n = vq_random(&rig->random, limit + 1);

		/* Empty parts now and then. */
		parts->part[parts->count++] = (struct vq_part){ gpa, n, writable };
		gpa += n;
		len -= n;
	}
	add_part(parts, gpa, len, writable);
}

static void cut(struct blk_rig *rig, struct parts *parts, const struct rig_slot *slot)
{
	const struct rig_request *r = &slot->request;
	uint32_t readable = 16 + r->out, writable = r->in + !r->without_status;

	parts->count = 0;
	if (r->cut == RIG_RANDOM) {
		add_cut(rig, parts, slot->header, readable, false, 1 + vq_random(&rig->random, 6));
		add_cut(rig, parts, slot->status, writable, true, 1 + vq_random(&rig->random, 6));
	} else if (r->cut == RIG_ONE_EACH) {
		add_part(parts, slot->header, readable, false);
		add_part(parts, slot->status, writable, true);
	} else {
		add_part(parts, slot->header, 16, false);
		add_part(parts, slot->header + 16, r->out, false);
		add_part(parts, slot->status, r->in, true);
		add_part(parts, slot->status + r->in, !r->without_status, true);
	}
}

unsigned rig_free_slot(const struct blk_rig *rig)
{
	unsigned i = 0;

	while (i < RIG_SLOTS && rig->slot[i].busy)
		i++;
	return i;
}

uint8_t *rig_data(struct blk_rig *rig, unsigned slot)
{
	const struct rig_slot *s = &rig->slot[slot];

	return vq_ram_ptr(&rig->ram, s->request.out ? s->header + 16 : s->status);
}

void rig_fill(struct blk_rig *rig, unsigned slot, const void *data, uint32_t len)
{
	vq_ram_put(&rig->ram, rig->slot[slot].header + 16, data, len);
}

int rig_add(struct blk_rig *rig, const struct rig_request *request)
{
	const struct virtio_blk_outhdr header = {
		.type = request->type,
		.ioprio = vq_random(&rig->random, UINT32_MAX),
		.sector = request->sector,
	};
	unsigned index = rig_free_slot(rig);
	struct rig_slot *slot = &rig->slot[index];
	struct vq_chain chain;
	struct parts parts;
	int id;

	if (index == RIG_SLOTS)
		return -1;
	must(request->in <= RIG_DATA && request->out <= RIG_DATA);
	slot->request = *request;
	cut(rig, &parts, slot);
	chain = (struct vq_chain){ .part = parts.part, .count = parts.count };
	if (request->cut == RIG_TABLE ||
	    (request->cut == RIG_RANDOM && (rig->features & RIG_INDIRECT) &&
	     vq_random(&rig->random, 4))) {
		bool whole = rig->features & RIG_PACKED; /* no list has a table */

		if (request->cut == RIG_RANDOM && !whole)
			chain.direct = vq_random(&rig->random, parts.count);
		chain.direct = min(chain.direct, vq_driver_config(rig->driver)->size - 1U);
		chain.entries = parts.count - chain.direct +
			(whole ? 0 : vq_random(&rig->random, 8));
		chain.table = slot->table;
	}
	vq_ram_put(&rig->ram, slot->header, &header, sizeof(header));
	if (!request->without_status)
		vq_ram_fill(&rig->ram, slot->status + request->in, POISON, 1);
	id = vq_driver_add(rig->driver, &chain);
	if (id < 0)
		return -1;
	slot->busy = true;
	slot->id = id;
	rig->slot_of[id] = (int)index;
	return (int)index;
}

void rig_kick(struct blk_rig *rig)
{
	if (vq_driver_publish(rig->driver))
		virtio_queue_kick(virtio_queue_at(rig->dev, rig->queue));
}

/* The used length that a request of this type and status has. */
static uint32_t expected_used(const struct rig_result *result)
{
	const struct rig_request *r = &result->request;
	uint32_t data = 0;

	if (r->without_status)
		return 0;
	if (result->status == VIRTIO_BLK_S_OK && r->type == VIRTIO_BLK_T_IN)
		data = r->in;
	if (result->status == VIRTIO_BLK_S_OK && r->type == VIRTIO_BLK_T_GET_ID)
		data = min(r->in, 20U);
	/* The status byte follows, or there is a gap. */
	return data == r->in ? data + 1 : data;
}

bool rig_poll(struct blk_rig *rig, struct rig_result *result)
{
	struct rig_slot *slot;
	struct vq_used used;

	if (!vq_driver_get(rig->driver, &used))
		return false;
	slot = &rig->slot[rig->slot_of[used.id]];
	must(slot->busy);
	slot->busy = false;
	*result = (struct rig_result){
		.slot = (unsigned)(slot - rig->slot),
		.request = slot->request,
		.used = used.len,
		.status = *(uint8_t *)vq_ram_ptr(&rig->ram, slot->status + slot->request.in),
	};
	must(slot->request.without_status || result->status != POISON);
	must(result->used == expected_used(result));
	return true;
}

void rig_wait(struct blk_rig *rig, struct rig_result *result)
{
	while (!rig_poll(rig, result))
		if (!vq_driver_listen(rig->driver, 1) && !rig_told(rig, RIG_DEADLINE_MS))
			ck_abort_msg("no interrupt, status %#x", virtio_get_status(rig->dev));
}

uint8_t rig_do(struct blk_rig *rig, const struct rig_request *request)
{
	struct rig_result result;

	must(rig_add(rig, request) >= 0);
	rig_kick(rig);
	rig_wait(rig, &result);
	return result.status;
}

void rig_check(struct blk_rig *rig)
{
	vq_driver_check(rig->driver);
}
