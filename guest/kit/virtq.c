// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/virtq.h"

#include "guest/kit/memory.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	AVAIL_FLAGS = 0, /* in 16-bit words */
	AVAIL_IDX = 1,
	AVAIL_RING = 2,

	USED_FLAGS = 0, /* in bytes */
	USED_IDX = 2,
	USED_RING = 4,

	DESC_ALIGN = 16,
	AVAIL_ALIGN = 2,
	USED_ALIGN = 4,
};

uint32_t virtq_desc_bytes(uint16_t size)
{
	return 16u * size;
}

uint32_t virtq_avail_bytes(uint16_t size)
{
	return 6 + 2u * size;
}

uint32_t virtq_used_bytes(uint16_t size)
{
	return 6 + 8u * size;
}

/* Minimum alignments on purpose: a device may ask for no more (section Split Virtqueues). */
void virtq_create(struct virtq *queue, struct virtio_device *device, uint16_t index, uint16_t size)
{
	*queue = (struct virtq){
		.device = device,
		.index = index,
		.size = size,
		.desc = heap_alloc(virtq_desc_bytes(size), DESC_ALIGN),
		.avail = heap_alloc(virtq_avail_bytes(size), AVAIL_ALIGN),
		.used = heap_alloc(virtq_used_bytes(size), USED_ALIGN),
	};
}

void virtq_enable(struct virtq *queue, uint16_t vector)
{
	const struct virtio_device *device = queue->device;

	queue->doorbell = virtio_doorbell(device, queue->index);
	virtio_queue_vector(device, queue->index, vector);
	virtio_write16(device, QUEUE_SIZE, queue->size);
	virtio_write64(device, QUEUE_DESC, (uintptr_t)queue->desc);
	virtio_write64(device, QUEUE_DRIVER, (uintptr_t)queue->avail);
	virtio_write64(device, QUEUE_DEVICE, (uintptr_t)queue->used);
	virtio_write16(device, QUEUE_ENABLE, 1);
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 1);
}

static uint16_t load(const void *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

uint16_t virtq_used_idx(const struct virtq *queue)
{
	return load(queue->used + USED_IDX);
}

uint16_t virtq_used_flags(const struct virtq *queue)
{
	return load(queue->used + USED_FLAGS);
}

struct virtq_used_element virtq_used_at(const struct virtq *queue, uint16_t position)
{
	const volatile struct virtq_used_element *ring = (void *)(queue->used + USED_RING);
	uint16_t slot = position % queue->size;

	return (struct virtq_used_element){ ring[slot].id, ring[slot].length };
}

uint16_t virtq_avail_event(const struct virtq *queue)
{
	return load(queue->used + USED_RING + 8u * queue->size);
}

uint16_t virtq_avail_idx(const struct virtq *queue)
{
	return queue->avail[AVAIL_IDX];
}

/*
 * Release: the ring entries and descriptors are written before the index that hands them
 * over.
 */
void virtq_set_avail_idx(struct virtq *queue, uint16_t idx)
{
	store(&queue->avail[AVAIL_IDX], idx);
}

void virtq_set_avail_flags(struct virtq *queue, uint16_t flags)
{
	store(&queue->avail[AVAIL_FLAGS], flags);
}

void virtq_set_used_event(struct virtq *queue, uint16_t event)
{
	store(&queue->avail[AVAIL_RING + queue->size], event);
}

void virtq_fill(struct virtq_desc *table, unsigned first, unsigned size,
		const struct virtq_buffer *pieces, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool last = i + 1 == count;

		table[(first + i) % size] = (struct virtq_desc){
			.address = (uintptr_t)pieces[i].data,
			.length = pieces[i].length,
			.flags =
				(pieces[i].device_writes ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT),
			.next = last ? 0 : (uint16_t)((first + i + 1) % size),
		};
	}
}

uint16_t virtq_take_desc(struct virtq *queue, unsigned count)
{
	uint16_t first = queue->next_desc;

	CHECK(count <= queue->size);
	queue->next_desc = (uint16_t)((first + count) % queue->size);
	return first;
}

uint16_t virtq_add(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count)
{
	uint16_t head = virtq_take_desc(queue, count);

	virtq_fill(queue->desc, head, queue->size, pieces, count);
	return head;
}

uint16_t virtq_add_indirect(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count)
{
	struct virtq_desc *table = heap_alloc(count * sizeof(*table), DESC_ALIGN);
	uint16_t head = virtq_take_desc(queue, 1);

	virtq_fill(table, 0, count, pieces, count);
	queue->desc[head] = (struct virtq_desc){
		.address = (uintptr_t)table,
		.length = (uint32_t)(count * sizeof(*table)),
		.flags = DESC_INDIRECT,
	};
	return head;
}

void virtq_publish(struct virtq *queue, uint16_t head)
{
	uint16_t idx = virtq_avail_idx(queue);

	queue->avail[AVAIL_RING + idx % queue->size] = head;
	virtq_set_avail_idx(queue, idx + 1);
}

/*
 * The doorbell store is uncached and cannot pass the index store on x86: no fence is
 * needed between them.
 */
void virtq_kick(const struct virtq *queue)
{
	mmio_write16(queue->doorbell, queue->index);
}

bool virtq_has_used(const struct virtq *queue)
{
	return virtq_used_idx(queue) != queue->last_used;
}

struct virtq_used_element virtq_take_used(struct virtq *queue)
{
	CHECK(virtq_has_used(queue));
	return virtq_used_at(queue, queue->last_used++);
}
