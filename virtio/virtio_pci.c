// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/virtio_pci_private.h"

#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "hw/base/fence.h"
#include "hw/base/probe.h"
#include "hw/base/util.h"

#define VENDOR 0x1af4
#define DEVICE_BASE 0x1040 /* plus the virtio device type (section 4.1.2.1) */
#define REVISION 1
#define REVISION_TRANSITIONAL 0

/* The BAR: each structure has a page of its own, MSI-X table and PBA too. */
#define BAR VIRTIO_PCI_BAR
#define BAR_SIZE 0x8000
#define PAGE 0x1000
enum { COMMON, ISR, DEVICE, NOTIFY, MSIX_TABLE, MSIX_PENDING };
#define NOTIFY_STRIDE 4 /* bytes; section 4.1.4.4 */

#define ISR_QUEUE 1
#define ISR_CONFIG 2

static struct virtio_pci *from_pci(struct pci_device *pci)
{
	return container_of(pci, struct virtio_pci, pci);
}

static struct virtio_pci *from_device(struct virtio_device *dev)
{
	return container_of(dev->transport, struct virtio_pci, transport);
}

/* --- Interrupts (sections 4.1.4.5, 4.1.5.3 and 4.1.5.4) --- */

static bool intx_pending(struct pci_device *pci)
{
	struct virtio_pci *vp = from_pci(pci);

	return !load_relaxed(&vp->msix_on) && load_relaxed(&vp->isr);
}

static void raise_vector(struct virtio_notifier *notifier)
{
	msix_notify(container_of(notifier, struct vector_notifier, notifier)->vector);
}

static struct virtio_interrupt look_at_vector(const struct virtio_notifier *notifier)
{
	static const enum virtio_interrupt_way way[] = {
		[MSIX_SENT] = VIRTIO_INTERRUPT_MESSAGE,
		[MSIX_MASKED] = VIRTIO_INTERRUPT_MASKED,
		[MSIX_OFF] = VIRTIO_INTERRUPT_OFF,
	};
	struct virtio_interrupt seen;

	seen.way = way[msix_look(container_of(notifier, struct vector_notifier, notifier)->vector,
				 &seen.message)];
	return seen;
}

static void raise_isr(struct virtio_pci *vp, uint8_t bit)
{
	__atomic_fetch_or(&vp->isr, bit, __ATOMIC_SEQ_CST);
	irq_source_update(&vp->pci.intx);
}

static void raise_line(struct virtio_notifier *notifier)
{
	raise_isr(container_of(notifier, struct virtio_pci, by_line), ISR_QUEUE);
}

static struct virtio_interrupt look_at_line(const struct virtio_notifier *notifier)
{
	const struct virtio_pci *vp = container_of(notifier, struct virtio_pci, by_line);

	return (struct virtio_interrupt){
		.way = load_relaxed(&vp->pci.intx_disabled) ? VIRTIO_INTERRUPT_LINE_OFF :
			VIRTIO_INTERRUPT_LINE,
		.message.addr = vp->pci.intx.line->gsi,
	};
}

static void notify_config(struct virtio_device *dev)
{
	struct virtio_pci *vp = from_device(dev);
	struct vector_notifier *v = load_acquire(&vp->config_notifier);
	struct virtio_notifier *notifier = v ? &v->notifier : NULL;

	if (probe_wanted(interrupt))
		virtio_interrupt_probe(dev, VIRTIO_CONFIG_QUEUE,
				       load_relaxed(&vp->msix_on) ? notifier : &vp->by_line);
	raise_isr(vp, ISR_CONFIG);
	if (notifier)
		raise_vector(notifier);
}

static const char *interrupt_held(struct virtio_device *dev, unsigned index, bool *lost)
{
	struct virtio_pci *vp = from_device(dev);
	struct virtio_notifier *notifier = load_acquire(&dev->queue[index].notifier);

	*lost = !notifier;
	if (!notifier)
		return "the queue has no MSI-X vector";
	if (notifier != &vp->by_line)
		return msix_held(container_of(notifier, struct vector_notifier, notifier)->vector);
	return (load_relaxed(&vp->isr) & ISR_QUEUE) && load_relaxed(&vp->pci.intx_disabled) ?
		"INTx is disabled" : NULL;
}

static const char *doorbell_held(struct virtio_device *dev)
{
	return load_relaxed(&from_device(dev)->bus_master) ? NULL : "PCI bus mastering is off";
}

static struct vector_notifier *notifier_for(struct virtio_pci *vp, uint16_t vector)
{
	return vp->msix_on && vector < vp->msix.count ? &vp->by_vector[vector] : NULL;
}

