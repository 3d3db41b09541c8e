// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtio_device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"
#include "virtio/transport.h"

/* What a driver may set; NEEDS_RESET is the device's. */
#define STATUS_DRIVER_BITS                                                            \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

static void queue_defaults(struct virtio_device *dev, struct virtio_queue *queue)
{
	queue->config = (struct virtqueue_config){
		.size = dev->queue_size_max,
		.vector = VIRTIO_NO_VECTOR,
	};
	queue->disabling = false;
	queue->resetting = false;
	store_relaxed(&queue->notifier, NULL);
}

static int queue_init(struct virtio_device *dev, struct virtio_queue *queue)
{
	queue_defaults(dev, queue);
	queue->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->doorbell < 0)
		return -errno;
	if (!(dev->offered & VIRTIO_BIT(VIRTIO_F_IN_ORDER)))
		return 0;
	queue->held = calloc_lines(dev->queue_size_max, sizeof(*queue->held));
	return queue->held ? 0 : -ENOMEM;
}

int virtio_device_init(struct virtio_device *dev)
{
	if (dev->config_len > VIRTIO_CONFIG_MAX)
		return -E2BIG;
	dev->queue = calloc_lines(dev->queue_count, sizeof(*dev->queue));
	if (!dev->queue)
		return -ENOMEM;
	dev->config_changed = true; /* it was never read */
	pthread_mutex_init(&dev->event_lock, NULL);
	pthread_cond_init(&dev->queue_stopped, NULL);
	for (unsigned i = 0; i < dev->queue_count; i++)
		dev->queue[i].doorbell = -1;
	for (unsigned i = 0; i < dev->queue_count; i++) {
		int ret = queue_init(dev, &dev->queue[i]);

		if (ret) {
			virtio_device_destroy(dev);
			return ret;
		}
	}
	return 0;
}

void virtio_device_destroy(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++) {
		if (dev->queue[i].doorbell >= 0)
			close(dev->queue[i].doorbell);
		free(dev->queue[i].held);
	}
	pthread_cond_destroy(&dev->queue_stopped);
	pthread_mutex_destroy(&dev->event_lock);
	free(dev->queue);
}

/* --- Configuration space --- */

uint64_t virtio_config_read(struct virtio_device *dev, uint64_t offset, unsigned len)
{
	uint64_t value = 0;

	if (offset >= dev->config_len)
		return 0;
	/*
	 * The generation moves when changed configuration is read, not when it
	 * changes: 256 changes between two reads would look like none.  Reads
	 * are from a copy, so that none sees a change before its generation.
	 */
	if (__atomic_exchange_n(&dev->config_changed, false, __ATOMIC_ACQUIRE)) {
		store_relaxed(&dev->generation, dev->generation + 1);
		dev->ops->config_read(dev, dev->config);
	}
	memcpy(&value, dev->config + offset, len);
	return value;
}

void virtio_config_write(struct virtio_device *dev, uint64_t offset, uint64_t value,
			 unsigned len)
{
	if (offset >= dev->config_len || len > dev->config_len - offset)
		return;
	dev->ops->config_write(dev, (unsigned)offset, value, len);
	store_release(&dev->config_changed, true);
}

uint32_t virtio_feature_word(uint64_t features, uint32_t word)
{
	return word < 2 ? (uint32_t)(features >> (32 * word)) : 0;
}

