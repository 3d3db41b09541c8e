// SPDX-License-Identifier: BSD-2-Clause
/*
 * The legacy interface of a transitional device (virtio 1.4, section 4.1.4.10):
 * a header of registers at the start of an I/O BAR, and the configuration right
 * behind it.  The header is longer while MSI-X is on.  Registers and the rings
 * are little-endian, as the guests are.
 *
 * Drivers of this interface do not poll: a write that resets the device or stops
 * a queue returns when that is complete.
 *
 * Bus mastering counts here, too: what an old driver rings for without it is
 * done once it is on.
 */
#include "virtio/virtio_pci_private.h"

#include <linux/virtio_pci.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

#define MSIX_CONFIG_VECTOR 20
#define MSIX_QUEUE_VECTOR 22

/* Where the configuration begins. */
static unsigned header_len(const struct virtio_pci *vp)
{
	return VIRTIO_PCI_CONFIG_OFF(msix_enabled(&vp->msix));
}

void virtio_pci_legacy_add_bar(struct virtio_pci *vp)
{
	unsigned needed = VIRTIO_PCI_CONFIG_OFF(true) + vp->dev->config_len, size = 32;

	while (size < needed)
		size *= 2;
	pci_device_add_io_bar(&vp->pci, VIRTIO_PCI_BAR_LEGACY, size);
}

struct doorbell virtio_pci_legacy_doorbell(const struct virtio_pci *vp, unsigned index)
{
	return (struct doorbell){
		.addr = vp->pci.bar[VIRTIO_PCI_BAR_LEGACY].addr + VIRTIO_PCI_QUEUE_NOTIFY,
		.is_port = true,
		.len = 2,
		.value = index,
	};
}

/* --- Reading --- */

static uint32_t page_number(const struct virtio_queue *queue)
{
	if (!queue || !queue->config.enabled)
		return 0;
	return (uint32_t)(queue->config.desc >> VIRTIO_PCI_QUEUE_ADDR_SHIFT);
}

static uint32_t header_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
	const struct virtio_queue *queue = virtio_queue_at(vp->dev, vp->queue_select);

	switch (REGISTER(offset, len)) {
	case REGISTER(VIRTIO_PCI_HOST_FEATURES, 4):
		return virtio_legacy_offered(vp->dev);
	case REGISTER(VIRTIO_PCI_GUEST_FEATURES, 4):
		return (uint32_t)vp->dev->driver_features;
	case REGISTER(VIRTIO_PCI_QUEUE_PFN, 4):
		return page_number(queue);
	case REGISTER(VIRTIO_PCI_QUEUE_NUM, 2):
		return queue ? queue->config.size : 0;
	case REGISTER(VIRTIO_PCI_QUEUE_SEL, 2):
		return vp->queue_select;
	case REGISTER(VIRTIO_PCI_STATUS, 1):
		return virtio_get_status(vp->dev);
	case REGISTER(VIRTIO_PCI_ISR, 1):
		return virtio_pci_read_isr(vp);
	case REGISTER(MSIX_CONFIG_VECTOR, 2):
		return vp->config_vector;
	case REGISTER(MSIX_QUEUE_VECTOR, 2):
		return queue ? queue->config.vector : VIRTIO_NO_VECTOR;
	default:
		return 0;
	}
}

uint64_t virtio_pci_legacy_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
	unsigned header = header_len(vp);

	if (offset >= header)
		return virtio_config_read(vp->dev, offset - header, len);
	return header_read(vp, offset, len);
}

/* --- Writing --- */

/* Other vCPUs may use the registers meanwhile, and see that it is not complete. */
static void wait_stopped(struct virtio_pci *vp, const struct virtio_queue *queue)
{
	pthread_mutex_unlock(&vp->pci.lock);
	virtio_device_wait_stopped(vp->dev, queue);
	pthread_mutex_lock(&vp->pci.lock);
}

/* All three areas follow from the first (section 2.7.2). */
static void start_queue(struct virtio_pci *vp, struct virtio_queue *queue, uint32_t page)
{
	struct virtqueue_config *config = &queue->config;

	if (config->enabled)
		return;
	config->desc = (uint64_t)page << VIRTIO_PCI_QUEUE_ADDR_SHIFT;
	config->driver = config->desc + 16 * config->size;
	config->device = align_up(config->driver + 6 + 2 * config->size, VIRTIO_PCI_VRING_ALIGN);
	virtio_queue_enable(vp->dev, queue);
}

static void stop_queue(struct virtio_pci *vp, struct virtio_queue *queue)
{
	virtio_queue_disable(vp->dev, queue);
	wait_stopped(vp, queue);
	virtio_queue_settle(vp->dev, queue); /* and so disabled */
}

static void page_write(struct virtio_pci *vp, struct virtio_queue *queue, uint32_t page)
{
	if (!virtio_legacy_begin(vp->dev))
		return;
	if (page)
		start_queue(vp, queue, page);
	else
		stop_queue(vp, queue);
}

static void notify_write(struct virtio_pci *vp, uint32_t index)
{
	struct virtio_queue *queue = virtio_queue_at(vp->dev, index);

	if (!queue || !vp->bus_master)
		return;
	virtio_legacy_queue_used(vp->dev, queue);
	virtio_queue_kick(queue);
}

static void status_write(struct virtio_pci *vp, uint8_t value)
{
	if (value)
		virtio_legacy_begin(vp->dev);
	virtio_set_status(vp->dev, value);
	if (value)
		return;
	wait_stopped(vp, NULL);
	virtio_get_status(vp->dev); /* completes the reset */
}

static void header_write(struct virtio_pci *vp, uint64_t offset, uint32_t value, unsigned len)
{
	struct virtio_queue *queue = virtio_queue_at(vp->dev, vp->queue_select);

	switch (REGISTER(offset, len)) {
	case REGISTER(VIRTIO_PCI_GUEST_FEATURES, 4):
		virtio_legacy_set_features(vp->dev, value);
		break;
	case REGISTER(VIRTIO_PCI_QUEUE_PFN, 4):
		if (queue)
			page_write(vp, queue, value);
		break;
	case REGISTER(VIRTIO_PCI_QUEUE_SEL, 2):
		vp->queue_select = (uint16_t)value;
		break;
	case REGISTER(VIRTIO_PCI_QUEUE_NOTIFY, 2):
		notify_write(vp, value);
		break;
	case REGISTER(VIRTIO_PCI_STATUS, 1):
		status_write(vp, (uint8_t)value);
		break;
	case REGISTER(MSIX_CONFIG_VECTOR, 2):
		virtio_pci_set_config_vector(vp, (uint16_t)value);
		break;
	case REGISTER(MSIX_QUEUE_VECTOR, 2):
		if (queue)
			virtio_pci_set_queue_vector(vp, queue, (uint16_t)value);
		break;
	}
}

void virtio_pci_legacy_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len)
{
	unsigned header = header_len(vp);

	if (offset < header) {
		header_write(vp, offset, (uint32_t)value, len);
		return;
	}
	/* A legacy driver may do so before it has said a word about features. */
	virtio_legacy_begin(vp->dev);
	virtio_config_write(vp->dev, offset - header, value, len);
}