static void update_queue_notifier(struct virtio_pci *vp, struct virtio_queue *queue)
{
	struct vector_notifier *v = notifier_for(vp, queue->config.vector);
	struct virtio_notifier *notifier = v ? &v->notifier : NULL;

	if (!vp->msix_on)
		notifier = &vp->by_line;
	store_release(&queue->notifier, notifier);
}

/* After MSI-X was switched, or the device was reset. */
static void update_notifiers(struct virtio_pci *vp)
{
	store_relaxed(&vp->msix_on, msix_enabled(&vp->msix));
	store_release(&vp->config_notifier, notifier_for(vp, vp->config_vector));
	for (unsigned i = 0; i < vp->dev->queue_count; i++)
		update_queue_notifier(vp, &vp->dev->queue[i]);
	irq_source_update(&vp->pci.intx);
}

uint8_t virtio_pci_read_isr(struct virtio_pci *vp)
{
	uint8_t isr = __atomic_exchange_n(&vp->isr, 0, __ATOMIC_SEQ_CST);

	irq_source_update(&vp->pci.intx);
	return isr;
}

/* A vector that is not in the table cannot be mapped (section 4.1.5.1.2). */
static uint16_t usable_vector(const struct virtio_pci *vp, uint16_t vector)
{
	return vector < vp->msix.count ? vector : VIRTIO_NO_VECTOR;
}

void virtio_pci_set_config_vector(struct virtio_pci *vp, uint16_t vector)
{
	vp->config_vector = usable_vector(vp, vector);
	store_release(&vp->config_notifier, notifier_for(vp, vp->config_vector));
}

void virtio_pci_set_queue_vector(struct virtio_pci *vp, struct virtio_queue *queue,
				 uint16_t vector)
{
	queue->config.vector = usable_vector(vp, vector);
	update_queue_notifier(vp, queue);
}

/* --- Doorbells --- */

static struct doorbell modern_doorbell(const struct virtio_pci *vp, unsigned index)
{
	return (struct doorbell){
		.addr = vp->pci.bar[BAR].addr + NOTIFY * PAGE + index * NOTIFY_STRIDE,
	};
}

static bool same_doorbell(const struct doorbell *a, const struct doorbell *b)
{
	return a->eventfd == b->eventfd && a->addr == b->addr && a->is_port == b->is_port;
}

/*
 * Attach a queue's short-cut while it runs, decodes and may do DMA: that of the
 * interface in use.
 */
static void update_doorbell(struct virtio_pci *vp, unsigned index)
{
	bool legacy = vp->dev->legacy;
	const struct pci_bar *bar = &vp->pci.bar[legacy ? VIRTIO_PCI_BAR_LEGACY : BAR];
	struct virtio_queue *queue = &vp->dev->queue[index];
	struct doorbell *attached = &vp->attached[index];
	struct doorbell wanted = legacy ? virtio_pci_legacy_doorbell(vp, index) :
		modern_doorbell(vp, index);

	store_relaxed(&queue->notify, wanted.addr);
	store_relaxed(&queue->notify_is_port, wanted.is_port);
	if (!vp->port.ops)
		return;
	wanted.eventfd = -1;
	if (bar->mapped && vp->bus_master && virtio_queue_running(queue))
		wanted.eventfd = queue->doorbell;
	if (same_doorbell(attached, &wanted))
		return;
	if (attached->eventfd >= 0)
		vp->port.ops->detach(vp->port.opaque, attached);
	*attached = wanted;
	if (wanted.eventfd >= 0 && vp->port.ops->attach(vp->port.opaque, &wanted))
		attached->eventfd = -1;
}

static void queue_changed(struct virtio_device *dev, unsigned index)
{
	struct virtio_pci *vp = from_device(dev);

	update_doorbell(vp, index);
	update_queue_notifier(vp, &dev->queue[index]);
}

/* A write to a notification register: its place names the queue. */
static void notify_write(struct virtio_pci *vp, uint64_t offset)
{
	struct virtio_queue *queue = virtio_queue_at(vp->dev, (uint32_t)offset / NOTIFY_STRIDE);

	if (queue && vp->bus_master)
		virtio_queue_kick(queue);
}

/* --- Common configuration (section 4.1.4.3) --- */

/* With the registers that came later; the kernel's headers have no name for it. */
struct common_config {
	struct virtio_pci_common_cfg first;
	uint16_t queue_notif_config_data; /* 0 without that feature */
	uint16_t queue_reset;
};
_Static_assert(sizeof(struct common_config) == 60, "no padding");
_Static_assert(offsetof(struct common_config, queue_reset) == VIRTIO_PCI_COMMON_Q_RESET,
	       "struct virtio_pci_common_cfg in the specification");

