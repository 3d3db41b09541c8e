// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>

#include "hw/base/fence.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"
#include "virtio/transport.h"

#define MAGIC 0x74726976 /* "virt" */
#define VERSION 2
#define VENDOR 0x1af4
#define QUEUE_RESET 0x0c0 /* newer than the kernel's headers */

struct virtio_mmio {
	pthread_mutex_t lock; /* the device lock */
	struct virtio_transport transport;
	struct virtio_device *dev;
	struct virtio_mmio_config config;
	struct irq_source irq;
	struct virtio_notifier by_line; /* of all queues */

	/* Device lock. */
	uint32_t device_feature_select, driver_feature_select, queue_select;
	bool *attached; /* one a queue: KVM takes its doorbell */

	uint8_t interrupt; /* atomic: InterruptStatus */
};

static struct virtio_mmio *from_device(struct virtio_device *dev)
{
	return container_of(dev->transport, struct virtio_mmio, transport);
}

/* --- Interrupts --- */

static bool irq_asserted(void *opaque)
{
	const struct virtio_mmio *mmio = opaque;

	return load_relaxed(&mmio->interrupt);
}

static void raise_interrupt(struct virtio_mmio *mmio, uint8_t bit)
{
	__atomic_fetch_or(&mmio->interrupt, bit, __ATOMIC_SEQ_CST);
	irq_source_update(&mmio->irq);
}

static void acknowledge(struct virtio_mmio *mmio, uint32_t bits)
{
	__atomic_fetch_and(&mmio->interrupt, (uint8_t)~bits, __ATOMIC_SEQ_CST);
	irq_source_update(&mmio->irq);
}

static void raise_line(struct virtio_notifier *notifier)
{
	raise_interrupt(container_of(notifier, struct virtio_mmio, by_line),
			VIRTIO_MMIO_INT_VRING);
}

static struct virtio_interrupt look_at_line(const struct virtio_notifier *notifier)
{
	const struct virtio_mmio *mmio = container_of(notifier, struct virtio_mmio, by_line);

	return (struct virtio_interrupt){
		.way = VIRTIO_INTERRUPT_LINE,
		.message.addr = mmio->irq.line->gsi,
	};
}

static void notify_config(struct virtio_device *dev)
{
	struct virtio_mmio *mmio = from_device(dev);

	if (probe_wanted(interrupt))
		virtio_interrupt_probe(dev, VIRTIO_CONFIG_QUEUE, &mmio->by_line);
	raise_interrupt(mmio, VIRTIO_MMIO_INT_CONFIG);
}

/* --- Doorbells --- */

/*
 * All queues share a register, so a short-cut must match the value; with
 * NOTIFICATION_DATA that is not the queue's index alone, and there is none.
 */
static void update_doorbell(struct virtio_mmio *mmio, unsigned index)
{
	const struct virtio_queue *queue = &mmio->dev->queue[index];
	const struct doorbell_port *port = &mmio->config.doorbell;
	const struct doorbell doorbell = {
		.addr = mmio->config.base + VIRTIO_MMIO_QUEUE_NOTIFY,
		.eventfd = queue->doorbell,
		.len = 4,
		.value = index,
	};
	bool wanted = virtio_queue_running(queue);

	if (!port->ops)
		return;
	if (wanted && (mmio->dev->accepted & VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA))) {
		log_info_limited(&mmio->dev->messages, "%s: NOTIFICATION_DATA: doorbell writes "
				 "exit to vmm, since KVM cannot match them", mmio->dev->name);
		wanted = false;
	}
	if (wanted == mmio->attached[index])
		return;
	if (wanted)
		wanted = port->ops->attach(port->opaque, &doorbell) == 0;
	else
		port->ops->detach(port->opaque, &doorbell);
	mmio->attached[index] = wanted;
}

static void queue_changed(struct virtio_device *dev, unsigned index)
{
	struct virtio_mmio *mmio = from_device(dev);

	store_relaxed(&dev->queue[index].notify, mmio->config.base + VIRTIO_MMIO_QUEUE_NOTIFY);
	update_doorbell(mmio, index);
	store_release(&dev->queue[index].notifier, &mmio->by_line);
}

static void notify_write(struct virtio_mmio *mmio, uint32_t value)
{
	struct virtio_queue *queue;

	if (mmio->dev->accepted & VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA))
		value &= 0xffff; /* above it is a position, of no use here */
	queue = virtio_queue_at(mmio->dev, value);
	if (queue)
		virtio_queue_kick(queue);
}

/* --- Registers (section 4.2.2) --- */

static uint32_t register_read(struct virtio_mmio *mmio, uint64_t offset)
{
	struct virtio_device *dev = mmio->dev;
	struct virtio_queue *queue = virtio_queue_at(dev, mmio->queue_select);
	/* First: it may change the others. */
	bool resetting = queue && virtio_queue_settle(dev, queue);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return dev->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_feature_word(dev->offered, mmio->device_feature_select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? dev->queue_size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->config.enabled;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return load_acquire(&mmio->interrupt);
	case VIRTIO_MMIO_STATUS:
		return virtio_get_status(dev);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* no shared memory, whatever its id */
	case QUEUE_RESET:
		return resetting;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return dev->generation;
	default:
		return 0;
	}
}

