// SPDX-License-Identifier: BSD-2-Clause
#include "virtio/feature.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

const struct virtio_feature virtio_features[] = {
	{ VIRTIO_F_ANY_LAYOUT, "ANY_LAYOUT", "to legacy drivers", "6.3" },
	{ VIRTIO_RING_F_INDIRECT_DESC, "INDIRECT_DESC", "always", "2.7.5.3, 2.8.7" },
	{ VIRTIO_RING_F_EVENT_IDX, "EVENT_IDX", "always", "2.7.7, 2.7.10, 2.8.10" },
	{ VIRTIO_F_VERSION_1, "VERSION_1", "always", "6" },
	{ VIRTIO_F_RING_PACKED, "RING_PACKED", "with packed=on", "2.8" },
	{ VIRTIO_F_IN_ORDER, "IN_ORDER", "with in-order=on", "2.7.9, 2.8.8" },
	{ VIRTIO_F_NOTIFICATION_DATA, "NOTIFICATION_DATA", "with notification-data=on", "2.9" },
	{ VIRTIO_F_RING_RESET, "RING_RESET", "always", "2.6.1" },
	{ 0, NULL, NULL, NULL },
};