static void queue_read(const struct virtio_pci *vp, struct virtio_queue *queue,
		       struct common_config *common)
{
	const struct virtqueue_config *config = &queue->config;

	/* First: it may change the others. */
	common->queue_reset = virtio_queue_settle(vp->dev, queue);
	common->first.queue_size = config->size;
	common->first.queue_msix_vector = config->vector;
	common->first.queue_enable = config->enabled;
	common->first.queue_notify_off = vp->queue_select;
	memcpy(&common->first.queue_desc_lo, &config->desc, 8);
	memcpy(&common->first.queue_avail_lo, &config->driver, 8);
	memcpy(&common->first.queue_used_lo, &config->device, 8);
}

static uint64_t common_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
	struct virtio_device *dev = vp->dev;
	struct virtio_queue *queue = virtio_queue_at(dev, vp->queue_select);
	struct common_config common = { .first = {
		.device_feature_select = vp->device_feature_select,
		.device_feature = virtio_feature_word(dev->offered, vp->device_feature_select),
		.guest_feature_select = vp->driver_feature_select,
		.guest_feature = virtio_feature_word(dev->driver_features,
						     vp->driver_feature_select),
		.msix_config = vp->config_vector,
		.num_queues = dev->queue_count,
		.device_status = virtio_get_status(dev),
		.config_generation = dev->generation,
		.queue_select = vp->queue_select,
	} };
	uint64_t value = 0;

	if (queue)
		queue_read(vp, queue, &common);
	if (offset + len <= sizeof(common))
		memcpy(&value, (const uint8_t *)&common + offset, len);
	return value;
}

/* Queue addresses, whole or by halves in any order (section 4.1.3.1). */
static void address_write(struct virtio_queue *queue, unsigned at, uint64_t value, unsigned len)
{
	if ((len != 4 && len != 8) || at % len)
		return;
	virtio_queue_set_address(queue, at / 8, at / 4 % 2, (uint32_t)value);
	if (len == 8)
		virtio_queue_set_address(queue, at / 8, 1, value >> 32);
}

static void queue_write(struct virtio_pci *vp, struct virtio_queue *queue, uint64_t offset,
			uint64_t value, unsigned len)
{
	switch (REGISTER(offset, len)) {
	case REGISTER(VIRTIO_PCI_COMMON_Q_SIZE, 2):
		virtio_queue_set_size(vp->dev, queue, (uint16_t)value);
		break;
	case REGISTER(VIRTIO_PCI_COMMON_Q_MSIX, 2):
		virtio_pci_set_queue_vector(vp, queue, (uint16_t)value);
		break;
	case REGISTER(VIRTIO_PCI_COMMON_Q_ENABLE, 2):
		/* A driver never writes 0; nothing but a reset disables a queue. */
		if (value == 1)
			virtio_queue_enable(vp->dev, queue);
		break;
	case REGISTER(VIRTIO_PCI_COMMON_Q_RESET, 2):
		if (value == 1)
			virtio_queue_reset(vp->dev, queue);
		break;
	default:
		if (offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset <= VIRTIO_PCI_COMMON_Q_USEDHI)
			address_write(queue, (unsigned)offset - VIRTIO_PCI_COMMON_Q_DESCLO, value,
				      len);
	}
}

static void common_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len)
{
	struct virtio_queue *queue = virtio_queue_at(vp->dev, vp->queue_select);

	switch (REGISTER(offset, len)) {
	case REGISTER(VIRTIO_PCI_COMMON_DFSELECT, 4):
		vp->device_feature_select = (uint32_t)value;
		break;
	case REGISTER(VIRTIO_PCI_COMMON_GFSELECT, 4):
		vp->driver_feature_select = (uint32_t)value;
		break;
	case REGISTER(VIRTIO_PCI_COMMON_GF, 4):
		virtio_set_driver_features(vp->dev, vp->driver_feature_select, (uint32_t)value);
		break;
	case REGISTER(VIRTIO_PCI_COMMON_MSIX, 2):
		virtio_pci_set_config_vector(vp, (uint16_t)value);
		break;
	case REGISTER(VIRTIO_PCI_COMMON_STATUS, 1):
		virtio_set_status(vp->dev, (uint8_t)value);
		break;
	case REGISTER(VIRTIO_PCI_COMMON_Q_SELECT, 2):
		vp->queue_select = (uint16_t)value;
		break;
	default:
		if (queue)
			queue_write(vp, queue, offset, value, len);
	}
}

