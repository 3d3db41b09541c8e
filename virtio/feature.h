/* SPDX-License-Identifier: BSD-2-Clause */
/* Feature bits by name, for -v and the manual (virtio 1.4, section 2.2). */
#pragma once

#include <stdint.h>

#define VIRTIO_BIT(n) (1ULL << (n))

/* Newer than some headers. */
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif

struct virtio_feature {
	unsigned bit;
	const char *name;
	const char *when;    /* it is offered */
	const char *section; /* of virtio 1.4 */
};

/* Those of every device and transport; ends with a NULL name. */
extern const struct virtio_feature virtio_features[];