static void queue_write(struct virtio_mmio *mmio, struct virtio_queue *queue, uint64_t offset,
			uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		if (value <= UINT16_MAX)
			virtio_queue_set_size(mmio->dev, queue, (uint16_t)value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (value == 1)
			virtio_queue_enable(mmio->dev, queue);
		else if (value == 0)
			virtio_queue_disable(mmio->dev, queue);
		break;
	case QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(mmio->dev, queue);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		virtio_queue_set_address(queue, (offset - VIRTIO_MMIO_QUEUE_DESC_LOW) / 0x10,
					 offset / 4 % 2, value);
	}
}

static void register_write(struct virtio_mmio *mmio, struct virtio_queue *queue, uint64_t offset,
			   uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->device_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->driver_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_set_driver_features(mmio->dev, mmio->driver_feature_select, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		mmio->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notify_write(mmio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		acknowledge(mmio, value);
		break;
	case VIRTIO_MMIO_STATUS:
		/* Only 0 resets; bits above the status mean nothing. */
		if (!value || (uint8_t)value)
			virtio_set_status(mmio->dev, (uint8_t)value);
		break;
	default:
		if (queue)
			queue_write(mmio, queue, offset, value);
	}
}

/*
 * Complete what the write to @offset began.  Other vCPUs may use the registers
 * meanwhile, and see that it is not complete.
 */
static void wait_stopped(struct virtio_mmio *mmio, struct virtio_queue *queue, uint64_t offset)
{
	struct virtio_device *dev = mmio->dev;

	if (offset == VIRTIO_MMIO_STATUS)
		queue = NULL;
	else if (!queue || (offset != VIRTIO_MMIO_QUEUE_READY && offset != QUEUE_RESET))
		return;
	pthread_mutex_unlock(&mmio->lock);
	virtio_device_wait_stopped(dev, queue);
	pthread_mutex_lock(&mmio->lock);
	if (queue)
		virtio_queue_settle(dev, queue);
	else
		virtio_get_status(dev); /* completes the reset */
}

/* --- The bus --- */

/* Registers take aligned 32-bit accesses only; no other changes a neighbour. */
static bool is_register(uint64_t offset, unsigned len)
{
	return len == 4 && offset % 4 == 0;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned len)
{
	struct virtio_mmio *mmio = opaque;
	uint64_t value = 0;

	pthread_mutex_lock(&mmio->lock);
	if (offset >= VIRTIO_MMIO_CONFIG)
		value = virtio_config_read(mmio->dev, offset - VIRTIO_MMIO_CONFIG, len);
	else if (is_register(offset, len))
		value = register_read(mmio, offset);
	pthread_mutex_unlock(&mmio->lock);
	return value;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct virtio_mmio *mmio = opaque;
	struct virtio_queue *queue;

	pthread_mutex_lock(&mmio->lock);
	queue = virtio_queue_at(mmio->dev, mmio->queue_select);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_config_write(mmio->dev, offset - VIRTIO_MMIO_CONFIG, value, len);
	} else if (is_register(offset, len)) {
		register_write(mmio, queue, offset, (uint32_t)value);
		wait_stopped(mmio, queue, offset);
	}
	pthread_mutex_unlock(&mmio->lock);
}

static const struct bus_ops bus_ops = { .read = mmio_read, .write = mmio_write };

/* --- Life --- */

static void use_line(struct virtio_mmio *mmio)
{
	for (unsigned i = 0; i < mmio->dev->queue_count; i++)
		store_release(&mmio->dev->queue[i].notifier, &mmio->by_line);
}

static void device_reset(struct virtio_device *dev)
{
	struct virtio_mmio *mmio = from_device(dev);

	mmio->device_feature_select = 0;
	mmio->driver_feature_select = 0;
	mmio->queue_select = 0;
	acknowledge(mmio, UINT32_MAX);
	use_line(mmio);
}

static const struct virtio_transport_ops transport_ops = {
	.notify_config = notify_config,
	.queue_changed = queue_changed,
	.reset = device_reset,
};

static void mmio_free(struct virtio_mmio *mmio)
{
	pthread_mutex_destroy(&mmio->lock);
	free(mmio->attached);
	free(mmio);
}

int virtio_mmio_create(struct virtio_mmio **result, struct virtio_device *dev,
		       const struct virtio_mmio_config *config)
{
	struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	int ret = -ENOMEM;

	if (!mmio)
		return ret;
	pthread_mutex_init(&mmio->lock, NULL);
	mmio->dev = dev;
	mmio->config = *config;
	mmio->transport.ops = &transport_ops;
	mmio->by_line = (struct virtio_notifier){ raise_line, look_at_line };
	irq_source_init(&mmio->irq, config->line, irq_asserted, mmio);
	mmio->attached = calloc(dev->queue_count, sizeof(*mmio->attached));
	if (mmio->attached) {
		const struct bus_region region = {
			.base = config->base,
			.len = VIRTIO_MMIO_LENGTH,
			.ops = &bus_ops,
			.opaque = mmio,
		};

		dev->transport = &mmio->transport;
		use_line(mmio);
		ret = bus_add(config->bus, &region);
	}
	if (ret) {
		mmio_free(mmio);
		return ret;
	}
	*result = mmio;
	return 0;
}

void virtio_mmio_destroy(struct virtio_mmio *mmio)
{
	bus_remove(mmio->config.bus, mmio->config.base);
	mmio_free(mmio);
}