/* What is masked and pending for this queue alone must not come any more (section 2.6.1). */
static void queue_reset(struct virtio_device *dev, unsigned index)
{
	struct virtio_pci *vp = from_device(dev);
	uint16_t vector = dev->queue[index].config.vector;

	if (vector == VIRTIO_NO_VECTOR || vector == vp->config_vector)
		return;
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (i != index && dev->queue[i].config.vector == vector)
			return;
	msix_vector_drain(&vp->msix.vector[vector]);
}

static void device_reset(struct virtio_device *dev)
{
	struct virtio_pci *vp = from_device(dev);

	vp->device_feature_select = 0;
	vp->driver_feature_select = 0;
	vp->queue_select = 0;
	vp->config_vector = VIRTIO_NO_VECTOR;
	store_relaxed(&vp->isr, 0);
	msix_drain(&vp->msix);
	update_notifiers(vp);
}

static const struct virtio_transport_ops transport_ops = {
	.notify_config = notify_config,
	.interrupt_held = interrupt_held,
	.doorbell_held = doorbell_held,
	.queue_changed = queue_changed,
	.queue_reset = queue_reset,
	.reset = device_reset,
};

/* --- The BARs --- */

static uint64_t bar_read(struct pci_device *pci, unsigned bar, uint64_t offset, unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	uint64_t at = offset % PAGE;

	if (bar == VIRTIO_PCI_BAR_LEGACY)
		return virtio_pci_legacy_read(vp, offset, len);
	switch (offset / PAGE) {
	case COMMON:
		return common_read(vp, at, len);
	case ISR:
		return at == 0 ? virtio_pci_read_isr(vp) : 0;
	case DEVICE:
		return virtio_config_read(vp->dev, at, len);
	case MSIX_TABLE:
		return msix_table_read(&vp->msix, at, len);
	case MSIX_PENDING:
		return msix_pending_read(&vp->msix, at, len);
	default:
		return 0;
	}
}

static void bar_write(struct pci_device *pci, unsigned bar, uint64_t offset, uint64_t value,
		      unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	uint64_t at = offset % PAGE;

	if (bar == VIRTIO_PCI_BAR_LEGACY) {
		virtio_pci_legacy_write(vp, offset, value, len);
		return;
	}
	switch (offset / PAGE) {
	case COMMON:
		common_write(vp, at, value, len);
		break;
	case DEVICE:
		virtio_config_write(vp->dev, at, value, len);
		break;
	case NOTIFY:
		notify_write(vp, at);
		break;
	case MSIX_TABLE:
		msix_table_write(&vp->msix, at, value, len);
		break;
	}
}

/* --- Configuration space, and the window in it (section 4.1.4.9) --- */

#define WINDOW_DATA offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)

/*
 * Where the window points: an aligned register inside one of the virtio
 * structures.  For anything else there is no access.
 */
static bool window_target(const struct virtio_pci *vp, uint32_t *offset, uint32_t *len)
{
	const uint8_t *cap = &vp->pci.config[vp->window];

	memcpy(offset, cap + offsetof(struct virtio_pci_cap, offset), 4);
	memcpy(len, cap + offsetof(struct virtio_pci_cap, length), 4);
	if (cap[offsetof(struct virtio_pci_cap, bar)] != BAR)
		return false;
	if ((*len != 1 && *len != 2 && *len != 4) || *offset % *len)
		return false;
	return *offset / PAGE <= NOTIFY;
}

/* Does an access to configuration space touch the window's data? */
static bool window_touched(const struct virtio_pci *vp, unsigned offset, unsigned len)
{
	unsigned data = vp->window + WINDOW_DATA;

	return offset < data + 4 && offset + len > data;
}

static void config_reading(struct pci_device *pci, unsigned offset, unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	uint32_t at, width, value = 0;

	if (!window_touched(vp, offset, len))
		return;
	if (window_target(vp, &at, &width))
		value = (uint32_t)bar_read(pci, BAR, at, width);
	memcpy(&pci->config[vp->window + WINDOW_DATA], &value, sizeof(value));
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	bool was_master = vp->bus_master;
	uint32_t at, width;

	store_relaxed(&vp->bus_master, pci_device_bus_master(pci));
	msix_update(&vp->msix);
	if (msix_enabled(&vp->msix) != load_relaxed(&vp->msix_on))
		update_notifiers(vp);
	for (unsigned i = 0; i < vp->dev->queue_count; i++) {
		update_doorbell(vp, i);
		/* What was rung for while the function could do no DMA. */
		if (vp->bus_master && !was_master)
			virtio_queue_kick(&vp->dev->queue[i]);
	}
	if (window_touched(vp, offset, len) && window_target(vp, &at, &width))
		bar_write(pci, BAR, at, pci_config_dword(pci, vp->window + WINDOW_DATA), width);
}