void virtio_set_driver_features(struct virtio_device *dev, uint32_t word, uint32_t value)
{
	unsigned shift = 32 * word;

	/* What was accepted stays so until the next reset (section 3.1.1). */
	if (word > 1 || dev->live || (load_relaxed(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	dev->legacy = false;
	dev->driver_features &= ~((uint64_t)UINT32_MAX << shift);
	dev->driver_features |= (uint64_t)value << shift;
}

/* --- Queues --- */

struct virtio_queue *virtio_queue_at(struct virtio_device *dev, uint32_t index)
{
	return index < dev->queue_count ? &dev->queue[index] : NULL;
}

bool virtio_queue_running(const struct virtio_queue *queue)
{
	return load_acquire(&queue->state) == QUEUE_RUNNING;
}

void virtio_queue_kick(struct virtio_queue *queue)
{
	if (virtio_queue_running(queue))
		eventfd_write(queue->doorbell, 1);
}

void virtio_queue_set_size(struct virtio_device *dev, struct virtio_queue *queue, uint16_t size)
{
	bool any = dev->accepted & VIRTIO_BIT(VIRTIO_F_RING_PACKED);

	if (!queue->config.enabled && size && (any || !(size & (size - 1))) &&
	    size <= dev->queue_size_max)
		queue->config.size = size;
}

void virtio_queue_set_address(struct virtio_queue *queue, unsigned area, unsigned half,
			      uint32_t value)
{
	uint64_t *const addr[] = { &queue->config.desc, &queue->config.driver,
				   &queue->config.device };

	if (!queue->config.enabled)
		memcpy((uint8_t *)addr[area] + 4 * half, &value, sizeof(value));
}

static void queue_start(struct virtio_device *dev, struct virtio_queue *queue)
{
	unsigned index = (unsigned)(queue - dev->queue);

	if (virtqueue_start(&queue->ring, &queue->config, dev->mem, dev->accepted,
			    queue->held)) {
		virtio_device_broken(dev, queue->ring.why);
		return;
	}
	store_release(&queue->state, QUEUE_RUNNING);
	/* First: the queue's thread tells of what this sets. */
	dev->transport->ops->queue_changed(dev, index);
	probe(queue_start, dev->number, index, queue->ring.size, queue->ring.is_packed,
	      queue->notify, queue->notify_is_port);
	dev->ops->queue_start(dev, index);
}

void virtio_queue_enable(struct virtio_device *dev, struct virtio_queue *queue)
{
	if (queue->config.enabled)
		return;
	queue->config.enabled = true;
	if (dev->live)
		queue_start(dev, queue);
}

/* Order the thread of a running queue to let go of it. */
static void queue_stop(struct virtio_device *dev, struct virtio_queue *queue)
{
	unsigned index = (unsigned)(queue - dev->queue);

	if (!virtio_queue_running(queue))
		return;
	store_relaxed(&queue->state, QUEUE_STOPPING);
	dev->transport->ops->queue_changed(dev, index);
	dev->ops->queue_stop(dev, index);
}

/* Complete what waits for the queue's thread, if that has let go of it. */
static void queue_finish(struct virtio_device *dev, struct virtio_queue *queue)
{
	const struct virtio_transport_ops *transport = dev->transport->ops;
	unsigned index = (unsigned)(queue - dev->queue);

	if (!queue->disabling || dev->resetting || load_acquire(&queue->state) != QUEUE_STOPPED)
		return;
	queue->disabling = false;
	queue->config.enabled = false;
	if (queue->resetting) {
		if (transport->queue_reset)
			transport->queue_reset(dev, index);
		queue_defaults(dev, queue);
	}
	transport->queue_changed(dev, index);
}

void virtio_queue_disable(struct virtio_device *dev, struct virtio_queue *queue)
{
	if (dev->resetting)
		return;
	queue->disabling = true;
	queue_stop(dev, queue);
	queue_finish(dev, queue);
}

void virtio_queue_reset(struct virtio_device *dev, struct virtio_queue *queue)
{
	if (dev->resetting || !(dev->accepted & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		return;
	queue->resetting = true;
	virtio_queue_disable(dev, queue);
}

bool virtio_queue_settle(struct virtio_device *dev, struct virtio_queue *queue)
{
	queue_finish(dev, queue);
	return queue->resetting;
}

void virtio_queue_stopped(struct virtio_device *dev, unsigned index)
{
	probe(queue_stop, dev->number, index);
	pthread_mutex_lock(&dev->event_lock);
	store_release(&dev->queue[index].state, QUEUE_STOPPED);
	pthread_cond_broadcast(&dev->queue_stopped);
	pthread_mutex_unlock(&dev->event_lock);
}

void virtio_queue_notify(struct virtio_device *dev, unsigned index)
{
	struct virtio_notifier *notifier = load_acquire(&dev->queue[index].notifier);

	if (probe_wanted(interrupt))
		virtio_interrupt_probe(dev, index, notifier);
	if (notifier)
		notifier->raise(notifier);
}

const char *virtio_queue_interrupt_held(struct virtio_device *dev, unsigned index, bool *lost)
{
	const struct virtio_transport_ops *transport = dev->transport->ops;

	*lost = false;
	return transport->interrupt_held ? transport->interrupt_held(dev, index, lost) : NULL;
}

const char *virtio_queue_doorbell_held(struct virtio_device *dev)
{
	const struct virtio_transport_ops *transport = dev->transport->ops;

	return transport->doorbell_held ? transport->doorbell_held(dev) : NULL;
}

void virtio_interrupt_probe(const struct virtio_device *dev, unsigned queue,
			    const struct virtio_notifier *notifier)
{
	struct virtio_interrupt seen = { .way = VIRTIO_INTERRUPT_NO_VECTOR };

	if (notifier)
		seen = notifier->look(notifier);
	probe(interrupt, dev->number, queue, seen.way, seen.message.addr, seen.message.data);
}

/* --- Status --- */

static size_t list_features(const struct virtio_device *dev, const struct virtio_feature *table,
			    char *text, size_t size)
{
	size_t used = 0;

	for (; table->name && used < size; table++)
		if (dev->accepted & VIRTIO_BIT(table->bit))
			used += (size_t)snprintf(text + used, size - used, " %s", table->name);
	return min(used, size);
}

static void log_features(struct virtio_device *dev)
{
	char text[512] = "";
	size_t used = list_features(dev, virtio_features, text, sizeof(text));

	list_features(dev, dev->feature_names, text + used, sizeof(text) - used);
	log_info_limited(&dev->messages, "%s: in use with%s", dev->name, text);
}

static bool type_can_use(struct virtio_device *dev, uint64_t features)
{
	return !dev->ops->features_ok || dev->ops->features_ok(dev, features);
}

static bool features_usable(struct virtio_device *dev)
{
	uint64_t features = dev->driver_features;

	return !(features & ~dev->offered) && (features & VIRTIO_BIT(VIRTIO_F_VERSION_1)) &&
		type_can_use(dev, features);
}

static void accept_features(struct virtio_device *dev, uint64_t features)
{
	dev->accepted = features;
	probe(device_features, dev->number, features);
	if (dev->ops->features_accepted)
		dev->ops->features_accepted(dev);
}

static void go_live(struct virtio_device *dev)
{
	/* A legacy driver cannot be refused its features before (section 3.1.2). */
	if (dev->legacy) {
		uint64_t features = dev->driver_features & virtio_legacy_offered(dev);

		if (!type_can_use(dev, features & dev->offered)) {
			virtio_device_broken(dev, "its features do not go together");
			return;
		}
		accept_features(dev, features);
	}
	dev->live = true;
	log_features(dev);
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->queue[i].config.enabled)
			queue_start(dev, &dev->queue[i]);
}

/* Tell the driver, which has just set DRIVER_OK, of what came before. */
static void notify_held(struct virtio_device *dev)
{
	pthread_mutex_lock(&dev->event_lock);
	if (dev->notify_later)
		dev->transport->ops->notify_config(dev);
	dev->notify_later = false;
	pthread_mutex_unlock(&dev->event_lock);
}

/* Complete a reset if every queue has stopped. */
static void reset_finish(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (load_acquire(&dev->queue[i].state) != QUEUE_STOPPED)
			return;
	for (unsigned i = 0; i < dev->queue_count; i++)
		queue_defaults(dev, &dev->queue[i]);
	dev->driver_features = 0;
	dev->accepted = 0;
	dev->legacy = false;
	dev->resetting = false;
	pthread_mutex_lock(&dev->event_lock);
	dev->notify_later = false;
	dev->transport->ops->reset(dev);
	store_release(&dev->status, 0);
	pthread_mutex_unlock(&dev->event_lock);
	probe(device_status, dev->number, 0);
}

static void reset(struct virtio_device *dev)
{
	if (!dev->resetting) {
		dev->resetting = true;
		dev->live = false;
		for (unsigned i = 0; i < dev->queue_count; i++)
			queue_stop(dev, &dev->queue[i]);
	}
	reset_finish(dev);
}

uint8_t virtio_get_status(struct virtio_device *dev)
{
	if (dev->resetting)
		reset_finish(dev);
	return load_acquire(&dev->status);
}

void virtio_set_status(struct virtio_device *dev, uint8_t value)
{
	uint8_t set, now;

	if (value == 0) {
		reset(dev);
		return;
	}
	if (dev->resetting)
		return;
	/* Bits only accumulate until the next reset (section 2.1.1). */
	now = load_relaxed(&dev->status);
	set = value & STATUS_DRIVER_BITS & ~now;
	/* To a legacy driver that bit is nothing (section 3.1.2). */
	if ((set & VIRTIO_CONFIG_S_FEATURES_OK) && !dev->legacy) {
		if (features_usable(dev))
			accept_features(dev, dev->driver_features);
		else
			set &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	now = __atomic_or_fetch(&dev->status, set, __ATOMIC_SEQ_CST);
	probe(device_status, dev->number, now);
	if (!dev->live && (now & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    (dev->legacy || (now & VIRTIO_CONFIG_S_FEATURES_OK)) &&
	    !(now & VIRTIO_CONFIG_S_NEEDS_RESET))
		go_live(dev);
	if (set & VIRTIO_CONFIG_S_DRIVER_OK)
		notify_held(dev);
}

/* --- The legacy interface --- */

bool virtio_legacy_begin(struct virtio_device *dev)
{
	if (!(load_relaxed(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK))
		dev->legacy = true;
	return dev->legacy;
}

uint32_t virtio_legacy_offered(const struct virtio_device *dev)
{
	return (uint32_t)(dev->offered | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT));
}

void virtio_legacy_set_features(struct virtio_device *dev, uint32_t value)
{
	if (virtio_legacy_begin(dev) && !dev->live)
		dev->driver_features = value & virtio_legacy_offered(dev);
}

void virtio_legacy_queue_used(struct virtio_device *dev, const struct virtio_queue *queue)
{
	if (dev->legacy && !dev->live && !dev->resetting && queue->config.enabled &&
	    !virtio_device_is_broken(dev))
		go_live(dev);
}

/* --- Waiting for threads --- */

void virtio_device_wait_stopped(struct virtio_device *dev, const struct virtio_queue *queue)
{
	const struct virtio_queue *first = queue ? queue : dev->queue;
	const struct virtio_queue *end = queue ? queue + 1 : dev->queue + dev->queue_count;

	pthread_mutex_lock(&dev->event_lock);
	for (; first < end; first++)
		while (load_relaxed(&first->state) == QUEUE_STOPPING && !dev->waits_ended)
			pthread_cond_wait(&dev->queue_stopped, &dev->event_lock);
	pthread_mutex_unlock(&dev->event_lock);
}

void virtio_device_end_waits(struct virtio_device *dev)
{
	pthread_mutex_lock(&dev->event_lock);
	dev->waits_ended = true;
	pthread_cond_broadcast(&dev->queue_stopped);
	pthread_mutex_unlock(&dev->event_lock);
}

void virtio_device_shut_down(struct virtio_device *dev)
{
	reset(dev);
	pthread_mutex_lock(&dev->event_lock);
	for (unsigned i = 0; i < dev->queue_count; i++)
		while (load_relaxed(&dev->queue[i].state) != QUEUE_STOPPED)
			pthread_cond_wait(&dev->queue_stopped, &dev->event_lock);
	pthread_mutex_unlock(&dev->event_lock);
	reset_finish(dev);
}

/* --- Events --- */

static void tell_driver(struct virtio_device *dev)
{
	/*
	 * Before DRIVER_OK this must wait for it (section 2.1.2): notify_held()
	 * comes after the status is set, so one of the two sends it.  After a reset
	 * there must be none: that drops it under the same lock (section 2.4.1).
	 */
	pthread_mutex_lock(&dev->event_lock);
	if (load_relaxed(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		dev->transport->ops->notify_config(dev);
	else
		dev->notify_later = true;
	pthread_mutex_unlock(&dev->event_lock);
}

void virtio_notify_config(struct virtio_device *dev)
{
	store_release(&dev->config_changed, true);
	probe(config_change, dev->number, load_relaxed(&dev->generation));
	tell_driver(dev);
}

bool virtio_device_is_broken(const struct virtio_device *dev)
{
	return load_relaxed(&dev->status) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

void virtio_device_broken(struct virtio_device *dev, const char *why)
{
	uint8_t before = __atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET,
					   __ATOMIC_SEQ_CST);

	if (before & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	probe(device_broken, dev->number, (intptr_t)why);
	log_limited(&dev->messages, "%s: needs a reset: %s", dev->name, why);
	tell_driver(dev);
}