static const struct pci_device_ops pci_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_written = config_written,
	.config_reading = config_reading,
	.intx_pending = intx_pending,
};

/* --- Set-up --- */

static void add_structure(struct virtio_pci *vp, uint8_t type, unsigned page, uint32_t len)
{
	struct virtio_pci_notify_cap cap = {
		.cap = {
			.cap_len = sizeof(cap.cap),
			.cfg_type = type,
			.bar = BAR,
			.offset = page * PAGE,
			.length = len,
		},
		.notify_off_multiplier = NOTIFY_STRIDE,
	};

	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		cap.cap.cap_len = sizeof(cap);
	pci_device_add_capability(&vp->pci, PCI_CAP_ID_VNDR, &cap, NULL, cap.cap.cap_len);
}

static void add_window(struct virtio_pci *vp)
{
	const struct virtio_pci_cfg_cap cap = {
		.cap = { .cap_len = sizeof(cap), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG },
	}, writable = {
		.cap = { .bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX },
		.pci_cfg_data = { 0xff, 0xff, 0xff, 0xff },
	};

	vp->window = pci_device_add_capability(&vp->pci, PCI_CAP_ID_VNDR, &cap, &writable,
					       sizeof(cap));
}

static void add_structures(struct virtio_pci *vp)
{
	struct virtio_device *dev = vp->dev;

	pci_device_add_memory_bar(&vp->pci, BAR, BAR_SIZE);
	add_structure(vp, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, sizeof(struct common_config));
	add_structure(vp, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, dev->queue_count * NOTIFY_STRIDE);
	add_structure(vp, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1);
	add_structure(vp, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE, dev->config_len);
	add_window(vp);
}

static int make_notifiers(struct virtio_pci *vp)
{
	vp->by_line = (struct virtio_notifier){ raise_line, look_at_line };
	vp->by_vector = calloc(vp->msix.count, sizeof(*vp->by_vector));
	vp->attached = calloc(vp->dev->queue_count, sizeof(*vp->attached));
	if (!vp->by_vector || !vp->attached)
		return -ENOMEM;
	for (unsigned i = 0; i < vp->msix.count; i++)
		vp->by_vector[i] = (struct vector_notifier){
			.notifier = { raise_vector, look_at_vector },
			.vector = &vp->msix.vector[i],
		};
	for (unsigned i = 0; i < vp->dev->queue_count; i++)
		vp->attached[i].eventfd = -1;
	vp->config_vector = VIRTIO_NO_VECTOR;
	return 0;
}

int virtio_pci_create(struct virtio_pci **result, struct virtio_device *dev,
		      const struct virtio_pci_kind *kind, const struct msi_port *msi,
		      const struct doorbell_port *doorbell)
{
	bool transitional = kind->transitional_id;
	const struct pci_ids ids = {
		.vendor = VENDOR,
		.device = transitional ? kind->transitional_id : DEVICE_BASE + dev->id,
		.subsystem_vendor = VENDOR,
		.subsystem = transitional ? dev->id : DEVICE_BASE + dev->id,
		.revision = transitional ? REVISION_TRANSITIONAL : REVISION,
		.class = kind->class,
	};
	struct virtio_pci *vp;
	int ret;

	if (dev->queue_count > VIRTIO_PCI_QUEUES_MAX)
		return -E2BIG;
	vp = calloc(1, sizeof(*vp));
	if (!vp)
		return -ENOMEM;
	vp->dev = dev;
	vp->port = *doorbell;
	vp->transport.ops = &transport_ops;
	pci_device_init(&vp->pci, &pci_ops, &ids);
	if (transitional)
		virtio_pci_legacy_add_bar(vp);
	add_structures(vp);
	ret = msix_init(&vp->msix, &vp->pci, dev->queue_count + 1u, BAR, MSIX_TABLE * PAGE,
			MSIX_PENDING * PAGE, msi);
	if (ret == 0)
		ret = make_notifiers(vp);
	if (ret) {
		virtio_pci_destroy(vp);
		return ret;
	}
	dev->transport = &vp->transport;
	for (unsigned i = 0; i < dev->queue_count; i++)
		store_release(&dev->queue[i].notifier, &vp->by_line);
	*result = vp;
	return 0;
}

void virtio_pci_destroy(struct virtio_pci *vp)
{
	msix_destroy(&vp->msix);
	pci_device_destroy(&vp->pci);
	free(vp->by_vector);
	free(vp->attached);
	free(vp);
}

struct pci_device *virtio_pci_function(struct virtio_pci *vp)
{
	return &vp->pci;
}
